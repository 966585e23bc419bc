"""`outboxd backfill`: rows that were there before become events, and whatever changes meanwhile wins."""

from __future__ import annotations

import json
import random
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from conftest import OutboxdFactory
from helpers import PRODUCTS, drain, init, newest, table

from harness import Completed, Database, Elastic, Outboxd, wait_until

# Nobody delivers: the command must not wait for that.
ALONE = ["--ahead", "1000000"]


@pytest.fixture
def cli(db: Database, outboxd: OutboxdFactory) -> Outboxd:
    daemon = outboxd()
    init(daemon)
    db.execute(PRODUCTS)
    return daemon


def stock(db: Database, rows: int) -> None:
    db.execute("INSERT INTO products SELECT n, 'product ' || n, n + 0.10 FROM generate_series(1, %s) n", [rows])


def backfill(cli: Outboxd, *words: str, expect: int = 0) -> Completed:
    done = cli.run("backfill", "products", *words)
    assert done.exit_code == expect, done.stderr
    return done


def written(db: Database) -> int:
    return int(db.value("SELECT count(*) FROM outbox WHERE event = 'backfill'"))


@contextmanager
def holding(db: Database, statement: str) -> Iterator[psycopg.Connection[Any]]:
    """An open transaction that did this."""
    with db.connect() as connection:
        connection.autocommit = False
        connection.execute(statement)
        yield connection
        connection.rollback()


def backfill_beside(cli: Outboxd, db: Database, statement: str) -> None:
    """Of 50 rows, one of which an open transaction holds that did this, and then commits."""
    with holding(db, statement) as holder:
        cli.begin("backfill", "products", "--index", "products", *ALONE)
        wait_until(lambda: written(db) == 49, 30, "events")
        holder.commit()
        assert cli.wait().exit_code == 0
    assert newest(db) == table(db)


class TestWhatBecomesAnEvent:
    def test_every_row_of_a_table_that_is_not_tracked(self, db: Database, cli: Outboxd) -> None:
        stock(db, 12_345)
        done = backfill(cli, "--index", "products", *ALONE)
        assert "12345 rows of public.products read, 12345 events of index 'products' written" in done.stdout
        assert newest(db) == table(db) and written(db) == 12_345

    def test_the_rows_of_a_tracked_table_as_it_is_tracked(self, db: Database, cli: Outboxd) -> None:
        db.execute("CREATE TABLE variants (sku text PRIMARY KEY, product bigint REFERENCES products); "
                   "CREATE VIEW shown AS SELECT p.id, jsonb_build_object('name', p.name, 'skus', (SELECT "
                   "coalesce(jsonb_agg(v.sku ORDER BY v.sku), '[]') FROM variants v WHERE v.product = p.id)) AS document FROM products p")
        stock(db, 100)
        db.execute("UPDATE products SET on_sale = false WHERE id % 10 = 0; "
                   "INSERT INTO variants SELECT n || '-' || m, n FROM generate_series(1, 100) n, generate_series(1, 2) m")
        assert cli.run("track", "products", "--index", "shop", "--document", "shown", "--when", "t.on_sale",
                       "--touches", "variants.product").exit_code == 0
        done = backfill(cli, *ALONE)
        assert "100 rows of public.products read, 90 events of index 'shop' written" in done.stdout
        assert newest(db, "shop") == table(db, "d.document", "products t JOIN shown d USING (id) WHERE on_sale")

    def test_they_are_found(self, db: Database, cli: Outboxd, elastic: Elastic) -> None:
        elastic.ensure_running()
        elastic.delete_index("products")
        stock(db, 3000)
        backfill(cli, "--index", "products", *ALONE)
        drain(cli)
        elastic.refresh("products")
        assert elastic.count("products") == 3000
        elastic.delete_index("products")

    @pytest.mark.parametrize(("columns", "rows"), [
        ("id text PRIMARY KEY", "SELECT chr(64 + n % 26) || '''\"\\,{}' || n FROM generate_series(1, 3000) n"),
        ("id uuid PRIMARY KEY", "SELECT gen_random_uuid() FROM generate_series(1, 3000)"),
        ("id numeric PRIMARY KEY", "SELECT n / 8.0 FROM generate_series(-1500, 1499) n"),
        ("id varchar(12) COLLATE \"C\" PRIMARY KEY", "SELECT md5(n::text)::varchar(12) FROM generate_series(1, 3000) n"),
    ], ids=["text", "uuid", "numeric", "varchar"])
    def test_keys_of_any_type(self, db: Database, cli: Outboxd, columns: str, rows: str) -> None:
        db.execute(f"CREATE TABLE things ({columns}); INSERT INTO things {rows}")
        done = cli.run("backfill", "things", "--index", "things", *ALONE)
        assert done.exit_code == 0, done.stderr
        assert newest(db, "things") == table(db, rows="things t") and written(db) == 3000

    def test_a_partitioned_table_whose_key_is_not_unique_alone(self, db: Database, cli: Outboxd) -> None:
        """A piece must not end between two rows of one key."""
        db.execute("CREATE TABLE parted (id int NOT NULL, part int, PRIMARY KEY (id, part)) PARTITION BY LIST (part); "
                   "CREATE TABLE parted_0 PARTITION OF parted FOR VALUES IN (0); CREATE TABLE parted_1 PARTITION OF parted DEFAULT; "
                   "INSERT INTO parted SELECT n, p FROM generate_series(1, 777) n, generate_series(0, 2) p")
        done = cli.run("backfill", "parted", "--index", "parted", "--key", "id", *ALONE)
        assert done.exit_code == 0 and written(db) == 3 * 777, done.stderr

    def test_documents_of_a_megabyte_come_in_small_pieces(self, db: Database, cli: Outboxd) -> None:
        db.execute("ALTER TABLE products ALTER name SET STORAGE EXTERNAL; "
                   "INSERT INTO products (id, name) SELECT n, (SELECT string_agg(md5((n * 100000 + m)::text), '') "
                   "FROM generate_series(1, 32000) m) FROM generate_series(1, 120) n")
        backfill(cli, "--index", "products", *ALONE)
        pieces = db.execute("SELECT count(*), sum(octet_length(data::text)) FROM outbox GROUP BY created_at ORDER BY min(id)")
        # The first one does not know yet; each one later is as large as it should be.
        assert len(pieces) > 1 and all(bytes < 10_000_000 for _, bytes in pieces[1:]), pieces


