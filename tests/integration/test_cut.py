"""Each exchange with each server is cut once: for n = 1, 2, 3, ... a whole drain loses its n-th, until none is left.

At the request, the server never hears it; at the response, it did what it was asked, and the relay cannot know.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from harness import Database, Elastic, FaultProxy, History, Outboxd, Postgres, insert_events
from harness.fault_proxy import Link, Part
from harness.workload import MAPPINGS

OutboxdFactory = Callable[..., Outboxd]
EVENTS = 60
KEYS = 20
# One worker, so that the exchanges of two runs are the same ones; small batches, so that there are several.
SETTINGS = {"relay_workers": 1, "relay_batch_rows": 25, "retry_base": "1ms", "retry_cap": "20ms"}
MOST_EXCHANGES = 200


class TornAnswers(FaultProxy):
    """Before the connection is cut, the client has the beginning of an answer.

    When a kept connection ends without a byte, libcurl sends the request again by itself and tells nobody. This is
    how the relay gets to see a lost request, too: as a gateway would show it that dies while it answers.
    """

    def _admit(self, fault: Any, link: Link, direction: Any, size: int) -> int:
        allowed = super()._admit(fault, link, direction, size)
        if allowed == size:
            return allowed
        if direction == "down":
            return min(20, size - 1)
        link.client.sendall(b"HTTP/1.1 200 OK\r\ncon")
        return allowed


def drain_in_rounds(db: Database, elastic: Elastic, index: str, relay: Outboxd, proxy: FaultProxy,
                    part: Part) -> Iterator[bool]:
    """One drain a round, without its n-th exchange; yields whether there was one to cut.

    The rounds share their documents, so that what an earlier round has left behind would be seen.
    """
    history = History()
    for number in range(1, MOST_EXCHANGES):
        with db.connect() as connection:
            connection.execute("DELETE FROM outbox")
            insert_events(connection, EVENTS, first=number * EVENTS, keys=KEYS, deletes=0.2, index=index,
                          history=history)
        proxy.cut_exchange(number, part)
        exchanges, cuts = proxy.counters.exchanges, proxy.counters.cuts

        done = relay.run_once(timeout=30)

        context = f"{part} {number}:\n{done.stderr[-5000:]}"
        assert done.exit_code == 0, context
        assert db.execute("SELECT processed, attempts, dead_at IS NULL, count(*) FROM outbox GROUP BY 1, 2, 3") == [
            (True, 0, True, EVENTS)], context
        try:
            history.assert_matches(elastic, index)
        except AssertionError as error:
            raise AssertionError(f"{error} | {context}") from None
        yield proxy.counters.cuts > cuts
        if proxy.counters.exchanges - exchanges < number:
            return
    raise AssertionError(f"no drain of {EVENTS} events passed with less than {MOST_EXCHANGES} exchanges")


@pytest.mark.parametrize("part", ["request", "response"])
def test_cut_at_every_exchange_with_postgres(part: Part, postgres: Postgres, db: Database, elastic: Elastic, index: str,
                                             outboxd: OutboxdFactory) -> None:
    elastic.create_index(index, MAPPINGS)
    assert outboxd().run("init").exit_code == 0
    with FaultProxy(postgres.port) as proxy:
        relay = outboxd(postgres_dsn=db.dsn_with(port=proxy.port), **SETTINGS)

        struck = list(drain_in_rounds(db, elastic, index, relay, proxy, part))

    print(f"{sum(struck)} of {len(struck)} rounds were cut")
    assert sum(struck) >= 10, "the proxy was hardly in the way"
    assert not struck[-1]


@pytest.mark.parametrize("part", ["request", "response"])
@pytest.mark.parametrize("kind", [FaultProxy, TornAnswers])
def test_cut_at_every_exchange_with_elasticsearch(kind: type[FaultProxy], part: Part, db: Database, elastic: Elastic,
                                                  index: str, outboxd: OutboxdFactory) -> None:
    elastic.create_index(index, MAPPINGS)
    assert outboxd().run("init").exit_code == 0
    with kind(elastic.port) as proxy:
        relay = outboxd(elasticsearch_url=proxy.url, **SETTINGS)

        struck = list(drain_in_rounds(db, elastic, index, relay, proxy, part))

    print(f"{sum(struck)} of {len(struck)} rounds were cut")
    assert sum(struck) >= 3, "the proxy was hardly in the way"
    assert not struck[-1]
