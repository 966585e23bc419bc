"""`outboxd init`: from nothing, from an existing table, again and again, and what it refuses."""

from __future__ import annotations

import concurrent.futures
import threading
from typing import Any

import psycopg
import pytest
from conftest import OutboxdFactory
from helpers import drain, dump, init, psql, publish, undelivered

from harness import Database, Elastic, Outboxd, ScriptedElastic, wait_until

COLUMNS = ["id", "event", "aggregate_type", "aggregate_id", "data", "created_at", "processed", "processed_at",
           "attempts",
           "retry_at", "dead_at", "error"]
BRING_YOUR_OWN = """
CREATE TABLE events (id bigserial PRIMARY KEY, event text NOT NULL, data jsonb,
    processed boolean NOT NULL DEFAULT false);
INSERT INTO events (event, data, processed) SELECT 'product_created', jsonb_build_object('id', n), n <= 3
FROM generate_series(1, 5) AS n
"""
OWN_MAPPING = {
    "outbox_table": "events",
    "outbox_document_id": "o.data->>'id'",
    "outbox_operation": "CASE WHEN o.event LIKE '%_deleted' THEN 'delete' ELSE 'index' END",
}


def columns(db: Database, table: str) -> list[str]:
    return [name for (name,) in db.execute(
        "SELECT attname::text FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped "
        "ORDER BY attnum", [table])]


def indexes(db: Database, table: str = "outbox") -> dict[str, tuple[str, bool]]:
    """Definition and validity by name."""
    return {name: (definition, valid) for name, definition, valid in db.execute(
        "SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid), indisvalid FROM pg_index "
        "WHERE indrelid = %s::regclass", [table])}


def pending_index(db: Database, table: str = "outbox") -> tuple[str, str, bool]:
    """Name, definition and validity of the index that serves the claims."""
    found = [(name, *rest) for name, rest in indexes(db, table).items() if "hashtext(" in rest[0]]
    assert len(found) == 1, found
    return found[0]


def assert_all_make_it(daemons: list[Outboxd]) -> None:
    with concurrent.futures.ThreadPoolExecutor(len(daemons)) as pool:
        done = list(pool.map(lambda daemon: daemon.run("init"), daemons))
    assert [(each.exit_code, each.stderr) for each in done] == [(0, "")] * len(daemons)


def test_makes_the_table_that_the_readme_shows(db: Database, outboxd: OutboxdFactory) -> None:
    done = init(outboxd())
    assert columns(db, "outbox") == COLUMNS
    assert pending_index(db)[2]
    assert 'table "outbox" is ready' in done.stdout
    assert done.stderr == ""
    assert "fillfactor='50'" in indexes(db)["outbox_pkey"][0]
    db.execute("INSERT INTO outbox (aggregate_type, aggregate_id, data) VALUES ('products', '1', '{}')")
    assert undelivered(db) == 1


def test_a_second_time_it_changes_nothing(db: Database, outboxd: OutboxdFactory) -> None:
    init(outboxd(), "--notify")
    db.execute("SELECT outbox_publish('products', '1', '{}')")
    before = dump(db)
    done = init(outboxd(), "--notify")
    assert dump(db) == before
    assert "applied" not in done.stdout and done.stderr == ""


def test_does_not_take_away_the_trigger_that_an_earlier_one_made(db: Database, outboxd: OutboxdFactory) -> None:
    init(outboxd(), "--notify")
    before = dump(db)
    init(outboxd())
    assert dump(db) == before


def test_eight_at_a_time_make_one_table(db: Database, outboxd: OutboxdFactory) -> None:
    assert_all_make_it([outboxd() for _ in range(8)])
    assert columns(db, "outbox") == COLUMNS and pending_index(db)[2]


def test_eight_at_a_time_mend_one_table(db: Database, outboxd: OutboxdFactory) -> None:
    """CREATE INDEX CONCURRENTLY waits for the snapshots of all others: those who wait for their turn hold none."""
    init(outboxd())
    before = indexes(db)
    db.execute("INSERT INTO outbox (aggregate_type, aggregate_id) SELECT 'products', n FROM generate_series(1, 50000) n")
    for name in before.keys() - {"outbox_pkey"}:
        db.execute(f"DROP INDEX {name}")
    assert_all_make_it([outboxd() for _ in range(8)])
    assert indexes(db) == before


