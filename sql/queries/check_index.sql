-- An index that is the same for all rows is known without any row.
SELECT ({index})::text
