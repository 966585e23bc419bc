"""Dead events: what an operator sees of them, and how they come back to life, or do not."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from conftest import OutboxdFactory
from helpers import dead, drain, init, publish, publish_many, undelivered

from harness import Database, Elastic, wait_until

PRICES = {"properties": {"price": {"type": "double"}}}
FIX = "UPDATE outbox SET data = '{\"price\": 7}' WHERE id = %s"


@pytest.fixture
def daemon(request: pytest.FixtureRequest, outboxd: OutboxdFactory, elastic: Elastic, index: str) -> Any:
    """A table, made with these flags, and an index in which a price is a number."""
    elastic.create_index(index, PRICES)
    daemon = outboxd()
    init(daemon, *getattr(request, "param", ()))
    return daemon


def forget_tombstones(elastic: Elastic, index: str) -> None:
    """From now on a deleted document might never have been: its version protects nothing."""
    elastic.call("POST", f"/{index}/_flush?force=true")
    elastic.call("POST", f"/{index}/_close")
    elastic.call("POST", f"/{index}/_open")
    elastic.call("GET", f"/_cluster/health/{index}?wait_for_status=yellow")


def test_one_bad_row_of_a_thousand(db: Database, elastic: Elastic, index: str, daemon: Any) -> None:
    publish_many(db, index, ((str(n), {"price": "much" if n == 7 else n}) for n in range(1, 1001)))
    done = drain(daemon, expect=65)
    assert set(elastic.all_docs(index)) == {str(n) for n in range(1, 1001)} - {"7"}
    assert undelivered(db) == 1

    # In SQL.
    ((id, attempts, waits, index_name, document_id, status, kind, reason, attempt),) = db.execute(
        "SELECT id, attempts, retry_at, error->>'index', error->>'id', (error->>'status')::int, error->>'type', "
        "error->>'reason', (error->>'attempt')::int FROM outbox WHERE dead_at > now() - interval '1 minute'")
    assert (id, attempts, waits, index_name, document_id, status, attempt) == (7, 1, None, index, "7", 400, 1)
    assert kind == elastic.parsing_error and "price" in reason
    assert [(line["events"], line["first_id"], line["status"]) for line in done.logs("events_dead")] == [("1", "7",
                                                                                                          "400")]

    # On the command line.
    listed = daemon.run("dead")
    assert listed.exit_code == 0
    header, row = listed.stdout.splitlines()
    assert header.split()[:4] == ["id", "dead_at", "attempts", "index"]
    assert row.startswith("7 ") and index in row and kind in row and "price" in row
    (entry,) = json.loads(daemon.run("dead", "--json").stdout)
    assert str(entry["id"]) == "7" and entry["type"] == kind and entry["reason"] == reason
    state = json.loads(daemon.run("status", "--json").stdout)
    assert {name: float(state[name]) for name in ("pending", "waiting", "dead")} == {"pending": 0, "waiting": 0,
                                                                                     "dead": 1}

    # A drain that made nothing dead is a good one.
    publish(db, index, "8", {"price": 8})
    drain(daemon)

    # And back to life.
    db.execute(FIX, [7])
    assert daemon.run("requeue", "7").stdout == "1 event requeued\n"
    drain(daemon)
    assert undelivered(db) == 0
    document = elastic.get(index, "7")
    assert document and document.source == '{"price": 7}'
    assert daemon.run("dead").stdout == "no dead events\n"
    assert json.loads(daemon.run("dead", "--json").stdout) == []


def test_a_requeued_row_that_is_still_bad_dies_again(db: Database, index: str, daemon: Any) -> None:
    publish(db, index, "1", {"price": "much"})
    drain(daemon, expect=65)
    daemon.run("requeue", "1")
    drain(daemon, expect=65)
    assert list(dead(db)) == [1]


class TestRequeue:
    @pytest.fixture(autouse=True)
    def three_dead(self, db: Database, index: str, daemon: Any) -> None:
        for name in "abc":
            publish(db, index, name, {"price": name})
        publish(db, index, "good", {"price": 1})
        drain(daemon, expect=65)
        assert list(dead(db)) == [1, 2, 3]

    def test_all(self, db: Database, daemon: Any) -> None:
        assert json.loads(daemon.run("requeue", "--all", "--json").stdout) == {"requeued": 3, "superseded": 0}
        assert dead(db) == {} and undelivered(db) == 3
        state = json.loads(daemon.run("status", "--json").stdout)
        assert (str(state["pending"]), str(state["dead"])) == ("3", "0")

    @pytest.mark.parametrize("words", [["1,3"], ["--id", "1,3"], ["--id=3, 1"], ["1,3,4,99"]])
    def test_some(self, db: Database, daemon: Any, words: list[str]) -> None:
        assert daemon.run("requeue", *words).stdout == "2 events requeued\n"
        assert list(dead(db)) == [2]

    @pytest.mark.parametrize("words", [[], ["--all", "1"], ["one"], [""], [","], ["1 2"], ["1;2"], ["-1"],
                                       ["99999999999999999999"]])
    def test_a_mistake_changes_nothing(self, db: Database, daemon: Any, words: list[str]) -> None:
        done = daemon.run("requeue", *words)
        assert (done.exit_code, done.stdout) == (64, ""), done
        assert done.stderr.startswith("outboxd: ") and done.stderr.count("\n") == 1
        assert list(dead(db)) == [1, 2, 3]

    def test_listing_some(self, daemon: Any) -> None:
        def ids(*words: str) -> list[str]:
            return re.findall(r"^\d+", daemon.run("dead", *words).stdout, re.MULTILINE)

        assert ids() == ["1", "2", "3"]
        assert ids("--limit", "2") == ["1", "2"]
        assert ids("2,3") == ["2", "3"]
        assert ids("--id", "4") == []
        for wrong in ("0", "-1", "x", ""):
            assert daemon.run("dead", "--limit", wrong).exit_code == 64


class TestNothingOldComesBack:
    """A dead event whose document has moved on is settled by that: no requeue can undo what came later."""

    @pytest.mark.parametrize("newer", [{"price": 2}, None])
    def test_a_newer_event_settles_it(self, db: Database, elastic: Elastic, index: str, daemon: Any,
                                      newer: Any) -> None:
        publish(db, index, "1", {"price": "much"})
        publish(db, index, "2", {"price": "much"})
        drain(daemon, expect=65)
        assert set(dead(db)) == {1, 2}
        publish(db, index, "1", newer)
        drain(daemon)
        assert set(dead(db)) == {2}
        assert db.value("SELECT error->>'superseded_by' FROM outbox WHERE id = 1 AND processed") == "3"
        # The operator who corrects and requeues everything does no harm.
        db.execute("UPDATE outbox SET data = '{\"price\": 1}' WHERE id < 3")
        forget_tombstones(elastic, index)
        assert daemon.run("requeue", "--all").stdout == "1 event requeued\n"
        drain(daemon)
        found = {name: document.source for name, document in elastic.all_docs(index).items()}
        assert found == ({"1": '{"price": 2}'} if newer else {}) | {"2": '{"price": 1}'}

    @pytest.mark.parametrize("settings,bad,good", [
        ({}, "[1]", '{"price": 1}'),
        ({"outbox_document": "jsonb_build_object('price', (o.data->>'price')::numeric)"}, '{"price": "x"}',
         '{"price": 1}'),
    ], ids=["refused here", "mapping failed"])
    def test_whatever_it_died_of(self, db: Database, elastic: Elastic, index: str, outboxd: OutboxdFactory,
                                 settings: dict[str, str], bad: str, good: str) -> None:
        elastic.create_index(index, PRICES)
        daemon = outboxd(**settings, outbox_operation="CASE WHEN o.event = 'gone' THEN 'delete' ELSE 'index' END")
        init(daemon)
        db.execute("SELECT outbox_publish(%s, '1', %s)", [index, bad])
        drain(daemon, expect=65)
        assert set(dead(db)) == {1}
        db.execute("SELECT outbox_publish(%s, '1', NULL, 'gone')", [index])
        drain(daemon)
        db.execute("UPDATE outbox SET data = %s WHERE id = 1", [good])
        forget_tombstones(elastic, index)
        daemon.run("requeue", "--all")
        drain(daemon)
        assert elastic.all_docs(index) == {}, "the requeued event has undone the delete that came after it"

    def test_a_newer_event_that_is_refused_settles_nothing(self, db: Database, index: str, daemon: Any) -> None:
        publish(db, index, "1", {"price": "much"})
        drain(daemon, expect=65)
        publish(db, index, "1", {"price": "more"})
        drain(daemon, expect=65)
        assert set(dead(db)) == {1, 2}

    def test_the_same_id_in_another_index_is_another_document(self, db: Database, elastic: Elastic, index: str,
                                                              daemon: Any) -> None:
        publish(db, index, "1", {"price": "much"})
        drain(daemon, expect=65)
        other = f"{index}-other"
        publish(db, other, "1", {"price": "much"})
        try:
            drain(daemon)
        finally:
            elastic.delete_index(other)
        assert set(dead(db)) == {1}

    def test_both_in_one_claim(self, db: Database, elastic: Elastic, index: str, daemon: Any) -> None:
        """Bad then good: the good one is all that counts. Good then bad: the good one arrives, the bad one is dead."""
        publish(db, index, "1", {"price": "much"})
        publish(db, index, "1", {"price": 1})
        publish(db, index, "2", {"price": 2})
        publish(db, index, "2", {"price": "much"})
        drain(daemon, expect=65)
        assert set(dead(db)) == {4}
        assert {name: document.source for name, document in elastic.all_docs(index).items()} == {
            "1": '{"price": 1}', "2": '{"price": 2}'}


class TestStatus:
    def test_counts_and_ages(self, db: Database, index: str, daemon: Any) -> None:
        for name in "abcd":
            publish(db, index, name, {})
        db.execute("UPDATE outbox SET created_at = now() - interval '1 hour' WHERE id = 1")
        db.execute("UPDATE outbox SET retry_at = now() + interval '1 hour', error = '{\"type\": \"busy\"}' WHERE id = 2")
        db.execute("UPDATE outbox SET dead_at = now(), created_at = now() - interval '1 day', error = '{}' WHERE id = 3")
        db.execute("UPDATE outbox SET processed = true WHERE id = 4")
        state = json.loads(daemon.run("status", "--json").stdout)
        assert [str(state[name]) for name in ("pending", "waiting", "dead")] == ["2", "1", "1"]
        assert 3600 <= float(state["oldest_pending_seconds"]) < 3700

    @pytest.mark.parametrize("words", [["status"], ["dead"], ["requeue", "--all"], ["run", "--once"]])
    def test_without_a_table_everyone_is_sent_to_init(self, outboxd: OutboxdFactory, words: list[str]) -> None:
        done = outboxd().run(*words, timeout=10)
        assert done.exit_code == 78
        assert "outboxd init" in done.stderr

    def test_without_a_server(self, outboxd: OutboxdFactory) -> None:
        done = outboxd(postgres_dsn="host=127.0.0.1 port=1 user=x").run("status")
        assert done.exit_code == 75 and "cannot connect to PostgreSQL" in done.stderr


def test_a_terminal_does_not_obey_a_dead_row(db: Database, daemon: Any, index: str) -> None:
    publish(db, index, "\x1b[2J\x9b2Jrm", {"price": "much\x1b]0;owned\x07"})
    drain(daemon, expect=65)
    shown = daemon.run("dead").stdout
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", shown), repr(shown)


def test_a_requeued_event_whose_document_has_moved_on_is_settled(db: Database, elastic: Elastic, index: str,
                                                                 outboxd: OutboxdFactory) -> None:
    """Also where the newer delivered event did not settle it at its time, because another hand made the row dead."""
    daemon = outboxd()
    init(daemon)
    db.execute("SELECT outbox_publish(%s, 'a', '{\"n\": 1}'), outbox_publish(%s, 'b', '{\"n\": 1}')", [index, index])
    db.execute("UPDATE outbox SET dead_at = now(), error = jsonb_build_object('index', aggregate_type, 'id', aggregate_id) "
               "WHERE id <= 2")
    db.execute("INSERT INTO outbox (aggregate_type, aggregate_id, processed, processed_at) VALUES (%s, 'a', true, now())",
               [index])

    done = daemon.run("requeue", "--all", "--json")

    assert json.loads(done.stdout) == {"requeued": 1, "superseded": 1}
    assert db.execute("SELECT id, processed, error->'superseded_by' FROM outbox WHERE id <= 2 ORDER BY id") == \
        [(1, True, 3), (2, False, None)]


@pytest.mark.parametrize("daemon", [(), ("--partitioned",)], indirect=True, ids=["plain", "partitioned"])
@pytest.mark.parametrize("keep", ["7d", "0"])
@pytest.mark.parametrize("give_back", [
    "UPDATE outbox SET dead_at = NULL, retry_at = NULL, attempts = 0",
    "UPDATE outbox SET data = '{\"price\": 1}', dead_at = NULL, retry_at = NULL"])
def test_a_row_that_is_just_given_back(give_back: str, keep: str, db: Database, elastic: Elastic, index: str, daemon: Any) -> None:
    """Somebody corrects dead rows in an open transaction. Nothing waits for him but newer events of just these documents, which are
    sent once more when he is done, and settle what he gave back where it went."""
    publish(db, index, "1", {"price": "much"})
    publish(db, index, "2", {"price": "much"})
    drain(daemon, expect=65)
    daemon.settings["retention_keep"] = keep
    publish(db, index, "1", None)
    publish(db, index, "3", {"price": 3})
    forget_tombstones(elastic, index)
    with db.connect() as operator, operator.transaction():
        operator.execute(f"{give_back} WHERE NOT processed AND dead_at IS NOT NULL")
        daemon.start()
        wait_until(lambda: db.execute("SELECT error->>'type' FROM outbox WHERE id = 3 AND NOT processed AND retry_at IS NOT NULL")
                   == [("older_event_is_held",)], 20, "the delete to wait")
        wait_until(lambda: elastic.get(index, "3"), 20, "the other document to be delivered")
        publish(db, index, "4", {"price": 4})
        wait_until(lambda: elastic.get(index, "4"), 20, "what comes later to be delivered")
        assert not daemon.logs("sql_failed")
    wait_until(lambda: not db.value("SELECT count(*) FROM outbox WHERE NOT processed AND dead_at IS NULL"), 20, "all to be settled")
    found = {name: json.loads(document.source) for name, document in elastic.all_docs(index).items()}
    assert "1" not in found and found["3"] == {"price": 3} and found["4"] == {"price": 4}
    if keep != "0":
        assert db.value("SELECT processed FROM outbox WHERE id = 1")


def test_refused_rows_and_a_backlog_are_no_reason_to_read_the_table(db: Database, daemon: Any, index: str) -> None:
    """With each batch it is asked whether older refused events of its documents are left. The planner takes all pending rows
    for refused ones there, and once read the whole table each time: 70 events a second with six million pending rows."""
    publish_many(db, index, [(str(number), {"price": "much"}) for number in range(5)])
    drain(daemon, expect=65)
    db.execute("INSERT INTO outbox (aggregate_type, aggregate_id, data) SELECT %s, n::text, '{\"price\": 1}' FROM generate_series(0, 19999) n", [index])
    db.execute("VACUUM ANALYZE outbox")
    wait_until(lambda: db.value("SELECT n_live_tup FROM pg_stat_user_tables WHERE relname = 'outbox'") >= 20_000, 10, "statistics")
    before = db.value("SELECT seq_tup_read FROM pg_stat_user_tables WHERE relname = 'outbox'")
    assert daemon.run_once(timeout=60).exit_code == 0
    rows = db.value("SELECT count(*) FROM outbox WHERE processed")
    read = db.value("SELECT seq_tup_read FROM pg_stat_user_tables WHERE relname = 'outbox'") - before
    assert rows == 20_005 and read < 2 * rows, f"{read} rows were read by scans of the whole table"
