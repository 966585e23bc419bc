-- AFTER TRUNCATE: every parent has lost its children.
	ELSE
		parents := (SELECT array_agg(t.{row_key}) FROM {tracked} t);
