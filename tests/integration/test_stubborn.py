"""Rows, indexes and servers that try to stop, to spin or to fool the relay. Most were found by a review."""

from __future__ import annotations

import threading
from collections.abc import Callable

import psycopg
import pytest

from harness import Database, Elastic, FaultProxy, Outboxd, Postgres, ScriptedElastic, insert_events, wait_until
from harness.scripted_elastic import Answer, Request

OutboxdFactory = Callable[..., Outboxd]
PROCESSED = "SELECT count(*) FROM outbox WHERE processed"


def init(daemon: Outboxd, *words: str) -> None:
    assert daemon.run("init", *words).exit_code == 0


@pytest.mark.parametrize("kind,why", [("inheritance", "it has children"), ("partitions", "no unique index has its ids alone")])
def test_a_table_with_children_is_refused(kind: str, why: str, db: Database, index: str, outboxd: OutboxdFactory) -> None:
    """The ctid of a row in a child names another row in the parent: a mark would hit both."""
    relay = outboxd()
    init(relay)
    if kind == "inheritance":
        db.execute("CREATE TABLE child () INHERITS (outbox)")
    else:
        db.execute("ALTER TABLE outbox RENAME TO old; CREATE TABLE outbox (LIKE old INCLUDING DEFAULTS) "
                   "PARTITION BY RANGE (id); CREATE TABLE part PARTITION OF outbox DEFAULT")

    made = relay.run("init")
    done = relay.run_once(timeout=20)
    shown = relay.run("status")

    assert (made.exit_code, done.exit_code, shown.exit_code) == (78, 78, 78)
    assert why in made.stderr and why in done.stderr and why in shown.stderr


def test_a_version_from_the_future_is_no_success(db: Database, elastic: Elastic, index: str,
                                                 outboxd: OutboxdFactory) -> None:
    """After a failover that lost commits the ids go back, and everything new looks old to Elasticsearch."""
    elastic.create_index(index)
    elastic.call("PUT", f"/{index}/_doc/a?version=1000000&version_type=external", {"from": "the lost future"})
    elastic.call("PUT", f"/{index}/_doc/b?version=1&version_type=external", {"from": "the past"})
    relay = outboxd(retry_cap="500ms")
    init(relay)
    db.execute("SELECT outbox_publish(%s, 'a', '{\"from\": \"now\"}'), outbox_publish(%s, 'b', '{\"from\": \"now\"}')",
               [index, index])
    relay.start()

    line = relay.wait_log("version_from_the_future", timeout=30)

    assert (line["version"], line["highest_id"]) == ("1000000", "2")
    wait_until(lambda: db.value(PROCESSED) == 1, 20, "the other document to be delivered")
    assert db.value("SELECT error->>'type' FROM outbox WHERE aggregate_id = 'a' AND NOT processed AND dead_at IS NULL "
                    "AND attempts = 0") == "version_from_the_future"
    assert "PROBLEM" in relay.run("check").stdout

    mended = relay.run("check", "--raise-sequence")

    assert (mended.exit_code, mended.stdout) == (0, "sequence raised to 1000000, 1 undelivered events numbered anew\n")
    wait_until(lambda: db.value(PROCESSED) == 2, 20, "the event to be delivered under its new number")
    assert relay.run("check").exit_code == 0
    db.execute("SELECT outbox_publish(%s, 'a', '{\"from\": \"now\"}')", [index])
    wait_until(lambda: db.value(PROCESSED) == 3, 20, "the document to be delivered again")
    document = elastic.get(index, "a")
    assert document is not None and document.version == 1000002


def waits_for_the_future(db: Database, elastic: Elastic, index: str, relay: Outboxd, version: int) -> None:
    """An event of document a, that Elasticsearch holds in a version which was never drawn."""
    elastic.create_index(index)
    elastic.call("PUT", f"/{index}/_doc/a?version={version}&version_type=external", {"n": 0})
    init(relay)
    db.execute("SELECT outbox_publish(%s, 'a', '{\"n\": 1}')", [index])
    relay.start()
    wait_until(lambda: db.value("SELECT error->>'type' FROM outbox") == "version_from_the_future", 30, "the conflict to be seen")
    assert relay.terminate().exit_code == 0


