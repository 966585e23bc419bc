"""What rows become: mappings, presets, documents to the byte, and what the strangest row may do to its neighbours."""

from __future__ import annotations

import json
from typing import Any

import pytest
from conftest import OutboxdFactory
from helpers import dead, drain, init, publish, publish_many, undelivered

from harness import Database, Elastic, ScriptedElastic

UNPARSED: dict[str, Any] = {"enabled": False}  # any JSON object will do


def sources(elastic: Elastic, index: str) -> dict[str, str]:
    return {name: document.source for name, document in elastic.all_docs(index).items()}


class TestThreeLines:
    """A table of only (id, event, data, processed)."""

    def test_of_mapping_are_enough(self, db: Database, elastic: Elastic, index: str, outboxd: OutboxdFactory) -> None:
        db.execute("CREATE TABLE outbox (id bigserial PRIMARY KEY, event text NOT NULL, data jsonb NOT NULL, "
                   "processed boolean NOT NULL DEFAULT false)")
        daemon = outboxd(outbox_index=f"'{index}'", outbox_document_id="o.data->>'id'",
                         outbox_operation="CASE WHEN o.event LIKE '%_deleted' THEN 'delete' ELSE 'index' END")
        init(daemon)
        insert = "INSERT INTO outbox (event, data) VALUES (%s, %s)"
        for event, document in [("product_created", '{"id": 1, "name": "lamp"}'), ("product_created", '{"id": 2}'),
                                ("product_updated", '{"id": 1, "name": "lamp, brass"}'), ("product_deleted",
                                                                                          '{"id": 2}')]:
            db.execute(insert, [event, document])
        drain(daemon)
        assert sources(elastic, index) == {"1": '{"id": 1, "name": "lamp, brass"}'}
        db.execute(insert, ["product_deleted", '{"id": 1}'])
        drain(daemon)
        assert sources(elastic, index) == {}
        assert undelivered(db) == 0


class TestDebezium:
    def test_an_existing_table_with_uuids(self, db: Database, elastic: Elastic, index: str,
                                          outboxd: OutboxdFactory) -> None:
        db.execute("CREATE TABLE outbox (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), aggregatetype varchar(255) NOT NULL, "
                   "aggregateid varchar(255) NOT NULL, type varchar(255) NOT NULL, payload jsonb)")
        insert = "INSERT INTO outbox (aggregatetype, aggregateid, type, payload) VALUES (%s, %s, 'Changed', %s)"
        for name, payload in [("1", '{"n": 1}'), ("2", '{"n": 1}'), ("1", '{"n": 2}')]:
            db.execute(insert, [index.upper(), name, payload])
        daemon = outboxd(outbox_preset="debezium")
        init(daemon)
        drain(daemon)
        assert sources(elastic, index) == {"1": '{"n": 2}', "2": '{"n": 1}'}
        db.execute(insert, [index.upper(), "1", None])
        db.execute(insert, [index.upper(), "3", '{"n": 3}'])
        drain(daemon)
        assert sources(elastic, index) == {"2": '{"n": 1}', "3": '{"n": 3}'}

    def test_from_nothing(self, db: Database, elastic: Elastic, index: str, outboxd: OutboxdFactory) -> None:
        daemon = outboxd(outbox_preset="debezium")
        init(daemon)
        db.execute("INSERT INTO outbox (aggregatetype, aggregateid, payload) VALUES (%s, '1', '{}')", [index])
        drain(daemon)
        assert sources(elastic, index) == {"1": "{}"}


def test_events_append_and_survive_a_replay(db: Database, elastic: Elastic, index: str,
                                            outboxd: OutboxdFactory) -> None:
    daemon = outboxd(outbox_preset="events")
    init(daemon)
    publish_many(db, index, [("same", {"n": n}) for n in range(50)])
    drain(daemon)
    first = elastic.all_docs(index)
    assert set(first) == {str(n) for n in range(1, 51)}
    db.execute("UPDATE outbox SET processed = false, processed_at = NULL")
    drain(daemon)
    assert elastic.all_docs(index) == first
    assert undelivered(db) == 0


