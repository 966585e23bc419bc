"""`outboxd reindex`: search sees all documents at any moment, and wherever it ends, the same command finishes it."""

from __future__ import annotations

import json
import random
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from conftest import OutboxdFactory
from helpers import PRODUCTS, dead, dump, init, publish, undelivered

from harness import Answer, Completed, Database, Elastic, Outboxd, ScriptedElastic, wait_until
from harness.scripted_elastic import Request

MAPPING = {"settings": {"number_of_replicas": 0}, "mappings": {"_meta": {"mine": 1}, "properties": {"name": {"type": "keyword"}}}}
INDEXES = ("products-1", "products-2", "products-3", "services-1")
MARK = {"reindex": "public.products", "alias": "products"}
TEMPLATE = "products-by-template"
ROWS = 2000
HELD = "SELECT count(*) FROM pg_locks WHERE relation = 'products'::regclass AND mode = 'ShareRowExclusiveLock' AND granted"
WAITED_FOR = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'transactionid'"
FILLED = "SELECT count(*) FROM outbox WHERE event = 'backfill'"


class Gate:
    """Before Elasticsearch, for one command or relay. `before` and `after` hear of each request, and may answer it themselves."""

    def __init__(self, elastic: Elastic) -> None:
        self.asked: list[str] = []
        self.targets: dict[str, str] = {}  # the last one of each name, with its query
        self.before: Callable[[str], Answer | None] = lambda _: None
        self.after: Callable[[str], Answer | None] = lambda _: None
        self._elastic = elastic
        self._server = ScriptedElastic(self._pass_on, other=self._pass_on)
        self.url = self._server.url
        self.close = self._server.close

    def once(self, when: str, wanted: str, act: Callable[[], Answer | None], nth: int = 1) -> None:
        """At one request of that name only."""

        def look(asked: str) -> Answer | None:
            return act() if asked == wanted and self.asked.count(wanted) == nth else None

        setattr(self, when, look)

    def _pass_on(self, request: Request) -> Answer:
        name = f"{request.method} {request.path}"
        self.asked.append(name)
        self.targets[name] = request.target
        if answer := self.before(name):
            return answer
        reply = self._elastic.request(request.method, request.target, request.body or None)
        return self.after(name) or Answer(status=reply.status, body=reply.body)


class Shop:
    def __init__(self, db: Database, elastic: Elastic, make: OutboxdFactory, mapping: Path) -> None:
        self.db, self.elastic, self.mapping, self.make = db, elastic, mapping, make
        self.relay = make(relay_poll_interval="50ms", retry_base="50ms", retry_cap="500ms")
        self.tool = make()
        self.gates: list[Gate] = []

    def words(self, *more: str, to: str = "products-2") -> list[str]:
        return ["reindex", "products", "--to", to, "--mapping", str(self.mapping), *more]

    def reindex(self, *more: str, to: str = "products-2", expect: int = 0) -> Completed:
        done = self.tool.run(*self.words(*more, to=to), timeout=90)
        assert done.exit_code == expect, done
        return done

    def abort(self, to: str = "products-2", expect: int = 0) -> Completed:
        done = self.tool.run("reindex", "products", "--to", to, "--abort", timeout=90)
        assert done.exit_code == expect, done
        return done

    def drop(self, expect: int = 0) -> Completed:
        done = self.tool.run("reindex", "products", "--drop")
        assert done.exit_code == expect, done
        return done

    def gated(self, **settings: Any) -> tuple[Outboxd, Gate]:
        """A command or relay of its own, and what it asks Elasticsearch."""
        gate = Gate(self.elastic)
        self.gates.append(gate)
        return self.make(elasticsearch_url=gate.url, **settings), gate

    def killed(self, when: str, wanted: str, *words: str, nth: int = 1) -> None:
        """A run that is killed before or after a request, which is not passed on or not answered."""
        tool, gate = self.gated()

        def kill() -> Answer:
            tool.kill9()
            return Answer(ending="close")

        gate.once(when, wanted, kill, nth)
        tool.begin(*(words or self.words()))
        assert tool.wait(90).exit_code == -signal.SIGKILL, gate.asked
        # Its sessions end at once, but not in the same moment.
        wait_until(lambda: self.db.value(HELD) == 0, 10, "the end of its transaction")

    def dying(self, index: str) -> int:
        """An event of an index that a relay is just sending: it is refused for good as soon as somebody waits for its row."""
        self.settle()
        self.relay.kill9()
        self.relay, gate = self.gated(relay_workers=1, relay_poll_interval="50ms")
        sent = threading.Event()

        def refuse() -> Answer:
            sent.set()
            wait_until(lambda: self.db.value(WAITED_FOR) > 0, 20, "somebody to wait for it")
            return Answer(items={0: (400, "refused", "by the old mapping")})

        gate.once("before", "POST /_bulk", refuse)
        id = publish(self.db, index, "5", {"id": 5})
        self.relay.start()
        wait_until(sent.is_set, 30, "the event to be sent")
        return id

    @contextmanager
    def open_writer(self, *words: str) -> Iterator[tuple[Outboxd, psycopg.Connection[Any]]]:
        """A run that waits for a transaction, which has changed the name of the first row, to end."""
        tool, gate = self.gated()
        with self.db.connect() as writer:

            def write() -> None:
                writer.execute("BEGIN; UPDATE products SET name = 'late' WHERE id = 1")

            gate.once("after", "POST /_mget", write)  # the triggers are there: they could not be made beside it
            tool.begin(*(words or self.words()))
            wait_until(lambda: "waits for open transactions" in tool.stderr, 60, "it to wait")
            yield tool, writer

    def behind(self, alias: str = "products") -> set[str]:
        reply = self.elastic.request("GET", f"/_alias/{alias}")
        return set(reply.json()) if reply.status == 200 else set()

    def alias(self, *actions: dict[str, Any]) -> None:
        self.elastic.call("POST", "/_aliases", {"actions": list(actions)})

    def exists(self, index: str) -> bool:
        return self.elastic.request("GET", f"/{index}").status == 200

    def settle(self) -> None:
        wait_until(lambda: undelivered(self.db) == 0, 60, "all to be delivered")

    def is_right(self) -> bool:
        self.settle()
        return self.tool.run("verify", "products", "--index", "products", timeout=90).exit_code == 0

    def tracked(self) -> set[str]:
        return {row["index"] for row in json.loads(self.tool.run("track", "--json").stdout)}

    def definitions(self) -> str:
        """All but where backfills stand, which the first one makes for good."""
        return dump(self.db, without="outbox_backfill", rows=False)

    def is_untouched(self) -> bool:
        return (self.behind(), self.tracked(), self.exists("products-2")) == ({"products-1"}, {"products"}, False)

    def is_finished(self) -> bool:
        state = (self.behind(), self.behind("products-replaced"), self.tracked())
        return state == ({"products-2"}, {"products-1"}, {"products"}) and self.is_right()


