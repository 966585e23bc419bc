-- {bound_below} of a partitioned table: nothing below all of the bounds $2. The server knows these before it makes the plan, and
-- leaves out the partitions that were dealt with; to plan for each of them takes longer than to claim.
	AND ({id}) > least(($2::bigint[])[1], ($2::bigint[])[2], ($2::bigint[])[3], ($2::bigint[])[4], ($2::bigint[])[5], ($2::bigint[])[6],
		($2::bigint[])[7], ($2::bigint[])[8], ($2::bigint[])[9], ($2::bigint[])[10], ($2::bigint[])[11], ($2::bigint[])[12],
		($2::bigint[])[13], ($2::bigint[])[14], ($2::bigint[])[15], ($2::bigint[])[16])
