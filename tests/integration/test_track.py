"""`outboxd track`: what triggers write is what the table holds, whatever is done to it."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from conftest import OutboxdFactory
from helpers import PRODUCTS, init, newest, table

from harness import Completed, Database, Outboxd, wait_until



@pytest.fixture
def cli(db: Database, outboxd: OutboxdFactory) -> Outboxd:
    daemon = outboxd()
    init(daemon)
    db.execute(PRODUCTS)
    return daemon


def track(cli: Outboxd, *words: str) -> Completed:
    done = cli.run("track", *words)
    assert done.exit_code == 0, done.stderr
    return done


def events(db: Database) -> list[tuple[Any, ...]]:
    """What was written since the last call."""
    return list(db.execute("WITH taken AS (DELETE FROM outbox RETURNING *) SELECT event, aggregate_type, aggregate_id, data "
                           "FROM taken ORDER BY id"))


BOTH = pytest.mark.parametrize("always", [[], ["--always"]], ids=["statement", "row"])


@BOTH
class TestEvents:
    @pytest.fixture(autouse=True)
    def tracked(self, cli: Outboxd, always: list[str]) -> None:
        track(cli, "products", "--index", "products", *always)

    def test_each_change_is_an_event(self, db: Database) -> None:
        db.execute("INSERT INTO products VALUES (1, 'lamp', 10.50)")
        assert events(db) == [("insert", "products", "1", {"id": 1, "name": "lamp", "price": 10.5, "on_sale": True})]
        db.execute("UPDATE products SET price = 11")
        assert events(db) == [("update", "products", "1", {"id": 1, "name": "lamp", "price": 11, "on_sale": True})]
        db.execute("UPDATE products SET price = price")
        assert events(db) == []
        db.execute("UPDATE products SET id = 2")
        assert events(db) == [("update", "products", "1", None),
                              ("update", "products", "2", {"id": 2, "name": "lamp", "price": 11, "on_sale": True})]
        db.execute("DELETE FROM products")
        assert events(db) == [("delete", "products", "2", None)]

    def test_copy_and_upsert(self, db: Database) -> None:
        with db.connect() as connection, connection.cursor() as cursor, cursor.copy("COPY products (id, name) FROM STDIN") as copy:
            for n in range(100):
                copy.write_row((n, "x"))
        db.execute("INSERT INTO products SELECT n, 'y' FROM generate_series(50, 149) n ON CONFLICT (id) DO UPDATE SET name = 'y'")
        assert newest(db) == table(db)
        assert db.value("SELECT count(*) FROM outbox") == 200

    def test_a_load_row_by_row(self, db: Database, cli: Outboxd, always: list[str]) -> None:
        """Into empty tables, in one transaction: the plan of the first row must do for the last one."""
        db.execute("CREATE TABLE parents (id bigint PRIMARY KEY, name text); "
                   "CREATE TABLE children (id bigint PRIMARY KEY, parent bigint NOT NULL REFERENCES parents)")
        track(cli, "parents", "--index", "parents", "--touches", "children.parent", *always)
        db.execute("DO $$ BEGIN FOR n IN 1..3000 LOOP INSERT INTO parents VALUES (n, 'p'); INSERT INTO children VALUES (n, n); "
                   "END LOOP; END $$")
        wait_until(lambda: db.value("SELECT n_tup_ins FROM pg_stat_user_tables WHERE relname = 'children'") == 3000, 10, "statistics")
        assert db.value("SELECT seq_tup_read FROM pg_stat_user_tables WHERE relname = 'parents'") < 3000
        assert db.value("SELECT idx_tup_fetch FROM pg_stat_user_tables WHERE relname = 'parents'") < 60_000
        assert newest(db, "parents") == table(db, rows="parents t")

    def test_keys_that_swap(self, db: Database) -> None:
        db.execute("INSERT INTO products SELECT n, 'p' || n FROM generate_series(1, 4) n")
        db.execute("ALTER TABLE products ADD UNIQUE (name)")
        db.execute("ALTER TABLE products DROP CONSTRAINT products_pkey; CREATE UNIQUE INDEX ON products (id)")
        db.execute("UPDATE products SET id = id + 10; UPDATE products SET id = id - 10")
        db.execute("ALTER TABLE products ADD COLUMN note text")
        with db.connect() as connection:
            connection.execute("BEGIN")
            for old, new in ((1, 99), (2, 1), (99, 2)):
                connection.execute("UPDATE products SET id = %s WHERE id = %s", [new, old])
            connection.execute("COMMIT")
        assert newest(db) == table(db) | {id: newest(db)[id] for id in ("3", "4")}

    def test_a_trigger_of_the_application_that_writes_once_more(self, db: Database) -> None:
        """Its event is there before that of the statement that made it fire."""
        db.execute("CREATE FUNCTION improve() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN "
                   "UPDATE products SET name = upper(name) WHERE id = NEW.id; RETURN NULL; END$$; "
                   "CREATE TRIGGER a_first AFTER INSERT ON products FOR EACH ROW EXECUTE FUNCTION improve()")
        db.execute("INSERT INTO products SELECT n, 'p' || n FROM generate_series(1, 5) n")
        assert newest(db) == table(db) and newest(db)["1"]["name"] == "P1"

    def test_a_policy_that_comes_later(self, db: Database) -> None:
        """What it hides is not deleted: the write fails, and says why."""
        db.execute("DROP ROLE IF EXISTS merchant; CREATE ROLE merchant LOGIN; INSERT INTO products VALUES (1, 'p')")
        try:
            db.execute("GRANT ALL ON outbox TO merchant; ALTER TABLE products OWNER TO merchant")
            for (function,) in db.execute("SELECT oid::regprocedure::text FROM pg_proc WHERE obj_description(oid, 'pg_proc') LIKE '{\"outboxd\"%%'"):
                db.execute(f"ALTER FUNCTION {function} OWNER TO merchant")
            db.execute("ALTER TABLE products ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY; "
                       "CREATE POLICY few ON products USING (current_setting('shop.tenant', true) = 'mine') WITH CHECK (true)")
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
                db.execute("UPDATE products SET name = 'q'")
            assert newest(db)["1"] is not None
        finally:
            db.execute("DROP OWNED BY merchant CASCADE; DROP ROLE merchant")

    def test_a_merge_that_gives_a_key_away(self, db: Database) -> None:
        db.execute("INSERT INTO products VALUES (5, 'old', 1), (6, 'mover', 1)")
        db.execute("ALTER TABLE products DROP CONSTRAINT products_pkey; CREATE INDEX ON products (id)")
        db.execute("MERGE INTO products p USING (VALUES (5), (6)) AS v(id) ON p.id = v.id "
                   "WHEN MATCHED AND v.id = 5 THEN DELETE WHEN MATCHED THEN UPDATE SET id = 5")
        assert newest(db) == table(db) and newest(db)["5"]["name"] == "mover"

    def test_two_cascades_on_one_row(self, db: Database, cli: Outboxd, always: list[str]) -> None:
        db.execute("CREATE TABLE users (id int PRIMARY KEY); INSERT INTO users VALUES (1), (2); "
                   "CREATE TABLE tasks (id int PRIMARY KEY, assignee int REFERENCES users ON DELETE SET NULL, "
                   "reviewer int REFERENCES users ON DELETE SET NULL)")
        track(cli, "tasks", "--index", "tasks", *always)
        db.execute("INSERT INTO tasks SELECT n, 1, 1 FROM generate_series(1, 200) n; DELETE FROM users WHERE id = 1")
        assert newest(db, "tasks") == table(db, rows="tasks t")

    def test_columns_that_are_no_more(self, db: Database, cli: Outboxd, always: list[str]) -> None:
        db.execute("CREATE TABLE notes (gone int, t text, id int PRIMARY KEY, parents text, r json, v text); "
                   "ALTER TABLE notes DROP COLUMN gone")
        track(cli, "notes", "--index", "notes", "--columns", "v,t", "--when", "parents IS NULL", *always)
        track(cli, "notes", "--index", "whole", *always)
        db.execute("INSERT INTO notes VALUES ('t', 1, NULL, '{}', 'v'); UPDATE notes SET v = 'w'; "
                   "ALTER TABLE notes DROP COLUMN parents, ADD COLUMN later int DEFAULT 3")
        track(cli, "notes", "--index", "notes", "--remove")
        db.execute("UPDATE notes SET id = 2, later = 4")
        assert newest(db, "whole") == table(db, rows="notes t")
        assert newest(db, "notes") == {"1": {"id": 1, "t": "t", "v": "w"}}

    def test_an_id_that_is_written_another_way(self, db: Database, cli: Outboxd, always: list[str]) -> None:
        db.execute("CREATE TABLE prices (id numeric PRIMARY KEY)")
        track(cli, "prices", "--index", "prices", *always)
        db.execute("INSERT INTO prices VALUES (1.0); UPDATE prices SET id = 1.00")
        assert set(newest(db, "prices")) == {"1.00"}

    def test_a_statement_that_is_rolled_back(self, db: Database) -> None:
        with db.connect() as connection:
            connection.execute("BEGIN")
            connection.execute("INSERT INTO products VALUES (1, 'x')")
            connection.execute("SAVEPOINT s")
            connection.execute("INSERT INTO products VALUES (2, 'x')")
            connection.execute("ROLLBACK TO s")
            connection.execute("COMMIT")
        assert newest(db) == table(db) and set(newest(db)) == {"1"}

    def test_truncate_is_refused(self, db: Database) -> None:
        db.execute("INSERT INTO products VALUES (1, 'x')")
        with pytest.raises(psycopg.errors.RaiseException, match="products is tracked by outboxd") as refused:
            db.execute("TRUNCATE products")
        assert "--truncate delete" in (refused.value.diag.message_hint or "")
        assert newest(db) == table(db) != {}

    def test_who_may_not_write_the_outbox_may_change_the_table(self, db: Database) -> None:
        function = db.value("SELECT 'public.' || oid::regprocedure FROM pg_proc WHERE proname ~ '_track_'")
        db.execute("DROP ROLE IF EXISTS tracked_app; CREATE ROLE tracked_app LOGIN; GRANT ALL ON products TO tracked_app")
        try:
            with db.connect() as connection:
                connection.execute("SET ROLE tracked_app")
                # It would catch the events, if names were looked up as this session does.
                connection.execute("CREATE TEMP TABLE outbox (event text, aggregate_type text, aggregate_id text, data jsonb); "
                                   "CREATE TEMP TABLE products (id bigint)")
                connection.execute("INSERT INTO public.products VALUES (1, 'x')")
                connection.execute("UPDATE public.products SET name = 'y'")
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute("CREATE TRIGGER mine AFTER INSERT ON products FOR EACH ROW "
                                       f"EXECUTE FUNCTION {function}")
            assert newest(db) == table(db) != {}
        finally:
            db.execute("DROP OWNED BY tracked_app; DROP ROLE tracked_app")


@BOTH
def test_only_some_columns(db: Database, cli: Outboxd, always: list[str]) -> None:
    track(cli, "products", "--index", "products", "--columns", "name, price", *always)
    db.execute("INSERT INTO products VALUES (1, 'lamp', 10.50)")
    assert events(db) == [("insert", "products", "1", {"id": 1, "name": "lamp", "price": 10.5})]
    db.execute("UPDATE products SET on_sale = false")
    assert events(db) == []
    db.execute("UPDATE products SET on_sale = true, name = 'torch'")
    assert events(db) == [("update", "products", "1", {"id": 1, "name": "torch", "price": 10.5})]


@BOTH
def test_only_some_rows(db: Database, cli: Outboxd, always: list[str]) -> None:
    """What comes to fulfil the condition comes into the index, what ceases to leaves it, whatever made it so."""
    db.execute("CREATE TABLE shops (closed boolean); INSERT INTO shops VALUES (false)")
    condition = "t.on_sale AND t.name <> 'secret' AND NOT (SELECT closed FROM public.shops)"
    track(cli, "products", "--index", "products", "--when", condition, *always)

    def truth() -> dict[str, Any]:
        return table(db, rows=f"products t WHERE {condition}")

    db.execute("INSERT INTO products VALUES (1, 'lamp', 1, false), (2, 'torch', 1, true), (3, NULL, 1, true)")
    assert [(event, id) for event, _, id, _ in events(db)] == [("insert", "2")]
    for statement in ("UPDATE products SET price = 2", "UPDATE products SET on_sale = NOT on_sale", "UPDATE products SET id = id + 10",
                      "DELETE FROM products WHERE id = 11", "INSERT INTO products VALUES (20, 'x')",
                      "UPDATE shops SET closed = true", "DELETE FROM products"):
        db.execute(statement)
        assert newest(db) == truth() or "shops" in statement, statement
    assert newest(db) == {}


def test_truncate_as_deletes(db: Database, cli: Outboxd) -> None:
    track(cli, "products", "--index", "products", "--truncate", "delete")
    db.execute("INSERT INTO products SELECT n FROM generate_series(1, 100) n")
    db.execute("TRUNCATE products")
    assert newest(db) == {} and db.value("SELECT count(*) FROM outbox WHERE event = 'truncate'") == 100


def test_partitions(db: Database, cli: Outboxd) -> None:
    """Also written directly, with columns in another order, attached later, and moved from one to another."""
    db.execute("CREATE TABLE sales (id bigint, region text, amount numeric, PRIMARY KEY (id, region)) PARTITION BY LIST (region); "
               "CREATE TABLE sales_eu PARTITION OF sales FOR VALUES IN ('eu')")
    track(cli, "sales", "--index", "sales", "--key", "id")
    db.execute("CREATE TABLE sales_us (amount numeric, gone int, region text NOT NULL, id bigint NOT NULL); "
               "ALTER TABLE sales_us DROP COLUMN gone; ALTER TABLE sales ATTACH PARTITION sales_us FOR VALUES IN ('us')")
    db.execute("INSERT INTO sales SELECT n, CASE WHEN n % 2 = 0 THEN 'eu' ELSE 'us' END, n FROM generate_series(1, 20) n")
    db.execute("INSERT INTO sales_us (id, region, amount) VALUES (100, 'us', 5); UPDATE sales_us SET amount = 6 WHERE id = 100")
    db.execute("UPDATE sales SET region = 'us' WHERE id IN (2, 4)")
    db.execute("DELETE FROM sales_us WHERE id = 1")
    assert newest(db, "sales") == table(db, rows="sales t")


class TestTouches:
    """A document of three tables."""

    @pytest.fixture(params=[[], ["--always"]], ids=["statement", "row"])
    def shop(self, db: Database, cli: Outboxd, request: pytest.FixtureRequest) -> None:
        db.execute("CREATE TABLE variants (sku text PRIMARY KEY, product bigint REFERENCES products ON DELETE CASCADE ON UPDATE CASCADE, "
                   "price numeric); CREATE TABLE reviews (id bigserial, product bigint REFERENCES products ON DELETE CASCADE "
                   "ON UPDATE CASCADE, stars int)")
        db.execute("CREATE VIEW product_documents AS SELECT p.id, jsonb_build_object('name', p.name, "
                   "'variants', (SELECT jsonb_agg(to_jsonb(v) ORDER BY v.sku) FROM variants v WHERE v.product = p.id), "
                   "'stars', (SELECT array_agg(stars ORDER BY r.id) FROM reviews r WHERE r.product = p.id)) AS document FROM products p")
        track(cli, "products", "--index", "products", "--document", "product_documents",
              "--touches", "variants.product,reviews.product", *request.param)

    def truth(self, db: Database) -> dict[str, Any]:
        return table(db, "t.document", "product_documents t")

    def test_children(self, db: Database, shop: None) -> None:
        db.execute("INSERT INTO products SELECT n, 'p' || n FROM generate_series(1, 10) n")
        db.execute("INSERT INTO variants SELECT 'v' || n, n % 10 + 1, n FROM generate_series(1, 50) n")
        db.execute("INSERT INTO reviews (product, stars) SELECT n % 10 + 1, n % 5 FROM generate_series(1, 30) n")
        assert newest(db) == self.truth(db)
        events(db)
        db.execute("UPDATE variants SET product = 2 WHERE sku = 'v10'")
        assert [(event, id) for event, _, id, _ in events(db)] == [("touch", "1"), ("touch", "2")]
        db.execute("INSERT INTO reviews (product, stars) VALUES (NULL, 1)")
        assert events(db) == []

    def test_cascades(self, db: Database, shop: None) -> None:
        db.execute("INSERT INTO products SELECT n, 'p' || n FROM generate_series(1, 10) n")
        db.execute("INSERT INTO variants SELECT 'v' || n, n % 10 + 1, n FROM generate_series(1, 50) n")
        db.execute("UPDATE products SET id = id + 100 WHERE id > 5")
        assert newest(db) == self.truth(db)
        db.execute("DELETE FROM products WHERE id IN (1, 2, 106)")
        assert newest(db) == self.truth(db)

    def test_writers_of_one_document_wait_for_each_other(self, db: Database, shop: None) -> None:
        """Without it both would write a document that lacks what the other one added."""
        db.execute("INSERT INTO products VALUES (1, 'x')")
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        with db.connect() as first:
            first.execute("BEGIN")
            first.execute("INSERT INTO variants VALUES ('a', 1, 1)")
            second = threading.Thread(target=lambda: db.execute("INSERT INTO reviews (product, stars) VALUES (1, 5)"))
            second.start()
            wait_until(lambda: db.value(waiting) == 1, 20, "the second one to wait")
            first.execute("COMMIT")
            second.join()
        assert newest(db) == self.truth(db)

    def test_random_writers(self, db: Database, shop: None) -> None:
        db.execute("INSERT INTO products SELECT n, 'p' || n FROM generate_series(1, 20) n")
        failures: list[BaseException] = []

        def write(seed: int) -> None:
            dice = random.Random(seed)
            statements: list[Callable[[int, int], str]] = [
                lambda a, b: f"UPDATE products SET name = name || '{a}' WHERE id IN ({a}, {b})",
                lambda a, b: f"UPDATE products SET id = {b} + 1000 * {seed + 1} WHERE id = {a}",
                lambda a, b: f"DELETE FROM products WHERE id = {a}",
                lambda a, b: f"INSERT INTO products VALUES ({a}, 'new') ON CONFLICT (id) DO UPDATE SET name = 'upserted'",
                lambda a, b: f"INSERT INTO variants SELECT 'w{seed}-' || random(), id, 1 FROM products WHERE id IN ({a}, {b})",
                lambda a, b: f"UPDATE variants SET price = price + 1 WHERE product IN ({a}, {b})",
                lambda a, b: f"DELETE FROM reviews WHERE product = {a}",
                lambda a, b: f"INSERT INTO reviews (product, stars) SELECT id, 1 FROM products WHERE id IN ({a}, {b})",
            ]
            with db.connect() as connection:
                for _ in range(150):
                    try:
                        connection.execute("BEGIN")
                        for _ in range(dice.randint(1, 3)):
                            connection.execute(dice.choice(statements)(dice.randint(1, 20), dice.randint(1, 20)))  # type: ignore[call-overload]
                        connection.execute(dice.choice(["COMMIT", "COMMIT", "ROLLBACK"]))
                    except (psycopg.errors.DeadlockDetected, psycopg.errors.IntegrityError):
                        connection.execute("ROLLBACK")
                    except BaseException as error:
                        failures.append(error)
                        raise

        writers = [threading.Thread(target=write, args=[seed]) for seed in range(4)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        assert not failures
        assert newest(db) == self.truth(db)

    def test_truncated_children(self, db: Database, cli: Outboxd, shop: None) -> None:
        db.execute("INSERT INTO products VALUES (1, 'x'); INSERT INTO variants VALUES ('a', 1, 1)")
        with pytest.raises(psycopg.errors.RaiseException, match="variants is tracked by outboxd"):
            db.execute("TRUNCATE variants")
        track(cli, "products", "--index", "products", "--document", "product_documents", "--touches", "variants.product",
              "--truncate", "delete")
        db.execute("TRUNCATE variants")
        assert newest(db) == self.truth(db) and newest(db)["1"]["variants"] is None


def test_children_without_a_foreign_key_are_said(db: Database, cli: Outboxd) -> None:
    db.execute("CREATE TABLE variants (sku text, product bigint)")
    done = track(cli, "products", "--index", "products", "--touches", "variants.product")
    assert "public.variants has no foreign key on product" in done.stdout
    db.execute("INSERT INTO variants VALUES ('a', 1)")
    assert events(db) == [], "there is no such product"
    db.execute("INSERT INTO products VALUES (1)")
    db.execute("UPDATE variants SET sku = 'b'")
    assert [event for event, *_ in events(db)] == ["insert", "touch"]


class TestCommand:
    def test_twice_is_once(self, db: Database, cli: Outboxd) -> None:
        for _ in range(2):
            track(cli, "products", "--index", "products")
        db.execute("INSERT INTO products VALUES (1)")
        assert len(events(db)) == 1

    def test_two_indexes_and_the_list(self, db: Database, cli: Outboxd) -> None:
        track(cli, "products", "--index", "products-1")
        track(cli, "public.products", "--index", "products_1", "--columns", "name", "--when", "t.price > 0")
        listed = json.loads(cli.run("track", "--json").stdout)
        assert [(row["table"], row["index"], row["document"], row["when"], row["state"]) for row in listed] == [
            ("public.products", "products-1", "the row", None, "on"),
            ("public.products", "products_1", "name", "t.price > 0", "on")]
        db.execute("INSERT INTO products VALUES (1, 'x', 1)")
        assert sorted(index for _, index, _, _ in events(db)) == ["products-1", "products_1"]
        track(cli, "products", "--index", "products-1", "--remove")
        db.execute("UPDATE products SET price = 2, name = 'y'")
        assert [index for _, index, _, _ in events(db)] == ["products_1"]
        track(cli, "products", "--remove")
        db.execute("DELETE FROM products")
        assert events(db) == [] and cli.run("track").stdout == "no table is tracked\n"
        assert not db.value("SELECT count(*) FROM pg_proc WHERE proname ~ '_track_'")

    def test_strange_names(self, db: Database, cli: Outboxd) -> None:
        db.execute('CREATE SCHEMA "My Shop"; CREATE TABLE "My Shop"."It\'s ""odd""" ("The Key" text PRIMARY KEY, "B c" int)')
        long = "i" * 200
        track(cli, '"My Shop"."It\'s ""odd"""', "--index", long, "--columns", "B c", "--when", "t.\"B c\" > 0 AND '{table}' <> ''")
        db.execute('INSERT INTO "My Shop"."It\'s ""odd""" VALUES (\'k\', 1), (\'l\', 0)')
        assert events(db) == [("insert", long, "k", {"The Key": "k", "B c": 1})]
        track(cli, '"My Shop"."It\'s ""odd"""', "--remove")

    def test_print_changes_nothing(self, db: Database, cli: Outboxd) -> None:
        text = track(cli, "products", "--index", "products", "--print").stdout
        assert cli.run("track").stdout == "no table is tracked\n"
        db.execute(text)  # type: ignore[arg-type]
        db.execute("INSERT INTO products VALUES (1)")
        assert len(events(db)) == 1

    def test_print_of_a_removal_removes_nothing(self, db: Database, cli: Outboxd) -> None:
        track(cli, "products", "--index", "products")
        assert "DROP FUNCTION IF EXISTS" in track(cli, "products", "--remove", "--print").stdout
        db.execute("INSERT INTO products VALUES (1)")
        assert len(events(db)) == 1

    def test_names_that_run_together(self, db: Database, cli: Outboxd) -> None:
        db.execute("CREATE TABLE products_archive (id int PRIMARY KEY)")
        track(cli, "products_archive", "--index", "products")
        track(cli, "products", "--index", "archive_products")
        db.execute("INSERT INTO products_archive VALUES (7); INSERT INTO products VALUES (8)")
        assert [(index, id) for _, index, id, _ in events(db)] == [("products", "7"), ("archive_products", "8")]

    def test_an_outbox_with_a_long_name(self, db: Database, outboxd: OutboxdFactory) -> None:
        cli = outboxd(outbox_table='"Application Event Outbox, of the Messages"')
        init(cli)
        db.execute(PRODUCTS)
        for _ in range(2):
            track(cli, "products", "--index", "products")
        assert len(json.loads(cli.run("track", "--json").stdout)) == 1
        track(cli, "products", "--remove")
        assert cli.run("track").stdout == "no table is tracked\n"

    def test_a_dropped_table_leaves_something_to_remove(self, db: Database, cli: Outboxd) -> None:
        track(cli, "products", "--index", "products")
        db.execute("DROP TABLE products")
        assert json.loads(cli.run("track", "--json").stdout)[0]["state"] == "no trigger left"
        track(cli, "public.products", "--remove")
        assert cli.run("track", "--json").stdout == "[]\n"

    def test_what_somebody_disabled_is_said(self, db: Database, cli: Outboxd) -> None:
        track(cli, "products", "--index", "products")
        db.execute("ALTER TABLE products DISABLE TRIGGER USER")
        assert json.loads(cli.run("track", "--json").stdout)[0]["state"] == "disabled"
        db.execute("CREATE TABLE variants (product bigint REFERENCES products)")
        track(cli, "products", "--index", "products", "--touches", "variants.product")
        db.execute("ALTER TABLE variants DISABLE TRIGGER USER")
        assert json.loads(cli.run("track", "--json").stdout)[0]["state"] == "disabled"

    @pytest.mark.parametrize("words,exit_code,said", [
        (["nothing", "--index", "x"], 78, "there is no table nothing"),
        (["products"], 64, "name its index"),
        (["--remove"], 64, "name the table"),
        (["products", "--remove"], 78, "it is not tracked"),
        (["outbox", "--index", "x"], 78, "is the outbox itself"),
        (["pairs", "--index", "x"], 78, "name a unique column"),
        (["pairs", "--index", "x", "--key", "a"], 78, 'nothing keeps "a" of pairs unique'),
        (["late", "--index", "x", "--key", "a"], 78, 'nothing keeps "a" of late unique at once'),
        (["products", "--index", "x", "--key", "nokey"], 78, 'no column "nokey" (--key)'),
        (["products", "--index", "x", "--columns", "name,nocolumn"], 78, 'no column "nocolumn" (--columns)'),
        (["products", "--index", "X"], 78, "takes no index of the name"),
        (["products", "--index", "x", "--document", "noview"], 78, "there is no view noview"),
        (["products", "--index", "x", "--document", "keyless"], 78, 'has no column "id"'),
        (["keyless", "--index", "x"], 78, "is no table; a view can be the document"),
        (["part", "--index", "x"], 78, "is a partition: track its parent"),
        (["parent", "--index", "x"], 78, "triggers do not follow"),
        (["products", "--index", "x", "--touches", "pairs"], 78, "write TABLE.COLUMN"),
        (["products", "--index", "x", "--touches", "pairs.c"], 78, 'pairs has no column "c" (--touches)'),
        (["products", "--index", "x", "--touches", "nowhere.c"], 78, "there is no table nowhere (--touches)"),
        (["products", "--index", "x", "--truncate", "maybe"], 64, "none of refuse, delete, query"),
        (["products", "--index", "x", "--touches", "outbox.id"], 78, "is the outbox itself (--touches)"),
        (["products", "--index", "x", "--document", "stale"], 78, "is a materialized view"),
        (["products", "--index", "x", "--document", "texts"], 78, "operator does not exist"),
        (["loose", "--index", "x", "--key", "sku"], 78, "may be NULL"),
        (["days", "--index", "x"], 78, "which sessions print differently"),
        (["wide", "--index", "x", "--columns", ",".join(f"c{n}" for n in range(60))], 78, "100 arguments"),
    ])
    def test_a_mistake_is_said_and_changes_nothing(self, db: Database, cli: Outboxd, words: list[str], exit_code: int,
                                                   said: str) -> None:
        db.execute("CREATE TABLE pairs (a int, b int, PRIMARY KEY (a, b)); CREATE VIEW keyless AS SELECT 1 AS x; "
                   "CREATE TABLE late (a int UNIQUE DEFERRABLE); CREATE TABLE whole (id int PRIMARY KEY) PARTITION BY RANGE (id); "
                   "CREATE TABLE part PARTITION OF whole DEFAULT; CREATE TABLE parent (id int PRIMARY KEY); "
                   "CREATE TABLE heir () INHERITS (parent); CREATE MATERIALIZED VIEW stale AS SELECT 1 AS id; "
                   "CREATE VIEW texts AS SELECT 'x'::text AS id; CREATE TABLE loose (sku text UNIQUE); "
                   "CREATE TABLE days (day date PRIMARY KEY); "
                   f"CREATE TABLE wide (id int PRIMARY KEY, {', '.join(f'c{n} int' for n in range(60))})")
        done = cli.run("track", *words)
        assert (done.exit_code, said in done.stderr) == (exit_code, True), done.stderr
        assert not db.value("SELECT count(*) FROM pg_proc WHERE proname ~ '_track_'")

    @pytest.mark.parametrize("words", [["--when", "t.nocolumn"], ["--when", "syntax error here ("]])
    def test_a_condition_that_is_none_is_refused_at_once(self, db: Database, cli: Outboxd, words: list[str]) -> None:
        done = cli.run("track", "products", "--index", "x", *words)
        assert done.exit_code == 78 and "--when" in done.stderr
        db.execute("INSERT INTO products VALUES (1)")

    def test_before_init(self, db: Database, outboxd: OutboxdFactory) -> None:
        done = outboxd().run("track", "products", "--index", "x")
        assert done.exit_code == 78 and "run `outboxd init`" in done.stderr

    def test_another_preset_is_refused(self, cli: Outboxd) -> None:
        done = cli.run("track", "products", "--index", "x", "--outbox-preset", "events")
        assert done.exit_code == 78 and "outbox.preset" in done.stderr


def test_a_subscription_applies_it_too(db: Database, cli: Outboxd) -> None:
    track(cli, "products", "--index", "products", "--always")
    with db.connect() as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute("INSERT INTO products VALUES (1, 'x')")
    assert newest(db) == table(db) != {}