@pytest.mark.parametrize("isolation", ["repeatable read", "serializable"])
def test_an_isolation_that_keeps_snapshots(isolation: str, db: Database, outboxd: OutboxdFactory) -> None:
    """CREATE INDEX CONCURRENTLY would wait for them, and PostgreSQL sees no deadlock in that."""
    db.execute(BRING_YOUR_OWN)
    db.execute(f"ALTER DATABASE {db.name} SET default_transaction_isolation = '{isolation}'")
    init(outboxd(**OWN_MAPPING, outbox_index="'products'"))


def test_waits_for_another_one_and_says_so(db: Database, outboxd: OutboxdFactory) -> None:
    with db.connect() as other:
        other.execute("BEGIN; SELECT pg_advisory_xact_lock(hashtextextended('outboxd init', 0))")
        done = outboxd().run("init")
        assert done.exit_code == 75 and "another init is still at work" in done.stderr
        assert not db.execute("SELECT 1 FROM pg_class WHERE relname = 'outbox'")
        other.execute("ROLLBACK")
    init(outboxd())


def test_print_touches_nothing(db: Database, outboxd: OutboxdFactory) -> None:
    before = dump(db)
    done = init(outboxd(), "--print", "--notify")
    assert dump(db) == before
    assert "CREATE TABLE" in done.stdout and "CREATE TRIGGER" in done.stdout and done.stderr == ""


@pytest.mark.parametrize("settings,table,insert", [
    ({}, "outbox", "SELECT outbox_publish('{index}', '1', '{{\"n\": 1}}')"),
    ({"outbox_preset": "debezium"}, "outbox",
     "INSERT INTO outbox (aggregatetype, aggregateid, payload) VALUES ('{index}', '1', '{{\"n\": 1}}')"),
    ({"outbox_table": 'shop."Out Box"'}, 'shop."Out Box"',
     "SELECT shop.\"Out Box_publish\"('{index}', '1', '{{\"n\": 1}}')"),
])
def test_what_it_prints_makes_a_usable_table(db: Database, elastic: Elastic, index: str, outboxd: OutboxdFactory,
                                             settings: dict[str, Any], table: str, insert: str) -> None:
    db.execute("CREATE SCHEMA shop")
    daemon = outboxd(**settings)
    psql(db, init(daemon, "--print", "--notify").stdout)
    db.execute(insert.format(index=index))
    done = drain(daemon)
    assert not done.logs("no_lane_index"), done.stderr
    assert elastic.all_docs(index)["1"].source == '{"n": 1}'
    printed = dump(db, without="outboxd_migrations", rows=False)
    init(daemon, "--notify")
    assert dump(db, without="outboxd_migrations", rows=False) == printed


def test_notify_wakes_a_listener_once_per_statement(db: Database, outboxd: OutboxdFactory) -> None:
    init(outboxd(), "--notify")
    with db.connect() as listener:
        found: list[str] = []
        listener.add_notify_handler(lambda notification: found.append(notification.channel))
        listener.execute("LISTEN outboxd_outbox")
        db.execute("INSERT INTO outbox (aggregate_type, aggregate_id) "
                   "SELECT 'products', n FROM generate_series(1, 9) n")
        wait_until(lambda: listener.execute("SELECT 1") and found, 5, "the notification")
    assert found == ["outboxd_outbox"]


def test_a_table_of_ones_own_gets_what_it_lacks_and_keeps_its_rows(
        db: Database, elastic: Elastic, index: str, outboxd: OutboxdFactory) -> None:
    db.execute(BRING_YOUR_OWN)
    before = db.execute("SELECT id, event, data, processed FROM events ORDER BY id")
    daemon = outboxd(**OWN_MAPPING, outbox_index=f"'{index}'")
    init(daemon)
    assert db.execute("SELECT id, event, data, processed FROM events ORDER BY id") == before
    assert columns(db, "events") == ["id", "event", "data", "processed", "created_at", "processed_at", "attempts",
                                     "retry_at", "dead_at", "error"]
    name, definition, valid = pending_index(db, "events")
    assert valid and "WHERE" in definition and "processed = false" in definition
    with db.connect() as session:
        session.execute("SET enable_seqscan = off")
        plan = session.execute("EXPLAIN SELECT FROM events o WHERE processed = false AND dead_at IS NULL AND "
                               "(hashtext(coalesce((o.data->>'id')::text, '')) & 15) = 3 AND o.id > 0 ORDER BY o.id").fetchall()
    assert name in str(plan)
    drain(daemon)
    assert set(elastic.all_docs(index)) == {"4", "5"}