def content(elastic: Elastic, index: str, name: str) -> str | None:
    document = elastic.get(index, name)
    return document and document.source.strip()


def test_raising_the_sequence_keeps_the_order_of_a_document(db: Database, elastic: Elastic, index: str,
                                                            outboxd: OutboxdFactory) -> None:
    """The ids have passed what was lost by then: what is younger, pending or dead, has a number above it already."""
    relay = outboxd(relay_once_timeout="20s", retry_cap="500ms")
    waits_for_the_future(db, elastic, index, relay, 100)
    db.execute("SELECT setval('outbox_id_seq', 200)")
    db.execute("SELECT outbox_publish(%s, 'a', '{\"n\": 2}'), outbox_publish(%s, 'b', '{\"n\": 1}')", [index, index])
    db.execute("SELECT outbox_publish(%s, 'a', '{\"n\": 3}')", [index])
    db.execute("UPDATE outbox SET dead_at = now(), error = jsonb_build_object('index', aggregate_type, 'id', aggregate_id) "
               "WHERE data = '{\"n\": 3}'")

    assert relay.run("check", "--raise-sequence").exit_code == 0
    assert relay.run_once(timeout=40).exit_code in (0, 65)

    assert content(elastic, index, "a") == '{"n": 2}'
    assert content(elastic, index, "b") == '{"n": 1}'
    assert relay.run("requeue", "--all").exit_code == 0
    assert relay.run_once(timeout=40).exit_code == 0
    assert content(elastic, index, "a") == '{"n": 3}'


@pytest.mark.parametrize("isolation", ["read committed", "serializable"])
def test_raising_the_sequence_waits_for_writers(isolation: str, db: Database, elastic: Elastic, index: str,
                                                outboxd: OutboxdFactory) -> None:
    """Whoever has drawn an id and not committed yet would be overtaken by an older event of its document. Waiting for him is of no
    use to a snapshot that is older than his commit."""
    db.execute(f"ALTER DATABASE {db.name} SET default_transaction_isolation = '{isolation}'")
    relay = outboxd(relay_once_timeout="2s", retry_cap="500ms")
    waits_for_the_future(db, elastic, index, relay, 100)
    with psycopg.connect(db.dsn) as writer:
        writer.execute("SELECT outbox_publish(%s, 'a', '{\"n\": 2}')", [index])
        raising = threading.Thread(target=relay.run, args=("check", "--raise-sequence"))
        raising.start()
        wait_until(lambda: not raising.is_alive() or db.value("SELECT count(*) FROM pg_locks WHERE NOT granted"), 20,
                   "it to wait, or to be done")
        writer.commit()
    raising.join()

    relay.run_once(timeout=20)
    assert relay.run("check", "--raise-sequence").exit_code == 0
    relay.settings["relay_once_timeout"] = "20s"  # what must succeed may take longer than what need not
    assert relay.run_once(timeout=40).exit_code == 0
    assert content(elastic, index, "a") == '{"n": 2}'


@pytest.mark.parametrize("flags", [(), ("--partitioned",)])
def test_a_conflict_that_is_not_believed_settles_nothing_older(flags: tuple[str, ...], db: Database, elastic: Elastic, index: str,
                                                               outboxd: OutboxdFactory) -> None:
    """Version 130 is no event of the document: the event with id 120 waits, and so does what is older than it."""
    elastic.create_index(index, {"properties": {"n": {"type": "long"}}})
    elastic.call("PUT", f"/{index}/_doc/a?version=130&version_type=external", {"n": 0})
    relay = outboxd(relay_once_timeout="20s", retry_cap="20s")
    init(relay, *flags)
    db.execute("SELECT outbox_publish(%s, 'other', '{\"n\": 1}'), outbox_publish(%s, 'a', '{\"n\": \"one\"}')", [index, index])
    assert relay.run_once(timeout=40).exit_code == 65
    db.execute("SELECT setval('outbox_id_seq', 200)")
    db.execute("SELECT outbox_publish(%s, 'other', '{\"n\": 2}')", [index])
    assert relay.run_once(timeout=40).exit_code == 0
    db.execute("INSERT INTO outbox (id, aggregate_type, aggregate_id, data) OVERRIDING SYSTEM VALUE VALUES (120, %s, 'a', '{\"n\": 2}')",
               [index])

    relay.settings["relay_once_timeout"] = "5s"
    assert relay.run_once(timeout=30).exit_code == 75

    assert db.execute("SELECT id, processed, error->>'type' = 'version_from_the_future' FROM outbox WHERE aggregate_id = 'a' ORDER BY id") == \
        [(2, False, False), (120, False, True)]