def test_a_view_makes_nested_documents(db: Database, elastic: Elastic, index: str, outboxd: OutboxdFactory) -> None:
    db.execute("""
        CREATE TABLE products (id text PRIMARY KEY, name text);
        CREATE TABLE variants (product text REFERENCES products ON DELETE CASCADE, sku text, price numeric(10, 2));
        CREATE VIEW product_documents AS
        SELECT p.id, jsonb_build_object('name', p.name, 'variants', coalesce((
            SELECT jsonb_agg(jsonb_build_object('sku', v.sku, 'price', v.price) ORDER BY v.sku)
            FROM variants v WHERE v.product = p.id), '[]')) AS document FROM products p;
        INSERT INTO products VALUES ('1', 'lamp'), ('2', 'desk');
        INSERT INTO variants VALUES ('1', 'L-1', 19.90), ('1', 'L-2', 20)""")
    daemon = outboxd(outbox_operation="'index'",
                     outbox_document="(SELECT d.document FROM product_documents d WHERE d.id = o.aggregate_id)")
    init(daemon)
    for name in "12":
        publish(db, index, name, None)
    drain(daemon)
    assert sources(elastic, index) == {
        "1": '{"name": "lamp", "variants": [{"sku": "L-1", "price": 19.90}, {"sku": "L-2", "price": 20.00}]}',
        "2": '{"name": "desk", "variants": []}'}
    db.execute("DELETE FROM products WHERE id = '1'")
    publish(db, index, "1", None)
    drain(daemon)
    assert set(sources(elastic, index)) == {"2"}


def test_routing_and_no_pipeline(db: Database, elastic: Elastic, index: str, outboxd: OutboxdFactory) -> None:
    elastic.create_index(index, settings={"number_of_shards": 3})
    daemon = outboxd(outbox_routing="o.data->>'shop'", outbox_pipeline="NULL")
    init(daemon)
    publish(db, index, "1", {"shop": 'a "b"\n}'})
    publish(db, index, "2", {})
    drain(daemon)
    elastic.refresh(index)
    assert {hit["_id"]: hit.get("_routing") for hit in elastic.search(index)} == {"1": 'a "b"\n}', "2": None}


def test_action_lines_to_the_letter(db: Database, outboxd: OutboxdFactory) -> None:
    with ScriptedElastic() as server:
        daemon = outboxd(elasticsearch_url=server.url, outbox_pipeline="o.data->>'pipe'", outbox_version="o.id + 100")
        init(daemon)
        publish(db, "products", "1", {"pipe": 'p"\n'})
        publish(db, "products", "2", {})
        publish(db, "products", "3", None)
        drain(daemon)
        actions = {action.id: action for action in server.sent_actions()}
    meta = {"_index": "products", "version_type": "external_gte"}
    assert dict(actions["1"].meta) == {**meta, "_id": "1", "version": 101, "pipeline": 'p"\n'}
    assert dict(actions["2"].meta) == {**meta, "_id": "2", "version": 102}
    assert dict(actions["3"].meta) == {**meta, "_id": "3", "version": 103}
    assert [actions[name].operation for name in "123"] == ["index", "index", "delete"]
    assert [actions[name].source for name in "123"] == [b'{"pipe": "p\\"\\n"}', b"{}", None]