class TestChangesMeanwhile:
    def test_they_win_whatever_they_are(self, db: Database, cli: Outboxd) -> None:
        stock(db, 6000)
        cli.run("track", "products", "--index", "products")
        stop, failed = threading.Event(), []

        def write(seed: int) -> None:
            rng = random.Random(seed)
            with db.connect() as connection:
                while not stop.is_set():
                    id, other = rng.randint(1, 6500), rng.randint(1, 6500)
                    statement = rng.choice([
                        f"UPDATE products SET price = {rng.random()} WHERE id = {id}",
                        f"DELETE FROM products WHERE id = {id}",
                        f"INSERT INTO products VALUES ({id}, 'new') ON CONFLICT (id) DO UPDATE SET name = 'again'",
                        f"UPDATE products SET id = {other + 10_000} WHERE id = {id}",
                        f"BEGIN; UPDATE products SET price = 1 WHERE id = {id}; SELECT pg_sleep(0.02); ROLLBACK",
                    ])
                    try:
                        connection.execute(statement)
                    except psycopg.errors.UniqueViolation:
                        pass
                    except Exception as error:
                        failed.append(error)

        writers = [threading.Thread(target=write, args=[seed]) for seed in range(4)]
        for writer in writers:
            writer.start()
        try:
            for _ in range(3):
                backfill(cli, "--rate", "4000", *ALONE)
        finally:
            stop.set()
            for writer in writers:
                writer.join()
        assert failed == []  # no deadlock either: a backfill waits for nobody while it holds rows
        assert newest(db) == table(db)

    def test_a_row_that_is_held_is_passed_over_and_its_turn_comes(self, db: Database, cli: Outboxd) -> None:
        stock(db, 500)
        with holding(db, "UPDATE products SET name = 'newer' WHERE id IN (7, 300)") as holder:
            cli.begin("backfill", "products", "--index", "products", *ALONE)
            wait_until(lambda: written(db) == 498, 30, "events")
            wait_until(lambda: "hold its rows" in cli.stderr, 30, "a word about the rows that are held")
            ((rows, written_events, held),) = db.execute("SELECT rows, events, held FROM outbox_backfill")
            assert (rows, written_events, sorted(held)) == (500, 498, ["300", "7"])
            holder.commit()
            assert cli.wait().exit_code == 0
        assert newest(db) == table(db) and newest(db)["7"]["name"] == "newer"

    def test_a_held_row_that_is_deleted(self, db: Database, cli: Outboxd) -> None:
        stock(db, 50)
        backfill_beside(cli, db, "DELETE FROM products WHERE id = 20")

    def test_a_row_that_never_rests(self, db: Database, cli: Outboxd) -> None:
        """Somebody always waits for the lock, so a look that does not wait in the queue would never find it free."""
        stock(db, 20)
        stop = threading.Event()

        def keep() -> None:
            with db.connect() as connection:
                while not stop.is_set():
                    connection.execute("BEGIN; SELECT FROM products WHERE id = 5 FOR UPDATE; SELECT pg_sleep(0.05); COMMIT")

        holders = [threading.Thread(target=keep) for _ in range(3)]
        for holder in holders:
            holder.start()
        try:
            backfill(cli, "--index", "products", *ALONE)
        finally:
            stop.set()
            for holder in holders:
                holder.join()
        assert newest(db) == table(db)

    def test_a_table_that_is_locked(self, db: Database, cli: Outboxd) -> None:
        stock(db, 100)  # 5 s at 20 a second
        with holding(db, "LOCK TABLE products IN ACCESS EXCLUSIVE MODE") as holder:
            done = backfill(cli, "--index", "products", *ALONE, expect=75)
            assert "another transaction holds a lock on the table" in done.stderr
            holder.rollback()
        cli.begin("backfill", "products", "--index", "products", "--rate", "20", *ALONE)
        wait_until(lambda: written(db) > 0, 30, "events")
        with holding(db, "LOCK TABLE products IN ACCESS EXCLUSIVE MODE") as holder:
            wait_until(lambda: "hold its rows" in cli.stderr, 30, "a word about the lock")
            holder.commit()
        assert cli.wait().exit_code == 0
        assert newest(db) == table(db)

    def test_where_transactions_are_repeatable_by_default(self, db: Database, outboxd: OutboxdFactory, cli: Outboxd) -> None:
        """With an old snapshot the document would be read as it was before the lock."""
        stock(db, 50)
        db.execute(f"ALTER DATABASE \"{db.name}\" SET default_transaction_isolation = 'repeatable read'")
        backfill_beside(cli, db, "UPDATE products SET name = 'newer' WHERE id = 7")