def test_a_mapping_may_fail_in_any_way(db: Database, index: str, outboxd: OutboxdFactory) -> None:
    """P0002 (no_data_found) is no data exception, and yet it is one row's fault."""
    db.execute("CREATE FUNCTION title(id text) RETURNS text LANGUAGE plpgsql AS $$ DECLARE t text; BEGIN "
               "SELECT 'title' INTO STRICT t WHERE id <> '7'; RETURN t; END $$")
    relay = outboxd(outbox_document="o.data || jsonb_build_object('title', title(o.aggregate_id))")
    init(relay)
    with db.connect() as connection:
        insert_events(connection, 50, index=index)

    assert relay.run_once(timeout=30).exit_code == 65

    assert db.value(PROCESSED) == 49
    assert db.value("SELECT error->>'reason' FROM outbox WHERE dead_at IS NOT NULL").startswith("P0002")


def test_a_claim_that_fails_while_it_streams_keeps_its_lanes(db: Database, outboxd: OutboxdFactory) -> None:
    """PostgreSQL fails at a later row while the request of the first rows is under way: the relay cannot know yet, so
    nobody else may send those documents meanwhile."""
    mapping = {"outbox_document": "o.data || jsonb_build_object('n', 1 / (o.event IS DISTINCT FROM 'bad')::int)",
               "relay_batch_bytes": "16kB", "relay_workers": 1}
    go_on = threading.Event()

    def hold(_: Request) -> Answer | None:
        go_on.wait(25)  # the relay waits for 30 s
        return None

    with ScriptedElastic(hold) as slow, ScriptedElastic() as fast:
        first = outboxd(elasticsearch_url=slow.url, **mapping)
        init(first)
        db.execute("INSERT INTO outbox (event, aggregate_type, aggregate_id, data) SELECT CASE n WHEN 400 THEN 'bad' END, "
                   "'products', n::text, jsonb_build_object('t', repeat('x', 100)) FROM generate_series(1, 500) n")
        first.start()
        request = slow.wait_bulks(1, timeout=30)[0]
        wait_until(lambda: db.value("SELECT count(*) FROM pg_stat_activity WHERE state LIKE '%(aborted)' "
                                    "AND datname = current_database()") == 1, 20, "the claim to have failed")

        outboxd(elasticsearch_url=fast.url, relay_once_timeout="3s", **mapping).run_once(timeout=30)

        assert len(slow.bulks) == 1, "the first request is still under way"
        assert {action.id for action in fast.sent_actions()} & {action.id for action in request.actions} == set()
        go_on.set()


def test_a_mapping_that_fails_for_all_kills_none(db: Database, index: str, outboxd: OutboxdFactory) -> None:
    relay = outboxd(outbox_document="o.data || jsonb_build_object('n', (o.data->>'sku')::int)", retry_cap="300ms")
    init(relay)
    with db.connect() as connection:
        insert_events(connection, 200, index=index)

    done = relay.run_once(timeout=30)

    assert done.exit_code == 78
    assert "every one of" in done.stderr
    assert db.value("SELECT count(*) FROM outbox WHERE processed = false AND dead_at IS NULL") == 200


