"""`outboxd probe`: an event of its own through the whole path, and nothing of it left behind."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator

import pytest
from conftest import OutboxdFactory
from helpers import init, publish, undelivered

from harness import Completed, Database, Elastic, Outboxd, wait_until

OK, AWAY, REFUSED, CONFIG = 0, 75, 77, 78
PROBE = "outboxd-probe"
STEPS = ["committed", "delivered", "readable", "searchable"]


@pytest.fixture(autouse=True)
def no_leftover(elastic: Elastic) -> Iterator[None]:
    yield
    elastic.ensure_running()
    elastic.delete_index(PROBE)


def running(outboxd: OutboxdFactory, **settings: object) -> Outboxd:
    relay = outboxd(**settings)
    init(relay, "--notify")
    relay.start()
    relay.wait_log("elasticsearch_connected", timeout=30)
    return relay


def steps(done: Completed) -> list[str]:
    """Those that were passed, with a time."""
    return [line.split()[0] for line in done.stdout.splitlines() if re.match(r"\w+ +\d+\.\d ms", line)]


def index_exists(elastic: Elastic, name: str = PROBE) -> bool:
    reply = elastic.request("GET", f"/_resolve/index/{name}")
    return reply.status == 200 and any(reply.json().values())  # OpenSearch answers 200 and empty lists


def assert_gone(done: Completed, db: Database, elastic: Elastic, table: str = "outbox") -> None:
    assert "cleaned up" in done.stdout.splitlines()
    assert db.value(f"SELECT count(*) FROM {table}") == 0
    assert not index_exists(elastic)


@pytest.mark.parametrize("settings", [
    {},
    {"retention_keep": "0"},
    {"outbox_deletes": "tombstone"},
    {"outbox_routing": "'shelf ' || o.aggregate_id"},
    {"outbox_preset": "events"},
], ids=["default", "rows deleted at once", "tombstones", "routing", "append-only"])
def test_the_whole_path(settings: dict[str, str], db: Database, elastic: Elastic, outboxd: OutboxdFactory) -> None:
    relay = running(outboxd, **settings)
    done = relay.run("probe")
    assert (done.exit_code, done.stderr) == (OK, ""), done.stdout
    assert steps(done) == STEPS
    assert_gone(done, db, elastic)


def test_a_table_of_debezium(db: Database, elastic: Elastic, outboxd: OutboxdFactory) -> None:
    relay = running(outboxd, outbox_preset="debezium")
    done = relay.run("probe")
    assert done.exit_code == OK, done.stdout + done.stderr
    assert steps(done) == STEPS
    assert_gone(done, db, elastic)


def test_for_programs(db: Database, outboxd: OutboxdFactory) -> None:
    relay = running(outboxd)
    done = relay.run("probe", "--json")
    told = json.loads(done.stdout)
    assert done.exit_code == OK
    assert (told["index"], told["event"], told["error"], told["left_behind"]) == (PROBE, 1, None, [])
    times = [told[f"{step}_ms"] for step in STEPS]
    assert all(isinstance(each, float) and each > 0 for each in times)
    assert times[1] <= times[2] <= times[3], "each counts from the commit"


def test_through_the_function(db: Database, outboxd: OutboxdFactory) -> None:
    """Which takes the lock of the document: seen by what stands in the rows."""
    relay = running(outboxd)
    db.execute("CREATE TABLE seen (event text, data jsonb); CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
               "INSERT INTO seen VALUES (NEW.event, NEW.data); RETURN NEW; END $$; "
               "CREATE TRIGGER see AFTER INSERT ON outbox FOR EACH ROW EXECUTE FUNCTION see()")
    assert relay.run("probe").exit_code == OK
    assert db.execute("SELECT event, data IS NULL FROM seen") == [("outboxd_probe", False), ("outboxd_probe", True)]


def test_without_the_function(db: Database, elastic: Elastic, outboxd: OutboxdFactory) -> None:
    relay = running(outboxd)
    db.execute("DROP FUNCTION outbox_publish")
    done = relay.run("probe")
    assert done.exit_code == OK, done.stdout + done.stderr
    assert_gone(done, db, elastic)


def test_an_index_that_was_there_stays(db: Database, elastic: Elastic, index: str, outboxd: OutboxdFactory) -> None:
    elastic.create_index(index)
    relay = running(outboxd, outbox_deletes="tombstone")
    publish(db, index, "mine", {"n": 1})
    wait_until(lambda: undelivered(db) == 0, 20, "the event that is no probe")
    assert relay.run("probe", "--index", index).exit_code == OK
    assert set(elastic.all_docs(index)) == {"mine"}
    assert db.execute("SELECT aggregate_id FROM outbox") == [("mine",)]


def test_nothing_else_is_touched_when_no_relay_runs(db: Database, elastic: Elastic, index: str,
                                                    outboxd: OutboxdFactory) -> None:
    relay = outboxd()
    init(relay)
    publish(db, index, "mine", {"n": 1})
    done = relay.run("probe", "--timeout", "500ms")
    assert done.exit_code == AWAY
    assert steps(done) == ["committed"]
    assert "delivered   no" in done.stdout and "cleaned up" in done.stdout
    assert "not delivered within 500ms: is outboxd running? `systemctl status outboxd`" in done.stderr
    assert db.execute("SELECT aggregate_id, processed FROM outbox") == [("mine", False)]
    assert not index_exists(elastic)
    told = json.loads(relay.run("probe", "--timeout", "500ms", "--json").stdout)
    assert told["delivered_ms"] is None and "systemctl status outboxd" in told["error"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_who_stops_waiting_leaves_nothing(number: signal.Signals, db: Database, elastic: Elastic,
                                          outboxd: OutboxdFactory) -> None:
    """Else a relay that comes later would deliver the event of a probe that is long gone."""
    probe = outboxd()
    init(probe)
    probe.begin("probe", "--timeout", "100s")
    wait_until(lambda: undelivered(db) == 1, 20, "the event of the probe")
    probe.signal(number)
    done = probe.wait()
    assert done.exit_code == AWAY
    assert steps(done) == ["committed"]
    assert "stopped by a signal before it was delivered" in done.stderr
    assert_gone(done, db, elastic)


def test_elasticsearch_is_away(db: Database, outboxd: OutboxdFactory) -> None:
    init(outboxd())
    done = outboxd(elasticsearch_url="http://127.0.0.1:1").run("probe")
    assert done.exit_code == AWAY and "unreachable" in done.stderr
    assert db.value("SELECT count(*) FROM outbox") == 0
    assert db.value("SELECT is_called FROM outbox_id_seq") is False, "no event was written"


def test_postgres_is_away(db: Database, outboxd: OutboxdFactory) -> None:
    done = outboxd(postgres_dsn=db.dsn_with(port=1)).run("probe")
    assert done.exit_code == AWAY and "cannot connect" in done.stderr


def test_no_table(outboxd: OutboxdFactory) -> None:
    done = outboxd().run("probe")
    assert done.exit_code == CONFIG and "outboxd init" in done.stderr


def test_its_document_is_refused(db: Database, elastic: Elastic, index: str, outboxd: OutboxdFactory) -> None:
    elastic.create_index(index, {"dynamic": "strict", "properties": {"n": {"type": "long"}}})
    relay = running(outboxd)
    done = relay.run("probe", "--index", index)
    assert done.exit_code == REFUSED
    assert "Elasticsearch refuses its document" in done.stderr and "strict" in done.stderr
    assert db.value("SELECT count(*) FROM outbox") == 0


@pytest.mark.parametrize("settings,words", [
    ({"outbox_index": "'products'"}, "outbox.index = 'products' sends the probe to the index products instead of"),
    ({"outbox_document": "NULL::jsonb"}, "makes of the probe's document a delete"),
    ({"outbox_operation": "'delete'"}, "makes of the probe's document a delete"),
    ({"outbox_document_id": "NULL"}, "would go dead"),
    ({"outbox_document": "o.data->'nothing'->>0"}, "makes of the probe's document a delete"),
])
def test_a_mapping_that_makes_it_impossible(settings: dict[str, str], words: str, db: Database,
                                            outboxd: OutboxdFactory) -> None:
    init(outboxd())
    done = outboxd(**settings).run("probe")
    assert (done.exit_code, db.value("SELECT count(*) FROM outbox")) == (REFUSED, 0)
    assert words in done.stderr, done.stderr


def test_a_table_of_another_shape(db: Database, outboxd: OutboxdFactory) -> None:
    db.execute("CREATE TABLE events (id bigserial PRIMARY KEY, event text, data jsonb, processed boolean DEFAULT false)")
    relay = outboxd(outbox_table="events", outbox_index="'products'", outbox_document_id="o.data->>'id'")
    init(relay)
    done = relay.run("probe")
    assert (done.exit_code, db.value("SELECT count(*) FROM events")) == (REFUSED, 0)
    assert "has columns of its own" in done.stderr


@pytest.mark.parametrize("granted,missing", [
    ("SELECT, UPDATE", "GRANT INSERT, DELETE ON"),
    ("SELECT, INSERT, UPDATE", "GRANT DELETE ON"),
    ("INSERT", "GRANT SELECT, DELETE ON"),
])
def test_a_role_that_may_not(granted: str, missing: str, db: Database, outboxd: OutboxdFactory) -> None:
    role = f"relay_{db.name}"
    init(outboxd())
    db.execute(f"CREATE ROLE {role} LOGIN; GRANT {granted} ON outbox TO {role}")
    try:
        done = outboxd(postgres_dsn=db.dsn_with(user=role)).run("probe")
    finally:
        db.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")
    assert done.exit_code == REFUSED
    assert missing in done.stderr and role in done.stderr
    assert db.value("SELECT count(*) FROM outbox") == 0


def test_wrong_words(outboxd: OutboxdFactory) -> None:
    done = outboxd().run("probe", "--timeout", "soon")
    assert done.exit_code == 64 and "--timeout" in done.stderr
