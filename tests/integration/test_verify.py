"""`outboxd verify`: what differs is found, all of it and nothing else, also while both sides change."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from conftest import OutboxdFactory
from helpers import PRODUCTS, drain, init

from harness import Completed, Database, Elastic, FaultProxy, Outboxd, wait_until

DIFFERENCES = ("missing", "stale", "extra")
NONE = dict.fromkeys(DIFFERENCES, 0)


@pytest.fixture
def shop(db: Database, outboxd: OutboxdFactory, elastic: Elastic) -> Iterator[Outboxd]:
    """100 products, tracked, delivered."""
    elastic.ensure_running()
    elastic.delete_index("products")
    daemon = outboxd()
    init(daemon)
    db.execute(PRODUCTS)
    assert daemon.run("track", "products", "--index", "products").exit_code == 0
    stock(db, 100)
    drain(daemon)
    yield daemon
    elastic.delete_index("products")


def stock(db: Database, rows: int) -> None:
    db.execute("INSERT INTO products SELECT n, 'product ' || n, n + 0.10 FROM generate_series(1, %s) n", [rows])


def verify(daemon: Outboxd, *words: str, expect: int | None = None, table: str = "products") -> dict[str, Any]:
    done = daemon.run("verify", table, "--json", *words, timeout=120)
    assert done.stdout, done.stderr
    said = dict(json.loads(done.stdout))
    differs = sum(said[name] for name in DIFFERENCES) - said["repaired"]
    assert done.exit_code == (expect if expect is not None else 65 if differs else 0), done.stderr
    return said


def found(said: dict[str, Any]) -> dict[str, str]:
    return {sample["id"]: sample["difference"] for sample in said["samples"]}


def counts(said: dict[str, Any]) -> dict[str, int]:
    return {name: said[name] for name in DIFFERENCES}


def behind_the_back(db: Database, statement: str) -> None:
    """No trigger fires."""
    with db.connect() as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute(statement)


def put(elastic: Elastic, id: str, document: str, **parameters: Any) -> None:
    query = "&".join(f"{name}={value}" for name, value in parameters.items())
    elastic.call("PUT", f"/products/_doc/{id}?{query}", document)


def repair_beside(daemon: Outboxd, db: Database, statement: str, patience: str) -> None:
    """A repair that must wait for an open transaction which did this; then everything is delivered."""
    with db.connect() as connection:
        connection.autocommit = False
        connection.execute(statement)
        daemon.begin("verify", "products", "--repair", "--json", "--timeout", patience)
        time.sleep(2)
        assert db.value("SELECT count(*) FROM outbox WHERE event = 'repair'") == 0
        connection.commit()
    assert daemon.wait(timeout=90).exit_code in (0, 75)
    drain(daemon)


class TestWhatIsFound:
    def test_no_difference(self, shop: Outboxd) -> None:
        said = verify(shop)
        assert counts(said) == NONE and (said["rows"], said["documents"], said["ids"], said["waiting"]) == (100, 100, 100, 0)
        done = shop.run("verify", "products")
        assert done.exit_code == 0 and "100 rows of public.products, 100 documents" in done.stdout and "no difference" in done.stdout

    def test_every_kind_exactly_and_repaired_exactly(self, shop: Outboxd, db: Database, elastic: Elastic) -> None:
        elastic.call("DELETE", "/products/_doc/1")
        put(elastic, "2", '{"id":2,"name":"changed","price":2.10,"on_sale":true}')
        put(elastic, "3", '{"id":3,"name":"product 3","price":3.11,"on_sale":true}')
        put(elastic, "4", '{"id":4,"name":"product 4","price":4.10}')
        put(elastic, "999", '{"id":999,"name":"nobody"}')
        put(elastic, "abc", '{"name":"no number"}')
        put(elastic, "007", '{"name":"a number, but none that is printed so"}')
        put(elastic, "99999999999999999999", '{"name":"too large"}')
        behind_the_back(db, "UPDATE products SET price = 0 WHERE id = 5; DELETE FROM products WHERE id = 6; "
                            "INSERT INTO products VALUES (101, 'unknown'); UPDATE products SET id = 102 WHERE id = 7")
        want = {"1": "missing", "2": "stale", "3": "stale", "4": "stale", "5": "stale", "6": "extra", "7": "extra", "101": "missing",
                "102": "missing", "999": "extra", "abc": "extra", "007": "extra", "99999999999999999999": "extra"}
        said = verify(shop, expect=65)
        assert found(said) == want and counts(said) == {"missing": 3, "stale": 4, "extra": 6}

        said = verify(shop, "--repair", expect=0)
        assert found(said) == want and said["repaired"] == len(want)
        assert dict(db.execute("SELECT aggregate_id, event FROM outbox WHERE NOT processed")) == dict.fromkeys(want, "repair")
        drain(shop)
        assert counts(verify(shop)) == NONE

    def test_only_content_counts(self, shop: Outboxd, elastic: Elastic) -> None:
        put(elastic, "1", '{ "on_sale": true, "price": 1.1e0,\n"name": "product 1", "id": 1.0 }')
        assert counts(verify(shop)) == NONE

    def test_more_ids_than_a_page_has(self, shop: Outboxd, db: Database, elastic: Elastic) -> None:
        db.execute("INSERT INTO products SELECT n, 'product ' || n FROM generate_series(101, 6000) n")
        assert shop.run_once(timeout=120).exit_code == 0
        put(elastic, "999999", '{"id":999999}')
        said = verify(shop)
        assert found(said) == {"999999": "extra"} and (said["rows"], said["ids"]) == (6000, 6001)

    def test_numbers_are_exact(self, shop: Outboxd, db: Database, elastic: Elastic) -> None:
        db.execute("UPDATE products SET price = 12345678901234567890.0123456789 WHERE id IN (1, 2)")
        drain(shop)
        put(elastic, "2", '{"id":2,"name":"product 2","price":12345678901234567890.0123456788,"on_sale":true}')
        assert found(verify(shop)) == {"2": "stale"}

    def test_an_old_state_that_came_back(self, shop: Outboxd, db: Database, elastic: Elastic) -> None:
        db.execute("UPDATE products SET name = 'newer' WHERE id = 1")
        drain(shop)
        elastic.call("DELETE", "/products/_doc/1")
        put(elastic, "1", '{"id":1,"name":"product 1","price":1.10,"on_sale":true}')
        assert found(verify(shop)) == {"1": "stale"}

    def test_documents_from_a_view_and_rows_that_are_not_to_be_there(self, shop: Outboxd, db: Database, elastic: Elastic) -> None:
        db.execute("CREATE TABLE variants (sku text PRIMARY KEY, product bigint REFERENCES products); "
                   "CREATE VIEW shown AS SELECT p.id, jsonb_build_object('name', p.name, 'skus', (SELECT "
                   "coalesce(jsonb_agg(v.sku ORDER BY v.sku), '[]') FROM variants v WHERE v.product = p.id)) AS document FROM products p")
        shop.run("track", "products", "--remove")
        elastic.delete_index("products")
        assert shop.run("track", "products", "--index", "products", "--document", "shown", "--when", "t.on_sale",
                        "--touches", "variants.product").exit_code == 0
        db.execute("UPDATE products SET on_sale = id % 10 <> 0, name = name || '!'; INSERT INTO variants SELECT n || '-a', n FROM generate_series(1, 100) n")
        drain(shop)
        said = verify(shop)
        assert counts(said) == NONE and (said["documents"], said["ids"]) == (90, 90)
        put(elastic, "10", '{"name":"not on sale"}')
        behind_the_back(db, "DELETE FROM variants WHERE product = 11")
        said = verify(shop, "--repair", expect=0)
        assert found(said) == {"10": "extra", "11": "stale"}
        drain(shop)
        assert counts(verify(shop)) == NONE

    def test_an_index_that_is_not_there(self, shop: Outboxd, elastic: Elastic) -> None:
        elastic.delete_index("products")
        said = verify(shop)
        assert counts(said) == {"missing": 100, "stale": 0, "extra": 0} and len(said["samples"]) == 20
        assert "... and 80 more" in shop.run("verify", "products").stdout
        assert verify(shop, "--repair", expect=0)["repaired"] == 100
        drain(shop)
        assert counts(verify(shop)) == NONE

    @pytest.mark.parametrize("planted", ['{"id":1,"name":"nul \\u0000"}', '{"id":1,"price":1e400000}', '{"id":1,"a":' + "[" * 900 + "]" * 900 + "}"],
                             ids=["nul", "number", "deep"])
    def test_what_jsonb_cannot_hold(self, shop: Outboxd, elastic: Elastic, planted: str) -> None:
        elastic.delete_index("products")
        elastic.create_index("products", {"enabled": False})
        verify(shop, "--repair", expect=0)
        drain(shop)
        put(elastic, "1", planted)
        assert found(verify(shop)) == {"1": "stale"}

    def test_tombstones_are_no_documents(self, db: Database, outboxd: OutboxdFactory, shop: Outboxd, elastic: Elastic) -> None:
        daemon = outboxd(outbox_deletes="tombstone")
        db.execute("DELETE FROM products WHERE id <= 10")
        drain(daemon)
        assert elastic.get("products", "1") is not None
        said = verify(daemon)
        assert counts(said) == NONE and (said["rows"], said["ids"]) == (90, 100)
        put(elastic, "11", '{"deleted":true}')
        assert found(verify(daemon)) == {"11": "missing"}

    @pytest.mark.parametrize(("columns", "keys"), [
        ("id text PRIMARY KEY", "'k''\"\\,{} ' || n"),
        ("id uuid PRIMARY KEY", "md5(n::text)::uuid"),
        ("id numeric(10,2) PRIMARY KEY", "n / 4.0"),
        ("id bigint PRIMARY KEY", "9223372036854775807 - n"),
        ("id bpchar(12) PRIMARY KEY", "'k' || n"),
        ("id name_of_thing PRIMARY KEY", "'k' || n"),
        ("id inet PRIMARY KEY", "'10.0.0.0'::inet + n"),
    ], ids=["text", "uuid", "numeric", "large", "char", "domain", "inet"])
    def test_keys_of_any_type(self, shop: Outboxd, db: Database, elastic: Elastic, columns: str, keys: str) -> None:
        elastic.delete_index("things")
        db.execute("CREATE DOMAIN name_of_thing AS text CHECK (VALUE ~ '^k')")
        db.execute(f"CREATE TABLE things ({columns}, n int)")
        assert shop.run("track", "things", "--index", "things").exit_code == 0
        db.execute(f"INSERT INTO things SELECT {keys}, n FROM generate_series(1, 300) n")
        drain(shop)
        assert counts(verify(shop, table="things")) == NONE
        elastic.call("PUT", "/things/_doc/no%20key%20at%20all", '{"n":1}')
        tells = "inet" not in columns or db.server.version >= 16
        behind_the_back(db, "UPDATE things SET n = 0 WHERE n = 5; DELETE FROM things WHERE n = 6")
        said = verify(shop, "--repair", table="things", expect=0)
        assert counts(said) == {"missing": 0, "stale": 1, "extra": 2 if tells else 0}
        drain(shop)
        assert counts(verify(shop, table="things")) == NONE
        elastic.delete_index("things")


class TestWhileItChanges:
    def test_events_that_wait_are_no_differences(self, shop: Outboxd, db: Database) -> None:
        db.execute("UPDATE products SET price = 0")
        db.execute("DELETE FROM products WHERE id <= 10")
        db.execute("INSERT INTO products VALUES (101, 'new')")
        said = verify(shop, "--timeout", "1s", expect=75)
        assert counts(said) == NONE and said["waiting"] == 101
        drain(shop)
        assert counts(verify(shop)) == NONE

    def test_a_difference_whose_event_waits_elsewhere(self, shop: Outboxd, db: Database, elastic: Elastic) -> None:
        """Pending events of one document say nothing of another."""
        db.execute("UPDATE products SET price = 0 WHERE id = 1")
        elastic.call("DELETE", "/products/_doc/2")
        said = verify(shop, "--timeout", "1s", expect=65)
        assert found(said) == {"2": "missing"} and said["waiting"] == 1

    @pytest.mark.time_limit(300)
    def test_no_false_alarm_under_full_load(self, shop: Outboxd, db: Database, outboxd: OutboxdFactory) -> None:
        """Ten times, while all that can change changes; then the truth."""
        stock_more = "INSERT INTO products SELECT n, 'product ' || n, n FROM generate_series(101, 3000) n"
        db.execute(stock_more)
        stop, failed = threading.Event(), []

        def write(seed: int) -> None:
            rng = random.Random(seed)
            with db.connect() as connection:
                while not stop.wait(0.003):  # what one relay can deliver beside all this
                    id, other = rng.randint(1, 3200), rng.randint(1, 3200)
                    statement = rng.choice([
                        f"UPDATE products SET price = price + 1 WHERE id IN ({id}, {other})",
                        f"UPDATE products SET name = 'a' WHERE id = {id}", f"UPDATE products SET name = 'b' WHERE id = {id}",
                        f"DELETE FROM products WHERE id = {id}",
                        f"INSERT INTO products VALUES ({id}, 'new') ON CONFLICT (id) DO UPDATE SET name = 'again'",
                        f"UPDATE products SET id = {other + 10_000} WHERE id = {id}",
                    ])
                    try:
                        connection.execute(statement)
                    except (psycopg.errors.UniqueViolation, psycopg.errors.DeadlockDetected):
                        pass
                    except Exception as error:
                        failed.append(error)

        with outboxd(retention_keep="0"):
            writers = [threading.Thread(target=write, args=[seed]) for seed in range(3)]
            for writer in writers:
                writer.start()
            try:
                for _ in range(10):
                    said = verify(shop, expect=0)
                    assert counts(said) == NONE and said["waiting"] == 0, said
            finally:
                stop.set()
                for writer in writers:
                    writer.join()
            wait_until(lambda: db.value("SELECT count(*) FROM outbox WHERE NOT processed") == 0, 60, "delivery")
        assert failed == [] and counts(verify(shop)) == NONE

    def test_a_repair_and_a_writer(self, shop: Outboxd, db: Database, elastic: Elastic) -> None:
        """A row that another transaction holds is left until that ends; the others are mended meanwhile."""
        for id in (1, 2, 3):
            elastic.call("DELETE", f"/products/_doc/{id}")
        with db.connect() as connection:
            connection.autocommit = False
            connection.execute("UPDATE products SET name = 'newer' WHERE id = 2")
            shop.begin("verify", "products", "--repair", "--json", "--timeout", "5s")
            wait_until(lambda: db.value("SELECT count(*) FROM outbox WHERE event = 'repair'") == 2, 60, "repairs")
            connection.commit()
        shop_done = shop.wait(timeout=90)
        # Its own event is what mends the third.
        assert json.loads(shop_done.stdout)["repaired"] in (2, 3)
        drain(shop)
        assert counts(verify(shop)) == NONE

    def test_a_child_that_comes_while_its_parent_is_deleted_from_the_index(self, shop: Outboxd, db: Database, elastic: Elastic) -> None:
        """The parent is no document without children. A child's trigger has drawn its id, and is not committed."""
        db.execute("CREATE TABLE variants (sku text PRIMARY KEY, product bigint REFERENCES products); CREATE VIEW sold AS "
                   "SELECT p.id, p.name FROM products p WHERE EXISTS (SELECT FROM variants v WHERE v.product = p.id)")
        shop.run("track", "products", "--remove")
        elastic.delete_index("products")
        assert shop.run("track", "products", "--index", "products", "--document", "sold", "--touches", "variants.product").exit_code == 0
        put(elastic, "1", '{"id":1,"name":"product 1"}')
        repair_beside(shop, db, "INSERT INTO variants VALUES ('v', 1)", patience="20s")
        assert elastic.get("products", "1") is not None and counts(verify(shop)) == NONE

    def test_a_delete_and_an_insert_of_the_same_key(self, shop: Outboxd, db: Database, elastic: Elastic) -> None:
        """The row of an open transaction cannot be seen, and its event may have an older id: the repair waits for it."""
        put(elastic, "500", '{"name":"nobody"}')
        repair_beside(shop, db, "INSERT INTO products VALUES (500, 'somebody')", patience="5s")
        document = elastic.get("products", "500")
        assert document is not None and json.loads(document.source)["name"] == "somebody"