def test_a_failing_row_behind_a_paused_index_is_found(db: Database, elastic: Elastic, index: str,
                                                      outboxd: OutboxdFactory) -> None:
    elastic.create_index(index)
    elastic.call("PUT", f"/{index}/_settings", {"index.blocks.write": True})
    relay = outboxd(outbox_document="o.data || jsonb_build_object('n', 1 / (o.aggregate_id <> 'o50')::int)",
                    relay_batch_rows=160)
    init(relay)
    with db.connect() as connection:
        insert_events(connection, 6000, index=index)
        insert_events(connection, 100, index=f"{index}-other", prefix="o")
    try:
        relay.start()
        wait_until(lambda: db.value(PROCESSED) == 99, 60, "the good rows of the other index to be delivered")
        wait_until(lambda: db.value("SELECT count(*) FROM outbox WHERE dead_at IS NOT NULL") == 1, 30,
                   "the failing row to be dead")
        assert db.value("SELECT aggregate_id FROM outbox WHERE dead_at IS NOT NULL") == "o50"
    finally:
        elastic.delete_index(f"{index}-other")


def test_several_documents_that_are_too_large_are_dead(db: Database, outboxd: OutboxdFactory) -> None:
    """A proxy's limit says something of each document, not of the connection, however many there are."""

    def at_most_50_kb(request: Request) -> Answer | None:
        return Answer(status=413, body=b"<html>") if len(request.raw_body) > 50_000 else None

    with ScriptedElastic(at_most_50_kb) as scripted:
        relay = outboxd(elasticsearch_url=scripted.url)
        init(relay)
        with db.connect() as connection:
            insert_events(connection, 5, document_bytes=100_000)
            insert_events(connection, 300, first=6)

        assert relay.run_once(timeout=60).exit_code == 65

    assert db.value(PROCESSED) == 300
    assert db.value("SELECT count(*) FROM outbox WHERE dead_at IS NOT NULL AND (error->>'status')::int = 413") == 5


LIMIT = 1_500_000  # of a thing in between that hangs up on more


def hangs_up(request: Request) -> Answer | None:
    return Answer(ending="reset") if len(request.raw_body) > LIMIT else None


def test_bodies_that_are_hung_up_on_become_smaller(db: Database, outboxd: OutboxdFactory) -> None:
    with ScriptedElastic(hangs_up) as scripted:
        relay = outboxd(elasticsearch_url=scripted.url, relay_batch_bytes="16MB", retry_base="10ms", retry_cap="100ms")
        init(relay)
        db.execute("INSERT INTO outbox (aggregate_type, aggregate_id, data) SELECT 'products', n, "
                   "jsonb_build_object('x', repeat('x', 200000)) FROM generate_series(1, 60) n")
        assert relay.run_once(timeout=60).exit_code == 0
    assert db.value("SELECT count(*) FROM outbox WHERE processed AND attempts = 0") == 60


@pytest.mark.parametrize("beside", [0, 40])
def test_a_document_that_is_always_hung_up_on_is_dead(beside: int, db: Database, outboxd: OutboxdFactory) -> None:
    """All in one lane: what comes behind it must not wait for it, and it must not be tried for ever."""
    with ScriptedElastic(hangs_up) as scripted:
        relay = outboxd(elasticsearch_url=scripted.url, outbox_key="'one lane'", retry_base="10ms", retry_cap="100ms",
                        retry_max_attempts=3)
        init(relay)
        db.execute("INSERT INTO outbox (aggregate_type, aggregate_id, data) SELECT 'products', 'large', "
                   "jsonb_build_object('x', repeat('x', 2000000))")
        db.execute("INSERT INTO outbox (aggregate_type, aggregate_id, data) "
                   "SELECT 'products', n, '{}' FROM generate_series(1, %s) n", [beside])
        relay.start()
        wait_until(lambda: db.value(PROCESSED) == beside, 20, "all others to be delivered")

        def is_dead() -> bool:
            db.execute("INSERT INTO outbox (aggregate_type, aggregate_id, data) VALUES ('products', 'later', '{}')")
            return db.execute("SELECT error->>'type' FROM outbox WHERE dead_at IS NOT NULL") == [("connection_broken",)]

        wait_until(is_dead, 30, "the large one to be dead, as others go through", every=0.2)
    assert db.value("SELECT max(attempts) FROM outbox WHERE processed") in (None, 0)


