"""A primary dies and its standby takes over: the relay follows by itself, also when ids went back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from harness import Database, Elastic, FaultProxy, History, Outboxd, Postgres, insert_events, wait_until
from harness.ports import HOST

from helpers import init, publish, undelivered

OutboxdFactory = Callable[..., Outboxd]


@dataclass
class Pair:
    primary: Postgres
    standby: Postgres
    wire: FaultProxy  # from the standby to the primary: what it stalls, the standby does not get
    name: str  # of the database

    @property
    def db(self) -> Database:
        return Database(self.primary, self.name)

    @property
    def new_db(self) -> Database:
        return Database(self.standby, self.name)

    def dsn(self, *ports: int) -> str:
        """All hosts in one connection string, as an operator would write it."""
        ports = ports or (self.primary.port, self.standby.port)
        return self.primary.dsn(self.name, host=",".join([HOST] * len(ports)), port=",".join(map(str, ports)),
                                target_session_attrs="read-write")

    def wait_caught_up(self) -> None:
        at = self.primary.execute("SELECT pg_current_wal_lsn()::text")[0][0]
        wait_until(lambda: self.standby.execute("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", [at])[0][0], 30,
                   "the standby to catch up")

    def fail_over(self) -> None:
        self.primary.kill9()
        self.standby.promote()


@pytest.fixture
def pair() -> Iterator[Pair]:
    with Postgres() as primary, FaultProxy(primary.port) as wire:
        name = primary.createdb().name
        with primary.standby(wire.port) as standby:
            yield Pair(primary, standby, wire, name)


def wait_drained(db: Database, what: str, timeout: float = 40) -> None:
    wait_until(lambda: undelivered(db) == 0, timeout, what, every=0.05)


def test_it_follows_the_primary(pair: Pair, elastic: Elastic, index: str, outboxd: OutboxdFactory) -> None:
    history = History()
    relay = outboxd(postgres_dsn=pair.dsn(), log_level="debug", relay_batch_rows=300, retry_cap="500ms")
    init(relay, "--notify")
    with pair.db.connect() as connection:
        insert_events(connection, 10_000, keys=2000, deletes=0.1, index=index, history=history)
    pair.wait_caught_up()  # marks may be lost in what follows, events may not
    relay.start()
    relay.wait_log("worker", on="SETTLED", timeout=30)
    pair.primary.kill9()
    relay.wait_log("postgres_away", timeout=20)

    pair.standby.promote()

    relay.wait_log("postgres_back", timeout=30)
    with pair.new_db.connect() as connection:
        insert_events(connection, 1000, first=20_001, keys=2000, index=index, history=history)
    wait_drained(pair.new_db, "the drain to go on at the new primary")
    assert len(relay.logs("postgres_away")) == len(relay.logs("postgres_back")) == 1
    history.assert_matches(elastic, index)


def test_a_standby_alone_is_said_and_waited_for(pair: Pair, elastic: Elastic, index: str,
                                                outboxd: OutboxdFactory) -> None:
    init(outboxd(postgres_dsn=pair.db.dsn))
    publish(pair.db, index, "1", {"n": 1})
    pair.wait_caught_up()
    relay = outboxd(postgres_dsn=pair.new_db.dsn, retry_cap="500ms")
    relay.start()
    line = relay.wait_log("table_unfit", timeout=20)
    assert "standby" in line["error"]
    assert "target_session_attrs=read-write" in line["then"]

    pair.fail_over()

    wait_until(lambda: elastic.get(index, "1"), 30, "the event to be delivered")
    assert len(relay.logs("table_unfit")) == 1
    assert len(relay.logs("table_fit")) == 1


@pytest.mark.parametrize("when", ["at_start", "in_mid_drain"])
def test_the_first_host_is_a_black_hole(when: str, pair: Pair, elastic: Elastic, index: str,
                                        outboxd: OutboxdFactory) -> None:
    """A machine that is off the network does not even refuse: the second host must get its turn all the same."""
    with FaultProxy(pair.primary.port) as proxy:
        dsn = pair.dsn(proxy.port, pair.standby.port)
        if when == "in_mid_drain":  # noticed in 2 s instead of 20 s
            dsn += " keepalives_idle=1 keepalives_interval=1 keepalives_count=2 tcp_user_timeout=2000"
        relay = outboxd(postgres_dsn=dsn, retry_cap="500ms")
        init(outboxd(postgres_dsn=pair.db.dsn))
        if when == "in_mid_drain":
            relay.start()
            relay.wait_log("elasticsearch_connected", timeout=30)
        publish(pair.db, index, "1", {"n": 1})
        pair.wait_caught_up()
        proxy.vanish()
        pair.fail_over()
        if when == "at_start":
            relay.start()
        publish(pair.new_db, index, "2", {"n": 2})

        wait_until(lambda: elastic.get(index, "2"), 40, "the event of the second host to be delivered")

        wait_drained(pair.new_db, "the rest")
        proxy.reset_all()


def lose_ids(pair: Pair, relay: Outboxd, index: str) -> None:
    """200 events of 50 documents are delivered, and then the primary is lost with all of them."""
    pair.wait_caught_up()
    pair.wire.stall()
    with pair.db.connect() as connection:
        insert_events(connection, 200, keys=50, index=index)
    wait_drained(pair.db, "the events of the old primary")
    pair.fail_over()
    relay.wait_log("postgres_back", timeout=30)


def a_late_document(elastic: Elastic, index: str) -> tuple[str, int]:
    """One whose version the new primary will not draw for a while, and that version."""
    return max(((name, document.version) for name, document in elastic.all_docs(index).items()), key=lambda each: each[1])


def test_ids_that_went_back(pair: Pair, elastic: Elastic, index: str, outboxd: OutboxdFactory) -> None:
    """An event that looks older than what stands there is not taken for delivered; one command mends it."""
    relay = outboxd(postgres_dsn=pair.dsn(), retry_cap="500ms")
    init(relay)
    publish(pair.db, index, "before", {"from": "before"})
    relay.start()
    wait_drained(pair.db, "the first event")
    lose_ids(pair, relay, index)
    name, highest = a_late_document(elastic, index)
    with pair.new_db.connect() as connection:
        insert_events(connection, 50, first=301, index=index, prefix="new-")
    assert publish(pair.new_db, index, name, {"from": "the new primary"}) < highest
    line = relay.wait_log("version_from_the_future", timeout=30)
    assert int(line["version"]) > int(line["highest_id"])
    assert "sequence" in line["then"]
    wait_until(lambda: undelivered(pair.new_db) == 1, 20, "all but that one to be delivered")

    done = outboxd(postgres_dsn=pair.dsn()).run("check", "--raise-sequence")

    assert done.exit_code == 0, done.stderr
    wait_drained(pair.new_db, "the event that waited")
    document = elastic.get(index, name)
    assert document is not None and document.source == '{"from": "the new primary"}', "it was settled undelivered"


def is_stale(elastic: Elastic, index: str, name: str) -> bool:
    document = elastic.get(index, name)
    return document is None or document.source != '{"from": "the new primary"}'


@pytest.mark.parametrize("when", ["while_it_waits", "before_it_is_tried"])
def test_ids_that_went_back_catch_up(when: str, pair: Pair, elastic: Elastic, index: str,
                                     outboxd: OutboxdFactory) -> None:
    """Nobody runs that command, and the ids grow past what was lost: then 409 alone does not tell old from new."""
    relay = outboxd(postgres_dsn=pair.dsn(), retry_cap="500ms")
    init(relay)
    relay.start()
    relay.wait_log("elasticsearch_connected", timeout=30)
    lose_ids(pair, relay, index)
    name, highest = a_late_document(elastic, index)
    if when == "before_it_is_tried":
        relay.terminate()
    assert publish(pair.new_db, index, name, {"from": "the new primary"}) < highest
    if when == "while_it_waits":
        relay.wait_log("version_from_the_future", timeout=30)

    with pair.new_db.connect() as connection:
        insert_events(connection, 400, first=301, index=index, prefix="new-")
    if when == "before_it_is_tried":
        relay.start()

    new = "SELECT count(*) FROM outbox WHERE processed = false AND aggregate_id LIKE 'new-%%'"
    wait_until(lambda: pair.new_db.value(new, []) == 0, 30, "the others to be delivered")
    with pytest.raises(TimeoutError):
        wait_until(lambda: undelivered(pair.new_db) == 0 and is_stale(elastic, index, name), 3,
                   "an event that is marked and was never delivered")


def test_ids_that_went_back_and_a_newer_event(pair: Pair, elastic: Elastic, index: str,
                                              outboxd: OutboxdFactory) -> None:
    """Above the raised sequence the next event of each document wins, and settles the one that waited."""
    relay = outboxd(postgres_dsn=pair.dsn(), retry_base="3s", retry_cap="20s")
    init(relay)
    relay.start()
    relay.wait_log("elasticsearch_connected", timeout=30)
    lose_ids(pair, relay, index)
    found = elastic.all_docs(index)
    highest = max(document.version for document in found.values())
    new = pair.new_db
    for name in found:
        publish(new, index, name, {"from": "between"})
    relay.wait_log("version_from_the_future", timeout=30)
    new.execute("SELECT setval(pg_get_serial_sequence('outbox', 'id'), %s)", [highest + 1000])

    for name in found:
        publish(new, index, name, {"from": "now"})

    wait_drained(new, "all of them")
    assert {document.source for document in elastic.all_docs(index).values()} == {'{"from": "now"}'}