def test_a_document_does_not_depend_on_who_asks_for_it(db: Database, cli: Outboxd) -> None:
    """A trigger runs in the session of the application, which says in which zone a time is printed."""
    db.execute("ALTER TABLE products ADD at timestamptz, ADD took interval, ADD bytes bytea, ADD ratio float8")
    assert cli.run("track", "products", "--index", "products").exit_code == 0
    with db.connect() as connection:
        connection.execute("SET TimeZone = 'Asia/Tokyo'; SET IntervalStyle = 'iso_8601'; SET bytea_output = 'escape'; "
                           "SET extra_float_digits = -5; SET DateStyle = 'German'")
        connection.execute("INSERT INTO products (id, at, took, bytes, ratio) VALUES (1, '2026-01-01 00:00:00+00', '90 min', '\\x00ff', 0.1)")
    (live,) = db.execute("SELECT data FROM outbox")
    backfill(cli, *ALONE)
    (filled,) = db.execute("SELECT data FROM outbox WHERE event = 'backfill'")
    assert live == filled and live[0]["at"] == "2026-01-01T00:00:00+00:00"


class TestInterruptions:
    def test_kill_9_at_any_moment(self, db: Database, cli: Outboxd) -> None:
        stock(db, 30_000)
        kills, finished = 0, False
        while not finished and kills < 60:
            cli.begin("backfill", "products", "--index", "products", "--rate", "40000", *ALONE)
            try:
                cli.wait(timeout=0.15 + 0.03 * (kills % 7))
            except TimeoutError:
                cli.kill9()
                kills += 1
            # Killed after the end is no reason to run it again: that would be another one.
            if db.value("SELECT to_regclass('outbox_backfill')"):
                finished = bool(db.value("SELECT bool_or(finished_at IS NOT NULL) FROM outbox_backfill"))
        if not finished:
            backfill(cli, "--index", "products", *ALONE)
        assert kills >= 3
        # A piece is whole or not there, and none twice.
        assert written(db) == 30_000 and newest(db) == table(db)

    def test_ctrl_c_and_on(self, db: Database, cli: Outboxd) -> None:
        stock(db, 3000)
        cli.begin("backfill", "products", "--index", "products", "--rate", "1000", *ALONE)
        wait_until(lambda: written(db) > 0, 30, "events")
        cli.signal(signal.SIGINT)
        done = cli.wait()
        assert done.exit_code == 75 and "the same command goes on from there" in done.stderr
        before = written(db)
        assert 0 < before < 3000
        done = backfill(cli, "--index", "products", *ALONE)
        assert f"goes on after {before} rows" in done.stderr and f"{3000 - before} rows of" in done.stdout
        assert written(db) == 3000

    def test_from_the_beginning(self, db: Database, cli: Outboxd) -> None:
        stock(db, 3000)
        cli.begin("backfill", "products", "--index", "products", "--rate", "1000", *ALONE)
        wait_until(lambda: written(db) > 0, 30, "events")
        cli.kill9()
        assert "3000 rows" in backfill(cli, "--index", "products", "--restart", *ALONE).stdout
        assert "3000 rows" in backfill(cli, "--index", "products", *ALONE).stdout  # it was finished

    def test_other_documents_are_another_backfill(self, db: Database, cli: Outboxd) -> None:
        stock(db, 3000)
        cli.begin("backfill", "products", "--index", "products", "--rate", "1000", *ALONE)
        wait_until(lambda: written(db) > 0, 30, "events")
        cli.kill9()
        assert "3000 rows" in backfill(cli, "--index", "products", "--columns", "name", *ALONE).stdout

    def test_another_key_is_another_backfill(self, db: Database, cli: Outboxd) -> None:
        """It would go on after a value of the other column."""
        db.execute("ALTER TABLE products ADD sku text")
        stock(db, 3000)
        db.execute("UPDATE products SET sku = (3001 - id)::text; ALTER TABLE products ALTER sku SET NOT NULL, ADD UNIQUE (sku)")
        cli.begin("backfill", "products", "--index", "products", "--rate", "1000", *ALONE)
        wait_until(lambda: written(db) > 0, 30, "events")
        cli.kill9()
        db.execute("DELETE FROM outbox")
        assert "3000 rows" in backfill(cli, "--index", "products", "--key", "sku", *ALONE).stdout
        assert set(newest(db)) == {str(n) for n in range(1, 3001)}

    def test_one_that_another_took_the_place_of(self, db: Database, cli: Outboxd, outboxd: OutboxdFactory) -> None:
        stock(db, 3000)
        cli.begin("backfill", "products", "--index", "products", "--rate", "300", *ALONE)
        wait_until(lambda: written(db) > 0, 30, "events")
        assert outboxd().run("backfill", "products", "--index", "products", "--columns", "name", *ALONE).exit_code == 0
        done = cli.wait()
        assert done.exit_code == 77 and "took the place of this one" in done.stderr

    def test_rows_that_come_later_are_none_of_its_business(self, db: Database, cli: Outboxd) -> None:
        """A table that grows faster than the rate would never be done."""
        stock(db, 500)
        cli.begin("backfill", "products", "--index", "products", "--rate", "500", *ALONE)
        wait_until(lambda: written(db) > 0, 30, "events")
        db.execute("INSERT INTO products SELECT n, 'later' FROM generate_series(501, 9000) n")
        assert "500 rows of" in cli.wait().stdout

    def test_two_at_once_share_the_work(self, db: Database, cli: Outboxd, outboxd: OutboxdFactory) -> None:
        stock(db, 20_000)
        other = outboxd()
        for each in (cli, other):
            each.begin("backfill", "products", "--index", "products", *ALONE)
        assert [each.wait().exit_code for each in (cli, other)] == [0, 0]
        assert written(db) == 20_000 and newest(db) == table(db)

    def test_the_server_goes_away(self, db: Database, cli: Outboxd) -> None:
        stock(db, 3000)
        cli.begin("backfill", "products", "--index", "products", "--rate", "1000", *ALONE)
        wait_until(lambda: written(db) > 0, 30, "events")
        db.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'outboxd'")
        done = cli.wait()
        assert done.exit_code == 75 and "the same command goes on from there" in done.stderr
        backfill(cli, "--index", "products", *ALONE)
        assert written(db) == 3000