def test_large_documents_are_not_blamed_for_an_outage(db: Database, outboxd: OutboxdFactory) -> None:
    """Everything is hung up on, large or small, in the midst of it and after it."""
    broken = threading.Event()

    def script(request: Request) -> Answer | None:
        if len(request.raw_body) > LIMIT:
            broken.set()
        return Answer(ending="reset") if broken.is_set() and not mended.is_set() else None

    mended = threading.Event()
    with ScriptedElastic(script) as scripted:
        relay = outboxd(elasticsearch_url=scripted.url, outbox_key="'one lane'", retry_base="10ms", retry_cap="100ms",
                        relay_workers=1, relay_batch_bytes="64kB")
        init(relay)
        for first, size in ((1, 10), (11, 2_000_000), (12, 10)):
            db.execute("INSERT INTO outbox (aggregate_type, aggregate_id, data) SELECT 'products', n, "
                       "jsonb_build_object('x', repeat('x', %s)) FROM generate_series(%s::int, %s) n",
                       [size, first, first if size > 10 else first + 9])
        relay.start()
        assert broken.wait(20)
        scripted.wait_bulks(len(scripted.bulks) + 8, timeout=30)
        assert db.value("SELECT max(attempts) FROM outbox") == 0
        mended.set()
        wait_until(lambda: db.value(PROCESSED) == 21, 30, "all to be delivered")
    assert db.value("SELECT max(attempts) FROM outbox") == 0


def test_an_endpoint_that_refuses_everything_buries_nothing(db: Database, outboxd: OutboxdFactory) -> None:
    """Explicit indexes forbidden, a wrong path, some proxy: a 400 for all is not the fault of the events."""
    with ScriptedElastic(lambda request: Answer(status=400, body=b'{"error":{"type":"odd","reason":"no"}}')) as scripted:
        relay = outboxd(elasticsearch_url=scripted.url, relay_once_timeout="3s", retry_base="10ms", retry_cap="100ms")
        init(relay)
        with db.connect() as connection:
            insert_events(connection, 50)

        assert relay.run_once(timeout=30).exit_code == 75

    assert db.value("SELECT count(*) FROM outbox WHERE processed = false AND dead_at IS NULL AND attempts = 0") == 50


def test_many_faulty_indexes_make_no_storm(db: Database, outboxd: OutboxdFactory) -> None:
    missing = (404, "index_not_found_exception", "no such index")
    with ScriptedElastic(lambda request: Answer(items=dict.fromkeys(range(len(request.actions)), missing))) as scripted:
        relay = outboxd(elasticsearch_url=scripted.url, relay_once_timeout="4s")
        init(relay)
        db.execute("INSERT INTO outbox (aggregate_type, aggregate_id, data) "
                   "SELECT 'i' || n % 200, n, '{}' FROM generate_series(1, 4000) n")

        done = relay.run_once(timeout=30)

        assert done.exit_code == 75
        assert len(done.logs("index_paused")) <= 64
        assert len(scripted.bulks) < 400


def test_a_failing_claim_backs_off_before_elasticsearch_was_heard_of(db: Database, outboxd: OutboxdFactory) -> None:
    with ScriptedElastic() as scripted:
        init(outboxd())
        db.execute("DROP ROLE IF EXISTS outboxd_reader; CREATE ROLE outboxd_reader LOGIN; "
                   "GRANT SELECT ON outbox TO outboxd_reader; INSERT INTO outbox (aggregate_type, aggregate_id) VALUES ('i', '1')")
        relay = outboxd(elasticsearch_url=scripted.url, postgres_dsn=db.dsn_with(user="outboxd_reader"))
        relay.start()
        relay.wait_log("sql_failed", timeout=20)
        before = len(scripted.requests)
        with pytest.raises(TimeoutError):
            wait_until(lambda: len(scripted.requests) > before + 20, 3, "a storm that must not come")
        assert len(relay.logs("sql_failed")) == 1
        relay.close()
        db.execute("DROP OWNED BY outboxd_reader; DROP ROLE outboxd_reader")


