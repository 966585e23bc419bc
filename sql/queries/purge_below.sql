-- {purge_below} of a partitioned table: what is above goes with its partition.
	AND ({id}) < $4::bigint