def on(index: str, alias: str = "products", **settings: Any) -> dict[str, Any]:
    return {"add": {"index": index, "alias": alias, **settings}}


def off(index: str, alias: str = "products") -> dict[str, Any]:
    return {"remove": {"index": index, "alias": alias}}


def add_variants(shop: Shop) -> None:
    """A document has the variants of its product, and is there while that is on sale."""
    shop.db.execute("CREATE TABLE variants (sku text PRIMARY KEY, product bigint NOT NULL REFERENCES products); CREATE VIEW sold AS "
                    "SELECT p.id, p.name, (SELECT array_agg(v.sku ORDER BY v.sku) FROM variants v WHERE v.product = p.id) AS skus "
                    "FROM products p")
    shop.db.execute("INSERT INTO variants SELECT 'v' || n, n FROM generate_series(1, 500) n")
    assert shop.tool.run("track", "products", "--index", "products", "--document", "sold", "--when", "t.on_sale",
                         "--touches", "variants.product").exit_code == 0
    shop.db.execute("UPDATE products SET name = name || '!', on_sale = id % 10 <> 0")
    shop.settle()


def forget_all(elastic: Elastic) -> None:
    elastic.request("DELETE", f"/_index_template/{TEMPLATE}")
    for index in INDEXES:
        elastic.delete_index(index)
    elastic.delete_index("products")


@pytest.fixture
def shop(db: Database, elastic: Elastic, outboxd: OutboxdFactory, tmp_path: Path) -> Iterator[Shop]:
    """products is an alias of products-1, and a relay runs."""
    elastic.ensure_running()
    forget_all(elastic)
    mapping = tmp_path / "mapping.json"
    mapping.write_text(json.dumps(MAPPING))
    made = Shop(db, elastic, outboxd, mapping)
    init(made.relay, "--notify")
    db.execute(PRODUCTS)
    elastic.create_index("products-1")
    made.alias(on("products-1"))
    assert made.tool.run("track", "products", "--index", "products").exit_code == 0
    db.execute("INSERT INTO products SELECT n, 'product ' || n, n + 0.10 FROM generate_series(1, %s) n", [ROWS])
    made.relay.start()
    made.settle()
    yield made
    if made.relay.is_alive:
        made.relay.kill9()
    for gate in made.gates:
        gate.close()
    forget_all(elastic)


class Worker:
    """Does something again and again, beside a test, which fails when that fails."""

    def __init__(self) -> None:
        self._end, self._failed = threading.Event(), list[BaseException]()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Any:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()
        assert self._failed == []

    def _run(self) -> None:
        try:
            while not self._end.is_set():
                self.work()
        except BaseException as error:
            self._failed.append(error)

    def work(self) -> None:
        raise NotImplementedError


class Writers(Worker):
    """Change rows, and make and delete others beside the ones that must always be found."""

    def __init__(self, db: Database, seed: int) -> None:
        super().__init__()
        self._db, self._random = db, random.Random(seed)
        self._connection = db.connect()
        self.slowest = 0.0

    def __exit__(self, *arguments: object) -> None:
        super().__exit__(*arguments)
        self._connection.close()

    def work(self) -> None:
        key, other = self._random.randint(1, ROWS), self._random.randint(ROWS + 1, ROWS + 200)
        started = time.monotonic()
        self._connection.execute("UPDATE products SET price = price + 1 WHERE id = %s", [key])
        self.slowest = max(self.slowest, time.monotonic() - started)
        self._connection.execute("DELETE FROM products WHERE id = %s", [other])
        if self._random.random() < 0.7:
            self._connection.execute("INSERT INTO products VALUES (%s, 'other') ON CONFLICT DO NOTHING", [other])


class Sampler(Worker):
    """Searches by the alias, and remembers the fewest of the first rows that it found."""

    def __init__(self, elastic: Elastic) -> None:
        super().__init__()
        self._elastic = elastic
        self.fewest, self.searches, self.one_missing = ROWS, 0, 0
        elastic.refresh("products")

    def work(self) -> None:
        total = {"size": 0, "track_total_hits": True, "query": {"range": {"id": {"lte": ROWS}}}}
        found = self._elastic.call("POST", "/products/_search", total)["hits"]["total"]
        self.fewest = min(self.fewest, found["value"] if isinstance(found, dict) else found)
        self.one_missing += not self._elastic.search("products", {"ids": {"values": ["17"]}})
        self.searches += 1

    @property
    def missed_nothing(self) -> bool:
        return (self.fewest, self.one_missing, self.searches > 5) == (ROWS, 0, True)


