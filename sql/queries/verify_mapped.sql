-- {mapped}: the outbox row o that would deliver the document r.document with the key r.key.
CROSS JOIN LATERAL jsonb_populate_record(NULL::{outbox}, jsonb_build_object('event', 'verify', 'aggregate_type', {index_literal}::text,
		'aggregate_id', r.key) || CASE WHEN r.document IS NULL THEN '{}' ELSE jsonb_build_object('data', r.document) END) o