def test_another_key_gets_another_index(db: Database, outboxd: OutboxdFactory) -> None:
    db.execute(BRING_YOUR_OWN)
    init(outboxd(**OWN_MAPPING, outbox_index="'products'"))
    first, _, _ = pending_index(db, "events")
    db.execute(f"DROP INDEX {first}")
    init(outboxd(**{**OWN_MAPPING, "outbox_document_id": "o.data->>'sku'"}, outbox_index="'products'"))
    assert "sku" in pending_index(db, "events")[1]


@pytest.mark.parametrize("table,real", [
    ("shop.outbox", ("shop", "outbox")),
    ("SHOP.OutBox", ("shop", "outbox")),
    ('"Shop"."Out ""Box"""', ("Shop", 'Out "Box"')),
    ('"select"', ("select",)),
    ("\"o'reilly\\n\"", ("o'reilly\\n",)),
    (f'"{"ö" * 31}"', ("ö" * 31,)),
    ('"1"', ("1",)),
])
def test_names_are_read_as_sql_reads_them(db: Database, elastic: Elastic, index: str, outboxd: OutboxdFactory,
                                          table: str, real: tuple[str, ...]) -> None:
    db.execute('CREATE SCHEMA shop; CREATE SCHEMA "Shop"')
    daemon = outboxd(outbox_table=table, relay_poll_interval="1h")
    init(daemon, "--notify")
    into = ".".join('"{}"'.format(part.replace('"', '""')) for part in real)
    insert = f"INSERT INTO {into} (aggregate_type, aggregate_id, data) VALUES (%s, %s, '{{}}')"
    db.execute(insert, [index, "1"])
    drain(daemon)
    assert set(elastic.all_docs(index)) == {"1"}
    # As a daemon that polls once an hour: what is inserted when it is idle arrives by the notification, or not at all.
    daemon.start()
    daemon.wait_log("wakeups_work", timeout=10)
    db.execute(insert, [index, "2"])
    wait_until(lambda: elastic.get(index, "2"), 5, "the event that was notified")


LONG_NAMES = ["outbox_of_the_department_for_very_very_long_names_of_tables_" + name for name in ("one", "two")]


def test_two_tables_with_long_names_have_an_index_each(db: Database, outboxd: OutboxdFactory) -> None:
    for name in LONG_NAMES:
        init(outboxd(outbox_table=name))
    for name in LONG_NAMES:
        assert pending_index(db, name)[2]
        assert db.value("SELECT count(*) FROM pg_index WHERE indrelid = %s::regclass", [name]) == 3


def test_two_tables_with_long_names_have_a_function_each(db: Database, outboxd: OutboxdFactory) -> None:
    """Else the second replaces the first, and what the application publishes goes into the other table."""
    for name in LONG_NAMES:
        init(outboxd(outbox_table=name))
    functions = db.execute("SELECT prosrc FROM pg_proc WHERE prosrc LIKE '%INSERT INTO%outbox_of_the_department%'")
    assert len(functions) == 2