class TestTheWholePath:
    def test_search_misses_nothing_while_rows_change(self, shop: Shop) -> None:
        with Sampler(shop.elastic) as sampler, Writers(shop.db, 1) as writers:
            done = shop.reindex()
            assert "no difference" in done.stdout and "moved      products is products-2 now" in done.stdout
            time.sleep(1)
        assert sampler.missed_nothing and writers.slowest < 10
        assert shop.is_finished()
        mappings = shop.elastic.call("GET", "/products/_mapping")["products-2"]["mappings"]
        assert mappings["properties"]["name"] == {"type": "keyword"} and mappings["_meta"]["mine"] == 1
        assert mappings["_meta"]["outboxd"].items() > MARK.items()

        # Once more is not too much.
        done = shop.reindex()
        assert "products is products-2 already" in done.stdout and shop.is_finished()

        # And on to the next one, when what was left behind is gone.
        done = shop.reindex(to="products-3", expect=78)
        assert "--drop" in done.stderr and not shop.exists("products-3")
        assert shop.drop().stdout.split() == ["deleted", "products-1"] and not shop.exists("products-1")
        assert "nothing was replaced" in shop.drop(expect=78).stderr
        shop.reindex(to="products-3")
        assert shop.behind() == {"products-3"} and shop.behind("products-replaced") == {"products-2"} and shop.is_right()
        shop.drop()
        assert not shop.exists("products-2") and shop.is_right()

    def test_nested_documents_and_their_children(self, shop: Shop) -> None:
        """Writers of the children are held off, too, or a document would be missing what they wrote last."""
        add_variants(shop)
        before = shop.definitions()

        class Children(Worker):
            number = 0

            def work(self) -> None:
                self.number += 1
                shop.db.execute(f"INSERT INTO variants VALUES ('w{self.number}', {1 + self.number * 7 % ROWS})")

        with Children() as children:
            shop.reindex()
        assert children.number > 10 and shop.is_finished() and shop.definitions() == before

    def test_partitions(self, shop: Shop) -> None:
        shop.db.execute("CREATE TABLE services (id int PRIMARY KEY, name text) PARTITION BY RANGE (id); "
                        "CREATE TABLE services_low PARTITION OF services FOR VALUES FROM (0) TO (500); "
                        "CREATE TABLE services_high PARTITION OF services DEFAULT")
        shop.elastic.create_index("services-1")
        shop.alias(on("services-1", "services"))
        assert shop.tool.run("track", "services", "--index", "services").exit_code == 0
        shop.db.execute("INSERT INTO services SELECT n, 'service' FROM generate_series(1, 1000) n")
        shop.settle()
        before = shop.definitions()

        class Direct(Worker):
            def work(self) -> None:
                shop.db.execute("UPDATE services_low SET name = name || '.' WHERE id = 1 + (random() * 400)::int")

        try:
            with Direct():
                done = shop.tool.run("reindex", "services", "--to", "products-3", timeout=90)
                assert done.exit_code == 0, done
            shop.settle()
            assert shop.behind("services") == {"products-3"} and shop.definitions() == before
            assert shop.tool.run("verify", "services", timeout=90).exit_code == 0
        finally:
            shop.elastic.delete_index("products-3")

    def test_what_the_alias_says_moves_with_it(self, shop: Shop) -> None:
        shop.alias(on("products-1", is_write_index=True, filter={"range": {"id": {"gte": 0}}}))
        before = shop.elastic.call("GET", "/_alias/products")["products-1"]["aliases"]["products"]
        shop.reindex()
        assert shop.elastic.call("GET", "/_alias/products")["products-2"]["aliases"]["products"] == before
        assert shop.elastic.call("GET", "/_alias/products-replaced")["products-1"]["aliases"] == {"products-replaced": {}}

    def test_an_index_that_was_made_by_hand(self, shop: Shop) -> None:
        shop.elastic.create_index("products-2")
        assert "not made with --mapping" in shop.reindex(expect=64).stderr
        assert shop.tool.run("reindex", "products", "--to", "products-2", timeout=90).exit_code == 0
        assert shop.is_finished() and "_meta" not in shop.elastic.call("GET", "/products-2/_mapping")["products-2"]["mappings"]

    def test_a_stale_backfill_is_not_gone_on_with(self, shop: Shop) -> None:
        """It says that it is finished, of an index that is no more."""
        assert shop.tool.run("backfill", "products", "--index", "products-2").exit_code == 0
        shop.settle()
        shop.elastic.delete_index("products-2")
        assert f"{ROWS} rows of public.products read" in shop.reindex().stdout and shop.is_finished()

    def test_a_table_that_is_tracked_elsewhere_too(self, shop: Shop) -> None:
        assert shop.tool.run("track", "products", "--index", "products-3").exit_code == 0
        done = shop.reindex("--index", "products")
        assert "`outboxd reindex public.products --index products --drop` deletes it" in done.stdout
        assert "name the one that is searched" in shop.drop(expect=64).stderr
        assert shop.tool.run("reindex", "products", "--index", "products", "--drop").exit_code == 0 and not shop.exists("products-1")

    def test_no_relay_runs(self, shop: Shop) -> None:
        """It waits, says for what, and can be ended; what is filled is not filled again."""
        shop.relay.kill9()
        shop.tool.begin(*shop.words())
        wait_until(lambda: "does outboxd run?" in shop.tool.stderr, 30, "the question")
        done = shop.tool.terminate()
        assert done.exit_code == 75 and "the same command goes on" in done.stderr and shop.behind() == {"products-1"}
        shop.relay.start()
        done = shop.reindex()
        assert "filled     products-2 by an earlier run" in done.stdout and shop.is_finished()
        assert shop.db.value(FILLED) == ROWS

    def test_verify_of_all_leaves_out_what_is_being_filled(self, shop: Shop) -> None:
        shop.tool.begin(*shop.words("--rate", "300"))
        wait_until(lambda: shop.db.value(FILLED) > 0, 30, "the fill")
        done = shop.relay.run("verify", timeout=90)
        assert "public.products is just being filled into products-2: left out" in done.stderr and done.exit_code == 0
        assert shop.tool.wait(90).exit_code == 0


class TestKilled:
    @pytest.mark.parametrize(("when", "request_"), [
        ("before", "PUT /products-2"), ("after", "PUT /products-2"), ("after", "POST /_mget"), ("before", "POST /_aliases"),
        ("after", "POST /_aliases"),
    ])
    def test_at_a_step(self, shop: Shop, when: str, request_: str) -> None:
        moved = (when, request_) == ("after", "POST /_aliases")
        with Sampler(shop.elastic) as sampler, Writers(shop.db, 2):
            shop.killed(when, request_)
            assert shop.behind() == ({"products-2"} if moved else {"products-1"})
            time.sleep(1)
            done = shop.reindex()
        assert sampler.missed_nothing and shop.is_finished()
        assert ("no difference" in done.stdout) == (not moved) and "moved" in done.stdout
        assert shop.db.value("SELECT count(*) FROM outbox WHERE error->>'type' = 'version_from_the_future'") == 0

    @pytest.mark.parametrize("request_", ["PUT /products-2", "POST /_mget"])
    def test_before_the_mapping_was_mended(self, shop: Shop, request_: str) -> None:
        """What the file says now is not what was made: that is not gone on with in silence."""
        shop.killed("after", request_)
        shop.mapping.write_text('{"mappings": {"properties": {"name": {"type": "text"}}}}')
        assert "products-2 was made with another mapping" in shop.reindex(expect=64).stderr
        shop.abort()
        shop.reindex()
        assert shop.elastic.call("GET", "/products/_mapping")["products-2"]["mappings"]["properties"]["name"] == {"type": "text"}
        assert shop.is_finished()

    def test_between_the_move_and_the_last_triggers(self, shop: Shop) -> None:
        """They are off, and cannot be dropped while somebody reads."""
        with shop.db.connect() as reader:
            reader.execute("BEGIN; SELECT count(*) FROM products")
            shop.tool.begin(*shop.words())
            wait_until(lambda: "the second triggers are off" in shop.tool.stderr, 60, "the move")
            assert shop.behind() == {"products-2"}
            before = shop.db.value("SELECT count(*) FROM outbox WHERE aggregate_type = 'products-2'")
            shop.db.execute("UPDATE products SET price = 0 WHERE id <= 10")
            assert shop.db.value("SELECT count(*) FROM outbox WHERE aggregate_type = 'products-2'") == before
            shop.tool.kill9()
            reader.execute("COMMIT")
        shop.reindex()
        assert shop.is_finished()

    def test_when_the_new_index_has_another_alias_by_then(self, shop: Shop) -> None:
        """It is the one that is searched already, and nothing of it is to be left."""
        shop.killed("after", "POST /_aliases")
        shop.alias(on("products-2", "elsewhere"))
        shop.reindex()
        assert shop.is_finished()

    @pytest.mark.time_limit(300)
    def test_again_and_again(self, shop: Shop) -> None:
        chance = random.Random(7)
        with Sampler(shop.elastic) as sampler, Writers(shop.db, 3):
            for _ in range(12):
                shop.tool.begin(*shop.words("--rate", "4000"))
                try:
                    shop.tool.wait(chance.uniform(0.1, 2.5))
                    break
                except TimeoutError:
                    shop.tool.kill9()
            shop.reindex()
        assert sampler.missed_nothing and shop.is_finished()

    def test_interrupted(self, shop: Shop) -> None:
        """By one Ctrl-C while it waits to move."""
        with shop.open_writer() as (tool, writer):
            tool.signal(signal.SIGINT)
            done = tool.wait()
            assert done.exit_code == 75 and "interrupted; the same command goes on" in done.stderr
            writer.execute("COMMIT")
        assert shop.behind() == {"products-1"} and shop.tracked() == {"products", "products-2"}
        shop.reindex()
        assert shop.is_finished()