class TestServers:
    def test_elasticsearch_is_away_for_a_while(self, shop: Outboxd, outboxd: OutboxdFactory, elastic: Elastic) -> None:
        """Not for as long as a node takes to start: it waits no longer than a minute."""
        with FaultProxy(elastic.port) as proxy:
            proxy.refuse()
            daemon = outboxd(elasticsearch_url=proxy.url)
            daemon.begin("verify", "products", "--json")
            time.sleep(1)
            proxy.pass_all()
            assert daemon.wait(timeout=90).exit_code == 0

    @pytest.mark.parametrize("lock", ["LOCK TABLE products IN ACCESS EXCLUSIVE MODE", "SELECT pg_advisory_xact_lock(7)"], ids=["begins", "scans"])
    def test_postgresql_is_away(self, shop: Outboxd, db: Database, lock: str) -> None:
        db.execute("CREATE VIEW shelf AS SELECT *, pg_advisory_xact_lock_shared(7)::text AS waited FROM products")
        shop.run("track", "products", "--remove")
        with db.connect() as holder, holder.transaction():
            holder.execute(lock)  # type: ignore[arg-type]
            shop.begin("verify", "products", "--index", "products", "--document", "shelf")
            # It waits half a second for a lock: who looks too late finds it ended, which must be said no other way.
            wait_until(lambda: not shop.is_alive or db.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'outboxd' "
                "AND wait_event_type = 'Lock' AND datname = current_database()"), 30, "its waiting for a lock")
        done = shop.wait()
        assert done.exit_code == 75 and "products: " in done.stderr and "--document" not in done.stderr

    def test_a_clean_table_is_asked_for_once(self, shop: Outboxd, elastic: Elastic) -> None:
        """Whatever is found by looks alone costs hundreds of times as much."""
        def gets() -> int:
            stats = elastic.call("GET", "/products/_stats/get")
            return int(stats["_all"]["total"]["get"]["total"])

        before = gets()
        verify(shop)
        assert gets() - before == 100

    def test_no_search_is_left_open(self, shop: Outboxd, elastic: Elastic) -> None:
        verify(shop)
        stats = elastic.call("GET", "/_nodes/stats/indices/search")
        assert all(node["indices"]["search"]["open_contexts"] == 0 for node in stats["nodes"].values())


