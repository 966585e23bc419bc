"""A trace context goes with its event."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from harness import Answer, Database, Outboxd, ScriptedElastic
from harness.bulk import bulk_answer
from harness.scripted_elastic import Request

from helpers import drain, init

OutboxdFactory = Callable[..., Outboxd]


class TestTraces:
    def test_they_go_along(self, db: Database, outboxd: OutboxdFactory) -> None:
        """As the request's opaque id, in the dead letter and in the log line of the refusal."""
        def answer(request: Request) -> Answer | None:
            if not request.is_bulk:
                return None
            return Answer(body=json.dumps(bulk_answer(request.actions, {0: (400, "document_parsing_exception", "no")})))

        trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
        with ScriptedElastic(answer) as elastic:
            relay = outboxd(elasticsearch_url=elastic.url, outbox_trace="o.headers->>'traceparent'")
            init(outboxd())
            db.execute("ALTER TABLE outbox ADD COLUMN headers jsonb")
            db.execute("INSERT INTO outbox (aggregate_type, aggregate_id, data, headers) VALUES "
                       "('products', '1', '{\"n\": 1}', jsonb_build_object('traceparent', %s::text))", [trace])
            done = drain(relay, expect=65)
            bulk = next(request for request in elastic.requests if request.is_bulk)
        assert bulk.headers["x-opaque-id"] == trace
        assert db.value("SELECT error->>'trace' FROM outbox") == trace
        assert done.logs("events_dead")[0]["trace"] == trace

    def test_a_row_whose_mapping_fails_keeps_it(self, db: Database, outboxd: OutboxdFactory) -> None:
        with ScriptedElastic() as elastic:
            relay = outboxd(elasticsearch_url=elastic.url, outbox_trace="o.event", outbox_routing="(o.data->>'n')::int::text")
            init(outboxd())
            db.execute("INSERT INTO outbox (event, aggregate_type, aggregate_id, data) VALUES "
                       "('good', 'p', '1', '{}'), ('00-ab-01', 'p', '2', '{\"n\": \"x\"}'), ('a b', 'p', '3', '{\"n\": \"x\"}')")
            drain(relay, expect=65)
        assert db.execute("SELECT error->>'trace' FROM outbox WHERE dead_at IS NOT NULL ORDER BY id") == [("00-ab-01",), (None,)]

    @pytest.mark.parametrize("trace", ["a\r\nX-Evil: 1", "", " ", "x" * 300, "ümlaut", "a b"])
    def test_what_is_no_trace_forges_no_header(self, db: Database, outboxd: OutboxdFactory, trace: str) -> None:
        with ScriptedElastic() as elastic:
            relay = outboxd(elasticsearch_url=elastic.url, outbox_trace="o.event")
            init(outboxd())
            db.execute("INSERT INTO outbox (event, aggregate_type, aggregate_id, data) VALUES (%s, 'p', '1', '{}')", [trace])
            drain(relay)
            bulk = next(request for request in elastic.requests if request.is_bulk)
        assert "x-opaque-id" not in bulk.headers and "x-evil" not in bulk.headers