class TestTheMove:
    @pytest.mark.parametrize(("when", "answer"), [
        ("after", Answer(body='{"acknowledged": true}', cut_after=5)), ("after", Answer(delay=20)),
        ("after", Answer(body='{"acknowledged": false}')), ("before", Answer(status=503, body="{}")),
        ("before", Answer(body='{"acknowledged": false}')),
    ], ids=["lost", "late", "not all nodes", "busy", "not done"])
    def test_an_answer_that_says_nothing(self, shop: Shop, when: str, answer: Answer) -> None:
        """Whether the alias has moved says the alias."""
        tool, gate = shop.gated()
        gate.once(when, "POST /_aliases", lambda: answer)
        with Sampler(shop.elastic) as sampler, Writers(shop.db, 4) as writers:
            tool.begin(*shop.words())
            done = tool.wait(100)
        assert done.exit_code == 0 and done.stdout.count("moved") == 1 and "looks again" in done.stderr, done
        assert sampler.missed_nothing and shop.is_finished() and writers.slowest < 25

    def test_a_refusal_ends_it(self, shop: Shop) -> None:
        tool, gate = shop.gated()
        gate.once("before", "POST /_aliases", lambda: Answer(status=403, body='{"error": {"type": "no", "reason": "not you"}}'))
        done = tool.run(*shop.words(), timeout=90)
        assert done.exit_code == 77 and "moving the alias products" in done.stderr and "not you" in done.stderr
        assert "master_timeout=" in gate.targets["POST /_aliases"]  # or it could be done when it was given up long ago
        shop.db.execute("UPDATE products SET price = 0 WHERE id <= 10")  # nobody is held off any more
        assert shop.behind() == {"products-1"} and shop.tracked() == {"products", "products-2"}
        shop.reindex()
        assert shop.is_finished()

    def test_somebody_else_moves_it(self, shop: Shop) -> None:
        tool, gate = shop.gated()
        shop.elastic.create_index("products-3")
        gate.once("after", "POST /_mget", lambda: shop.alias(off("products-1"), on("products-3")))
        done = tool.run(*shop.words(), timeout=90)
        assert done.exit_code == 77 and "products stands no longer for products-1" in done.stderr
        assert shop.behind() == {"products-3"} and shop.behind("products-replaced") == set()

    def test_somebody_else_moves_it_in_the_same_moment(self, shop: Shop) -> None:
        tool, gate = shop.gated()
        shop.elastic.create_index("products-3")
        gate.once("before", "POST /_aliases", lambda: shop.alias(off("products-1"), on("products-3")))
        done = tool.run(*shop.words(), timeout=90)
        assert done.exit_code == 78 and "products stands not for products-2 alone" in done.stderr
        shop.alias(off("products-3"))
        shop.reindex()
        assert shop.is_finished()

    @pytest.mark.time_limit(200)
    def test_taken_back_and_begun_again_beside_it(self, shop: Shop) -> None:
        """What the first one has compared is no more, and what the second one fills is not whole."""
        with shop.open_writer() as (tool, writer):
            tool.pause()
            writer.execute("COMMIT")
            shop.abort()
            shop.tool.begin(*shop.words("--rate", "200"))
            wait_until(lambda: shop.db.value(FILLED) > ROWS, 30, "the second fill")
            tool.resume()
            done = tool.wait(60)
        assert done.exit_code == 77 and "products-2 was taken back meanwhile, or another run is filling it" in done.stderr
        assert shop.behind() == {"products-1"}
        assert shop.tool.wait(100).exit_code == 0 and shop.is_finished()

    def test_an_index_that_relays_made_anew_meanwhile(self, shop: Shop) -> None:
        """It has nothing but the latest changes."""
        shop.elastic.create_index("products-2")
        with shop.open_writer("reindex", "products", "--to", "products-2") as (tool, writer):
            tool.pause()
            shop.elastic.delete_index("products-2")
            shop.db.execute("UPDATE products SET price = 0 WHERE id = 2")
            wait_until(lambda: shop.exists("products-2"), 30, "another index of that name")
            writer.execute("COMMIT")
            tool.resume()
            done = tool.wait(60)
        assert done.exit_code == 77 and "products-2 is another one than this run has filled" in done.stderr
        assert shop.behind() == {"products-1"}

    def test_a_transaction_that_is_open_at_the_beginning(self, shop: Shop) -> None:
        with shop.db.connect() as writer:
            writer.execute("BEGIN; UPDATE products SET name = 'late' WHERE id = 1")
            shop.tool.begin(*shop.words())
            wait_until(lambda: "waits for open transactions" in shop.tool.stderr, 30, "it to wait")
            writer.execute("COMMIT")
        assert shop.tool.wait(90).exit_code == 0 and shop.is_finished()

    def test_who_writes_a_child_before_its_parent(self, shop: Shop) -> None:
        """PostgreSQL would end one of two that wait for each other, and that need not be the command."""
        add_variants(shop)
        tool, gate = shop.gated()
        begun = threading.Event()
        with shop.db.connect() as writer:

            def write() -> None:
                writer.execute("BEGIN; INSERT INTO variants VALUES ('w', 1)")
                begun.set()

            gate.once("after", "POST /_mget", write)
            tool.begin(*shop.words())
            wait_until(begun.is_set, 60, "the first write")
            wait_until(lambda: shop.db.value(HELD) > 0, 60, "it to have one of the two tables")
            time.sleep(1.2)  # deadlock_timeout, after which the command itself no longer looks
            writer.execute("UPDATE products SET name = 'late' WHERE id = 1; COMMIT")
        assert tool.wait(90).exit_code == 0 and shop.is_finished()

    def test_who_reads_for_long(self, shop: Shop) -> None:
        """All others wait behind the command while it asks for the whole table: that becomes rare."""
        with shop.db.connect() as reader:
            reader.execute("BEGIN; SELECT count(*) FROM products")
            shop.tool.begin(*shop.words())
            wait_until(lambda: "the second triggers are off" in shop.tool.stderr, 60, "the move")
            mark = shop.db.server.log_file.stat().st_size
            time.sleep(6)
            with shop.db.server.log_file.open() as log:
                log.seek(mark)
                asked = log.read().count("canceling statement due to lock timeout")
            reader.execute("COMMIT")
        assert asked <= 3
        assert shop.tool.wait(90).exit_code == 0 and shop.is_finished()

    def test_a_transaction_that_stays_open(self, shop: Shop) -> None:
        """Others write in between, and what it has changed is there in the end."""
        with shop.open_writer() as (tool, writer):
            shop.db.execute("UPDATE products SET price = 0 WHERE id = 2")
            assert shop.behind() == {"products-1"}
            writer.execute("COMMIT")
            assert tool.wait(90).exit_code == 0
        assert shop.is_finished()
        document = shop.elastic.get("products", "1")
        assert document is not None and json.loads(document.source)["name"] == "late"

    def test_the_last_events_come_too_late(self, shop: Shop) -> None:
        tool, gate = shop.gated()

        def no_relay() -> None:
            shop.relay.kill9()
            shop.db.execute("UPDATE products SET name = 'late' WHERE id = 1")

        # All is delivered and compared (the first one is of verify), and nobody is held off yet.
        gate.once("after", "POST /products-2/_refresh", no_relay, nth=2)
        tool.begin(*shop.words())
        wait_until(lambda: "the last events were not delivered while writers waited" in tool.stderr, 60, "it to give up for now")
        shop.db.execute("UPDATE products SET price = 0 WHERE id = 2")
        assert shop.behind() == {"products-1"}
        shop.relay.start()
        assert tool.wait(90).exit_code == 0 and shop.is_finished()

    def test_events_of_the_alias_that_wait(self, shop: Shop) -> None:
        """The old index takes nothing any more, so the newest documents are only in the new one: none comes later."""
        shop.elastic.call("PUT", "/products-1/_settings", {"index.blocks.write": True})
        shop.db.execute("UPDATE products SET price = 0 WHERE id <= 100; DELETE FROM products WHERE id = 101; "
                        "INSERT INTO products VALUES (5000, 'new')")
        shop.relay.wait_log("index_paused", timeout=30)
        shop.reindex()
        assert shop.is_finished()
        replaced = shop.db.value("SELECT count(*) FROM outbox WHERE error->>'replaced_by' = 'products-2' AND aggregate_type = 'products'")
        assert replaced == 102 == shop.db.value("SELECT count(*) FROM outbox WHERE event = 'reindex' AND aggregate_type = 'products'")
        assert shop.elastic.get("products", "101") is None and shop.elastic.get("products", "5000") is not None

    def test_more_events_than_writers_can_wait_for(self, shop: Shop) -> None:
        shop.elastic.call("PUT", "/products-1/_settings", {"index.blocks.write": True})
        for _ in range(6):
            shop.db.execute("UPDATE products SET price = price + 1")
        shop.relay.wait_log("index_paused", timeout=30)
        shop.tool.begin(*shop.words())
        wait_until(lambda: "more than 10000 events of both indexes are undelivered" in shop.tool.stderr, 60, "it to wait")
        assert shop.behind() == {"products-1"}
        shop.elastic.call("PUT", "/products-1/_settings", {"index.blocks.write": False})
        assert shop.tool.wait(90).exit_code == 0 and shop.is_finished()

    def test_documents_that_take_too_long(self, shop: Shop) -> None:
        """Those of new events are read while writers wait."""
        shop.db.execute("CREATE TABLE slow (seconds int); INSERT INTO slow VALUES (0); CREATE FUNCTION work() RETURNS text LANGUAGE plpgsql "
                        "AS $$ BEGIN PERFORM pg_sleep(seconds) FROM slow; RETURN 'done'; END $$; "
                        "CREATE VIEW sold AS SELECT id, name, work() AS work FROM products")
        assert shop.tool.run("track", "products", "--index", "products", "--document", "sold").exit_code == 0
        shop.db.execute("UPDATE products SET name = name || '!'")
        shop.settle()
        tool, gate = shop.gated()

        def slow_down() -> None:
            shop.relay.kill9()
            publish(shop.db, "products", "5", {"id": 5})
            shop.db.execute("UPDATE slow SET seconds = 20")

        gate.once("after", "POST /products-2/_refresh", slow_down, nth=2)
        done = tool.run(*shop.words(), timeout=90)
        assert done.exit_code == 75 and "replacing what is undelivered" in done.stderr and shop.behind() == {"products-1"}
        shop.db.execute("UPDATE slow SET seconds = 0; UPDATE products SET price = 0 WHERE id <= 10")  # nobody is held off any more
        shop.relay.start()
        shop.reindex()
        assert shop.is_finished()

    def test_an_event_of_the_alias_that_dies_while_it_is_waited_for(self, shop: Shop) -> None:
        tool, gate = shop.gated()
        ids: list[int] = []
        gate.once("after", "POST /products-2/_refresh", lambda: ids.append(shop.dying("products")), nth=2)
        done = tool.run(*shop.words(), timeout=90)
        assert done.exit_code == 0 and shop.is_finished() and dead(shop.db) == {}
        assert shop.db.value("SELECT error->>'replaced_by' FROM outbox WHERE id = %s", ids) == "products-2"

    def test_a_dead_event_of_the_alias(self, shop: Shop) -> None:
        """The old mapping refused it, the new one does not; and however it is given back later, nothing older comes."""
        shop.mapping.write_text('{"mappings": {"properties": {"price": {"type": "double"}}}}')
        shop.db.execute("UPDATE products SET price = 1e300 WHERE id = 5")
        wait_until(lambda: len(dead(shop.db)) == 1, 30, "a dead event")
        (id,) = dead(shop.db)
        shop.reindex()
        assert shop.is_finished() and dead(shop.db) == {}
        assert shop.db.value("SELECT error->>'replaced_by' FROM outbox WHERE id = %s", [id]) == "products-2"

        shop.db.execute("UPDATE products SET price = 2 WHERE id = 5")
        shop.settle()
        shop.db.execute("UPDATE outbox SET processed = false, processed_at = NULL, dead_at = now() WHERE id = %s", [id])
        assert shop.tool.run("requeue", "--all").exit_code == 0
        assert shop.is_right()
        shop.db.execute("UPDATE outbox SET processed = false, processed_at = NULL, dead_at = NULL, retry_at = NULL WHERE id = %s", [id])
        assert shop.is_right()
        document = shop.elastic.get("products", "5")
        assert document is not None and json.loads(document.source)["price"] == 2

    def test_a_dead_event_of_the_new_index(self, shop: Shop) -> None:
        """A document would be missing."""
        shop.mapping.write_text('{"mappings": {"properties": {"price": {"type": "short"}}}}')
        shop.db.execute("UPDATE products SET price = 99999 WHERE id = 7")
        done = shop.reindex(expect=65)
        assert "1 events of products-2 are dead, so products stays where it is" in done.stderr
        assert shop.behind() == {"products-1"} and shop.tracked() == {"products", "products-2"}
        shop.db.execute("UPDATE products SET price = 7 WHERE id = 7")
        shop.settle()
        shop.reindex()
        assert shop.is_finished()

    def test_one_that_dies_at_the_last_moment(self, shop: Shop) -> None:
        shop.mapping.write_text('{"mappings": {"properties": {"price": {"type": "short"}}}}')
        tool, gate = shop.gated()

        def spoil() -> None:
            shop.db.execute("UPDATE products SET price = 99999 WHERE id = 7")

        gate.once("after", "POST /products-2/_refresh", spoil, nth=2)  # the first one is of verify
        done = tool.run(*shop.words(), timeout=90)
        assert done.exit_code == 65 and "1 events of products-2 are dead" in done.stderr and shop.behind() == {"products-1"}
        shop.db.execute("UPDATE products SET price = 7 WHERE id = 7")  # nobody is held off any more
        shop.settle()
        shop.reindex()
        assert shop.is_finished()

    def test_what_differs_stays(self, shop: Shop) -> None:
        shop.killed("after", "POST /_mget")
        shop.elastic.call("DELETE", "/products-2/_doc/17")
        done = shop.reindex(expect=65)
        assert "products-2 differs, so products stays where it is" in done.stderr and shop.behind() == {"products-1"}
        assert shop.tool.run("verify", "products", "--index", "products-2", "--repair", timeout=90).exit_code == 0
        shop.reindex()
        assert shop.is_finished()

    def test_triggers_that_somebody_switched_off(self, shop: Shop) -> None:
        """What is changed meanwhile is not in the new index, and no comparison before the move would see the last of it."""
        shop.killed("after", "POST /_mget")
        trigger = shop.db.value("SELECT t.tgname FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid WHERE t.tgname LIKE '%\\_update' "
                                "AND obj_description(p.oid, 'pg_proc') LIKE '%products-2%'")
        for how in ("DISABLE", "ENABLE REPLICA"):
            shop.db.execute(f'ALTER TABLE products {how} TRIGGER "{trigger}"')
            assert "triggers are switched off" in shop.reindex(expect=78).stderr and shop.behind() == {"products-1"}
        shop.db.execute(f'ALTER TABLE products ENABLE TRIGGER "{trigger}"')
        shop.reindex()
        assert shop.is_finished()

    def test_an_index_that_relays_made_anew(self, shop: Shop) -> None:
        """With any mapping, when somebody had deleted it."""
        shop.killed("after", "POST /_mget")
        shop.elastic.delete_index("products-2")
        assert "products-2 is gone" in shop.reindex(expect=64).stderr
        shop.db.execute("UPDATE products SET price = 0 WHERE id = 1")
        shop.settle()
        assert "was not made with --mapping" in shop.reindex(expect=64).stderr and shop.behind() == {"products-1"}
        assert "left       products-2" in shop.abort().stdout


