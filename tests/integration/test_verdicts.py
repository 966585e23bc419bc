"""Each line of docs/VERDICTS.md, end to end: what becomes of the event, of its neighbours, and how it goes on.

On a real Elasticsearch wherever a node can be brought into that state, by exact answers where it cannot.
What security has to say is in test_verdicts_secure.py.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any, NamedTuple

import pytest
from conftest import OutboxdFactory
from helpers import dead, drain, init, publish, publish_many, undelivered
from psycopg.types.json import Jsonb

from harness import Answer, Database, Elastic, ElasticError, Outboxd, ScriptedElastic, wait_until
from harness.bulk import ItemError
from harness.scripted_elastic import Request

QUICK = {"retry_base": "20ms", "retry_cap": "300ms"}
WATCHED = {**QUICK, "log_level": "debug"}
UNTOUCHED = "NOT processed AND dead_at IS NULL AND attempts = 0 AND retry_at IS NULL AND error IS NULL"
State = Callable[[Elastic, str], Any]  # brings an index into a state


def delivered(db: Database, index: str) -> int:
    return int(db.value("SELECT count(*) FROM outbox WHERE processed AND aggregate_type = %s", [index]))


def untouched(db: Database, index: str | None = None) -> int:
    """Pending as on the first day: no attempt counted, no error, no wait."""
    where = f"{UNTOUCHED} AND coalesce(aggregate_type = %s, true)"
    return int(db.value(f"SELECT count(*) FROM outbox WHERE {where}", [index]))


def wait_tried_again(relay: Outboxd, times: int = 3) -> None:
    """Needs log_level=debug."""
    mark = relay.mark()
    wait_until(lambda: len(relay.logs("worker", since=mark, to="SENDING")) >= times, 30, "it to try again, and again")


def wait_delivered(db: Database, index: str, count: int, what: str) -> None:
    wait_until(lambda: delivered(db, index) == count, 45, what)


# -- an index at fault, on a real node

def setting(name: str, value: Any) -> State:
    return lambda elastic, index: elastic.call("PUT", f"/{index}/_settings", {name: value})


def cluster(name: str, value: Any) -> State:
    return lambda elastic, _: elastic.call("PUT", "/_cluster/settings", {"persistent": {name: value}})


def post(path: str) -> State:
    return lambda elastic, index: elastic.call("POST", f"/{index}/{path}")


def made(settings: Mapping[str, Any] | None = None, wait: bool = True) -> State:
    body = {"settings": {"number_of_shards": 1, "number_of_replicas": 0, **(settings or {})}}
    return lambda elastic, index: elastic.call("PUT", f"/{index}" + ("" if wait else "?wait_for_active_shards=0"), body)


def primary_started(elastic: Elastic, index: str) -> None:
    """Before that its absence is the reason, whatever else is wrong."""
    elastic.call("GET", f"/_cluster/health/{index}?wait_for_status=yellow&timeout=30s")


def alias(*members: Mapping[str, Any]) -> State:
    """An alias of that name over an index for each member."""

    def make(elastic: Elastic, index: str) -> None:
        for number, member in enumerate(members):
            elastic.create_index(f"{index}-{number}")
            add = {"index": f"{index}-{number}", "alias": index, **member}
            elastic.call("POST", "/_aliases", {"actions": [{"add": add}]})

    return make


def write_to_first(elastic: Elastic, index: str) -> None:
    add = {"index": f"{index}-0", "alias": index, "is_write_index": True}
    elastic.call("POST", "/_aliases", {"actions": [{"add": add}]})


def pipeline(elastic: Elastic, _: str) -> None:
    elastic.call("PUT", "/_ingest/pipeline/later", {"processors": []})


@dataclass(frozen=True)
class Fault:
    name: str
    make: tuple[State, ...]
    type: str
    reason: str
    mend: State
    settings: Mapping[str, Any] = field(default_factory=dict)


FAULTS = (
    Fault("missing, must not be created, and comes", (cluster("action.auto_create_index", False),),
          "index_not_found_exception", "no such index", made()),
    Fault("missing, must not be created, and may", (cluster("action.auto_create_index", False),),
          "index_not_found_exception", "no such index", cluster("action.auto_create_index", None)),
    Fault("missing, and no shards left", (cluster("cluster.max_shards_per_node", 1),),
          "validation_exception", "this action would add", cluster("cluster.max_shards_per_node", None)),
    Fault("closed", (made(), post("_close")),
          "index_closed_exception", "closed", post("_open?wait_for_active_shards=1")),
    Fault("write block", (made({"index.blocks.write": True}),),
          "cluster_block_exception", "index write (api)", setting("index.blocks.write", False)),
    Fault("read-only", (made(), setting("index.blocks.read_only", True)),
          "cluster_block_exception", "index read-only (api)", setting("index.blocks.read_only", False)),
    Fault("flood stage of the disk", (made(), setting("index.blocks.read_only_allow_delete", True)),
          "cluster_block_exception", "disk usage exceeded flood-stage", setting("index.blocks.read_only_allow_delete", None)),
    Fault("alias of several without a write index", (alias({}, {}),),
          "illegal_argument_exception", "no write index is defined", write_to_first),
    Fault("alias that must not be written", (alias({"is_write_index": False}),),
          "illegal_argument_exception", "no write index is defined", write_to_first),
    Fault("its pipeline is missing", (made(), setting("index.default_pipeline", "absent")),
          "illegal_argument_exception", "pipeline with id [absent]", setting("index.default_pipeline", "_none")),
    Fault("the event's pipeline is missing", (made(),),
          "illegal_argument_exception", "pipeline with id [later]", pipeline,
          {"outbox_pipeline": "CASE WHEN o.aggregate_type NOT LIKE '%-good' THEN 'later' END"}),
    Fault("too few active copies",
          (made({"number_of_replicas": 1, "index.write.wait_for_active_shards": 2}, wait=False), primary_started),
          "unavailable_shards_exception", "Not enough active copies", setting("index.write.wait_for_active_shards", 1),
          {"elasticsearch_timeout": "6s"}),  # Elasticsearch waits for half of it
    Fault("primary away", (made({"index.routing.allocation.require._name": "nobody"}, wait=False),),
          "unavailable_shards_exception", "primary shard is not active",
          setting("index.routing.allocation.require._name", None), {"elasticsearch_timeout": "6s"}),
)


@pytest.fixture
def good(elastic: Elastic, index: str) -> Iterator[str]:
    """An index beside `index` in which all is well; afterwards nothing is left of what a fault has made."""
    name = f"{index}-good"
    elastic.create_index(name)
    yield name
    for setting_name in ("action.auto_create_index", "cluster.max_shards_per_node", "cluster.blocks.read_only"):
        cluster(setting_name, None)(elastic, name)
    for path in ("/_ingest/pipeline/later", f"/{name},{index}-0,{index}-1?ignore_unavailable=true"):
        with suppress(ElasticError):  # most of it was never there
            elastic.call("DELETE", path)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_an_index_at_fault_waits_alone(fault: Fault, db: Database, elastic: Elastic, index: str, good: str,
                                       outboxd: OutboxdFactory) -> None:
    relay = outboxd(**WATCHED, **fault.settings)
    init(relay)
    documents = [(str(n), {"n": n}) for n in range(10)]
    publish_many(db, index, documents)
    has_delete = "pipeline" not in fault.name  # a delete goes through no pipeline
    if has_delete:
        publish(db, index, "absent", None)
    publish_many(db, good, documents)
    for make in fault.make:
        make(elastic, index)

    relay.start()
    wait_delivered(db, good, 10, "the neighbours to be delivered")
    paused = relay.wait_log("index_paused", timeout=20, index=index)
    wait_tried_again(relay)

    assert paused["type"] == fault.type and fault.reason in paused["reason"], paused
    assert untouched(db, index) == 10 + has_delete
    assert [line["index"] for line in relay.logs("index_paused")] == [index]
    assert relay.logs("elasticsearch_away") == relay.logs("index_resumed") == []

    fault.mend(elastic, index)

    wait_delivered(db, index, 10 + has_delete, "the index to be served when the fault is gone")
    assert set(elastic.all_docs(index)) == set(elastic.all_docs(good)) == {name for name, _ in documents}
    assert db.value("SELECT count(*) FROM outbox WHERE attempts > 0 OR dead_at IS NOT NULL OR error IS NOT NULL") == 0
    assert len(relay.logs("index_paused")) == len(relay.logs("index_resumed", index=index)) == 1


def test_a_delete_of_nothing_and_a_delete_in_nothing(db: Database, elastic: Elastic, index: str, good: str,
                                                     outboxd: OutboxdFactory) -> None:
    """Both are 404. The one is done, the other was not even tried."""
    relay = outboxd(**QUICK)
    init(relay)
    cluster("action.auto_create_index", False)(elastic, index)
    publish(db, good, "1", None)
    publish(db, index, "1", None)
    relay.start()
    relay.wait_log("index_paused", timeout=20, index=index)
    wait_delivered(db, good, 1, "the delete of nothing to be done")

    assert untouched(db, index) == 1
    elastic.create_index(index)
    wait_delivered(db, index, 1, "the other delete to be done when its index is there")
    # Its version was recorded all the same.
    assert elastic.request("PUT", f"/{good}/_doc/1?version=0&version_type=external", {}).status == 409


def test_a_read_only_cluster_stops_all(db: Database, elastic: Elastic, index: str, good: str,
                                       outboxd: OutboxdFactory) -> None:
    elastic.create_index(index)
    relay = outboxd(**WATCHED)
    init(relay)
    publish_many(db, index, [("1", {}), ("2", {})])
    publish(db, good, "1", {})
    cluster("cluster.blocks.read_only", True)(elastic, index)
    relay.start()
    away = relay.wait_log("elasticsearch_away", timeout=20)
    wait_tried_again(relay)

    assert "HTTP 403 cluster_block_exception" in away["error"] and "cluster read-only" in away["error"]
    assert untouched(db) == 3

    cluster("cluster.blocks.read_only", None)(elastic, index)

    wait_until(lambda: delivered(db, index) + delivered(db, good) == 3, 30, "the events to be delivered")
    assert len(relay.logs("elasticsearch_away")) == len(relay.logs("elasticsearch_back")) == 1
    assert relay.logs("index_paused") == []


# -- documents that no server will ever take, on a real node

class Bad(NamedTuple):
    index: str
    document: str
    type: str


DEEP = '{"a":' * 30 + "1" + "}" * 30
PARSING = "document_parsing_exception"
BAD = {
    "text for a number": Bad("typed", '{"n": "many"}', PARSING),
    "number over an integer": Bad("typed", '{"n": 3000000000}', PARSING),
    "number over a long": Bad("typed", '{"l": 9223372036854775808}', PARSING),
    "number of 1,001 digits": Bad("typed", '{"new": 1%s}' % ("0" * 1000), PARSING),
    "bad date": Bad("typed", '{"d": "yesterday"}', PARSING),
    "bad truth": Bad("typed", '{"b": "maybe"}', PARSING),
    "object for a scalar": Bad("typed", '{"n": {"a": 1}}', PARSING),
    "scalar for an object": Bad("typed", '{"o": 1}', PARSING),
    "dots through a scalar": Bad("typed", '{"n.a": 1}', PARSING),
    "immense keyword": Bad("typed", '{"k": "%s"}' % ("x" * 33_000), PARSING),
    "empty field name": Bad("typed", '{"": 1}', PARSING),
    "blank field name": Bad("typed", '{" ": 1}', PARSING),
    "metadata field": Bad("typed", '{"_id": "1"}', PARSING),
    "too deep": Bad("typed", DEEP, PARSING),
    "not a number": Bad("typed", '{"n": NaN}', PARSING),
    "double keys": Bad("typed", '{"x": 1, "x": 2}', PARSING),
    "control character": Bad("typed", '{"x": "\t"}', PARSING),
    "trailing garbage": Bad("typed", '{"x": 1} y', PARSING),
    "two documents": Bad("typed", '{"x": 1} {"x": 2}', "illegal_argument_exception"),
    "half a document": Bad("typed", '{"x": ', PARSING),
    "unknown field": Bad("strict", '{"other": 1}', "strict_dynamic_mapping_exception"),
    "too many fields": Bad("few", '{"a1": 1, "a2": 2, "a3": 3}', PARSING),
    "routing missing": Bad("routed", '{"n": 1}', "routing_missing_exception"),
    "routing against the alias": Bad("bent", '{"n": 1}', "illegal_argument_exception"),
    # What would fail the whole request is refused before it is sent, under the same names.
    "not an object": Bad("typed", "[1]", PARSING),
    "empty document": Bad("typed", " ", PARSING),
    "id of 513 bytes" + "€" * 166: Bad("typed", "{}", "action_request_validation_exception"),
    "index in upper case": Bad("Typed", "{}", "invalid_index_name_exception"),
    "date math": Bad("<typed-{now/d}>", "{}", "invalid_index_name_exception"),
}
REFUSED_HERE = ("not an object", "empty document", "id of 513", "index in upper", "date math")
FINE = {
    "a fraction for an integer": '{"n": 1.7}',
    "half a surrogate pair": '{"x": "\\ud800"}',
    "an escaped zero": '{"x": "\\u0000"}',
    "other line ends": '{"x":\r\n"y"}\r\n',
    "digits": '{"price": 19.90, "big": 12345678901234567890123.456789000}',
    " spaces/slashes\tand \"quotes\" in the id": "{}",
}


def test_bad_documents_are_dead_each_by_itself(db: Database, elastic: Elastic, index: str,
                                               outboxd: OutboxdFactory) -> None:
    """All of them in one request with good ones."""
    mappings: dict[str, dict[str, Any]] = {
        "typed": {"properties": {"n": {"type": "integer"}, "l": {"type": "long"}, "d": {"type": "date"},
                                 "b": {"type": "boolean"}, "k": {"type": "keyword"},
                                 "o": {"properties": {"a": {"type": "integer"}}}}},
        "strict": {"dynamic": "strict", "properties": {"n": {"type": "integer"}}},
        "few": {"properties": {"a1": {"type": "integer"}}},
        "routed": {"_routing": {"required": True}},
        "target": {},
    }
    names = {kind: f"{index}-{kind}" for kind in mappings}
    for kind, mapping in mappings.items():
        elastic.create_index(names[kind], mapping, {"index.mapping.total_fields.limit": 2} if kind == "few" else None)
    names["bent"] = f"{index}-bent"
    add = {"index": names["target"], "alias": names["bent"], "routing": "a"}
    elastic.call("POST", "/_aliases", {"actions": [{"add": add}]})
    daemon = outboxd(outbox_document="coalesce(o.data->>'raw', o.data::text)",
                     outbox_routing=f"CASE WHEN o.aggregate_type = '{names['bent']}' THEN 'b' END")
    init(daemon)
    wanted = {}
    with db.connect() as connection:
        for name, bad in BAD.items():
            row = [names.get(bad.index, bad.index), name, Jsonb({"raw": bad.document})]
            here = name.startswith(REFUSED_HERE)
            by_mapping = bad.type == PARSING and not here
            wanted[name] = (elastic.parsing_error if by_mapping else bad.type, None if here else 400)
            connection.execute("INSERT INTO outbox (aggregate_type, aggregate_id, data) VALUES (%s, %s, %s)", row)
            connection.execute("INSERT INTO outbox (aggregate_type, aggregate_id, data) VALUES (%s, %s, '{\"n\": 1}')",
                               [names["typed"], f"beside {name[:40]}"])
        for name, document in FINE.items():
            connection.execute("INSERT INTO outbox (aggregate_type, aggregate_id, data) VALUES (%s, %s, %s)",
                               [names["typed"], name, Jsonb({"raw": document})])
    try:
        done = drain(daemon, expect=65)

        found = {error["id"]: (error["type"], error["status"]) for error in dead(db).values()}
        older = elastic.is_opensearch or elastic.version < (8,)
        # These are found by other layers of such a server, under either name.
        either = ("too deep", "too many fields", "immense keyword", "two documents") if older else ()
        taken = {"blank field name"} if older else set()
        wanted |= {name: (found[name][0], 400) for name in either if found[name][0] in (elastic.parsing_error, "illegal_argument_exception")}
        wanted = {name: error for name, error in wanted.items() if name not in taken}
        assert found == wanted
        assert db.value("SELECT count(*) FROM outbox WHERE processed") == len(BAD) + len(FINE) + len(taken)
        assert db.value("SELECT count(*) FROM outbox WHERE dead_at IS NOT NULL AND attempts <> 1") == 0
        docs = elastic.all_docs(names["typed"])
        assert set(docs) == {f"beside {name[:40]}" for name in BAD} | set(FINE) | taken
        assert docs["digits"].source == FINE["digits"]
        assert done.logs("index_paused") == done.logs("elasticsearch_away") == []
        assert sum(int(line["events"]) for line in done.logs("events_dead")) == len(BAD) - len(taken)
    finally:
        elastic.call("DELETE", "/" + ",".join(name for kind, name in names.items() if kind != "bent"))


def test_versions_of_others(db: Database, elastic: Elastic, index: str, outboxd: OutboxdFactory) -> None:
    elastic.create_index(index, {"properties": {"n": {"type": "integer"}}})
    daemon = outboxd()
    init(daemon)
    newer = {"older": 50, "older, and bad": 51, "older delete": 52}
    for name, version in (*newer.items(), ("equal", 3), ("newer", 3)):
        elastic.call("PUT", f"/{index}/_doc/{name.replace(' ', '%20')}?version={version}&version_type=external", {"n": 50})
    # Its own numbers tell them apart: 1 and 2 are older than 50, 3 is equal to 3, 4 is newer. 5 is a delete.
    for name, document in (("older", {"n": 1}), ("older, and bad", {"n": "x"}), ("equal", {"n": 3}), ("newer", {"n": 4})):
        publish(db, index, name, document)
    publish(db, index, "older delete", None)
    # 50 to 52 were drawn and delivered some time ago.
    for name, version in newer.items():
        db.execute("INSERT INTO outbox (id, aggregate_type, aggregate_id, data, processed, processed_at) "
                   "OVERRIDING SYSTEM VALUE VALUES (%s, %s, %s, '{}', true, now())", [version, index, name])
    db.execute("SELECT setval(pg_get_serial_sequence('outbox', 'id'), 100)")

    done = drain(daemon, expect=65)

    # The mapping is looked at first: it is 400, not 409.
    assert {id: error["status"] for id, error in dead(db).items()} == {2: 400}
    assert db.value("SELECT count(*) FROM outbox WHERE processed AND attempts = 0 AND id < 50") == 4
    assert {name: (doc.version, json.loads(doc.source)["n"]) for name, doc in elastic.all_docs(index).items()} == {
        "older": (50, 50), "older, and bad": (51, 50), "equal": (3, 3), "newer": (4, 4), "older delete": (52, 50)}
    assert (done.logs("drained")[0]["superseded"], done.logs("drained")[0]["delivered"]) == ("2", "2")
    # Mended by hand and requeued it finds something newer.
    db.execute("UPDATE outbox SET data = '{\"n\": 2}' WHERE id = 2")
    daemon.run("requeue", "--all")
    drain(daemon)
    document = elastic.get(index, "older, and bad")
    assert document and document.version == 51


# -- a node that is too small, for real

@pytest.fixture(scope="module")
def cramped() -> Iterator[Elastic]:
    small = {"indexing_pressure.memory.limit": "256kb", "thread_pool.write.size": 1, "thread_pool.write.queue_size": 1}
    with Elastic(settings=small, heap="256m") as node:
        yield node


def test_new_fields_whose_types_race(db: Database, elastic: Elastic, index: str, outboxd: OutboxdFactory) -> None:
    """Before 8, of two requests at a time that bring a field of one name one may be refused, for a reason that is gone by then."""
    indexes = [f"{index}-{n}" for n in range(8)]
    relay = outboxd(**QUICK, relay_workers=4, relay_batch_rows=50)
    init(relay)
    db.execute("INSERT INTO outbox (event, aggregate_type, aggregate_id, data) SELECT 'x', %s || (n %% 8), n, "
               "json_build_object('f' || n / 8 %% 25, CASE WHEN n / 200 %% 2 = 0 THEN 1 ELSE 1.5 END) FROM generate_series(0, 1599) n", [f"{index}-"])
    try:
        for each in indexes:
            elastic.create_index(each)
        relay.start()
        wait_until(lambda: undelivered(db) == 0, 60, "all to be delivered")
        assert sum(len(elastic.all_docs(each)) for each in indexes) == 1600
    finally:
        for each in indexes:
            elastic.delete_index(each)


def test_a_data_stream_takes_creates_only(db: Database, cramped: Elastic, index: str, outboxd: OutboxdFactory) -> None:
    """Here, because the minimal distribution cannot delete one."""
    template = {"index_patterns": [index], "data_stream": {}, "template": {"settings": {"number_of_replicas": 0}}}
    cramped.call("PUT", f"/_index_template/{index}", template)
    wrong = outboxd(**WATCHED, elasticsearch_url=cramped.url)
    init(wrong)
    for document in ({"@timestamp": "2026-01-01"}, {"no": "timestamp"}, {"@timestamp": "2026-01-02"}, None):
        publish(db, index, "a", document)
        publish(db, f"{index}-good", "a", document)
    wrong.start()
    paused = wrong.wait_log("index_paused", timeout=20)
    wait_delivered(db, f"{index}-good", 4, "the neighbours")
    wait_tried_again(wrong)
    assert paused["reason"].startswith("only write ops with an op_type of create")
    assert untouched(db, index) == 4 and len(wrong.logs("index_paused")) == 1
    wrong.terminate()
    db.execute("DELETE FROM outbox WHERE data IS NULL")

    right = outboxd(**QUICK, elasticsearch_url=cramped.url, outbox_preset="events")
    drain(right, expect=65)

    assert {id: (error["status"], error["type"]) for id, error in dead(db).items()} == {
        3: (400, cramped.parsing_error)}
    assert set(cramped.all_docs(index)) == {"1", "5"}
    # Delivered before: 409 "document already exists" is its own success.
    db.execute("UPDATE outbox SET processed = false WHERE aggregate_type = %s AND id IN (1, 5)", [index])
    drain(right)
    assert set(cramped.all_docs(index)) == {"1", "5"}


def test_a_document_that_never_fits_is_dead(db: Database, cramped: Elastic, index: str, outboxd: OutboxdFactory) -> None:
    """400 kB are refused as a whole request, 100 kB as an item: from 9 on a document counts several times on its shard."""
    items = ["item", "item too"]
    cramped.create_index(index)
    daemon = outboxd(**QUICK, elasticsearch_url=cramped.url)
    init(daemon)
    publish_many(db, index, [("whole", {"x": "x" * 400_000}), ("fits", {"x": "x" * 30_000}),
                             *((item, {"x": "x" * 100_000}) for item in items)])
    publish_many(db, index, [(str(n), {"x": "x" * 400}) for n in range(500)])

    done = daemon.run_once(timeout=60)

    assert done.exit_code == 65, done.stderr[-3000:]
    fitting = items if cramped.is_opensearch or cramped.version < (9,) else []
    assert {error["id"]: (error["status"], error["type"]) for error in dead(db).values()} == dict.fromkeys(
        {"whole", *items} - set(fitting), (429, cramped.rejection))
    assert all("_bytes=" in error["reason"] for error in dead(db).values())
    assert set(cramped.all_docs(index)) == {"fits", *fitting, *map(str, range(500))}
    assert db.value("SELECT max(attempts) FROM outbox WHERE processed") == 0


@pytest.fixture(scope="module")
def narrow() -> Iterator[Elastic]:
    with Elastic(settings={"http.max_content_length": "256kb"}, heap="256m") as node:
        yield node


@pytest.mark.parametrize("compression", ["off", "gzip"])
def test_requests_over_max_content_length_are_split(compression: str, db: Database, narrow: Elastic, index: str,
                                                    outboxd: OutboxdFactory) -> None:
    """Compressed they pass the first look, and part of what is refused may have been applied."""
    narrow.create_index(index)
    daemon = outboxd(**QUICK, elasticsearch_url=narrow.url, elasticsearch_compression=compression, relay_batch_bytes="4MB")
    init(daemon)
    publish_many(db, index, [("large", {"x": "x" * 400_000}), *((str(n), {"x": "x" * 20_000}) for n in range(100))])
    publish(db, index, "0", None)

    done = daemon.run_once(timeout=60)

    assert done.exit_code == 65, done.stderr[-3000:]
    assert [(error["id"], error["type"]) for error in dead(db).values()] == [("large", "request_refused")]
    assert set(narrow.all_docs(index)) - {"large"} == set(map(str, range(1, 100)))
    assert db.value("SELECT max(attempts) FROM outbox WHERE processed") == 0


def test_a_full_write_queue_delays_and_buries_nothing(db: Database, cramped: Elastic, index: str,
                                                      outboxd: OutboxdFactory) -> None:
    """Each request falls into eight pieces, for which there is one thread and one place to wait."""
    cramped.create_index(index, settings={"number_of_shards": 8})
    daemon = outboxd(**QUICK, elasticsearch_url=cramped.url)
    init(daemon)
    publish_many(db, index, [(str(n), {"n": n}) for n in range(400)])

    done = daemon.run_once(timeout=60)

    assert done.exit_code == 0, done.stderr[-3000:]
    nodes = cramped.call("GET", "/_nodes/stats/thread_pool")["nodes"].values()
    assert sum(node["thread_pool"]["write"]["rejected"] for node in nodes) > 0, "the queue was never full"
    assert len(cramped.all_docs(index)) == 400
    assert db.value("SELECT count(*) FROM outbox WHERE attempts > 0 OR error IS NOT NULL") == 0
    assert done.logs("index_paused") == []


# -- whole requests, by exact answers

def problem(status: int, kind: str, reason: str, **more: Any) -> Answer:
    return Answer(status=status, body=json.dumps({"error": {"type": kind, "reason": reason}, "status": status}), **more)


def items(*statuses: Any) -> str:
    return json.dumps({"errors": False, "items": [{"index": {"status": status}} for status in statuses]})


HTML = b"<html><body>a proxy speaks</body></html>"
EVENTS = 6
# What all of it has in common: nothing is marked, nothing is blamed, one line, and everything is sent again.
WHOLE: dict[str, tuple[Answer, str]] = {
    "reset": (Answer(ending="reset"), "broken"),
    "closed": (Answer(ending="close"), "broken"),
    "cut by length": (Answer(cut_after=40), "broken"),
    "cut in chunks": (Answer(cut_after=40, chunked=True), "broken"),
    "200 with HTML": (Answer(body=HTML), "HTTP 200"),
    "200 with nothing": (Answer(body=b""), "HTTP 200"),
    "200 with {}": (Answer(body=b"{}"), "HTTP 200"),
    "200 with half a JSON": (Answer(body=items(*[200] * EVENTS)[:-30], close=True), "HTTP 200"),
    "200 without errors": (Answer(body=items(*[200] * EVENTS).replace("errors", "took")), "HTTP 200"),
    "200 with an item too few": (Answer(body=items(*[200] * (EVENTS - 1))), "HTTP 200"),
    "200 with an item too many": (Answer(body=items(*[200] * (EVENTS + 1))), "HTTP 200"),
    "200 with an item without status": (Answer(body=items(*[200] * (EVENTS - 1), None)), "HTTP 200"),
    "200 that cuts off refusals": (Answer(body=json.dumps({"errors": True, "items": [
        {"index": {"status": 400, "error": {"type": "x", "reason": "y"}}}] * EVENTS})[:-20]), "HTTP 200"),
    "204": (Answer(status=204, body=b""), "HTTP 204"),
    "301": (Answer(status=301, headers={"Location": "{other}/_bulk"}, body=HTML), "redirected to {other}/_bulk"),
    "302": (Answer(status=302, headers={"Location": "{other}/_bulk"}, body=HTML), "redirected to {other}/_bulk"),
    "307": (Answer(status=307, headers={"Location": "{other}/_bulk"}, body=HTML), "redirected to {other}/_bulk"),
    "308": (Answer(status=308, headers={"Location": "{other}/_bulk"}, body=HTML), "redirected to {other}/_bulk"),
    "explicit index forbidden": (problem(400, "illegal_argument_exception", "explicit index in bulk is not allowed"),
                                 "explicit index in bulk is not allowed"),
    "unknown parameter": (problem(400, "illegal_argument_exception", "request [/_bulk] contains unrecognized parameter: [x]"),
                          "unrecognized parameter"),
    "content type missing": (problem(400, "media_type_header_exception", "Invalid media-type value on headers"),
                             "media_type_header_exception"),
    "400 of a proxy": (Answer(status=400, body=HTML), "HTTP 400"),
    "401": (problem(401, "security_exception", "missing authentication credentials"), "missing authentication"),
    "403 of Amazon's throttle": (Answer(status=403, body=b"403 Request throttled due to too many requests /_bulk"),
                                 "HTTP 403"),
    "403 read-only": (problem(403, "cluster_block_exception", "cluster read-only"), "cluster read-only"),
    "404 for the path": (problem(404, "index_not_found_exception", "no such index [_bulk]"), "HTTP 404"),
    "405": (Answer(status=405, body=b'{"error":"Incorrect HTTP method"}'), "HTTP 405"),
    "406": (problem(406, "media_type_header_exception", "Content-Type header [x] is not supported"), "HTTP 406"),
    "408": (Answer(status=408, body=HTML), "HTTP 408"),
    "425": (Answer(status=425, body=HTML), "HTTP 425"),
    "429 circuit breaker": (problem(429, "circuit_breaking_exception", "[parent] Data too large"), "Data too large"),
    "429 of a proxy": (Answer(status=429, body=HTML), "HTTP 429"),
    "429 that nothing escapes": (problem(429, "es_rejected_execution_exception", "rejected execution of coordinating"),
                                 "rejected execution"),
    "500 with HTML": (Answer(status=500, body=HTML), "HTTP 500"),
    "502 with HTML": (Answer(status=502, body=HTML), "HTTP 502"),
    "503 no master": (problem(503, "cluster_block_exception", "state not recovered"), "state not recovered"),
    "504 with HTML": (Answer(status=504, body=HTML), "HTTP 504"),
}


def with_other(answer: Answer, other: str) -> Answer:
    headers = {name: value.replace("{other}", other) for name, value in answer.headers.items()}
    return Answer(**{**vars(answer), "headers": headers})


@pytest.mark.parametrize("family", ["connection", "2", "3", "4", "5"])
def test_a_whole_request_is_sent_again(family: str, db: Database, outboxd: OutboxdFactory) -> None:
    """One outage after the other, each with its line, and nothing of one is left for the next."""
    with ScriptedElastic() as scripted, ScriptedElastic() as other:
        relay = outboxd(**QUICK, elasticsearch_url=scripted.url, relay_workers=1)
        init(relay)
        relay.start()
        relay.wait_log("elasticsearch_connected", timeout=20)
        for name, (answer, error) in WHOLE.items():
            if (name[0] if name[0].isdigit() else "connection") == family:
                one_outage(name, with_other(answer, other.url), error.replace("{other}", other.url), db, relay, scripted)
        assert relay.logs("index_paused") == relay.logs("events_dead") == other.requests == []


def one_outage(name: str, answer: Answer, error: str, db: Database, relay: Outboxd, scripted: ScriptedElastic) -> None:
    scripted.script(lambda _: answer)
    mark = relay.mark()
    index = re.sub("[^a-z0-9]+", "-", name.lower())
    publish_many(db, index, [(str(n), {"n": n}) for n in range(EVENTS)])
    away = relay.wait_log("elasticsearch_away", timeout=20, since=mark)
    scripted.wait_bulks(len(scripted.bulks) + 2, timeout=20)
    assert error in away["error"], (name, away)
    assert untouched(db, index) == EVENTS, name

    scripted.script(())

    wait_delivered(db, index, EVENTS, f"all to be delivered when it works again after {name}")
    relay.wait_log("elasticsearch_back", timeout=20, since=mark)
    assert len(relay.logs("elasticsearch_away", since=mark)) == len(relay.logs("elasticsearch_back", since=mark)) == 1, name
    assert db.value("SELECT count(*) FROM outbox WHERE attempts > 0 OR error IS NOT NULL") == 0, name


@pytest.mark.parametrize("compression", ["off", "gzip"])
def test_one_after_the_other(compression: str, db: Database, outboxd: OutboxdFactory) -> None:
    answers = [answer for answer, _ in WHOLE.values()]
    with ScriptedElastic(answers) as scripted:
        daemon = outboxd(retry_base="1ms", retry_cap="10ms", elasticsearch_url=scripted.url, relay_workers=1,
                         elasticsearch_compression=compression)
        init(daemon)
        publish_many(db, "products", [(str(n), {"n": n}) for n in range(EVENTS)])

        drain(daemon)

        assert len(scripted.bulks) > len(answers)
        packed = {request.headers.get("content-encoding") for request in scripted.bulks}
        assert packed == {"gzip" if compression == "gzip" else None}
        assert db.value("SELECT count(*) FROM outbox WHERE processed AND attempts = 0 AND error IS NULL") == EVENTS


@pytest.mark.parametrize("compression", ["off", "gzip"])
def test_a_real_node_takes_either_form(compression: str, db: Database, elastic: Elastic, index: str,
                                         outboxd: OutboxdFactory) -> None:
    """All kinds of rows in one request of either form, to the real server."""
    elastic.create_index(index, {"properties": {"n": {"type": "integer"}}})
    daemon = outboxd(elasticsearch_compression=compression)
    init(daemon)
    publish_many(db, index, [(str(n), {"n": "x" if n == 500 else n}) for n in range(1000)])
    publish(db, index, "absent", None)

    drain(daemon, expect=65)

    assert set(elastic.all_docs(index)) == {str(n) for n in range(1000)} - {"500"}
    assert [error["id"] for error in dead(db).values()] == ["500"]


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_is_honoured(form: str, db: Database, outboxd: OutboxdFactory) -> None:
    """Nothing comes before that, not even a question whether it is alive."""
    arrivals: list[float] = []

    def busy(_: Request) -> Answer | None:
        arrivals.append(time.monotonic())
        if len(arrivals) > 1:
            return None
        # A date has whole seconds: two from now is one and a bit.
        later = "1" if form == "seconds" else formatdate(time.time() + 2.5, usegmt=True)
        return Answer(status=503, headers={"Retry-After": later}, body=HTML)

    def note(_: Request) -> None:
        if arrivals:
            arrivals.append(time.monotonic())

    with ScriptedElastic(busy, other=note) as scripted:
        relay = outboxd(retry_base="1ms", retry_cap="20s", elasticsearch_url=scripted.url, relay_workers=1)
        init(relay)
        publish(db, "products", "1", {})
        relay.start()
        wait_delivered(db, "products", 1, "the event to be delivered after the pause")

    assert 0.95 <= arrivals[1] - arrivals[0] < 15


def test_retry_after_is_capped(db: Database, outboxd: OutboxdFactory) -> None:
    with ScriptedElastic([Answer(status=429, headers={"Retry-After": "3600"}, body=HTML)]) as scripted:
        daemon = outboxd(**QUICK, elasticsearch_url=scripted.url)
        init(daemon)
        publish(db, "products", "1", {})
        drain(daemon)


# -- one bad event fails the whole request

def refuse_whole(bad: Callable[[Any], bool], answer: Answer) -> Callable[[Request], Answer | None]:
    return lambda request: answer if any(map(bad, request.actions)) else None


@pytest.mark.parametrize("answer,status,kind", [
    (Answer(status=413, body=b""), 413, "request_refused"),
    (problem(400, "action_request_validation_exception", "Validation Failed: 1: id is too long"), 400,
     "action_request_validation_exception"),
    (problem(400, "x_content_parse_exception", "[1:2] Unexpected character"), 400, "x_content_parse_exception"),
    (problem(429, "es_rejected_execution_exception", "rejected execution of coordinating operation "
             "[coordinating_and_primary_bytes=0, replica_bytes=0, all_bytes=0, coordinating_operation_bytes=40, "
             "max_coordinating_bytes=30]"), 429, "es_rejected_execution_exception"),
    (problem(429, "rejected_execution_exception", "rejected execution of coordinating operation "
             "[coordinating_and_primary_bytes=0, replica_bytes=0, all_bytes=0, coordinating_operation_bytes=40, "
             "max_coordinating_and_primary_bytes=30]"), 429, "rejected_execution_exception"),
], ids=["413", "400 validation", "400 parsing", "429 too large", "429 too large for OpenSearch"])
def test_one_bad_event_of_a_refused_request(answer: Answer, status: int, kind: str, db: Database,
                                            outboxd: OutboxdFactory) -> None:
    with ScriptedElastic(refuse_whole(lambda action: action.id == "13", answer)) as scripted:
        daemon = outboxd(**QUICK, elasticsearch_url=scripted.url)
        init(daemon)
        publish_many(db, "products", [(str(n), {"n": n}) for n in range(100)])

        drain(daemon, expect=65)

    assert [(error["id"], error["status"], error["type"]) for error in dead(db).values()] == [("13", status, kind)]
    assert delivered(db, "products") == 99
    assert db.value("SELECT max(attempts) FROM outbox WHERE processed") == 0


@pytest.mark.parametrize("key", ["o.aggregate_id", "'all in one lane'"])
def test_several_bad_events_before_the_first_good_one(key: str, db: Database, outboxd: OutboxdFactory) -> None:
    """That nothing was accepted yet does not mean that nothing will be: the good ones behind them must not wait for ever."""
    first: list[str] = []

    def script(request: Request) -> Answer | None:
        first.extend(action.id or "" for action in request.actions[:4] if len(first) < 4)
        refusal = problem(400, "action_request_validation_exception", "Validation Failed: 1: something of this event")
        return refusal if any(action.id in first for action in request.actions) else None

    with ScriptedElastic(script) as scripted:
        daemon = outboxd(**QUICK, elasticsearch_url=scripted.url, relay_workers=1, relay_once_timeout="10s",
                         outbox_key=key)
        init(daemon)
        publish_many(db, "products", [(str(n), {"n": n}) for n in range(40)])

        done = daemon.run_once(timeout=30)

    assert delivered(db, "products") == 36, done.stderr[-2000:]
    assert {error["id"] for error in dead(db).values()} == set(first)
    assert done.exit_code == 65


# -- items, by exact answers

class Item(NamedTuple):
    error: ItemError
    fate: str  # dead at once; returned: pending, untouched; counted: pending, with an attempt; aside: without
    pauses: bool = False


ITEMS = {
    "queue full": Item((429, "es_rejected_execution_exception", "rejected execution of [x]"), "returned"),
    "queue full, OpenSearch": Item((429, "rejected_execution_exception", "rejected execution of [x]"), "returned"),
    "item breaker": Item((429, "circuit_breaking_exception", "[parent] Data too large"), "returned"),
    "flood stage": Item((429, "cluster_block_exception", "index [x] blocked by: [TOO_MANY_REQUESTS/12/disk"), "returned", True),
    "index create block": Item((403, "index_create_block_exception", "blocked by: [FORBIDDEN/10/"), "returned", True),
    "no shard": Item((503, "unavailable_shards_exception", "[x][0] primary shard is not active"), "aside"),
    "some 5xx": Item((500, "null_pointer_exception", "oh"), "counted"),
    "not an object, 8.19": Item((500, "not_x_content_exception", "Compressor detection can only be called"), "dead"),
    "mapping, OpenSearch": Item((400, "mapper_parsing_exception", "failed to parse field [n]"), "dead"),
    "fields, OpenSearch": Item((400, "illegal_argument_exception", "Limit of total fields [1000] has been exceeded"), "dead"),
    "quotes a fault": Item((400, PARSING, "failed to parse [no write index is defined for alias]"), "dead"),
    "another 404": Item((404, "document_missing_exception", "[1]: document missing"), "counted"),
    "another 409": Item((409, "conflict_exception", "what"), "counted"),
    "a teapot": Item((418, "teapot_exception", "I am"), "counted"),
}


def test_items_of_one_answer(db: Database, outboxd: OutboxdFactory) -> None:
    """Each in an index of its own, with a good neighbour there, in one answer."""
    by_id = {f"bad {name}": item for name, item in ITEMS.items()}
    is_cured = False

    def script(request: Request) -> Answer:
        return Answer(items={} if is_cured else {
            position: by_id[action.id].error for position, action in enumerate(request.actions) if action.id in by_id})

    with ScriptedElastic(script) as scripted:
        # What is counted is tried on all the time, and must not be dead before it is looked at.
        relay = outboxd(**QUICK, elasticsearch_url=scripted.url, relay_workers=1, retry_max_attempts=1000)
        init(relay)
        for number, name in enumerate(ITEMS):
            publish_many(db, f"index-{number}", [("good", {}), (f"bad {name}", {})])
        relay.start()
        wait_until(lambda: db.value("SELECT count(*) FROM outbox WHERE processed") == len(ITEMS), 20, "the neighbours")
        relay.wait_log("events_dead", timeout=20)
        wait_until(lambda: db.value("SELECT count(*) FROM outbox WHERE attempts > 0") == sum(
            item.fate in ("dead", "counted") for item in ITEMS.values()), 20, "the attempts to be counted")

        assert dict(db.execute(
            "SELECT aggregate_id, CASE WHEN dead_at IS NOT NULL THEN 'dead' WHEN attempts > 0 AND retry_at IS NOT NULL "
            "THEN 'counted' WHEN retry_at IS NOT NULL THEN 'aside' WHEN error IS NULL THEN 'returned' END FROM outbox WHERE NOT processed")) == {
                name: item.fate for name, item in by_id.items()}
        assert {(error["status"], error["type"], error["reason"]) for error in dead(db).values()} == {
            item.error for item in ITEMS.values() if item.fate == "dead"}
        wanted = {f"index-{number}" for number, item in enumerate(ITEMS.values()) if item.pauses}
        # An event that meets a server error once more, alone, may as well speak for its index.
        alone = {f"index-{number}" for number, item in enumerate(ITEMS.values()) if item.error[0] >= 500}
        assert wanted <= {line["index"] for line in relay.logs("index_paused")} <= wanted | alone
        assert relay.logs("elasticsearch_away") == []

        is_cured = True

        alive = sum(item.fate != "dead" for item in ITEMS.values())
        wait_until(lambda: db.value("SELECT count(*) FROM outbox WHERE processed") == len(ITEMS) + alive, 30, "the rest")
        assert wanted <= {line["index"] for line in relay.logs("index_resumed")} <= wanted | alone


QUOTED = "s3cret-of-the-document"


def breaks_its_pipeline(status: int) -> Callable[[Request], Answer]:
    return lambda request: Answer(items={
        position: (status, "fail_processor_exception", f"no {QUOTED}")
        for position, action in enumerate(request.actions) if str(action.id).startswith("poison")})


def test_a_server_error_that_only_one_event_meets(db: Database, outboxd: OutboxdFactory) -> None:
    """It never shares an answer with others, so first it looks like its index; then others are accepted, and it ends."""
    with ScriptedElastic(breaks_its_pipeline(500)) as scripted:
        relay = outboxd(**QUICK, elasticsearch_url=scripted.url, retry_max_attempts=3)
        init(relay)
        publish(db, "products", "poison", {})
        relay.start()
        paused = relay.wait_log("index_paused", timeout=20)
        wait_tried = len(scripted.requests)
        wait_until(lambda: len(scripted.requests) > wait_tried + 5, 20, "it to be tried again, and again")
        assert untouched(db) == 1, "nothing says that the event is to blame"

        def is_dead() -> bool:
            publish(db, "products", "good", {})
            return bool(db.value("SELECT count(*) FROM outbox WHERE dead_at IS NOT NULL"))

        wait_until(is_dead, 30, "its end", every=0.02)
        wait_until(lambda: db.value("SELECT count(*) FROM outbox WHERE NOT processed AND dead_at IS NULL") == 0, 20, "the others")
        assert [(error["id"], error["status"], error["attempt"]) for error in dead(db).values()] == [("poison", 500, 3)]
        assert paused["type"] == "fail_processor_exception" and QUOTED not in relay.stderr
        assert len(relay.logs("index_paused")) <= 2, "the index was paused again, for one event"


def test_a_shard_that_is_away_holds_up_no_other(db: Database, outboxd: OutboxdFactory) -> None:
    is_away = True

    def script(request: Request) -> Answer | None:
        return breaks_its_pipeline(503)(request) if is_away else None

    with ScriptedElastic(script) as scripted:
        relay = outboxd(**QUICK, elasticsearch_url=scripted.url, retry_max_attempts=3, relay_workers=1)
        init(relay)
        publish_many(db, "products", [*((f"poison-{n}", {}) for n in range(100)), *((str(n), {}) for n in range(50))])
        relay.start()
        wait_until(lambda: delivered(db, "products") == 50, 20, "the others")
        time.sleep(3)
        assert db.execute("SELECT attempts, dead_at, error->>'status' FROM outbox WHERE NOT processed") == [(0, None, "503")] * 100
        assert relay.logs("index_paused") == [] and QUOTED not in relay.stderr
        is_away = False
        wait_until(lambda: delivered(db, "products") == 150, 30, "the shard's events")


def test_load_that_lasts_is_said_once(db: Database, outboxd: OutboxdFactory) -> None:
    is_busy = True

    def script(request: Request) -> Answer | None:
        refused = (429, "es_rejected_execution_exception", "rejected execution of [x]")
        return Answer(items={position: refused for position in range(len(request.actions))}) if is_busy else None

    with ScriptedElastic(script) as scripted:
        relay = outboxd(**QUICK, elasticsearch_url=scripted.url)
        init(relay)
        publish_many(db, "products", [(str(n), {}) for n in range(100)])
        relay.start()
        relay.wait_log("elasticsearch_busy", timeout=20)
        mark = relay.mark()
        wait_until(lambda: len(scripted.requests) > 30, 30, "more of it")
        assert relay.logs("elasticsearch_busy", since=mark) == [] and untouched(db) == 100
        is_busy = False
        relay.wait_log("elasticsearch_back", timeout=20)
        wait_until(lambda: delivered(db, "products") == 100, 20, "all")


def test_attempts_come_to_an_end(db: Database, outboxd: OutboxdFactory) -> None:
    script = lambda request: Answer(items={  # noqa: E731
        position: (418, "teapot_exception", "I am") for position, action in enumerate(request.actions) if action.id == "bad"})
    with ScriptedElastic(script) as scripted:
        daemon = outboxd(retry_base="1ms", retry_cap="20ms", retry_max_attempts=3, elasticsearch_url=scripted.url)
        init(daemon)
        publish_many(db, "products", [("good", {}), ("bad", {})])

        drain(daemon, expect=65)

        assert sum(action.id == "bad" for action in scripted.sent_actions()) == 3
    ((attempts, error),) = db.execute("SELECT attempts, error FROM outbox WHERE dead_at IS NOT NULL")
    assert (attempts, error["attempt"], error["type"]) == (3, 3, "teapot_exception")


@pytest.mark.parametrize("kind", ["action_request_validation_exception", "x_content_parse_exception"])
def test_a_part_that_bears_the_fault_of_one(kind: str, db: Database, outboxd: OutboxdFactory) -> None:
    """A 9.x node that took the request in parts refuses all items of a part for one: alone it shows which."""
    fault: ItemError = (400, kind, "Validation Failed: 1: illegal version value [-1]")

    def script(request: Request) -> Answer:
        at = next((position for position, action in enumerate(request.actions) if action.id == "bad"), None)
        part = range(0) if at is None else range(at // 30 * 30, min(at // 30 * 30 + 30, len(request.actions)))
        return Answer(items=dict.fromkeys(part, fault))

    with ScriptedElastic(script) as scripted:
        daemon = outboxd(**QUICK, elasticsearch_url=scripted.url, relay_workers=1)
        init(daemon)
        publish_many(db, "products", [("bad" if n == 7 else str(n), {"n": n}) for n in range(60)])

        drain(daemon, expect=65)

    assert [(error["id"], error["type"]) for error in dead(db).values()] == [("bad", kind)]
    assert delivered(db, "products") == 59


def test_mixed_with_rejections(db: Database, outboxd: OutboxdFactory) -> None:
    """Per shard all or nothing: some arrive, some are sent again, none is sent that has arrived, none is blamed."""
    full: ItemError = (429, "es_rejected_execution_exception", "rejected execution of [x] on EsThreadPoolExecutor")
    rounds: dict[str, int] = {}
    arrived: list[str] = []

    def script(request: Request) -> Answer:
        refused = {}
        for position, action in enumerate(request.actions):
            name = action.id or ""
            rounds[name] = rounds.get(name, 0) + 1
            if rounds[name] <= int(name) % 4:
                refused[position] = full
            else:
                arrived.append(name)
        return Answer(items=refused)

    with ScriptedElastic(script) as scripted:
        daemon = outboxd(retry_base="1ms", retry_cap="20ms", elasticsearch_url=scripted.url)
        init(daemon)
        publish_many(db, "products", [(str(n), {"n": n}) for n in range(200)])

        done = drain(daemon)

    assert sorted(arrived) == sorted(str(n) for n in range(200))
    assert db.value("SELECT count(*) FROM outbox WHERE processed AND attempts = 0 AND error IS NULL") == 200
    assert done.logs("index_paused") == done.logs("elasticsearch_away") == []
