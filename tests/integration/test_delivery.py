"""The main job: what was committed to the outbox is what Elasticsearch holds."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from harness import Database, Elastic, ElasticClient, History, Outboxd, insert_events, wait_until
from harness.workload import MAPPINGS

OutboxdFactory = Callable[..., Outboxd]


class Sampler:
    """Reads documents all the time; remembers each one that was seen going back to an older version."""

    def __init__(self, url: str, index: str, ids: list[str]) -> None:
        self._client = ElasticClient(url)
        self._index, self._ids = index, ids
        self._newest: dict[str, int] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample)
        self.backwards: list[str] = []
        self.rounds = 0

    def __enter__(self) -> Sampler:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._stop.is_set():
            for name, document in self._client.mget(self._index, self._ids).items():
                newest = self._newest.get(name, 0)
                if document.version < newest:
                    self.backwards.append(f"{name}: {newest} -> {document.version}")
                self._newest[name] = max(newest, document.version)
            self.rounds += 1


@pytest.mark.time_limit(300)
def test_200_000_events_are_drained_once(db: Database, elastic: Elastic, index: str, outboxd: OutboxdFactory) -> None:
    elastic.create_index(index, MAPPINGS)
    relay = outboxd()
    assert relay.run("init").exit_code == 0
    history = History()
    with db.connect() as connection:
        insert_events(connection, 200_000, keys=50_000, deletes=0.1, index=index, history=history)

    done = relay.run_once(timeout=240)

    assert done.exit_code == 0
    assert db.value("SELECT count(*) FROM outbox WHERE NOT processed OR processed_at IS NULL") == 0
    history.assert_matches(elastic, index)
    end = done.logs("drained")[0]
    fates = ("delivered", "superseded", "dead", "waiting", "returned")
    assert int(end["claimed"]) == sum(int(end[fate]) for fate in fates) >= 200_000


def test_nothing_to_do_is_done_at_once(outboxd: OutboxdFactory) -> None:
    relay = outboxd()
    assert relay.run("init").exit_code == 0

    assert relay.run_once(timeout=20).exit_code == 0


def make_backlog(relay: Outboxd, db: Database, elastic: Elastic, index: str, events: int) -> None:
    elastic.create_index(index, MAPPINGS)
    assert relay.run("init").exit_code == 0
    with db.connect() as connection:
        insert_events(connection, events, index=index)


@contextmanager
def others_hold_lanes(db: Database, first: int) -> Iterator[None]:
    """This one, and those that follow."""
    with db.connect() as other:
        other.execute("BEGIN")
        other.execute("SELECT pg_advisory_xact_lock(hashtext('outboxd lane ' || 'outbox'::regclass::oid), lane) "
                      "FROM generate_series(%s::int, 15) AS lane", [first])
        yield


def test_where_others_hold_most_lanes_a_batch_is_full_as_well(db: Database, elastic: Elastic, index: str,
                                                              outboxd: OutboxdFactory) -> None:
    relay = outboxd(relay_batch_rows=160, relay_once_timeout="3s")
    make_backlog(relay, db, elastic, index, 1600)

    with others_hold_lanes(db, first=1):
        done = relay.run_once(timeout=30)

    end = done.logs("drained")[0]
    assert done.exit_code == 75
    assert 60 <= int(end["delivered"]) <= 160, "those of one lane"
    assert int(end["requests"]) == 1, "not the sixteenth of a batch each time"


def test_who_has_no_lane_to_take_does_not_look_again_and_again(db: Database, elastic: Elastic, index: str,
                                                               outboxd: OutboxdFactory) -> None:
    """A worker has all lanes that there are: each of its batches would send three others to look for more."""
    relay = outboxd(relay_batch_rows=20, relay_once_timeout="3s")
    make_backlog(relay, db, elastic, index, 8000)
    rollbacks = "SELECT xact_rollback FROM pg_stat_database WHERE datname = current_database()"
    before = db.value(rollbacks)

    with others_hold_lanes(db, first=4):
        done = relay.run_once(timeout=30)

    requests = int(done.logs("drained")[0]["requests"])
    assert done.exit_code == 75 and requests >= 50
    assert db.value(rollbacks) - before <= requests / 2


def test_who_gets_nothing_of_a_backlog_leaves_out_the_lanes_of_others(db: Database, elastic: Elastic, index: str,
                                                                      outboxd: OutboxdFactory) -> None:
    relay = outboxd(relay_batch_rows=20)
    make_backlog(relay, db, elastic, index, 1600)
    db.execute(f"ALTER DATABASE {db.name} SET log_min_duration_statement = 0")
    begin = db.server.log_file.stat().st_size

    with others_hold_lanes(db, first=1):
        relay.start()
        wait_until(lambda: b"FROM pg_locks" in db.server.log_file.read_bytes()[begin:], 20, "the question about locks")
        assert db.value("SELECT count(*) FROM outbox WHERE processed") <= 160

    wait_until(lambda: db.value("SELECT count(*) FROM outbox WHERE NOT processed") == 0, 30, "the rest, once nobody holds it")


def test_what_was_replaced_in_a_batch_does_not_fill_it(elastic: Elastic, index: str, db: Database, outboxd: OutboxdFactory) -> None:
    elastic.create_index(index, MAPPINGS)
    relay = outboxd()
    assert relay.run("init").exit_code == 0
    with db.connect() as connection:
        insert_events(connection, 20_000, keys=1, index=index)

    end = relay.run_once(timeout=60).logs("drained")[0]

    assert int(end["superseded"]) + int(end["delivered"]) == 20_000
    assert int(end["requests"]) <= 8, "claims double as long as all of them are the same document"


def test_large_documents_that_replace_each_other_are_not_read_without_end(elastic: Elastic, index: str, db: Database,
                                                                         outboxd: OutboxdFactory) -> None:
    elastic.create_index(index, MAPPINGS)
    relay = outboxd()
    assert relay.run("init").exit_code == 0
    with db.connect() as connection:
        insert_events(connection, 2000, keys=1, index=index, document_bytes=50_000)

    end = relay.run_once(timeout=60).logs("drained")[0]

    assert int(end["superseded"]) + int(end["delivered"]) == 2000
    assert int(end["requests"]) >= 5, "the other documents of a lane wait for what a claim reads: 16 MB, not 100"


@pytest.mark.time_limit(240)
def test_two_relays_share_a_table_and_no_document_goes_back(db: Database, elastic: Elastic, index: str,
                                                            outboxd: OutboxdFactory) -> None:
    elastic.create_index(index, MAPPINGS)
    relays = [outboxd(), outboxd()]
    assert relays[0].run("init", "--notify").exit_code == 0
    history = History()
    for relay in relays:
        relay.start()
        relay.wait_log("postgres_connected", timeout=30)

    with Sampler(elastic.url, index, [str(n) for n in range(1, 501)]) as sampler, db.connect() as connection:
        for chunk in range(25):
            insert_events(connection, 2000, keys=500, deletes=0.2, first=chunk * 2000 + 1, index=index, history=history)
            wait_until(lambda: sampler.rounds > chunk // 2, 30, "the sampler to keep up")
        wait_until(lambda: db.value("SELECT NOT EXISTS (SELECT FROM outbox WHERE NOT processed)"), 120,
                   "both relays to have drained the table")

    assert sampler.backwards == []
    assert sampler.rounds > 10
    history.assert_matches(elastic, index)
    claimed = [int(relay.terminate().logs("stopped")[0]["claimed"]) for relay in relays]
    assert sum(claimed) >= 50_000
    assert min(claimed) > 0, "one relay did all the work: the lanes were not shared"


def test_a_commit_wakes_the_daemon(db: Database, elastic: Elastic, index: str, outboxd: OutboxdFactory) -> None:
    relay = outboxd(relay_poll_interval="1h")
    assert relay.run("init", "--notify").exit_code == 0
    relay.start()
    relay.wait_log("elasticsearch_connected", timeout=30)
    relay.wait_log("wakeups_work", timeout=30)

    for number in range(5):
        db.execute("SELECT outbox_publish(%s, %s, '{\"n\": 1}')", [index, f"woken-{number}"])
        wait_until(lambda: elastic.get(index, f"woken-{number}"), 10, "the event to be delivered without a poll")


def test_polling_alone_suffices(db: Database, elastic: Elastic, index: str, outboxd: OutboxdFactory) -> None:
    relay = outboxd(relay_poll_interval="200ms", relay_notify=False)
    assert relay.run("init").exit_code == 0
    relay.start()
    relay.wait_log("postgres_connected", timeout=30)

    db.execute("SELECT outbox_publish(%s, 'polled', '{\"n\": 1}')", [index])

    wait_until(lambda: elastic.get(index, "polled"), 10, "the event to be found by polling")


def test_an_event_that_commits_late_is_found(db: Database, elastic: Elastic, index: str,
                                             outboxd: OutboxdFactory) -> None:
    """Ids are drawn before commit: a lower id may become visible after a higher one was delivered."""
    relay = outboxd(relay_poll_interval="200ms")
    assert relay.run("init").exit_code == 0
    relay.start()
    with db.connect() as late, db.connect() as early:
        late.autocommit = False
        late.execute("SELECT outbox_publish(%s, 'late', '{\"n\": 1}')", [index])
        for number in range(50):
            early.execute("SELECT outbox_publish(%s, %s, '{\"n\": 1}')", [index, f"early-{number}"])
        wait_until(lambda: elastic.get(index, "early-49"), 20, "the younger events to be delivered")
        assert elastic.get(index, "late") is None
        late.commit()

    wait_until(lambda: elastic.get(index, "late"), 20, "the older event to be delivered after its commit")


def test_delivered_rows_are_deleted_with_keep_0(db: Database, elastic: Elastic, index: str,
                                                outboxd: OutboxdFactory) -> None:
    relay = outboxd(retention_keep=0)
    assert relay.run("init").exit_code == 0
    with db.connect() as connection:
        insert_events(connection, 1000, index=index)

    assert relay.run_once().exit_code == 0

    assert db.value("SELECT count(*) FROM outbox") == 0
    elastic.refresh(index)
    assert elastic.count(index) == 1000


def test_old_delivered_rows_are_purged(db: Database, index: str, outboxd: OutboxdFactory) -> None:
    relay = outboxd(retention_keep="1h", retention_interval="1s")
    assert relay.run("init").exit_code == 0
    with db.connect() as connection:
        insert_events(connection, 5000, index=index)
        assert relay.run_once().exit_code == 0
        connection.execute("UPDATE outbox SET processed_at = now() - interval '2 hours' WHERE id <= 4500")

    relay.start()

    wait_until(lambda: db.value("SELECT count(*) FROM outbox") == 500, 30, "rows older than an hour to be deleted")
    assert db.value("SELECT min(id) FROM outbox") == 4501


def test_what_was_delivered_late_does_not_hold_up_the_purge(db: Database, index: str, outboxd: OutboxdFactory) -> None:
    """The first rows were refused for days, and requeued. All that is behind them goes in one round."""
    relay = outboxd(retention_keep="1d", retention_interval="1s")
    assert relay.run("init").exit_code == 0
    db.execute("INSERT INTO outbox (aggregate_type, aggregate_id, created_at, processed, processed_at) "
               "SELECT %s, n, now() - interval '9 days', true, now() - CASE WHEN n <= 2500 THEN '1 hour' ELSE '8 days' END::interval "
               "FROM generate_series(1, 10000) n", [index])

    relay.start()

    assert relay.wait_log("purged", timeout=60)["rows"] == "7500"
    assert db.value("SELECT count(*) FROM outbox") == 2500


def test_a_delivered_row_that_is_just_given_back_is_not_purged(db: Database, index: str, outboxd: OutboxdFactory) -> None:
    relay = outboxd()
    assert relay.run("init").exit_code == 0
    db.execute("INSERT INTO outbox (aggregate_type, aggregate_id, processed, processed_at) "
               "SELECT %s, n, true, now() - interval '9 days' FROM generate_series(1, 10) n", [index])
    with db.connect() as operator, operator.transaction():
        operator.execute("UPDATE outbox SET processed = false WHERE id = 5")
        relay.begin("purge", "--older-than", "1d")
        wait_until(lambda: db.value("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
                                    "AND datname = current_database()"), 20, "the purge to wait")
    assert relay.wait(30).exit_code == 0
    assert db.execute("SELECT id, processed FROM outbox") == [(5, False)]


def test_tombstone_documents(db: Database, elastic: Elastic, index: str, outboxd: OutboxdFactory) -> None:
    relay = outboxd(outbox_deletes="tombstone")
    assert relay.run("init").exit_code == 0
    db.execute("SELECT outbox_publish(%s, 'gone', '{\"n\": 1}')", [index])
    db.execute("SELECT outbox_publish(%s, 'gone', NULL)", [index])

    assert relay.run_once().exit_code == 0

    document = elastic.get(index, "gone")
    assert document is not None and document.source == '{"deleted":true}' and document.version == 2


def test_gzip(db: Database, elastic: Elastic, index: str, outboxd: OutboxdFactory) -> None:
    history = History()
    relay = outboxd(elasticsearch_compression="gzip")
    assert relay.run("init").exit_code == 0
    with db.connect() as connection:
        insert_events(connection, 3000, index=index, history=history)

    assert relay.run_once().exit_code == 0

    history.assert_matches(elastic, index)


def test_huge_documents_go_alone(db: Database, elastic: Elastic, index: str, outboxd: OutboxdFactory) -> None:
    """A request holds at most batch_bytes; what is larger is sent by itself, and its neighbours are not held up."""
    elastic.create_index(index, {"enabled": False})
    relay = outboxd(relay_batch_bytes="64kB")
    assert relay.run("init").exit_code == 0
    history = History()
    with db.connect() as connection:
        insert_events(connection, 200, index=index, history=history)
        for number in range(6):
            row = connection.execute("INSERT INTO outbox (aggregate_type, aggregate_id, data) SELECT %s, %s, "
                                     "jsonb_build_object('t', repeat('x', 3000000)) RETURNING id, data::text",
                                     [index, f"huge-{number}"]).fetchone()
            assert row is not None
            history.record(f"huge-{number}", *row)
        insert_events(connection, 200, first=201, index=index, history=history)

    assert relay.run_once().exit_code == 0

    history.assert_matches(elastic, index)
