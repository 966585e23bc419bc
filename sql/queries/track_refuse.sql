-- TRUNCATE tells no trigger which rows it takes.
RAISE EXCEPTION '% is tracked by outboxd: TRUNCATE would leave what it takes in the index', TG_RELID::regclass
			USING HINT = 'DELETE the rows, or track the table with --truncate delete.';