class TestDocuments:
    def test_numbers_arrive_as_postgresql_prints_them(self, db: Database, elastic: Elastic, index: str,
                                                      outboxd: OutboxdFactory) -> None:
        elastic.create_index(index, UNPARSED)
        daemon = outboxd()
        init(daemon)
        db.execute("INSERT INTO outbox (aggregate_type, aggregate_id, data) VALUES (%s, '1', %s)",
                   [index, '{"a": 19.90, "b": 18446744073709551616.5, "c": 1e400, "d": -0.0, "e": 1e-7, "f": 100e2}'])
        drain(daemon)
        printed = db.value("SELECT data::text FROM outbox")
        assert '"a": 19.90' in printed and "18446744073709551616.5" in printed and "1" + "0" * 400 in printed
        assert sources(elastic, index) == {"1": printed}

    def test_json_as_somebody_wrote_it(self, db: Database, elastic: Elastic, index: str,
                                       outboxd: OutboxdFactory) -> None:
        """A json column keeps line breaks, which `_bulk` cannot have; everything else is kept."""
        texts = ['{\n\t"a" :\r\n [ 1.50 ,\n2 ]\n}',
                 '\n\n{"a": "}{\\"\\\\ \\u0000 \\n \\ud83d\\ude00 \U0001f600 \u2028 \u20ac"}\n', "{ }",
                 '{"' + 'x' * 5000 + '": "' + "\\\\\\\"" * 3000 + '"}', '{"index": {"_index": "x", "_id": "1"}}\n']
        elastic.create_index(index, UNPARSED)
        db.execute("CREATE TABLE outbox (id bigserial PRIMARY KEY, aggregate_type text, aggregate_id text, data json)")
        daemon = outboxd()
        init(daemon)
        for n, text in enumerate(texts):
            db.execute("INSERT INTO outbox (aggregate_type, aggregate_id, data) VALUES (%s, %s, %s)", [index, str(n),
                                                                                                       text])
        drain(daemon)
        found = sources(elastic, index)
        assert {name: json.loads(source) for name, source in found.items()} == {
            str(n): json.loads(text) for n, text in enumerate(texts)}
        assert '[ 1.50 ,' in found["0"] and not any("\n" in source for source in found.values())

    def test_text_may_be_no_json_at_all(self, db: Database, elastic: Elastic, index: str,
                                        outboxd: OutboxdFactory) -> None:
        """The bad ones are dead, the good ones arrive, and nothing is smuggled in."""
        inject = f'{{"index": {{"_index": "{index}", "_id": "smuggled"}}}}'
        good = ['{"a": 1}', '  {"a":\n1.0}  ']
        bad = ["", "   ", "no", "[1]", '"x"', "1", "null", '{"a": ', '{"a": 1,}', '{"a": "\t"}', "{]",
               f'{{"a": 1}}\n{inject}\n{{"b": 1}}', '{"a": 1} trailing']
        elastic.create_index(index, UNPARSED)
        db.execute("CREATE TABLE outbox (id bigserial PRIMARY KEY, aggregate_type text, aggregate_id text, data text)")
        daemon = outboxd()
        init(daemon)
        for n, text in enumerate(good + bad):
            db.execute("INSERT INTO outbox (aggregate_type, aggregate_id, data) VALUES (%s, %s, %s)", [index, str(n),
                                                                                                       text])
        drain(daemon, expect=65)
        assert {name: json.loads(source) for name, source in sources(elastic, index).items()} == {
            "0": {"a": 1}, "1": {"a": 1.0}}
        assert list(dead(db)) == list(range(len(good) + 1, len(good) + len(bad) + 1))
        assert all(error["reason"] for error in dead(db).values())

    @pytest.mark.parametrize("document", ["[]", "1", '"text"', "null", "true"])
    def test_that_are_no_objects_are_dead(self, db: Database, elastic: Elastic, index: str, outboxd: OutboxdFactory,
                                          document: str) -> None:
        daemon = outboxd()
        init(daemon)
        db.execute("SELECT outbox_publish(%s, 'bad', %s)", [index, document])
        publish(db, index, "good", {})
        drain(daemon, expect=65)
        assert set(sources(elastic, index)) == {"good"}
        assert "not a JSON object" in dead(db)[1]["reason"]