class TestTheWaysBack:
    @pytest.mark.parametrize("stage", ["made", "filling", "compared", "held"])
    def test_aborted_all_is_as_it_was(self, shop: Shop, stage: str) -> None:
        aliases = shop.elastic.call("GET", "/_alias")
        before = shop.definitions()
        with Writers(shop.db, 5):
            if stage == "made":
                shop.killed("after", "PUT /products-2")
            elif stage == "filling":
                shop.tool.begin(*shop.words("--rate", "500"))
                wait_until(lambda: shop.db.value(FILLED) > 0, 30, "the fill")
                shop.tool.kill9()
            else:
                shop.killed(*{"compared": ("after", "POST /_mget"), "held": ("before", "POST /_aliases")}[stage])
            assert "deleted    products-2" in shop.abort().stdout
        shop.settle()
        time.sleep(1)  # nothing brings the index back
        after = shop.elastic.call("GET", "/_alias")
        assert {name: after[name] for name in after if name.startswith("products")} == \
            {name: aliases[name] for name in aliases if name.startswith("products")}
        assert shop.is_untouched() and shop.definitions() == before and shop.is_right()
        assert "products-2" not in shop.tool.run("backfill").stdout
        assert "is not on its way into products-2" in shop.abort(expect=78).stderr
        shop.reindex()  # a name that was aborted can be used again, and is filled from the beginning
        assert shop.is_finished()

    def test_an_abort_that_was_killed(self, shop: Shop) -> None:
        before = shop.definitions()
        shop.killed("after", "POST /_mget")
        shop.killed("before", "DELETE /products-2", "reindex", "products", "--to", "products-2", "--abort")
        # It can only go on that way: what is changed from now on is not in the new index.
        assert "triggers are switched off" in shop.reindex(expect=78).stderr
        shop.abort()
        assert shop.is_untouched() and shop.definitions() == before and shop.is_right()

    def test_an_event_that_dies_while_it_is_waited_for(self, shop: Shop) -> None:
        shop.killed("after", "POST /_mget")
        id = shop.dying("products-2")
        shop.abort()
        assert undelivered(shop.db) == 0 and shop.is_untouched()
        assert shop.db.value("SELECT error->>'index_aborted' FROM outbox WHERE id = %s", [id]) == "true"

    def test_beside_a_backfill_that_still_runs(self, shop: Shop) -> None:
        shop.killed("after", "POST /_mget")
        with shop.db.connect() as backfill:
            backfill.execute("BEGIN; SELECT FROM outbox_backfill FOR UPDATE")
            shop.tool.begin("reindex", "products", "--to", "products-2", "--abort")
            wait_until(lambda: "waits for a backfill" in shop.tool.stderr, 30, "it to wait")
            backfill.execute("COMMIT")
        assert shop.tool.wait(60).exit_code == 0 and shop.is_untouched()

    def test_a_move_that_comes_just_before_the_delete(self, shop: Shop) -> None:
        """Elasticsearch was busy, and nobody waits for it any more."""
        shop.killed("after", "POST /_mget")
        tool, gate = shop.gated()
        gate.once("before", "DELETE /products-2",
                  lambda: shop.alias(off("products-1"), on("products-1", "products-replaced"), on("products-2")))
        done = tool.run("reindex", "products", "--to", "products-2", "--abort")
        assert done.exit_code == 77 and "SEARCH FINDS NOTHING" in done.stderr and shop.behind() == set()
        # What it says to do is all that there is to do.
        (actions,) = re.findall(r'\{"actions": \[.*\]\}', done.stderr)
        shop.elastic.call("POST", "/_aliases", actions)
        assert shop.behind() == {"products-1"}
        shop.abort()
        assert shop.is_untouched() and shop.is_right()

    def test_what_it_did_not_make_it_does_not_delete(self, shop: Shop) -> None:
        shop.elastic.create_index("products-2")
        shop.killed("after", "POST /_mget", "reindex", "products", "--to", "products-2")
        shop.killed("before", "GET /products-2", "reindex", "products", "--to", "products-2", "--abort", nth=2)
        done = shop.abort()
        assert "left       products-2, which was not made by reindex" in done.stdout and "deleted" not in done.stdout
        assert shop.exists("products-2") and shop.tracked() == {"products"} and shop.is_right()
        assert "is not on its way" in shop.abort(expect=78).stderr

    def test_when_it_has_moved(self, shop: Shop) -> None:
        shop.killed("after", "POST /_aliases")
        assert "products-2 stands behind products" in shop.abort(expect=77).stderr
        assert shop.exists("products-2") and shop.tracked() == {"products", "products-2"}
        shop.reindex()
        assert shop.is_finished()
        assert "products-2 stands behind products" in shop.abort(expect=77).stderr and shop.exists("products-2")

    def test_an_alias_that_comes_at_the_last_moment(self, shop: Shop) -> None:
        shop.killed("after", "POST /_mget")
        tool, gate = shop.gated()

        def look(asked: str) -> None:
            if asked == "GET /products-2" and gate.asked.count(asked) == 2:
                shop.alias(on("products-2", "elsewhere"))

        gate.before = look
        done = tool.run("reindex", "products", "--to", "products-2", "--abort")
        assert done.exit_code == 77 and "products-2 stands behind elsewhere" in done.stderr and shop.exists("products-2")
        shop.alias(off("products-2", "elsewhere"))
        shop.abort()
        assert shop.is_untouched()

    def test_another_tables_index_is_not_aborted(self, shop: Shop) -> None:
        shop.db.execute("CREATE TABLE services (id int PRIMARY KEY)")
        for table in ("services", "products"):
            assert shop.tool.run("track", table, "--index", "products-2").exit_code == 0
        shop.relay.kill9()
        shop.db.execute("INSERT INTO services VALUES (1)")
        assert "public.services is tracked into products-2 as well" in shop.abort(expect=78).stderr
        assert undelivered(shop.db) == 1 and shop.tracked() == {"products", "products-2"}

    def test_a_drop_of_what_search_sees(self, shop: Shop) -> None:
        """Somebody went back by hand."""
        shop.reindex()
        shop.alias(off("products-2"), on("products-1"))
        assert "products-1 stands behind products, so it is in use" in shop.drop(expect=77).stderr
        assert shop.exists("products-1") and shop.exists("products-2")
        # What was made was searched, so it is not taken back like one that was on its way; then another one can be begun.
        assert f"which holds {ROWS} documents" in shop.abort(expect=77).stderr and shop.exists("products-2")
        shop.elastic.delete_index("products-2")
        assert shop.tool.run("backfill", "products").exit_code == 0
        shop.settle()
        shop.reindex()
        assert shop.is_finished()

    def test_a_drop_when_nothing_else_is_left(self, shop: Shop) -> None:
        shop.reindex()
        shop.alias(off("products-2"))
        assert "nothing has the name products any more" in shop.drop(expect=77).stderr and shop.exists("products-1")

    def test_a_drop_of_what_a_table_is_tracked_into(self, shop: Shop) -> None:
        shop.reindex()
        shop.db.execute("CREATE TABLE services (id int PRIMARY KEY)")
        assert shop.tool.run("track", "services", "--index", "products-1").exit_code == 0
        assert "public.services is tracked into products-1 by that name" in shop.drop(expect=78).stderr and shop.exists("products-1")

    def test_an_abort_of_what_was_in_use(self, shop: Shop) -> None:
        """Without an alias it may be all that there is, or what somebody kept."""
        shop.reindex()
        shop.drop()
        shop.alias(off("products-2"))
        assert f"which holds {ROWS} documents" in shop.abort(expect=77).stderr and shop.exists("products-2")
        shop.alias(on("products-2"))
        shop.reindex(to="products-3")
        shop.alias(off("products-2", "products-replaced"))
        assert f"which holds {ROWS} documents" in shop.abort(expect=77).stderr and shop.exists("products-2")