class TestChoices:
    def test_a_sample(self, shop: Outboxd, db: Database, elastic: Elastic) -> None:
        db.execute("INSERT INTO products SELECT n, 'product ' || n, n FROM generate_series(101, 2000) n")
        assert shop.run_once(timeout=120).exit_code == 0
        said = verify(shop, "--sample", "10%")
        assert 100 < said["rows"] < 300
        elastic.delete_index("products")
        said = verify(shop, "--sample", "10%")
        assert said["missing"] == said["rows"]

    def test_fields_that_do_not_count(self, shop: Outboxd, elastic: Elastic) -> None:
        put(elastic, "1", '{"id":1,"name":"product 1","price":1.10,"on_sale":true,"seen":17}')
        put(elastic, "2", '{"id":2,"name":"other","price":2.10,"on_sale":true}')
        assert found(verify(shop)) == {"1": "stale", "2": "stale"}
        assert found(verify(shop, "--except", "seen")) == {"2": "stale"}
        assert found(verify(shop, "--except", "seen,name")) == {}

    def test_a_rate(self, shop: Outboxd) -> None:
        started = time.monotonic()
        verify(shop, "--rate", "100")
        assert time.monotonic() - started > 1.8  # 100 rows and 100 ids

    def test_a_table_that_is_not_tracked(self, shop: Outboxd, db: Database) -> None:
        shop.run("track", "products", "--remove")
        db.execute("UPDATE products SET price = 0 WHERE id = 1")
        assert found(verify(shop, "--index", "products")) == {"1": "stale"}

    def test_what_is_not_tracked_is_not_deleted(self, shop: Outboxd, db: Database, elastic: Elastic) -> None:
        shop.run("track", "products", "--remove")
        put(elastic, "somebody-elses", '{"id":1}')
        said = verify(shop, "--index", "products", "--repair", expect=65)
        assert found(said) == {"somebody-elses": "extra"} and said["repaired"] == 0
        assert "the table is not tracked" in shop.run("verify", "products", "--index", "products", "--repair").stdout

    def test_an_id_that_is_not_the_key(self, shop: Outboxd, db: Database, outboxd: OutboxdFactory, elastic: Elastic) -> None:
        daemon = outboxd(outbox_document_id="'p-' || o.aggregate_id")
        elastic.delete_index("products")
        verify(daemon, "--repair", expect=0)
        drain(daemon)
        said = verify(daemon)
        assert counts(said) == NONE and said["ids"] == 0 and elastic.get("products", "p-1") is not None
        assert "not looked for" in daemon.run("verify", "products").stdout

    def test_a_document_that_is_never_the_same(self, shop: Outboxd, db: Database, outboxd: OutboxdFactory) -> None:
        daemon = outboxd(outbox_document="o.data || jsonb_build_object('at', clock_timestamp())")
        assert verify(daemon, "--timeout", "200ms", expect=75)["waiting"] == 100
        assert counts(verify(daemon, "--except", "at")) == NONE

    def test_rows_that_a_policy_hides(self, shop: Outboxd, db: Database, outboxd: OutboxdFactory) -> None:
        """They would be taken for deleted ones."""
        db.execute("DROP ROLE IF EXISTS verifier; CREATE ROLE verifier LOGIN; GRANT ALL ON products, outbox TO verifier; "
                   "ALTER TABLE products ENABLE ROW LEVEL SECURITY; CREATE POLICY few ON products USING (id < 10)")
        try:
            done = outboxd(postgres_dsn=db.dsn_with(user="verifier")).run("verify", "products", "--repair")
            assert done.exit_code == 78 and "row-level security" in done.stderr
        finally:
            db.execute("DROP OWNED BY verifier; DROP ROLE verifier")

    def test_an_index_of_two_tables(self, shop: Outboxd, db: Database) -> None:
        db.execute("CREATE TABLE services (id bigint PRIMARY KEY)")
        assert shop.run("track", "services", "--index", "products").exit_code == 0
        db.execute("INSERT INTO services VALUES (5001)")
        drain(shop)
        assert counts(verify(shop)) == NONE
        assert "the index has those of other tables, too" in shop.run("verify", "products").stdout

    @pytest.mark.parametrize(("words", "exit_code", "said"), [
        (["nowhere", "--index", "x"], 78, "there is no table nowhere"),
        (["products", "--sample", "0"], 64, "--sample"),
        (["products", "--sample", "some"], 64, "--sample"),
        (["products", "--outbox-preset", "events"], 78, "outbox.preset"),
    ])
    def test_a_mistake_is_said(self, shop: Outboxd, words: list[str], exit_code: int, said: str) -> None:
        done: Completed = shop.run("verify", *words)
        assert (done.exit_code, said in done.stderr) == (exit_code, True), done.stderr