class TestPace:
    def test_a_rate(self, db: Database, cli: Outboxd) -> None:
        stock(db, 1000)
        started = time.monotonic()
        backfill(cli, "--index", "products", "--rate", "500", *ALONE)
        assert time.monotonic() - started > 1.9

    def test_a_rate_of_bytes(self, db: Database, cli: Outboxd) -> None:
        db.execute("INSERT INTO products (id, name) SELECT n, repeat(md5(n::text), 100) FROM generate_series(1, 30) n")
        started = time.monotonic()
        done = backfill(cli, "--index", "products", "--rate-bytes", "30kB", "--json", *ALONE)
        bytes = json.loads(done.stdout)["bytes"]
        assert bytes > 60_000 and time.monotonic() - started > bytes / 30_720 * 0.95

    def test_live_events_come_first(self, db: Database, cli: Outboxd, outboxd: OutboxdFactory, elastic: Elastic) -> None:
        """What was written waits for delivery before more is written."""
        elastic.ensure_running()
        elastic.delete_index("products")
        stock(db, 5000)
        cli.begin("backfill", "products", "--index", "products", "--ahead", "500")
        wait_until(lambda: "wait for delivery; does outboxd run?" in cli.stderr, 30, "a word about the relay")
        assert written(db) == 500
        with outboxd():
            assert cli.wait(timeout=60).exit_code == 0
        assert written(db) == 5000
        elastic.delete_index("products")

    def test_documents_that_are_refused_hold_nothing_up(self, db: Database, cli: Outboxd, outboxd: OutboxdFactory,
                                                        elastic: Elastic) -> None:
        elastic.ensure_running()
        elastic.delete_index("products")
        elastic.create_index("products", {"properties": {"name": {"type": "integer"}}})
        stock(db, 1000)
        with outboxd():
            done = cli.run("backfill", "products", "--index", "products", "--ahead", "100")
        assert done.exit_code == 0 and written(db) == 1000, done.stderr
        elastic.delete_index("products")


