"""`outboxd init --partitioned`: rows that are told apart by their ids, and partitions that the relay makes and drops."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from admin import Admin
from conftest import OutboxdFactory
from helpers import PRODUCTS, dead, drain, dump, init, psql, publish, undelivered

from harness import Database, Elastic, FaultProxy, History, Outboxd, Postgres, ScriptedElastic, insert_events, wait_until
from harness.scripted_elastic import Answer, Request
from test_check import lines

ROWS = 1000  # of a partition
PRICES = {"properties": {"price": {"type": "double"}}}
FRESH = {"outbox_p0", "outbox_p1000", "outbox_p2000", "outbox_default"}
SOON = {"retention_keep": "1s", "retention_interval": "1s"}


@pytest.fixture
def relay(outboxd: OutboxdFactory, elastic: Elastic, index: str) -> Callable[..., Outboxd]:
    """Makes the table, and an index in which a price is a number."""
    elastic.create_index(index, PRICES)

    def make(*flags: str, **settings: Any) -> Outboxd:
        made = outboxd(**settings)
        init(made, "--partitioned", "--partition-rows", str(ROWS), *flags)
        return made

    return make


def partitions(db: Database) -> set[str]:
    return {name for (name,) in db.execute("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'outbox'::regclass")}


def fill(db: Database, index: str, first: int, last: int, bad: str = "false") -> None:
    """Events that draw these ids, each of a document of its own; a bad one Elasticsearch refuses for good."""
    db.execute("INSERT INTO outbox (aggregate_type, aggregate_id, data) SELECT %s, n, jsonb_build_object('price', "
               f"CASE WHEN {bad} THEN 'much' ELSE n::text END) FROM generate_series(%s::int, %s) n", [index, first, last])


def rotate(db: Database, keep_ms: int | None = 0) -> tuple[int, int, bool, int]:
    """All of a round: how many were made and dropped, whether a lock was in the way, and below which id rows are deleted."""
    made, gone = 0, 0
    while True:
        created, dropped, busy, below = db.execute("SELECT * FROM outbox_rotate(%s)", [keep_ms])[0]
        made, gone = made + created, gone + dropped
        if not dropped:
            return made, gone, busy, below


def settle(db: Database, condition: str, age: str = "1 hour") -> None:
    """As if delivered so long ago."""
    db.execute(f"UPDATE outbox SET processed = true, created_at = now() - '{age}'::interval, processed_at = now() - '{age}'::interval "
               f"WHERE {condition}")


# -- how it is made

def test_the_table_and_its_first_partitions(db: Database, relay: Callable[..., Outboxd]) -> None:
    made = relay("--notify")
    assert partitions(db) == FRESH
    before = dump(db)
    for flags in (["--notify"], ["--notify", "--partitioned"]):
        assert "applied" not in init(made, *flags).stdout
        assert dump(db) == before
    assert db.value("SELECT count(*) FROM pg_index i JOIN pg_inherits p ON p.inhrelid = i.indrelid "
                    "WHERE p.inhparent = 'outbox'::regclass AND i.indisvalid") == 3 * len(FRESH)
    assert db.value("SELECT count(*) FROM pg_class c JOIN pg_index i ON i.indexrelid = c.oid JOIN pg_inherits p ON p.inhrelid = i.indrelid "
                    "WHERE p.inhparent = 'outbox'::regclass AND i.indisprimary AND c.reloptions = '{fillfactor=50}'") == len(FRESH)


def test_what_it_prints_makes_the_same(db: Database, postgres: Postgres, outboxd: OutboxdFactory) -> None:
    flags = ["--partitioned", "--partition-rows", "500", "--notify"]
    psql(db, init(outboxd(), "--print", *flags).stdout)
    other = postgres.createdb()
    init(outboxd(postgres_dsn=other.dsn), *flags)
    of_the_order = "index"  # partitions have their indexes from the moment in which they are made
    printed, made = (sorted(line for line in dump(each, without="outboxd_migrations", rows=False).splitlines()
                            if line.startswith(("pg_attribute outbox", "pg_inherits outbox_p", "pg_proc")) and of_the_order not in line)
                     for each in (db, other))
    other.drop()
    assert [line.split(":")[0] for line in printed] == [line.split(":")[0] for line in made] and len(printed) > 40


def test_a_plain_table_is_refused_and_left_as_it_is(db: Database, index: str, outboxd: OutboxdFactory) -> None:
    init(outboxd())
    publish(db, index, "1", {"n": 1})
    before = dump(db)
    done = outboxd().run("init", "--partitioned")
    assert done.exit_code == 78 and "is there already" in done.stderr and "docs/OPERATING.md" in done.stderr
    assert dump(db) == before


@pytest.mark.parametrize("flags,settings,exit_code,words", [
    (["--partition-rows", "5"], {}, 64, "belongs to --partitioned"),
    (["--partitioned"], {"outbox_preset": "debezium"}, 78, "outbox.id is o.seq"),
])
def test_what_makes_no_sense(flags: list[str], settings: dict[str, Any], exit_code: int, words: str, db: Database,
                             outboxd: OutboxdFactory) -> None:
    before = dump(db)
    done = outboxd(**settings).run("init", *flags)
    assert done.exit_code == exit_code and words in done.stderr
    assert dump(db) == before


def test_other_partitions_need_ids_that_are_unique(db: Database, elastic: Elastic, index: str, outboxd: OutboxdFactory) -> None:
    """By hash of the id: delivered, and whoever made the partitions goes on to look after them."""
    init(outboxd())
    db.execute("ALTER TABLE outbox RENAME TO old; "
               "CREATE TABLE outbox (LIKE old INCLUDING DEFAULTS INCLUDING IDENTITY, PRIMARY KEY (id, created_at)) PARTITION BY RANGE (created_at); "
               "CREATE TABLE by_time PARTITION OF outbox DEFAULT")
    for words in (["init"], ["--once"], ["purge"], ["requeue", "--all"]):
        done = outboxd().run(*words)
        assert done.exit_code == 78 and "no unique index has its ids alone" in done.stderr, (words, done.stderr)
    assert "no unique index has its ids alone" in outboxd().run("check").stdout
    db.execute("DROP TABLE outbox; CREATE TABLE outbox (LIKE old INCLUDING DEFAULTS INCLUDING IDENTITY, PRIMARY KEY (id)) PARTITION BY HASH (id); "
               "CREATE TABLE h0 PARTITION OF outbox FOR VALUES WITH (MODULUS 2, REMAINDER 0); "
               "CREATE TABLE h1 PARTITION OF outbox FOR VALUES WITH (MODULUS 2, REMAINDER 1)")
    init(outboxd())
    fill(db, index, 1, 100)
    drain(outboxd())
    assert len(elastic.all_docs(index)) == 100
    refused = outboxd().run("init", "--partitioned")
    assert refused.exit_code == 78 and "has partitions already" in refused.stderr
    assert partitions(db) == {"h0", "h1"} and "ahead" not in outboxd().run("check").stdout


# -- one identity for a row

def test_rows_with_the_same_place_are_not_mistaken(db: Database, elastic: Elastic, index: str, relay: Callable[..., Outboxd]) -> None:
    """Every place in one partition is a place in the others, too: by ctid each mark would hit three rows."""
    made = relay(relay_workers=2)
    fill(db, index, 1, 2900, bad="n BETWEEN 1101 AND 1200")
    assert db.value("SELECT count(*) FROM outbox a JOIN outbox b ON a.ctid = b.ctid AND a.id < b.id") > 1500
    drain(made, expect=65)
    assert set(dead(db)) == set(range(1101, 1201))
    assert set(elastic.all_docs(index)) == {str(n) for n in range(1, 2901)} - {str(n) for n in range(1101, 1201)}


def test_rows_deleted_on_delivery(db: Database, elastic: Elastic, index: str, relay: Callable[..., Outboxd]) -> None:
    made = relay(retention_keep="0")
    fill(db, index, 1, 2500, bad="n IN (7, 1507)")
    drain(made, expect=65)
    assert db.execute("SELECT id FROM outbox ORDER BY id") == [(7,), (1507,)] and len(elastic.all_docs(index)) == 2498


def test_kill_9_in_the_midst_of_a_drain(postgres: Postgres, db: Database, elastic: Elastic, index: str, outboxd: OutboxdFactory,
                                        relay: Callable[..., Outboxd]) -> None:
    history = History()
    elastic.remove_index(index)
    for state in ("CLAIMING", "SENDING", "SETTLING"):
        with FaultProxy(elastic.port) as slow:
            made = relay(elasticsearch_url=slow.url, log_level="debug", relay_workers=2)
            with db.connect() as connection:
                insert_events(connection, 1300, keys=400, deletes=0.1, index=index, history=history)
            slow.delay(0.03)
            made.start()
            made.wait_log("worker", to=state, timeout=60)
            made.kill9()
    drain(outboxd())
    assert undelivered(db) == 0
    history.assert_matches(elastic, index)


def test_dead_events_mended_purged_and_overtaken(db: Database, elastic: Elastic, index: str, relay: Callable[..., Outboxd]) -> None:
    made = relay()
    fill(db, index, 1, 2500, bad="n IN (5, 1005, 1006, 1007, 2005)")
    drain(made, expect=65)
    assert [each["id"] for each in json.loads(made.run("dead", "--json").stdout)] == [5, 1005, 1006, 1007, 2005]
    db.execute("UPDATE outbox SET data = '{\"price\": 1}' WHERE id = 1005")
    assert json.loads(made.run("requeue", "1005", "--json").stdout) == {"requeued": 1, "superseded": 0}
    publish(db, index, "2005", {"price": 2})  # settles the older one of its document, in another partition
    publish(db, index, "5", None)
    drain(made)
    assert set(dead(db)) == {1006, 1007}
    assert db.execute("SELECT id, (error->>'superseded_by')::int FROM outbox WHERE error ? 'superseded_by' ORDER BY id") == \
        [(5, 2502), (2005, 2501)]
    assert json.loads(made.run("purge", "--dead", "--older-than", "0", "--json").stdout) == {"deleted": 2}
    assert json.loads(made.run("purge", "--older-than", "0", "--json").stdout) == {"deleted": 2500}
    assert db.value("SELECT count(*) FROM outbox") == 0
    found = elastic.all_docs(index)
    assert json.loads(found["2005"].source) == {"price": 2} and "5" not in found and "1005" in found


def test_an_event_that_is_refused_for_now_waits_alone(db: Database, index: str, relay: Callable[..., Outboxd]) -> None:
    def answer(request: Request) -> Answer:
        return Answer(items={n: (503, "unavailable_shards_exception", "not now") for n, action in enumerate(request.actions)
                             if action.id == "1005"})

    with ScriptedElastic(answer) as node:
        made = relay(elasticsearch_url=node.url, retry_base="1m", retry_cap="10m")
        fill(db, index, 1, 2500)
        made.start()
        wait_until(lambda: undelivered(db) == 1, 30, "all others to be delivered")
        assert db.execute("SELECT id FROM outbox WHERE retry_at > now()") == [(1005,)]


def test_a_row_that_the_mapping_cannot_digest(db: Database, index: str, relay: Callable[..., Outboxd]) -> None:
    made = relay(outbox_document="o.data || jsonb_build_object('n', 1 / (o.aggregate_id <> '1007')::int)")
    fill(db, index, 1, 2500)
    drain(made, expect=65)
    assert {id: error["type"] for id, error in dead(db).items()} == {1007: "mapping_expression_failed"} and undelivered(db) == 1


def test_versions_from_the_future(db: Database, elastic: Elastic, index: str, relay: Callable[..., Outboxd]) -> None:
    """Their rows get new ids, and with these go to other partitions."""
    made = relay(retry_cap="200ms")
    fill(db, index, 1, 1500)
    drain(made)
    elastic.call("PUT", f"/{index}/_doc/a?version=7000&version_type=external", {"price": 0})
    publish(db, index, "a", {"price": 1})
    made.start()
    made.wait_log("version_from_the_future", timeout=30)
    wait_until(lambda: db.value("SELECT error->>'type' FROM outbox WHERE id = 1501"), 20, "the event to be marked")
    assert made.run("check", "--raise-sequence").exit_code == 0
    wait_until(lambda: undelivered(db) == 0, 20, "the event to be delivered")
    assert json.loads(elastic.all_docs(index)["a"].source) == {"price": 1}
    assert db.value("SELECT id FROM outbox WHERE aggregate_id = 'a'") > 7000


def test_tracking_backfill_comparison_and_probe(db: Database, elastic: Elastic, index: str, outboxd: OutboxdFactory,
                                                relay: Callable[..., Outboxd], admin: Admin) -> None:
    made = relay("--notify", admin_listen=admin.listen)
    db.execute(PRODUCTS + "; INSERT INTO products SELECT n, 'p', n FROM generate_series(1, 1500) n")
    for words in (["track", "products", "--index", "goods"], ["backfill", "products"]):
        done = made.run(*words)
        assert done.exit_code == 0, done.stderr
    db.execute("UPDATE products SET price = price + 1")
    db.execute("SELECT outbox_publish(%s, 'x', '{\"price\": 1}')", [index])
    made.start()
    wait_until(lambda: undelivered(db) == 0, 30, "the drain")
    elastic.call("DELETE", "/goods/_doc/7?refresh=true")
    assert made.run("verify", "products", "--repair").exit_code in (0, 65)
    wait_until(lambda: elastic.get("goods", "7"), 20, "the repair")
    assert len(elastic.all_docs("goods")) == 1500 and "x" in elastic.all_docs(index)
    assert made.run("probe", "--timeout", "20s").exit_code == 0
    state = made.run("status")
    assert state.exit_code == 0 and "pending    0" in state.stdout
    elastic.remove_index("goods")


# -- what the function does

def test_two_empty_ones_are_ahead(db: Database, index: str, relay: Callable[..., Outboxd]) -> None:
    relay()
    fill(db, index, 1, 999)
    assert rotate(db, None)[0] == 0
    fill(db, index, 1000, 1000)
    assert rotate(db, None)[0] == 1 and partitions(db) == FRESH | {"outbox_p3000"}


def test_there_are_never_very_many(db: Database, index: str, relay: Callable[..., Outboxd]) -> None:
    """Each of them costs every claim a little."""
    relay()
    for drawn in range(ROWS, 150 * ROWS, 2 * ROWS):
        db.execute("SELECT setval('outbox_id_seq', %s)", [drawn])
        rotate(db, None)
    assert len(partitions(db)) < 70
    fill(db, index, drawn + 1, drawn + 10)
    assert db.value("SELECT count(*) FROM outbox_default") == 0


def test_what_was_delivered_long_ago_is_dropped_in_whole_partitions(db: Database, index: str, relay: Callable[..., Outboxd]) -> None:
    relay()
    fill(db, index, 1, 2500)
    settle(db, "id < 1000", age="3 hours")
    settle(db, "id BETWEEN 1000 AND 1999")
    assert rotate(db, 4 * 3600_000)[1:] == (0, False, 0)
    assert rotate(db, 2 * 3600_000)[1:] == (1, False, 1000)
    db.execute("UPDATE outbox SET processed_at = now() WHERE id = 1500")  # refused for long
    assert rotate(db, 60_000)[1:] == (0, False, 1000)
    assert rotate(db, 0)[1:] == (1, False, 2000)
    settle(db, "true")
    assert rotate(db, None)[0] == 2
    assert rotate(db, 0)[1:] == (0, False, 2000), "the ids are not all drawn"
    assert partitions(db) == {"outbox_p2000", "outbox_p4000", "outbox_p5000", "outbox_default"}, "3000 is too near"


@pytest.mark.parametrize("kind", ["dead_at = now()", "retry_at = now() + interval '1 day'", "processed = false"])
def test_a_row_that_is_not_delivered_keeps_its_partition(kind: str, db: Database, index: str, relay: Callable[..., Outboxd]) -> None:
    relay()
    fill(db, index, 1, 2500)
    settle(db, "id <> 500")
    db.execute(f"UPDATE outbox SET {kind} WHERE id = 500")
    assert rotate(db)[1:] == (1, False, 2000)
    assert "outbox_p0" in partitions(db) and "outbox_p1000" not in partitions(db)
    settle(db, "id = 500")
    assert rotate(db)[1] == 1


def test_who_has_written_into_it_keeps_it(db: Database, elastic: Elastic, index: str, relay: Callable[..., Outboxd]) -> None:
    made = relay()
    with db.connect() as writer, writer.transaction():
        writer.execute("INSERT INTO outbox (aggregate_type, aggregate_id, data) VALUES (%s, 'late', '{\"price\": 0}')", [index])
        drawn = writer.execute("SELECT nextval('outbox_id_seq')").fetchone()
        fill(db, index, 3, 1500)
        settle(db, "true")
        assert rotate(db)[1:] == (0, True, 0)
    assert rotate(db)[1] == 0, "what he wrote is not delivered"
    drain(made)
    assert rotate(db)[1] == 1
    # Who has only drawn an id comes too late for his partition, and is none the worse for it.
    db.execute("INSERT INTO outbox (id, aggregate_type, aggregate_id, data) OVERRIDING SYSTEM VALUE VALUES (%s, %s, 'later', '{\"price\": 0}')",
               [drawn[0] if drawn else None, index])
    assert db.value("SELECT tableoid::regclass::text FROM outbox WHERE aggregate_id = 'later'") == "outbox_default"
    drain(made)
    assert {"late", "later"} <= set(elastic.all_docs(index))


def test_no_writer_waits_for_long(db: Database, index: str, relay: Callable[..., Outboxd]) -> None:
    """A transaction that reads for long keeps the lock away from the rotation, which must not stand in line with writers behind it."""
    relay()
    fill(db, index, 1, 1500)
    settle(db, "true")
    slowest, ended = [0.0], threading.Event()

    def write() -> None:
        with db.connect() as connection:
            while not ended.is_set():
                begun = time.monotonic()
                connection.execute("INSERT INTO outbox (aggregate_type, aggregate_id) VALUES ('p', 'x')")
                slowest[0] = max(slowest[0], time.monotonic() - begun)

    with db.connect() as reader, reader.transaction():
        reader.execute("SELECT count(*) FROM outbox")
        writing = threading.Thread(target=write)
        writing.start()
        for _ in range(5):
            assert rotate(db)[1:3] == (0, True)
        ended.set()
        writing.join()
    assert slowest[0] < 5, slowest
    assert rotate(db)[1] == 1


def test_one_is_dropped_at_a_time(db: Database, index: str, relay: Callable[..., Outboxd]) -> None:
    """Or the table would stay locked while the next one is looked through; and a lock that is not had is tried for once."""
    relay()
    fill(db, index, 1, 4500)
    rotate(db, None)
    settle(db, "true")
    with db.connect() as reader, reader.transaction():
        reader.execute("SELECT count(*) FROM outbox")
        begun = time.monotonic()
        assert rotate(db)[1:] == (0, True, 0)
        assert time.monotonic() - begun < 3
    assert [db.execute("SELECT dropped, busy FROM outbox_rotate(0)")[0] for _ in range(4)] == [(1, False)] * 3 + [(0, False)]


def test_an_older_snapshot_drops_nothing(db: Database, index: str, relay: Callable[..., Outboxd]) -> None:
    relay()
    fill(db, index, 1, 1500)
    settle(db, "true")
    with db.connect() as connection, connection.transaction(), pytest.raises(psycopg.errors.RaiseException, match="READ COMMITTED"):
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        connection.execute("SELECT outbox_rotate(0)")


def test_repeatable_read_by_default(db: Database, index: str, relay: Callable[..., Outboxd]) -> None:
    db.execute(f"ALTER DATABASE {db.name} SET default_transaction_isolation = 'repeatable read'")
    relay(**SOON).start()
    fill(db, index, 1, 1500)
    wait_until(lambda: "outbox_p0" not in partitions(db), 30, "a partition to be dropped")


def test_a_prepared_transaction_keeps_its_partition(db: Database, elastic: Elastic, index: str, relay: Callable[..., Outboxd]) -> None:
    made = relay()
    db.execute("BEGIN; INSERT INTO outbox (aggregate_type, aggregate_id, data) "
               f"VALUES ('{index}', 'late', '{{\"price\": 0}}'); PREPARE TRANSACTION 'late'")
    fill(db, index, 2, 1500)
    settle(db, "true")
    assert rotate(db)[1:] == (0, True, 0)
    db.execute("COMMIT PREPARED 'late'")
    assert rotate(db)[1] == 0
    drain(made)
    assert rotate(db)[1] == 1 and "late" in elastic.all_docs(index)


def test_one_that_cannot_be_dropped_is_left_out(db: Database, index: str, relay: Callable[..., Outboxd]) -> None:
    relay()
    fill(db, index, 1, 2500)
    settle(db, "true")
    db.execute("CREATE VIEW seen AS SELECT * FROM outbox_p0")
    assert rotate(db)[1:] == (1, False, 2000)
    assert {"outbox_p0", "outbox_p2000"} <= partitions(db) and "outbox_p1000" not in partitions(db)


def test_an_owner_who_is_no_superuser(postgres: Postgres, index: str, outboxd: OutboxdFactory) -> None:
    """Also of a table whose name needs quotes; made once more by a superuser, the function stays his."""
    db = postgres.createdb()
    owner = f"owner_{db.name}"
    db.execute(f"CREATE ROLE {owner} LOGIN NOSUPERUSER; GRANT CREATE ON SCHEMA public TO {owner}; CREATE SCHEMA s AUTHORIZATION {owner}")
    try:
        for table in ("outbox", "s.\"it's\"", '"100%"'):
            settings = {"outbox_table": table}
            init(outboxd(postgres_dsn=db.dsn_with(user=owner), **settings), "--partitioned", "--partition-rows", "500")
            init(outboxd(postgres_dsn=db.dsn, **settings), "--partitioned")
            name = table.rstrip('"') + ("_rotate" if table == "outbox" else '_rotate"')
            db.execute(f"INSERT INTO {table} (aggregate_type, aggregate_id, processed, processed_at) "
                       "SELECT 'p', 'x', true, now() - interval '1 hour' FROM generate_series(1, 1100)")
            with db.connect(user=owner) as connection:
                found = [connection.execute(f"SELECT created, dropped FROM {name}({keep})").fetchone() for keep in ("NULL", "0", "0", "0")]
            assert found == [(2, 0), (0, 1), (0, 1), (0, 0)]
        assert db.value("SELECT count(*) FROM pg_proc WHERE proname LIKE '%%rotate' AND proowner <> %s::regrole", [owner]) == 0
    finally:
        db.execute(f"DROP OWNED BY {owner}")
        db.drop()
        postgres.createdb().execute(f"DROP ROLE {owner}")


def test_init_beside_an_open_writer(db: Database, index: str, relay: Callable[..., Outboxd], outboxd: OutboxdFactory) -> None:
    """Writers stand in line behind an init that waits for one: not for long, though an index is to be made."""
    made = relay()
    db.execute("DROP INDEX outbox_parked")
    with db.connect() as writer, writer.transaction():
        writer.execute("INSERT INTO outbox (aggregate_type, aggregate_id) VALUES ('p', 'x')")
        begun = time.monotonic()
        assert "lock timeout" in made.run("init").stderr
        assert time.monotonic() - begun < 15
    init(made)
    assert db.value("SELECT indisvalid FROM pg_index WHERE indexrelid = 'outbox_parked'::regclass")


def test_ids_that_no_partition_was_there_for(db: Database, elastic: Elastic, index: str, relay: Callable[..., Outboxd]) -> None:
    """The daemon was away: nothing fails, and new partitions begin where the DEFAULT one has no row."""
    made = relay()
    fill(db, index, 1, 5500)
    assert db.value("SELECT count(*) FROM outbox_default") == 2501
    shown = made.run("check").stdout
    assert "no empty partition is ahead" in shown and "the DEFAULT partition has rows" in shown
    assert rotate(db, None)[0] == 2 and {"outbox_p7000", "outbox_p8000"} < partitions(db)
    drain(made)
    assert len(elastic.all_docs(index)) == 5500
    assert rotate(db)[1:] == (3, False, 7000)
    db.execute("INSERT INTO outbox (id, aggregate_type, aggregate_id) OVERRIDING SYSTEM VALUE VALUES (9500, 'p', 'x')")
    fill(db, index, 5501, 7001)
    assert rotate(db, None)[0] == 1 and "outbox_p10000" in partitions(db), "9000 to 9999 are the DEFAULT one's"


# -- what the daemon makes of it

def test_the_daemon_makes_them_ahead_and_drops_them_behind(db: Database, elastic: Elastic, index: str, admin: Admin,
                                                          relay: Callable[..., Outboxd]) -> None:
    made = relay("--notify", admin_listen=admin.listen, **SOON)
    made.start()
    for first in range(1, 5000, 500):
        wait_until(lambda: rotate(db, None) and db.value("SELECT count(*) FROM pg_class WHERE relname = %s", [f"outbox_p{first // ROWS * ROWS}"]), 20, "a partition")
        fill(db, index, first, first + 499)
    wait_until(lambda: partitions(db) == {"outbox_p5000", "outbox_p6000", "outbox_p7000", "outbox_default"}, 60, "the old ones to be dropped")
    assert len(elastic.all_docs(index)) == 5000
    assert 'outboxd_partitions_total{change="dropped"}' in admin.ask("/metrics").text
    assert made.logs("partitions_rotated") and not made.logs("purge_failed") and not made.logs("sql_failed")
    assert db.value("SELECT count(*) FROM outbox_default") == 0


def test_what_cannot_be_dropped_is_deleted(db: Database, index: str, relay: Callable[..., Outboxd]) -> None:
    """Beside a dead row, and in the DEFAULT partition."""
    made = relay(**SOON)
    fill(db, index, 1, 4500, bad="n = 500")
    drain(made, expect=65)
    made.start()
    wait_until(lambda: db.execute("SELECT id FROM outbox") == [(500,)], 60, "all but the dead row to go")
    wait_until(lambda: partitions(db) == {"outbox_p0", "outbox_p6000", "outbox_p7000", "outbox_default"}, 30, "partitions to be dropped")
    wait_until(lambda: sum(int(line["rows"]) for line in made.logs("purged")) == 998 + 1501, 20, "just these rows to be deleted")


def test_with_nothing_kept_empty_partitions_go(db: Database, index: str, relay: Callable[..., Outboxd]) -> None:
    made = relay(retention_keep="0", retention_interval="1s")
    made.start()
    fill(db, index, 1, 2500)
    wait_until(lambda: not partitions(db) & {"outbox_p0", "outbox_p1000"}, 40, "partitions to be dropped")
    assert db.value("SELECT count(*) FROM outbox") == 0


def test_claims_that_last_long_leave_a_moment_for_it(db: Database, elastic: Elastic, index: str, relay: Callable[..., Outboxd]) -> None:
    """One of four claims or another always holds the table, each for longer than the rotation waits."""
    with FaultProxy(elastic.port) as slow:
        made = relay(elasticsearch_url=slow.url, relay_workers=4, relay_batch_rows="50", **SOON)
        slow.delay(0.6)
        made.start()
        fill(db, index, 1, 2900)
        settle(db, "id < 1000")
        wait_until(lambda: "outbox_p0" not in partitions(db), 60, "a partition to be dropped")
        assert undelivered(db) > 0, "it was dropped after the drain"


def test_who_holds_the_table_for_long_stops_no_claim(db: Database, index: str, relay: Callable[..., Outboxd]) -> None:
    made = relay("--notify", retention_keep="1s", retention_interval="2s")
    fill(db, index, 1, 1500)
    drain(made)
    with db.connect() as reader, reader.transaction():
        reader.execute("SELECT count(*) FROM outbox")
        made.start()
        for n in range(1501, 1511):
            fill(db, index, n, n)
            wait_until(lambda: undelivered(db) == 0, 20, "an event to be delivered")
            time.sleep(1)
        assert "outbox_p0" in partitions(db)
    wait_until(lambda: "outbox_p0" not in partitions(db), 30, "a partition to be dropped")
    assert not made.logs("purge_failed")


def test_two_relays(db: Database, index: str, outboxd: OutboxdFactory, relay: Callable[..., Outboxd]) -> None:
    both = [relay("--notify", **SOON), outboxd(**SOON)]
    for each in both:
        each.start()
    for first in range(1, 5000, 1000):
        wait_until(lambda: db.value("SELECT count(*) FROM pg_class WHERE relname = %s", [f"outbox_p{first + 999}"]), 20, "a partition")
        fill(db, index, first, first + 999)
    wait_until(lambda: len(partitions(db)) == 4 and db.value("SELECT count(*) FROM outbox") <= 1, 60, "old ones to be dropped")
    assert not any(each.logs("purge_failed") for each in both)


def test_the_least_privileges(db: Database, elastic: Elastic, index: str, outboxd: OutboxdFactory, relay: Callable[..., Outboxd]) -> None:
    name = f"relay_{db.name}"
    relay("--role", name, "--notify")
    try:
        made = outboxd(postgres_dsn=db.dsn_with(user=name), **SOON)
        assert not [line for line in lines(made.run("check"), "WARNING") if "partition" in line]
        fill(db, index, 1, 3500)
        made.start()
        wait_until(lambda: partitions(db) == {"outbox_p5000", "outbox_p6000", "outbox_default"} and not db.value("SELECT count(*) FROM outbox"),
                   60, "old rows to go")
        assert not made.logs("purge_failed") and not made.logs("no_rotation")
        with db.connect(user=name) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("DROP TABLE outbox_p5000")
        db.execute(f'CREATE ROLE "other_{name}" LOGIN')
        with db.connect(user=f"other_{name}") as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("SELECT * FROM outbox_rotate(0)")
    finally:
        made.close()
        db.execute(f'DROP OWNED BY "{name}"; DROP ROLE "{name}"; DROP ROLE IF EXISTS "other_{name}"')


def test_a_query_waits_for_older_events_of_other_partitions(db: Database, elastic: Elastic, index: str,
                                                            relay: Callable[..., Outboxd]) -> None:
    made = relay(outbox_delete_by_query=index, retry_cap="200ms", relay_poll_interval="20ms")
    fill(db, index, 1, 1200)
    with psycopg.connect(db.dsn) as writer:
        writer.execute("INSERT INTO outbox (aggregate_type, aggregate_id, data) VALUES (%s, 'late', '{\"price\": 1}')", [index])
        event = publish(db, index, "", {"query": {"range": {"price": {"lte": 1100}}}}, "delete_by_query")
        made.start()
        wait_until(lambda: "transaction" in (db.value("SELECT error->>'reason' FROM outbox WHERE id = %s", [event]) or ""), 30, "it waits")
        writer.commit()
    wait_until(lambda: undelivered(db) == 0, 30, "all of it")
    assert event > ROWS and set(elastic.all_docs(index)) == {str(n) for n in range(1101, 1201)}
