-- {partition_by}: how `init --partitioned` makes the table.
 PARTITION BY RANGE ({id_column})