class TestRefusals:
    """Each is a mistake of the configuration (78), named so that it can be corrected."""

    @staticmethod
    def refuse(daemon: Any, *words: str) -> None:
        done = daemon.run("init")
        assert done.exit_code == 78, (done.exit_code, done.stderr)
        for word in words:
            assert word in done.stderr
        assert done.stderr.count("\n") == 1, done.stderr
        assert "table" not in done.stdout.replace("0001_table", ""), "it says that the table is ready"

    def test_a_view(self, db: Database, outboxd: OutboxdFactory) -> None:
        db.execute("CREATE VIEW outbox AS SELECT 1 AS id")
        before = dump(db)
        self.refuse(outboxd(), "outbox.table", "not an ordinary table")
        assert dump(db) == before

    def test_an_id_that_cannot_order(self, db: Database, outboxd: OutboxdFactory) -> None:
        db.execute("CREATE TABLE outbox (id uuid PRIMARY KEY, aggregate_type text, aggregate_id text, data jsonb)")
        before = dump(db)
        self.refuse(outboxd(), "outbox.id", "not an integer", "ADD COLUMN seq bigint")
        assert dump(db) == before

    @pytest.mark.parametrize("setting", ["id", "key", "index", "document_id", "operation", "version", "routing",
                                         "pipeline",
                                         "document"])
    def test_a_column_that_does_not_exist(self, db: Database, outboxd: OutboxdFactory, setting: str) -> None:
        before = dump(db)
        self.refuse(outboxd(**{f"outbox_{setting}": "o.nowhere"}), f"outbox.{setting} = o.nowhere", "does not exist")
        assert dump(db) == before

    @pytest.mark.parametrize("expression", ["o.data->>", "(SELECT 1",
                                            "o.id) FROM outbox o; DROP TABLE other; SELECT (1"])
    def test_what_is_no_expression(self, db: Database, outboxd: OutboxdFactory, expression: str) -> None:
        db.execute("CREATE TABLE other ()")
        before = dump(db)
        self.refuse(outboxd(outbox_document=expression), "outbox.document")
        assert dump(db) == before

    def test_a_key_that_is_not_immutable(self, db: Database, outboxd: OutboxdFactory) -> None:
        self.refuse(outboxd(outbox_key="o.created_at::text"), "outbox.key = o.created_at::text", "immutable")

    def test_a_key_from_another_table(self, db: Database, outboxd: OutboxdFactory) -> None:
        self.refuse(outboxd(outbox_key="(SELECT o.aggregate_id)"), "outbox.key = (SELECT o.aggregate_id)", "immutable")

    def test_a_sequence_with_a_cache(self, db: Database, outboxd: OutboxdFactory) -> None:
        daemon = outboxd()
        init(daemon)
        db.execute("ALTER TABLE outbox ALTER COLUMN id SET CACHE 20")
        self.refuse(daemon, "outbox_id_seq", "CACHE 20", "ALTER SEQUENCE")
        db.execute("ALTER SEQUENCE outbox_id_seq CACHE 1")
        init(daemon)

    @pytest.mark.parametrize("name", [".", "a.", ".a", "a.b.c", "out box", '"unclosed', '""', "1st", "a;b", "x" * 64,
                                      "outbox o", "outbox--", "'outbox'"])
    def test_what_is_no_name(self, db: Database, outboxd: OutboxdFactory, name: str) -> None:
        before = dump(db)
        self.refuse(outboxd(outbox_table=name), "outbox.table")
        assert dump(db) == before

    def test_a_schema_that_does_not_exist(self, db: Database, outboxd: OutboxdFactory) -> None:
        self.refuse(outboxd(outbox_table="shop.outbox"), 'schema "shop" does not exist')

    def test_a_created_at_that_is_no_time(self, db: Database, outboxd: OutboxdFactory) -> None:
        """It would fail at every claim, and that for ever."""
        db.execute("CREATE TABLE outbox (id bigserial PRIMARY KEY, aggregate_type text, aggregate_id text, data jsonb, "
                   "created_at text NOT NULL DEFAULT 'today')")
        self.refuse(outboxd(), "created_at")


def test_mends_a_dropped_index(db: Database, outboxd: OutboxdFactory) -> None:
    init(outboxd())
    name, definition, _ = pending_index(db)
    db.execute(f"DROP INDEX {name}")
    publish(db, "products", "1", {})
    with ScriptedElastic() as server:
        assert drain(outboxd(elasticsearch_url=server.url)).logs("no_lane_index")
        init(outboxd())
        assert pending_index(db) == (name, definition, True)
        publish(db, "products", "1", {})
        assert not drain(outboxd(elasticsearch_url=server.url)).logs("no_lane_index")


def test_mends_an_index_whose_making_was_interrupted(db: Database, outboxd: OutboxdFactory) -> None:
    init(outboxd())
    name, definition, _ = pending_index(db)
    with db.connect() as writer, db.connect() as maker:
        maker.execute(f"DROP INDEX {name}")
        maker.execute("SET lock_timeout = '50ms'")
        writer.execute("BEGIN")
        writer.execute("INSERT INTO outbox (aggregate_type, aggregate_id) VALUES ('products', '1')")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            maker.execute(definition.replace("CREATE INDEX", "CREATE INDEX CONCURRENTLY"))
        writer.execute("ROLLBACK")
    assert pending_index(db) == (name, definition, False)
    init(outboxd())
    assert pending_index(db) == (name, definition, True)