class TestNames:
    """An id or index name is data: it arrives exactly, or its row is dead; never does it become another action."""

    IDS = ['a"b', "line\nbreak", "\r\n", "tab\t", "nul\\u0000", '{"index":{}}',
           '"}}\n{"delete":{"_index":"x","_id":"y"}}\n',
           "\x01\x1f\x7f", "back\\slash\\", "\u2028\u2029\x85", "\U0001f600é", " ", ".", "..", "a/b?c#d%2F", "'",
           "<x-{now/d}>",
           "_id", "x" * 512, "é" * 256]

    def test_ids_arrive_exactly(self, db: Database, elastic: Elastic, index: str, outboxd: OutboxdFactory) -> None:
        daemon = outboxd()
        init(daemon)
        publish_many(db, index, [(name, {"n": n}) for n, name in enumerate(self.IDS)])
        drain(daemon)
        assert sources(elastic, index) == {name: f'{{"n": {n}}}' for n, name in enumerate(self.IDS)}
        publish_many(db, index, [(name, None) for name in self.IDS])
        db.execute("UPDATE outbox SET data = NULL WHERE processed = false")
        drain(daemon)
        assert sources(elastic, index) == {}

    def test_ids_that_cannot_be(self, db: Database, elastic: Elastic, index: str, outboxd: OutboxdFactory) -> None:
        daemon = outboxd()
        init(daemon)
        bad = {"x" * 513: "513 bytes", "é" * 256 + "x": "513 bytes", "": "empty"}
        for name in bad:
            publish(db, index, "good" + name[:1], {})
            publish(db, index, name, {})
        drain(daemon, expect=65)
        errors = dead(db)
        assert list(errors) == [2, 4, 6]
        for reason, error in zip(bad.values(), errors.values(), strict=True):
            assert reason in error["reason"] and "id" in error["reason"]
        assert set(sources(elastic, index)) == {"goodx", "goodé", "good"}

    def test_an_id_that_is_null(self, db: Database, elastic: Elastic, index: str, outboxd: OutboxdFactory) -> None:
        """It has no lane either, and must be found all the same."""
        daemon = outboxd(outbox_document_id="nullif(o.aggregate_id, 'none')")
        init(daemon)
        for name in ("1", "none", "3"):
            publish(db, index, name, {})
        drain(daemon, expect=65)
        assert set(sources(elastic, index)) == {"1", "3"}
        assert dead(db)[2]["reason"] == "the document id is NULL"

    def test_index_names_that_cannot_be(self, db: Database, elastic: Elastic, index: str,
                                        outboxd: OutboxdFactory) -> None:
        daemon = outboxd(outbox_index="nullif(o.aggregate_type, 'NULL')")
        init(daemon)
        bad = ["Products", "<x-{now/d}>", 'a"b', "a\nb", 'x"}}\n{"delete":{"_index":"y"}}', "a b", "", ".", "..",
               "-x", "_x", "+x",
               "a,b", "*", "a*", "a|b", "a/b", "a\\b", "a?b", "a#b", "a:b", "a>b", "a\x01", "a\x7f", "x" * 256,
               "é" * 128,
               "NULL", "É"]
        for name in bad:
            publish(db, name, "1", {})
            publish(db, index, f"after {name}", {})
        drain(daemon, expect=65)
        errors = dead(db)
        assert len(errors) == len(bad) and list(errors) == list(range(1, 2 * len(bad), 2))
        assert all("index name" in error["reason"] for error in errors.values()), errors
        assert set(sources(elastic, index)) == {f"after {name}" for name in bad}

    def test_a_unicode_index_name(self, db: Database, elastic: Elastic, index: str, outboxd: OutboxdFactory) -> None:
        name = f"{index}-größe-値{{}}'"
        daemon = outboxd()
        init(daemon)
        publish(db, name, "1", {})
        try:
            drain(daemon)
            assert set(sources(elastic, name)) == {"1"}
        finally:
            elastic.delete_index(name)

    @pytest.mark.parametrize("operation", ["'script'", "'INDEX'", "''", "'index '", "'none'"])
    def test_an_unknown_operation_is_dead(self, db: Database, elastic: Elastic, index: str, outboxd: OutboxdFactory,
                                          operation: str) -> None:
        daemon = outboxd(outbox_operation=f"CASE WHEN o.aggregate_id = 'bad' THEN {operation} ELSE 'index' END")
        init(daemon)
        for name in ("good", "bad", "better"):
            publish(db, index, name, {})
        drain(daemon, expect=65)
        assert set(sources(elastic, index)) == {"good", "better"}
        assert dead(db)[2]["reason"] == "the operation is none of index, create, update, delete, delete_by_query"

    @pytest.mark.parametrize("version,reason", [("-1", "negative"), ("NULL", "NULL")])
    def test_a_version_that_cannot_be_is_dead(self, db: Database, elastic: Elastic, index: str, outboxd: OutboxdFactory,
                                              version: str, reason: str) -> None:
        daemon = outboxd(outbox_version=f"CASE WHEN o.aggregate_id = 'bad' THEN {version} ELSE o.id END")
        init(daemon)
        for name in ("good", "bad", "better"):
            publish(db, index, name, {})
        drain(daemon, expect=65)
        assert set(sources(elastic, index)) == {"good", "better"}
        assert reason in dead(db)[2]["reason"]