def test_marks_that_do_not_stick_are_no_loop(db: Database, outboxd: OutboxdFactory) -> None:
    with ScriptedElastic() as scripted:
        relay = outboxd(elasticsearch_url=scripted.url, relay_once_timeout="3s")
        init(relay)
        db.execute("CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'; "
                   "CREATE TRIGGER no BEFORE UPDATE ON outbox FOR EACH ROW EXECUTE FUNCTION no()")
        with db.connect() as connection:
            insert_events(connection, 5)

        done = relay.run_once(timeout=30)

        assert done.exit_code == 75
        assert "not marked" in done.logs("sql_failed")[0]["error"]
        assert len(scripted.bulks) < 30


@pytest.mark.time_limit(150)
def test_a_relay_that_froze_while_reading_lets_go(postgres: Postgres, db: Database, elastic: Elastic, index: str,
                                                  outboxd: OutboxdFactory) -> None:
    """Its backend hangs in a blocked write, where no other time-out of the server counts."""
    with ScriptedElastic(lambda request: Answer(delay=60)) as stuck:
        frozen = outboxd(elasticsearch_url=stuck.url, relay_workers=1, elasticsearch_timeout="1s", relay_batch_bytes="16kB",
                         retry_cap="200ms")
        init(frozen)
        with db.connect() as connection:
            insert_events(connection, 400, index=index, document_bytes=100_000)
        frozen.start()
        stuck.wait_bulks(1, timeout=30)
        frozen.pause()
        assert db.value("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") > 0

        assert outboxd(relay_batch_bytes="1MB").run_once(timeout=100).exit_code == 0

        assert db.value(PROCESSED) == 400


def test_a_slow_mapping_is_claimed_in_smaller_pieces(db: Database, index: str, outboxd: OutboxdFactory) -> None:
    """20 rows a second: 500 rows are more than one claim may take, and 5 are not."""
    relay = outboxd(outbox_document="(SELECT o.data FROM pg_sleep(0.05))", elasticsearch_timeout="1s", relay_workers=1,
                    retry_base="10ms", retry_cap="100ms")
    init(relay)
    with db.connect() as connection:
        insert_events(connection, 500, index=index)
    relay.start()

    wait_until(lambda: db.value(PROCESSED) >= 50, 60, "some rows to be delivered")


def test_without_the_trigger_it_polls_fast(db: Database, elastic: Elastic, index: str, outboxd: OutboxdFactory) -> None:
    """That the relay may listen does not mean that anybody notifies."""
    relay = outboxd(relay_poll_interval="1h")
    init(relay)
    relay.start()
    relay.wait_log("elasticsearch_connected", timeout=30)

    for number in range(3):
        db.execute("SELECT outbox_publish(%s, %s, '{\"n\": 1}')", [index, f"polled-{number}"])
        wait_until(lambda: elastic.get(index, f"polled-{number}"), 10, "the event to be found by polling")
    assert relay.logs("wakeups_work") == []


def test_a_blocked_index_ends_once(db: Database, elastic: Elastic, index: str, outboxd: OutboxdFactory) -> None:
    elastic.create_index(index)
    elastic.call("PUT", f"/{index}/_settings", {"index.blocks.write": True})
    relay = outboxd(relay_once_timeout="2s")
    init(relay)
    with db.connect() as connection:
        insert_events(connection, 10, index=index)

    assert relay.run_once(timeout=30).exit_code == 75


def test_a_half_open_elasticsearch_is_given_up(db: Database, elastic: Elastic, index: str,
                                               outboxd: OutboxdFactory) -> None:
    with FaultProxy(elastic.port) as proxy:
        relay = outboxd(elasticsearch_url=proxy.url, elasticsearch_timeout="1s", retry_cap="200ms")
        init(relay)
        relay.start()
        relay.wait_log("elasticsearch_connected", timeout=20)
        proxy.stall()
        db.execute("SELECT outbox_publish(%s, '1', '{\"n\": 1}')", [index])
        relay.wait_log("elasticsearch_away", timeout=20)

        proxy.reset_all()
        proxy.pass_all()

        wait_until(lambda: elastic.get(index, "1"), 20, "the event to be delivered")