def test_leaves_writers_alone_while_it_reads_a_large_table(db: Database, outboxd: OutboxdFactory) -> None:
    """A writer that commits late delays init, but nobody waits for init."""
    db.execute(BRING_YOUR_OWN)
    daemon = outboxd(**OWN_MAPPING, outbox_index="'products'")
    init(daemon)
    name, _, _ = pending_index(db, "events")
    db.execute(f"DROP INDEX {name}")
    with db.connect() as writer:
        writer.execute("BEGIN; SELECT pg_advisory_xact_lock(1); CREATE TEMP TABLE t ON COMMIT DROP AS SELECT 1")
        finished: list[int] = []
        thread = threading.Thread(target=lambda: finished.append(daemon.run("init").exit_code))
        thread.start()
        wait_until(lambda: db.execute("SELECT 1 FROM pg_stat_activity WHERE query LIKE 'CREATE INDEX%CONCURRENTLY%' AND "
                                      "pid <> pg_backend_pid()") or finished, 10, "init to make its index")
        with db.connect() as other:
            other.execute("SET statement_timeout = '2s'")
            other.execute("INSERT INTO events (event, data) VALUES ('product_created', '{\"id\": 9}')")
        writer.execute("COMMIT")
        thread.join()
    assert finished == [0]


class TestPublish:
    def test_the_order_of_ids_is_the_order_of_commits_per_key(self, db: Database, outboxd: OutboxdFactory) -> None:
        init(outboxd())
        order: list[str] = []
        with db.connect() as first, db.connect() as second, db.connect() as third:
            first.execute("BEGIN")
            early = first.execute("SELECT outbox_publish('products', '1', '{\"by\": \"first\"}')").fetchone()
            waiting = second.execute("SELECT pg_backend_pid()").fetchone()

            def publish_second() -> None:
                second.execute("SELECT outbox_publish('products', '1', '{\"by\": \"second\"}')")
                order.append("second")

            thread = threading.Thread(target=publish_second, daemon=True)
            thread.start()
            wait_until(lambda: db.execute("SELECT 1 FROM pg_locks WHERE pid = %s AND NOT granted", waiting), 10,
                       "the second session to wait for the key")
            # Another key does not wait.
            third.execute("SET statement_timeout = '2s'")
            third.execute("SELECT outbox_publish('products', '2', NULL)")
            order.append("first")
            first.execute("COMMIT")
            thread.join(10)
        assert order == ["first", "second"]
        rows = db.execute("SELECT id, data->>'by' FROM outbox WHERE aggregate_id = '1' ORDER BY id")
        assert early and rows[0] == (early[0], "first") and rows[1][1] == "second"

    def test_null_is_a_delete(self, db: Database, elastic: Elastic, index: str, outboxd: OutboxdFactory) -> None:
        daemon = outboxd()
        init(daemon)
        db.execute("SELECT outbox_publish(%s, '1', '{}', 'product_created')", [index])
        db.execute("SELECT outbox_publish(%s, '2', '{}', 'product_created')", [index])
        drain(daemon)
        assert set(elastic.all_docs(index)) == {"1", "2"}
        db.execute("SELECT outbox_publish(%s, '1', NULL, 'product_deleted')", [index])
        drain(daemon)
        assert set(elastic.all_docs(index)) == {"2"}
        assert db.value("SELECT event FROM outbox WHERE data IS NULL") == "product_deleted"

    def test_is_rolled_back_with_its_transaction(self, db: Database, outboxd: OutboxdFactory) -> None:
        init(outboxd())
        with db.connect() as session:
            session.execute("BEGIN; SELECT outbox_publish('products', '1', '{}'); ROLLBACK")
        assert undelivered(db) == 0

    def test_works_where_the_id_has_another_name(self, db: Database, outboxd: OutboxdFactory) -> None:
        """Or is not there at all."""
        db.execute("CREATE TABLE outbox (event_id bigserial PRIMARY KEY, event text, aggregate_type text, "
                   "aggregate_id text, data jsonb)")
        init(outboxd(outbox_id="o.event_id"))
        if db.value("SELECT to_regproc('outbox_publish') IS NOT NULL"):
            assert db.value("SELECT outbox_publish('products', '1', '{}')") == 1


def test_an_old_row_is_not_published_by_init(db: Database, elastic: Elastic, index: str,
                                             outboxd: OutboxdFactory) -> None:
    daemon = outboxd()
    init(daemon)
    publish(db, index, "1", {"n": 1})
    drain(daemon)
    marked = db.execute("SELECT processed, processed_at FROM outbox")
    init(daemon)
    assert db.execute("SELECT processed, processed_at FROM outbox") == marked