class TestAMappingThatFails:
    """On the data of one row: that row is dead, with what PostgreSQL said; the other 999 are delivered."""

    KINDS = [
        ("jsonb_build_object('n', 100 / (o.data->>'n')::int)", 0, "22012: division by zero"),
        ("jsonb_build_object('n', (o.data->>'n')::int)", "x", '22P02: invalid input syntax for type integer: "x"'),
        ("(SELECT o.data FROM generate_series(1, CASE WHEN (o.data->>'n') = 'two' THEN 2 ELSE 1 END))", "two",
         "21000: more than one row returned by a subquery"),
    ]

    @staticmethod
    def run(db: Database, elastic: Elastic, index: str, daemon: Any, bad: list[int], value: Any, reason: str) -> None:
        init(daemon)
        publish_many(db, index, [(str(n), {"n": value if n in bad else n}) for n in range(1, 1001)])
        done = drain(daemon, expect=65)
        assert set(elastic.all_docs(index)) == {str(n) for n in range(1, 1001) if n not in bad}
        errors = dead(db)
        assert list(errors) == bad and undelivered(db) == len(bad)
        for error in errors.values():
            assert error["type"] == "mapping_expression_failed" and reason in error["reason"] and error["attempt"] == 1
        assert sum(int(line["events"]) for line in done.logs("events_dead")) == len(bad)
        assert not done.logs("sql_failed"), done.stderr

    @pytest.mark.parametrize("expression,value,reason", KINDS, ids=["division", "cast", "sub-select"])
    def test_in_the_middle(self, db: Database, elastic: Elastic, index: str, outboxd: OutboxdFactory, expression: str,
                           value: Any, reason: str) -> None:
        self.run(db, elastic, index, outboxd(outbox_document=expression), [500], value, reason)

    @pytest.mark.parametrize("bad", [[1], [1000], [1, 2, 3, 998, 999, 1000], list(range(5, 1000, 37))],
                             ids=["first", "last", "both ends", "in all lanes"])
    @pytest.mark.parametrize("batch_rows", [10000, 20])
    def test_wherever_it_stands(self, db: Database, elastic: Elastic, index: str, outboxd: OutboxdFactory,
                                bad: list[int],
                                batch_rows: int) -> None:
        expression, value, reason = self.KINDS[0]
        self.run(db, elastic, index, outboxd(outbox_document=expression, relay_batch_rows=batch_rows), bad, value,
                 reason)

    @pytest.mark.parametrize("setting,expression", [
        ("index", "CASE WHEN 1 / (o.data->>'n')::int IS NOT NULL THEN o.aggregate_type END"),
        ("version", "o.id + 0 / (o.data->>'n')::int"),
        ("routing", "CASE WHEN 1 / (o.data->>'n')::int < 0 THEN 'x' END"),
        ("operation", "CASE WHEN 1 / (o.data->>'n')::int IS NOT NULL THEN 'index' END"),
    ])
    def test_in_whichever_field(self, db: Database, elastic: Elastic, index: str, outboxd: OutboxdFactory, setting: str,
                                expression: str) -> None:
        daemon = outboxd(**{f"outbox_{setting}": expression})
        init(daemon)
        publish_many(db, index, [(str(n), {"n": n}) for n in range(-20, 21)])
        drain(daemon, expect=65)
        assert len(elastic.all_docs(index)) == 40
        assert [error["reason"] for error in dead(db).values()] == ["22012: division by zero"]

    def test_a_time_that_is_no_time_stops_nobody(self, db: Database, elastic: Elastic, index: str,
                                                 outboxd: OutboxdFactory) -> None:
        """created_at is for statistics only."""
        daemon = outboxd()
        init(daemon)
        for name in "123":
            publish(db, index, name, {})
        db.execute("UPDATE outbox SET created_at = 'infinity' WHERE id = 1")
        db.execute("UPDATE outbox SET created_at = '-infinity' WHERE id = 2")
        done = daemon.run_once(timeout=15)
        assert done.exit_code in (0, 65), done.stderr
        assert "3" in elastic.all_docs(index)
