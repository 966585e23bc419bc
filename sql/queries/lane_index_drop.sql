DROP INDEX {lane_index_qualified}
