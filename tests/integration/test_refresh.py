"""Events that wait until search finds them."""

from __future__ import annotations

import pytest
from conftest import OutboxdFactory
from helpers import dead, drain, init, publish

from harness import Database, Elastic, ScriptedElastic

WAIT = {"outbox_refresh": "CASE WHEN o.event = 'seen' THEN 'wait_for' WHEN o.event = 'now' THEN 'true' END"}
SLOW = {"settings": {"number_of_replicas": 0, "refresh_interval": "5s"}}


def hits(elastic: Elastic, index: str) -> set[str]:
    return {hit["_id"] for hit in elastic.search(index, size=100)}


@pytest.mark.parametrize("event", ["seen", "now"])
def test_delivered_is_found(event: str, db: Database, elastic: Elastic, index: str, outboxd: OutboxdFactory) -> None:
    relay = outboxd(**WAIT)
    init(relay)
    elastic.call("PUT", f"/{index}", SLOW)
    hits(elastic, index)  # who is not searched does not refresh
    db.execute("SELECT outbox_publish(%s, '1', '{}', 'plain')", [index])
    drain(relay)
    db.execute("SELECT outbox_publish(%s, '2', '{}', %s)", [index, event])
    drain(relay)
    assert "2" in hits(elastic, index)


@pytest.mark.parametrize(("everywhere", "expected"), [("false", [None, "wait_for", "true"]), ("wait_for", ["wait_for", "wait_for", "true"]),
                                                      ("true", ["true", "true", "true"])])
def test_the_strongest_of_a_request_counts(everywhere: str, expected: list[str | None], db: Database, outboxd: OutboxdFactory) -> None:
    with ScriptedElastic() as scripted:
        relay = outboxd(elasticsearch_url=scripted.url, elasticsearch_refresh=everywhere, relay_workers=1, **WAIT)
        init(relay)
        for events in (["x"], ["x", "seen"], ["now", "seen", "x"]):
            for number, event in enumerate(events):
                db.execute("SELECT outbox_publish('products', %s, '{}', %s)", [str(number), event])
            drain(relay)
        assert [bulk.query.get("refresh") for bulk in scripted.bulks] == expected


def test_who_wants_to_find_an_older_state_finds_the_newer_one(db: Database, outboxd: OutboxdFactory) -> None:
    """Of both only the newer one is sent: with what the older one asked for."""
    with ScriptedElastic() as scripted:
        relay = outboxd(elasticsearch_url=scripted.url, relay_workers=1, **WAIT)
        init(relay)
        db.execute("SELECT outbox_publish('products', '1', '{}', 'seen'), outbox_publish('products', '1', '{}', 'x')")
        db.execute("SELECT outbox_publish('products', '1', NULL, 'x')")
        drain(relay)
        assert [(len(bulk.actions), bulk.query.get("refresh")) for bulk in scripted.bulks] == [(1, "wait_for")]


def test_what_is_no_refresh(db: Database, index: str, outboxd: OutboxdFactory) -> None:
    relay = outboxd(outbox_refresh="'soon'")
    init(relay)
    publish(db, index, "1", {})
    drain(relay, expect=65)
    assert "the refresh is none of" in dead(db)[1]["reason"]


@pytest.mark.parametrize("interval", ["-1", "60s"])
def test_an_index_that_does_not_refresh_in_time_is_said(interval: str, db: Database, elastic: Elastic, index: str,
                                                        outboxd: OutboxdFactory) -> None:
    relay = outboxd(**WAIT)
    init(relay)
    elastic.call("PUT", f"/{index}", {"settings": {"number_of_replicas": 0, "refresh_interval": interval}})
    publish(db, index, "1", {})
    done = relay.run("check")
    assert done.exit_code != 0 and f"index.refresh_interval is {interval}" in done.stdout
    assert "index.refresh_interval" not in outboxd().run("check").stdout