class TestSaying:
    def test_a_dry_run_writes_nothing(self, db: Database, cli: Outboxd) -> None:
        stock(db, 200)
        done = backfill(cli, "--index", "products", "--when", "t.id > 50", "--dry-run")
        assert "150 rows of public.products would become events of index 'products', about" in done.stdout
        assert written(db) == 0 and not db.value("SELECT to_regclass('outbox_backfill')")

    def test_what_was_begun_is_listed(self, db: Database, cli: Outboxd) -> None:
        assert "no backfill was begun" in cli.run("backfill").stdout
        assert json.loads(cli.run("backfill", "--json").stdout) == []
        stock(db, 200)
        backfill(cli, "--index", "products", *ALONE)
        (row,) = json.loads(cli.run("backfill", "--json").stdout)
        assert (row["table"], row["index"], row["rows"], row["events"], row["held"]) == ("public.products", "products", 200, 200, 0)
        assert "public.products  products  200" in cli.run("backfill").stdout

    def test_a_bar_on_a_terminal(self, db: Database, cli: Outboxd) -> None:
        stock(db, 3000)
        db.execute("ANALYZE products")
        code, text = cli.run_on_terminal("backfill", "products", "--index", "products", "--rate", "3000", *ALONE)
        assert code == 0 and "/3000" in text and "left" in text

    @pytest.mark.parametrize(("words", "exit_code", "said"), [
        (["nowhere", "--index", "x"], 78, "there is no table nowhere"),
        (["products"], 64, "it is not tracked, so say into which index (--index)"),
        (["products", "--index", "x", "--rate", "0"], 64, "not a number above 0"),
        (["products", "--index", "x", "--rate", "99999999999999999999"], 64, "not a number above 0"),
        (["products", "--index", "x", "--rate-bytes", "much"], 64, "--rate-bytes"),
        (["products", "--index", "X"], 78, "takes no index of the name"),
        (["products", "--index", "x", "--when", "t.nocolumn"], 78, "--when"),
        (["products", "--index", "x", "--outbox-preset", "events"], 78, "outbox.preset"),
        (["twice"], 64, "tracked into several indexes"),
        (["twice", "--index", "one", "--columns", "id"], 64, "it is tracked into one"),
    ])
    def test_a_mistake_is_said(self, db: Database, cli: Outboxd, words: list[str], exit_code: int, said: str) -> None:
        db.execute("CREATE TABLE twice (id int PRIMARY KEY)")
        for name in ("one", "two"):
            assert cli.run("track", "twice", "--index", name).exit_code == 0
        done = cli.run("backfill", *words)
        assert (done.exit_code, said in done.stderr) == (exit_code, True), done.stderr

    def test_before_init(self, db: Database, outboxd: OutboxdFactory) -> None:
        db.execute(PRODUCTS)
        done = outboxd().run("backfill", "products", "--index", "x")
        assert done.exit_code == 78 and "run `outboxd init`" in done.stderr

    def test_who_may_not_change_the_table(self, db: Database, cli: Outboxd, outboxd: OutboxdFactory) -> None:
        db.execute("DROP ROLE IF EXISTS backfiller; CREATE ROLE backfiller LOGIN; GRANT SELECT ON products TO backfiller")
        try:
            done = outboxd(postgres_dsn=db.dsn_with(user="backfiller")).run("backfill", "products", "--index", "x")
            assert done.exit_code == 78 and "permission denied" in done.stderr
        finally:
            db.execute("DROP OWNED BY backfiller; DROP ROLE backfiller")