REFUSALS: dict[str, tuple[Callable[[Shop], object], str]] = {
    "several indexes": (lambda shop: [shop.elastic.create_index("products-3"), shop.alias(on("products-1", is_write_index=True), on("products-3"))],
                        "products stands for 2 indexes"),
    "another alias": (lambda shop: shop.alias(on("products-1", "elsewhere")), "products-1 is known as elsewhere as well"),
    "a routing": (lambda shop: shop.alias(on("products-1", search_routing="1")), "the alias products has a routing"),
    "no alias": (lambda shop: [shop.relay.kill9(), shop.alias(off("products-1"))], "there is no alias products"),
    "another table in the alias": (lambda shop: [shop.db.execute("CREATE TABLE services (id int PRIMARY KEY)"),
                                                 shop.tool.run("track", "services", "--index", "products")],
                                   "public.services is tracked into products as well"),
    "another table in the old one": (lambda shop: [shop.db.execute("CREATE TABLE services (id int PRIMARY KEY)"),
                                                   shop.tool.run("track", "services", "--index", "products-1")],
                                     "public.services is tracked into products-1 by that name"),
    "another table in the new one": (lambda shop: [shop.db.execute("CREATE TABLE services (id int PRIMARY KEY)"),
                                                   shop.tool.run("track", "services", "--index", "products-2")],
                                     "public.services is tracked into products-2 as well"),
    "events from earlier": (lambda shop: [shop.relay.kill9(), shop.db.execute(
        "INSERT INTO outbox (aggregate_type, aggregate_id, data) VALUES ('products-2', '1', '{}')")], "1 undelivered events of products-2"),
    "what is replaced has no place": (lambda shop: shop.elastic.create_index("products-replaced"), "products-replaced is an index"),
    "something else was replaced": (lambda shop: [shop.elastic.create_index("products-3"), shop.alias(on("products-3", "products-replaced"))],
                                    "products-3, which an earlier reindex replaced, is still there"),
    "an index template": (lambda shop: shop.elastic.call("PUT", f"/_index_template/{TEMPLATE}", {
        "index_patterns": ["products-2*"], "template": {"aliases": {"elsewhere": {}}}}), "an index template, so it is deleted again"),
}


class TestRefusals:
    @pytest.mark.parametrize("what", REFUSALS)
    def test_what_it_could_not_do_right(self, shop: Shop, what: str) -> None:
        arrange, said = REFUSALS[what]
        arrange(shop)
        aliases, before = shop.behind(), shop.definitions()
        try:
            done = shop.reindex(expect=78)
            assert said in done.stderr, done.stderr
            assert shop.behind() == aliases and shop.definitions() == before and not shop.exists("products-2")
        finally:
            shop.elastic.delete_index("products-replaced")

    @pytest.mark.parametrize(("settings", "said"), [
        ({"outbox_index": "lower(o.aggregate_type)"}, "outbox.index is an expression of its own"),
        ({"outbox_pipeline": "CASE o.aggregate_type WHEN 'x' THEN 'y' END"}, "outbox.pipeline looks at aggregate_type"),
        ({"outbox_document_id": "o.aggregate_type || o.aggregate_id"}, "outbox.document_id looks at aggregate_type"),
        ({"outbox_preset": "events"}, "outbox.preset"),
    ])
    def test_events_that_do_not_go_where_they_say(self, shop: Shop, settings: dict[str, str], said: str) -> None:
        done = shop.make(**settings).run(*shop.words())
        assert done.exit_code == 78 and said in done.stderr and shop.is_untouched(), done.stderr

    @pytest.mark.parametrize(("text", "said"), [
        ("{", "mapping.json:1"), ("[]", "no JSON object with settings and mappings"), ('{"aliases": {}}', "leave `aliases` away"),
        ('{"mappings": []}', "mappings is no JSON object"), ('{"mappings": {"_meta": 1}}', "mappings._meta is no JSON object"),
        ('{"mappings": {}, "mappings": {}}', "duplicate"),
    ])
    def test_a_file_that_makes_no_index(self, shop: Shop, text: str, said: str) -> None:
        shop.mapping.write_text(text)
        assert said in shop.reindex(expect=78).stderr and shop.is_untouched()

    def test_a_data_stream(self, shop: Shop) -> None:
        """Answered as Elasticsearch would: the minimal distribution cannot delete one."""
        tool, gate = shop.gated()
        backing = {".ds-products-2026.11.30-000001": {"aliases": {}, "mappings": {}, "settings": {}, "data_stream": "products"}}
        gate.once("before", "GET /products", lambda: Answer(body=json.dumps(backing)))
        done = tool.run(*shop.words())
        assert done.exit_code == 78 and "products is no alias" in done.stderr and shop.is_untouched()

    def test_a_mapping_that_elasticsearch_refuses(self, shop: Shop) -> None:
        shop.mapping.write_text('{"mappings": {"properties": {"name": {"type": "nonsense"}}}}')
        assert "making the index products-2" in shop.reindex(expect=77).stderr and shop.is_untouched()

    def test_another_run_that_makes_it_of_another_file(self, shop: Shop) -> None:
        """In the same moment."""
        tool, gate = shop.gated()
        other = {"_meta": {"outboxd": {**MARK, "print": "0" * 16}}}
        gate.once("before", "PUT /products-2", lambda: shop.elastic.create_index("products-2", other))
        done = tool.run(*shop.words(), timeout=90)
        assert done.exit_code == 77 and "making the index products-2" in done.stderr and shop.tracked() == {"products"}

    def test_a_role_that_may_not_mark_events(self, shop: Shop) -> None:
        """At its end, hours later, it would have to."""
        shop.db.execute("DROP ROLE IF EXISTS filler; CREATE ROLE filler LOGIN; GRANT ALL ON products TO filler; "
                        "GRANT SELECT, INSERT ON outbox TO filler")
        try:
            done = shop.make(postgres_dsn=shop.db.dsn_with(user="filler")).run(*shop.words())
            assert done.exit_code == 78 and "filler may not update outbox" in done.stderr and shop.is_untouched()
        finally:
            shop.db.execute("DROP OWNED BY filler; DROP ROLE filler")

    def test_a_new_index_that_is_not_new(self, shop: Shop) -> None:
        words = ["reindex", "products", "--to", "products-2"]
        shop.elastic.create_index("products-2")
        shop.elastic.call("PUT", "/products-2/_doc/1", {"n": 1})
        done = shop.tool.run(*words)
        assert done.exit_code == 64 and "products-2 holds 1 documents" in done.stderr
        shop.elastic.delete_index("products-2")
        shop.elastic.create_index("products-2")
        shop.alias(on("products-2", "elsewhere"))
        done = shop.tool.run(*words)
        assert done.exit_code == 64 and "products-2 stands behind elsewhere" in done.stderr
        done = shop.tool.run("reindex", "products", "--to", "elsewhere")
        assert done.exit_code == 64 and "elsewhere is the name of an alias" in done.stderr
        shop.elastic.delete_index("products-2")
        shop.elastic.create_index("products-2", {"_meta": {"outboxd": {**MARK, "alias": "others"}}})
        done = shop.tool.run(*words)
        assert done.exit_code == 64 and "products-2 was made for another table or alias" in done.stderr
        assert shop.tracked() == {"products"} and shop.exists("products-2")
        assert "is not on its way" in shop.abort(expect=78).stderr and shop.exists("products-2")

    def test_an_index_that_is_no_alias(self, shop: Shop) -> None:
        shop.alias({"remove_index": {"index": "products-1"}})
        shop.elastic.create_index("products")
        assert "products is an index itself" in shop.reindex(expect=78).stderr and not shop.exists("products-2")

    @pytest.mark.parametrize(("words", "exit_code", "said"), [
        ([], 64, "name the table"),
        (["products"], 64, "--to"),
        (["products", "--to", "products"], 64, "name another one"),
        (["products", "--to", "products-replaced"], 64, "under which what is replaced is kept"),
        (["products", "--to", "x", "--drop"], 64, "--drop goes without"),
        (["products", "--to", "products-2", "--mapping", "nowhere.json"], 78, "nowhere.json"),
        (["products", "--to", "products-2", "--abort"], 78, "is not on its way into products-2"),
        (["products", "--to", "products-1", "--abort"], 77, "products-1 stands behind products"),
        (["products", "--to", "products", "--index", "x"], 64, "name another one"),
        (["products", "--to", "x", "--index", "y"], 78, "is not tracked into y"),
        (["products", "--drop"], 78, "nothing was replaced"),
        (["nowhere", "--to", "x"], 78, "is not tracked"),
        (["products", "--to", "Products"], 64, "must be lower case"),
        (["products", "--to", "products-*"], 64, "must not have the character '*'"),
        (["products", "--to", "x,y"], 64, "must not have the character ','"),
        (["products", "--to", "_all"], 64, "must not start with"),
        (["products", "--to", "products-1"], 0, ""),
    ])
    def test_a_mistake_is_said(self, words: list[str], exit_code: int, said: str, shop: Shop) -> None:
        done: Any = shop.tool.run("reindex", *words)
        assert (done.exit_code, said in done.stderr) == (exit_code, True), done.stderr
        assert shop.is_untouched()


def test_two_at_once(shop: Shop) -> None:
    """Two people type the same command: one of them may be refused, and search sees all."""
    tools = [shop.make(), shop.make()]
    with Sampler(shop.elastic) as sampler, Writers(shop.db, 6):
        for each in tools:
            each.begin(*shop.words())
        codes = [each.wait(100).exit_code for each in tools]
    assert 0 in codes
    shop.reindex()
    assert sampler.missed_nothing and shop.is_finished()
