"""What an operator asks and does from the command line: status, dead, requeue, purge, and the bar while it lasts."""

from __future__ import annotations

import json
import re
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from conftest import OutboxdFactory
from helpers import dead, init, publish_many, undelivered

from harness import Database, Elastic, Outboxd, Postgres, wait_until

ODD_KEYS = ["it's", '"q"', "a\\b", "{1,2}", "100%", "$1", "--all", "a b", "ümlaut", "\x1b[2J", "x;y", "NULL"]
CHUNK = 5000  # rows of one transaction of requeue and purge


@pytest.fixture
def cli(db: Database) -> Iterator[Outboxd]:
    """The commands of an operator, beside a table and without an Elasticsearch."""
    cli = Outboxd(postgres_dsn=db.dsn, elasticsearch_url="http://127.0.0.1:1")
    init(cli)
    yield cli
    cli.close()


def bury(db: Database, count: int, document_id: str = "'d' || n", kind: str = "document_parsing_exception",
         index: str = "products") -> None:
    """Dead rows, as the relay leaves them."""
    db.execute(f"""INSERT INTO outbox (aggregate_type, aggregate_id, data, attempts, dead_at, error)
        SELECT %s, coalesce({document_id}, ''), '{{"secret": "shown"}}', 1, now(),
               jsonb_build_object('type', %s::text, 'reason', 'because', 'status', 400, 'attempt', 1, 'index', %s::text,
                                  'id', {document_id})
        FROM generate_series(1, {count}) n""", [index, kind, index])


def deliver(db: Database, count: int, age: str = "0 s", document_id: str = "'d' || n") -> None:
    """Rows that were delivered."""
    db.execute(f"""INSERT INTO outbox (aggregate_type, aggregate_id, processed, processed_at)
        SELECT 'products', {document_id}, true, now() - %s::interval FROM generate_series(1, {count}) n""", [age])


def state(cli: Outboxd) -> dict[str, Any]:
    done = cli.run("status", "--json")
    assert done.exit_code == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def rest_is_plain(text: str) -> bool:
    return not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", text)


class Clock:
    """Sessions whose clock is ahead, so that what is going on looks old to them."""

    def __init__(self, db: Database, ahead: str) -> None:
        db.execute("CREATE SCHEMA clock")
        db.execute(f"CREATE FUNCTION clock.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS "
                   f"$$SELECT pg_catalog.clock_timestamp() + interval '{ahead}'$$")
        self.dsn = db.dsn_with(options="-c search_path=clock,pg_catalog,public")


class TestStatus:
    def test_of_an_empty_table(self, cli: Outboxd) -> None:
        relay = {"state": "not_asked", "url": "", "paused": False, "reasons": ["admin.listen is off"]}
        assert state(cli) == {"relay": relay, "pending": 0, "waiting": 0, "dead": 0, "oldest_pending_seconds": None, "dead_reasons": [],
                              "rate_per_second": 0, "lanes": [], "locked_by": None, "horizon": None}
        done = cli.run("status")
        assert (done.exit_code, done.stderr) == (0, "")
        assert done.stdout.splitlines()[:2] == ["pending    0", "oldest     -"]

    def test_one_screen(self, db: Database, cli: Outboxd) -> None:
        publish_many(db, "products", [(str(n), {}) for n in range(5)])
        db.execute("UPDATE outbox SET retry_at = now() + interval '1 h', error = '{\"type\": \"busy\"}' WHERE id = 2")
        db.execute("UPDATE outbox SET created_at = now() - interval '26 hours'")
        bury(db, 3, kind="one")
        bury(db, 1, kind="two\x1b[2J", document_id="'other'")
        deliver(db, 120)
        text = cli.run("status").stdout
        assert "pending    5, 1 of these waiting for a retry\n" in text
        assert "oldest     1 d 2 h\n" in text
        assert "rate       2.0 events a second" in text
        assert "dead       4\n" in text and re.search(r"\n +3  one  \(the first: outboxd dead 6\)\n +1  two \[2J  ", text)
        assert rest_is_plain(text), repr(text)
        found = state(cli)
        assert found["dead_reasons"] == [{"type": "one", "count": 3, "first_id": 6},
                                         {"type": "two\x1b[2J", "count": 1, "first_id": 9}]
        assert (found["pending"], found["waiting"], found["dead"], found["rate_per_second"]) == (5, 1, 4, 2)

    def test_the_rate_of_the_last_minute_only(self, db: Database, cli: Outboxd) -> None:
        deliver(db, 1000, age="61 s")
        deliver(db, 60)
        assert state(cli)["rate_per_second"] == 1

    @pytest.mark.parametrize("others", ["pending", "dead"])
    def test_the_rate_below_a_mountain_of_other_rows(self, db: Database, cli: Outboxd, others: str) -> None:
        """What was delivered lies below what waits; more rows than are looked at."""
        deliver(db, 120)
        bury(db, 150_000)
        if others == "pending":
            db.execute("UPDATE outbox SET dead_at = NULL, error = NULL WHERE NOT processed")
        assert state(cli)["rate_per_second"] == 2

    def test_a_rate_that_is_more_than_is_looked_at(self, db: Database, cli: Outboxd) -> None:
        """From the future: whenever the test runs, the newest 100,000 rows took less than the second that counts least."""
        deliver(db, 120_000, age="-1 h")
        assert state(cli)["rate_per_second"] == 100_000

    def test_no_rate_without_delivered_rows(self, db: Database) -> None:
        cli = Outboxd(postgres_dsn=db.dsn, elasticsearch_url="http://127.0.0.1:1", retention_keep="0")
        init(cli)
        assert state(cli)["rate_per_second"] is None
        assert "unknown, keep = 0 deletes delivered rows" in cli.run("status").stdout

    def test_who_holds_lanes(self, db: Database, index: str, outboxd: OutboxdFactory) -> None:
        daemon = outboxd()
        init(daemon)
        db.execute("CREATE ROLE sees_little LOGIN")
        db.execute("GRANT SELECT ON outbox TO sees_little")
        db.execute("CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS "
                   "$$BEGIN PERFORM pg_advisory_xact_lock(4242); RETURN NEW; END$$")
        db.execute("CREATE TRIGGER hold BEFORE UPDATE ON outbox FOR EACH ROW EXECUTE FUNCTION hold()")
        little = Outboxd(postgres_dsn=db.dsn_with(user="sees_little"), elasticsearch_url="http://127.0.0.1:1")
        try:
            with db.connect() as holder:
                holder.execute("SELECT pg_advisory_lock(4242)")
                publish_many(db, index, [("1", {})])
                daemon.start()
                (holding,) = wait_until(lambda: state(daemon)["lanes"], 30, "a claim that does not end")
                text, hidden = daemon.run("status").stdout, little.run("status")
                (seen,) = state(little)["lanes"]
            daemon.terminate()
        finally:
            little.close()
            db.execute("DROP OWNED BY sees_little")
            db.execute("DROP ROLE sees_little")
        assert holding == {**holding, "application_name": "outboxd", "client_address": "127.0.0.1", "hidden": False}
        assert 1 <= holding["lanes"] <= 16 and holding["held_seconds"] > 0
        assert f"pid {holding['pid']}, outboxd at 127.0.0.1: {holding['lanes']} of 16, for " in text
        assert seen == {**seen, "pid": holding["pid"], "lanes": holding["lanes"], "hidden": True, "client_address": None,
                        "held_seconds": None}
        assert hidden.exit_code == 0 and "a hidden address" in hidden.stdout and "a hidden time" in hidden.stdout


class TestLocks:
    """Whoever asks is told who locks the table, and does not wait for the lock itself."""

    @pytest.mark.parametrize("words", [["status"], ["dead"], ["requeue", "--all"], ["purge"]])
    def test_a_table_that_cannot_be_read(self, db: Database, cli: Outboxd, words: list[str]) -> None:
        with db.connect(application_name="a migration") as holder:
            holder.execute("BEGIN")
            holder.execute("LOCK TABLE outbox")
            done = cli.run(*words)
            pid = holder.info.backend_pid
        assert (done.exit_code, done.stdout) == (75, "")
        assert f"the table is locked: pid {pid}, a migration, user postgres, holds a lock on it" in done.stderr
        assert done.stderr.endswith(f"Ask its owner, or: SELECT pg_terminate_backend({pid})\n")

    def test_one_who_waits_keeps_others_out(self, db: Database, cli: Outboxd) -> None:
        with db.connect() as reader, db.connect(application_name="a migration") as waiter:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM outbox")
            waiter.execute("BEGIN")
            waiter.pgconn.send_query(b"LOCK TABLE outbox")
            wait_until(lambda: db.value("SELECT count(*) FROM pg_locks WHERE NOT granted"), 30, "the lock to be waited for")
            done = cli.run("status")
            waiter.close()
        assert done.exit_code == 75 and "a migration, user postgres, waits for a lock on it" in done.stderr

    def test_a_table_that_cannot_be_written(self, db: Database, cli: Outboxd) -> None:
        with db.connect(application_name="a migration") as holder:
            holder.execute("BEGIN")
            holder.execute("LOCK TABLE outbox IN SHARE MODE")
            text, locked_by = cli.run("status").stdout, state(cli)["locked_by"]
            pid = holder.info.backend_pid
        assert f"\nlocked     no row can be marked: {locked_by[:-3]}" in text and f"pg_terminate_backend({pid})\n" in text
        assert f"pid {pid}, a migration, user postgres, holds a lock on it (ShareLock), for " in locked_by
        assert state(cli)["locked_by"] is None

    def test_a_prepared_transaction(self, db: Database, cli: Outboxd) -> None:
        with db.connect() as holder:
            holder.execute("BEGIN")
            holder.execute("LOCK TABLE outbox")
            holder.execute("PREPARE TRANSACTION 'locked'")
        try:
            done = cli.run("status")
        finally:
            db.execute("ROLLBACK PREPARED 'locked'")
        assert done.exit_code == 75 and "a prepared transaction" in done.stderr and "ROLLBACK PREPARED" in done.stderr


class TestHorizon:
    def test_nobody(self, db: Database, cli: Outboxd) -> None:
        """A young transaction is nobody, and so is one of another database."""
        with db.connect() as young:
            young.execute("BEGIN; SELECT pg_current_xact_id()")
            assert state(cli)["horizon"] is None
            assert "horizon    free" in cli.run("status").stdout

    @pytest.mark.parametrize("ahead,urgent", [("2 min", False), ("10 min", True)])
    def test_an_open_transaction(self, db: Database, cli: Outboxd, ahead: str, urgent: bool) -> None:
        later = Outboxd(postgres_dsn=Clock(db, ahead).dsn, elasticsearch_url="http://127.0.0.1:1")
        with db.connect(application_name="nightly report") as holder, db.server.connect() as elsewhere:
            elsewhere.execute("BEGIN; SELECT pg_current_xact_id()")
            holder.execute("BEGIN; SELECT pg_current_xact_id()")
            horizon, text = state(later)["horizon"], later.run("status").stdout
            pid = holder.info.backend_pid
        assert horizon == {**horizon, "kind": "transaction", "pid": pid, "name": "nightly report", "user": "postgres"}
        assert horizon["age_seconds"] > 100 and horizon["transactions"] >= 1
        assert f"held by a transaction: pid {pid}, nightly report, user postgres, for {ahead}" in text
        assert (f"SELECT pg_terminate_backend({pid})\n" in text) == urgent
        assert ("cannot be vacuumed" in text) == urgent

    def test_its_cause_among_those_that_go_back_as_far(self, db: Database, cli: Outboxd) -> None:
        """A report's snapshot is as old as the oldest transaction that it saw at work."""
        later = Outboxd(postgres_dsn=Clock(db, "10 min").dsn, elasticsearch_url="http://127.0.0.1:1")
        with db.connect() as before, db.connect() as holder, db.connect() as after:
            holder.execute("BEGIN; SELECT pg_current_xact_id()")
            for report in (before, after):
                time.sleep(0.01)
                report.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
                report.execute("SELECT count(*) FROM outbox")
            assert state(later)["horizon"]["pid"] == holder.info.backend_pid

    def test_a_prepared_transaction(self, db: Database, cli: Outboxd) -> None:
        later = Outboxd(postgres_dsn=Clock(db, "10 min").dsn, elasticsearch_url="http://127.0.0.1:1")
        with db.connect() as holder:
            holder.execute("BEGIN")
            holder.execute("SELECT pg_current_xact_id()")
            holder.execute("PREPARE TRANSACTION 'it''s forgotten'")
        try:
            horizon, text = state(later)["horizon"], later.run("status").stdout
        finally:
            db.execute("ROLLBACK PREPARED 'it''s forgotten'")
        assert (horizon["kind"], horizon["pid"], horizon["name"]) == ("prepared", None, "it's forgotten")
        assert "ROLLBACK PREPARED 'it''s forgotten'\n" in text

    def test_a_role_that_does_not_see_since_when(self, db: Database, cli: Outboxd) -> None:
        db.execute("CREATE ROLE sees_less LOGIN")
        db.execute("GRANT SELECT ON outbox TO sees_less")
        db.execute("CREATE TABLE burnt (n int)")
        little = Outboxd(postgres_dsn=db.dsn_with(user="sees_less"), elasticsearch_url="http://127.0.0.1:1")
        try:
            with db.connect() as holder:
                holder.execute("BEGIN; SELECT pg_current_xact_id()")
                assert state(little)["horizon"] is None
                burn(db)
                horizon, text = state(little)["horizon"], little.run("status").stdout
                pid = holder.info.backend_pid
        finally:
            db.execute("DROP OWNED BY sees_less")
            db.execute("DROP ROLE sees_less")
        assert horizon["pid"] == pid and horizon["age_seconds"] is None and horizon["transactions"] > 10_000
        assert "for a hidden time" in text and f"pg_terminate_backend({pid})" in text


    def test_a_query_on_a_standby(self) -> None:
        """With a slot it is the slot that holds, without one the walsender; nobody knows since when."""
        with Postgres() as primary:
            primary.execute("SELECT pg_create_physical_replication_slot('its_a_slot')")
            db = primary.createdb()
            cli = Outboxd(postgres_dsn=db.dsn, elasticsearch_url="http://127.0.0.1:1")
            init(cli)
            db.execute("CREATE TABLE burnt (n int)")
            with primary.standby() as standby:
                for slot, kind in (("its_a_slot", "slot"), ("", "standby")):
                    standby.configure({"hot_standby_feedback": "on", "primary_slot_name": slot, "wal_receiver_status_interval": 1})
                    standby.restart()
                    with standby.connect(db.name) as reader:
                        reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
                        reader.execute("SELECT count(*) FROM outbox")
                        burn(db)
                        horizon = wait_until(lambda: state(cli)["horizon"], 60, "the standby's word")
                        text = cli.run("status").stdout
                    assert horizon == {**horizon, "kind": kind, "age_seconds": None}
                    if slot:
                        assert "replication slot" in text and "SELECT pg_drop_replication_slot('its_a_slot')\n" in text
                        standby.stop()
                        wait_until(lambda: primary.execute("SELECT active FROM pg_replication_slots") == [(False,)], 20, "the slot to be free")
                        primary.execute("SELECT pg_drop_replication_slot('its_a_slot')")
                        standby.start()
                    else:
                        assert "hot_standby_feedback = off" in text


def burn(db: Database) -> None:
    """More transactions than a holder may be behind unnoticed."""
    db.execute("DO $$ BEGIN FOR n IN 1..10001 LOOP BEGIN INSERT INTO burnt VALUES (n); "
               "EXCEPTION WHEN division_by_zero THEN NULL; END; END LOOP; END $$")


class TestDead:
    @pytest.fixture(autouse=True)
    def some(self, db: Database, cli: Outboxd) -> None:
        bury(db, 2, kind="strict_dynamic_mapping_exception")
        bury(db, 1, kind="mapping_expression_failed", index="others", document_id="NULL::text")
        bury(db, 1, index="others")

    @pytest.mark.parametrize("words,ids", [
        (["--type", "strict_dynamic_mapping_exception"], [1, 2]), (["--index", "others"], [3, 4]), (["--key", "d1"], [1, 4]),
        (["--key", "d1", "--index", "others"], [4]), (["--type=none"], []), (["--key", ""], []), (["2,3,9"], [2, 3]),
        (["--limit", "1", "--index", "others"], [3]), (["--id", "1", "--key", "d2"], []),
    ])
    def test_filters(self, cli: Outboxd, words: list[str], ids: list[int]) -> None:
        assert [event["id"] for event in json.loads(cli.run("dead", "--json", *words).stdout)] == ids

    def test_the_shape_of_a_list(self, cli: Outboxd) -> None:
        first = json.loads(cli.run("dead", "--json").stdout)[0]
        assert first == {**first, "id": 1, "attempts": 1, "index": "products", "document_id": "d1", "status": 400,
                         "type": "strict_dynamic_mapping_exception", "reason": "because"}
        assert set(first) == {"id", "dead_at", "attempts", "index", "document_id", "status", "type", "reason"}

    def test_one_whole(self, db: Database, cli: Outboxd) -> None:
        db.execute("UPDATE outbox SET attempts = 3, dead_at = now() - interval '26 h', error = error || "
                   "'{\"traceparent\": \"00-ab\\u001b[2J-01\", \"more\": {\"n\": [1]}}' WHERE id = 1")
        text = cli.run("dead", "1").stdout
        assert re.search(r"event 1 was given up \d{4}-.*Z, 1 d 2 h ago, after 3 attempts\n", text)
        for field in ("type +strict_dynamic_mapping_exception", "reason +because", "status +400", "attempt +1", "index +products",
                      "id +d1", "traceparent +00-ab \\[2J-01", 'more +{"n": \\[1\\]}'):
            assert re.search(rf"^  {field}$", text, re.MULTILINE), field
        assert "mend it:  the index takes no fields" in text and text.endswith("then:     outboxd requeue 1\n")
        assert "secret" not in text and rest_is_plain(text)
        (event,) = json.loads(cli.run("dead", "1", "--json").stdout)
        assert event == {**event, "id": 1, "attempts": 3, "status": 400, "reason": "because", "document_id": "d1"}
        assert event["error"]["more"] == {"n": [1]} and event["advice"] and "document" not in event

    @pytest.mark.parametrize("id,advice", [("3", "an expression of"), ("4", "a value does not fit"),
                                           ("1", "takes no fields")])
    def test_how_to_mend_it(self, cli: Outboxd, id: str, advice: str) -> None:
        assert advice in cli.run("dead", id).stdout

    @pytest.mark.parametrize("error", ["NULL", "'{}'"])
    def test_one_that_somebody_gave_up_by_hand(self, db: Database, cli: Outboxd, error: str) -> None:
        db.execute(f"UPDATE outbox SET error = {error} WHERE id = 1")
        assert "mend it:  no error was noted, so it was given up by hand" in cli.run("dead", "1").stdout

    def test_how_to_mend_what_nobody_knows(self, db: Database, cli: Outboxd) -> None:
        db.execute("UPDATE outbox SET error = '{\"type\": \"strange_exception\"}' WHERE id = 1")
        assert "remove what the reason names" in cli.run("dead", "1").stdout

    def test_the_document_only_when_asked_for(self, cli: Outboxd) -> None:
        assert '{"secret": "shown"}' in cli.run("dead", "1", "--document").stdout
        (event,) = json.loads(cli.run("dead", "1", "--document", "--json").stdout)
        assert json.loads(event["document"]) == {"secret": "shown"}
        assert cli.run("dead", "--document").exit_code == 64
        assert "secret" not in cli.run("dead").stdout + cli.run("dead", "--json").stdout

    def test_a_document_that_cannot_be_had(self, db: Database) -> None:
        failing = Outboxd(postgres_dsn=db.dsn, elasticsearch_url="http://127.0.0.1:1", outbox_document="1 / (o.id - 1)")
        done = failing.run("dead", "1", "--document")
        assert done.exit_code == 0 and "division by zero" in done.stdout

        (event,) = json.loads(failing.run("dead", "1", "--document", "--json").stdout)
        assert event["document"] is None and "division by zero" in event["document_error"]

    def test_names_of_fields_are_text_as_well(self, db: Database, cli: Outboxd) -> None:
        db.execute("UPDATE outbox SET error = '{\"a\\u001b[2J\\u009b\": \"v\"}' WHERE id = 1")
        text = cli.run("dead", "1").stdout
        assert rest_is_plain(text) and re.search(r"^  a.*v$", text, re.MULTILINE)
        (event,) = json.loads(cli.run("dead", "1", "--json").stdout)
        assert event["status"] is None and event["reason"] is None

    def test_what_is_not_dead(self, cli: Outboxd) -> None:
        assert cli.run("dead", "99").stdout == "no dead events\n"
        assert json.loads(cli.run("dead", "99", "--json").stdout) == []


class TestRequeue:
    def test_a_row_that_is_being_edited_is_waited_for(self, db: Database, cli: Outboxd) -> None:
        """It has moved to another place in the table by then."""
        bury(db, 3)
        with db.connect() as editor, ThreadPoolExecutor() as pool:
            editor.execute("BEGIN")
            editor.execute("UPDATE outbox SET data = '{\"mended\": true}' WHERE id = 2")
            done = pool.submit(cli.run, "requeue", "--all", "--json")
            wait_until(lambda: db.value("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"), 10, "a wait")
            editor.execute("COMMIT")
            assert json.loads(done.result().stdout) == {"requeued": 3, "superseded": 0}

    def test_filters_and_dry_run(self, db: Database, cli: Outboxd) -> None:
        bury(db, 3, kind="one")
        bury(db, 2, kind="two", index="others")
        before = db.execute("SELECT *, xmin::text FROM outbox ORDER BY id")
        assert json.loads(cli.run("requeue", "--type", "one", "--dry-run", "--json").stdout) == \
            {"requeued": 3, "superseded": 0, "dry_run": True}
        assert cli.run("requeue", "--all", "--dry-run").stdout == "5 events would be requeued\n"
        assert db.execute("SELECT *, xmin::text FROM outbox ORDER BY id") == before
        assert cli.run("requeue", "--type", "one", "--key", "d2").stdout == "1 event requeued\n"
        assert list(dead(db)) == [1, 3, 4, 5]
        assert cli.run("requeue", "--index", "others").stdout == "2 events requeued\n"
        assert list(dead(db)) == [1, 3]
        assert cli.run("requeue", "--key", "d1").stdout == "1 event requeued\n"
        assert list(dead(db)) == [3]
        assert cli.run("requeue", "--all", "--type", "one").exit_code == 64

    @pytest.mark.parametrize("key", ODD_KEYS)
    def test_odd_keys(self, db: Database, cli: Outboxd, key: str) -> None:
        for name in (key, "other"):
            db.execute("INSERT INTO outbox (aggregate_type, aggregate_id, dead_at, error) "
                       "VALUES ('products', %s, now(), jsonb_build_object('id', %s::text))", [name, name])
        assert [event["document_id"] for event in json.loads(cli.run("dead", "--json", "--key", key).stdout)] == [key]
        assert cli.run("requeue", f"--key={key}").stdout == "1 event requeued\n"
        assert list(dead(db)) == [2]

    def test_what_has_moved_on_is_settled(self, db: Database, cli: Outboxd) -> None:
        bury(db, 3)
        deliver(db, 1)  # d1
        said = "2 events would be requeued\n1 would be settled: a newer event of the document was delivered meanwhile\n"
        assert cli.run("requeue", "--all", "--dry-run").stdout == said
        assert cli.run("requeue", "--all").stdout == said.replace("would be ", "")
        assert db.execute("SELECT processed, error->'superseded_by' FROM outbox WHERE id < 4 ORDER BY id") == \
            [(True, 4), (False, None), (False, None)]

    def test_more_that_have_moved_on_than_are_settled_at_once(self, db: Database, cli: Outboxd) -> None:
        bury(db, 60_000)
        deliver(db, 55_000)
        assert json.loads(cli.run("requeue", "--all", "--json").stdout) == {"requeued": 5000, "superseded": 55_000}
        assert dead(db) == {} and undelivered(db) == 5000

    def test_statistics_of_yesterday(self, db: Database, cli: Outboxd) -> None:
        """The planner believes in one dead row; a loop over the delivered ones for each of 30,000 would take minutes."""
        db.execute("ALTER TABLE outbox SET (autovacuum_enabled = off)")
        bury(db, 1)
        deliver(db, 100_000, document_id="'x' || n")
        db.execute("ANALYZE outbox")
        bury(db, 30_000)
        deliver(db, 100_000, document_id="'x' || n")
        assert cli.run("requeue", "--all", "--dry-run", timeout=30).stdout == "30001 events would be requeued\n"

    def test_an_older_delivered_event_settles_nothing(self, db: Database, cli: Outboxd) -> None:
        deliver(db, 2)
        bury(db, 2)
        assert json.loads(cli.run("requeue", "--all", "--json").stdout) == {"requeued": 2, "superseded": 0}

    def test_many_go_in_chunks(self, db: Database, cli: Outboxd) -> None:
        bury(db, 200_000)
        done = cli.run("requeue", "--all", timeout=110)
        assert done.stdout == "200000 events requeued\n", done
        assert db.value("SELECT count(*) FROM outbox WHERE dead_at IS NULL AND NOT processed AND attempts = 0") == 200_000
        (largest,), *_ = chunks = db.execute("SELECT count(*) FROM outbox GROUP BY xmin::text ORDER BY 1 DESC")
        assert largest == CHUNK and len(chunks) == 40, "each chunk is a transaction of its own"

    def test_many_of_one_document_and_many_of_none(self, db: Database, cli: Outboxd) -> None:
        bury(db, 12_000, document_id="'same'")
        bury(db, 12_000, document_id="NULL::text", kind="mapping_expression_failed")
        bury(db, 100)
        assert cli.run("requeue", "--all").stdout == "24100 events requeued\n"
        assert dead(db) == {}

    @pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
    def test_an_end_in_the_middle(self, db: Database, cli: Outboxd, end: signal.Signals) -> None:
        """The chunk that it works at waits for a lock of ours: that is where the signal meets it."""
        bury(db, 30_000)
        with db.connect() as holder:
            holder.execute("BEGIN")
            holder.execute("SELECT FROM outbox WHERE id = (SELECT id FROM outbox ORDER BY hashtextextended(error->>'id', 0), id "
                           "OFFSET 15000 LIMIT 1) FOR UPDATE")
            done = end_it(db, cli, end, holder, "requeue", "--all")
        left = len(dead(db))
        assert left > 0 and left % CHUNK == 0 and left + undelivered_and_alive(db) == 30_000
        if end == signal.SIGINT:
            assert done.exit_code == 75 and "interrupted: the other events stay dead" in done.stderr
            assert done.stdout == f"{30_000 - left} events requeued\n"
        assert cli.run("requeue", "--all").stdout == f"{left} events requeued\n"


def undelivered_and_alive(db: Database) -> int:
    return int(db.value("SELECT count(*) FROM outbox WHERE NOT processed AND dead_at IS NULL"))


def end_it(db: Database, cli: Outboxd, end: signal.Signals, holder: psycopg.Connection[Any], *words: str) -> Any:
    """Runs a command that meets a row lock of `holder`, sends it the signal there, and lets the row go."""
    cli.begin(*words)
    wait_until(lambda: db.value("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
                                "AND datname = current_database()"), 60, "the command to meet the lock")
    cli.signal(end)
    if end == signal.SIGKILL:
        done = cli.wait()
    holder.execute("ROLLBACK")
    if end != signal.SIGKILL:
        done = cli.wait()
    wait_until(lambda: db.value("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'outboxd' "
                                "AND datname = current_database()") == 0, 60, "the end of its session")
    return done


class TestPurge:
    def test_what_is_old(self, db: Database, cli: Outboxd) -> None:
        deliver(db, 10, age="8 d")  # the default of retention.keep is 7 d
        deliver(db, 10, age="2 d")
        deliver(db, 10, age="8 d")  # ids and times need not grow together
        bury(db, 5)
        db.execute("UPDATE outbox SET dead_at = now() - interval '90 d', created_at = now() - interval '90 d' WHERE id > 30")
        publish_many(db, "products", [("1", {})])
        assert json.loads(cli.run("purge", "--dry-run", "--json").stdout) == {"deleted": 20, "dry_run": True}
        assert cli.run("purge", "--dry-run").stdout == "20 delivered events would be deleted\n"
        assert db.value("SELECT count(*) FROM outbox") == 36
        assert cli.run("purge").stdout == "20 delivered events deleted\n"
        assert json.loads(cli.run("purge", "--older-than", "36h", "--json").stdout) == {"deleted": 10}
        assert db.value("SELECT count(*) FROM outbox") == 6 and len(dead(db)) == 5

    def test_dead_ones(self, db: Database, cli: Outboxd) -> None:
        bury(db, 12_000)
        bury(db, 10, document_id="NULL::text")
        db.execute("UPDATE outbox SET dead_at = now() - interval '31 d' WHERE id <= 11000 OR id > 12005")
        deliver(db, 10, age="300 d")
        assert cli.run("purge", "--dead", "--older-than", "30d", "--dry-run").stdout == "11005 dead events would be deleted\n"
        assert cli.run("purge", "--dead", "--older-than", "30d").stdout == "11005 dead events deleted\n"
        assert min(dead(db)) == 11_001 and len(dead(db)) == 1005 and db.value("SELECT count(*) FROM outbox") == 1015

    def test_dead_ones_without_an_error(self, db: Database, cli: Outboxd) -> None:
        """Given up by hand."""
        bury(db, 3)
        db.execute("UPDATE outbox SET dead_at = now() - interval '31 d', error = CASE WHEN id = 1 THEN error END WHERE id < 3")
        assert cli.run("purge", "--dead", "--older-than", "30d", "--dry-run").stdout == "2 dead events would be deleted\n"
        assert cli.run("purge", "--dead", "--older-than", "30d").stdout == "2 dead events deleted\n"
        assert list(dead(db)) == [3]

    @pytest.mark.parametrize("words", [["--dead"], ["--older-than", "30"], ["--older-than", "-1d"], ["--older-than", ""],
                                       ["--older-than"], ["7d"], ["--dead", "--all"]])
    def test_a_mistake_changes_nothing(self, db: Database, cli: Outboxd, words: list[str]) -> None:
        deliver(db, 10, age="300 d")
        done = cli.run("purge", *words)
        assert (done.exit_code, done.stdout) == (64, "") and done.stderr.startswith("outboxd: "), done
        assert db.value("SELECT count(*) FROM outbox") == 10

    def test_a_role_that_may_not(self, db: Database, cli: Outboxd) -> None:
        deliver(db, 10, age="300 d")
        db.execute("CREATE ROLE reads_only LOGIN")
        db.execute("GRANT SELECT ON outbox TO reads_only")
        try:
            done = Outboxd(postgres_dsn=db.dsn_with(user="reads_only"), elasticsearch_url="http://127.0.0.1:1").run("purge")
        finally:
            db.execute("DROP OWNED BY reads_only")
            db.execute("DROP ROLE reads_only")
        assert done.exit_code == 77 and "permission denied" in done.stderr

    @pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
    def test_an_end_in_the_middle(self, db: Database, cli: Outboxd, end: signal.Signals) -> None:
        deliver(db, 30_000, age="300 d")
        with db.connect() as holder:
            holder.execute("BEGIN")
            holder.execute("SELECT FROM outbox WHERE id = 15001 FOR UPDATE")
            done = end_it(db, cli, end, holder, "purge")
        left = int(db.value("SELECT count(*) FROM outbox"))
        assert left > 0 and left % CHUNK == 0
        if end == signal.SIGINT:
            assert (left, done.exit_code, done.stdout) == (10_000, 75, "20000 delivered events deleted\n")
        assert cli.run("purge").stdout == f"{left} delivered events deleted\n"


class TestProgress:
    def frames(self, text: str, what: str) -> list[str]:
        frames = [frame.removesuffix("\x1b[K") for frame in text.split("\r") if frame.startswith(what)]
        assert frames and all(len(frame) < 80 and "\n" not in frame for frame in frames), frames
        return frames

    def test_a_bar_of_a_requeue(self, db: Database, cli: Outboxd) -> None:
        bury(db, 60_000)
        code, text = cli.run_on_terminal("requeue", "--all")
        assert code == 0 and "60000 events requeued" in text
        frames = self.frames(text, "requeue")
        assert frames[0].startswith("requeue [--------------------]   0% 0/60000")
        assert text.rpartition("\r")[0].endswith("\x1b[K60000 events requeued"), "the bar is gone at the end"

    def test_a_bar_of_a_purge(self, db: Database, cli: Outboxd) -> None:
        deliver(db, 20_000, age="300 d")
        code, text = cli.run_on_terminal("purge")
        assert code == 0 and "20000 delivered events deleted" in text
        assert self.frames(text, "purge")[0].startswith("purge [--------------------]   0% 0/20000")

    def test_no_bar_for_a_few(self, db: Database, cli: Outboxd) -> None:
        bury(db, 3)
        assert cli.run_on_terminal("requeue", "--all") == (0, "3 events requeued\r\n")

    def test_rate_and_remaining_time(self, db: Database, cli: Outboxd) -> None:
        """And plain lines where nobody sees a terminal: the first after five seconds."""
        deliver(db, 30_000, age="300 d")
        with db.connect() as holder:
            holder.execute("BEGIN")
            holder.execute("SELECT FROM outbox WHERE id = 15001 FOR UPDATE")
            cli.begin("purge")
            wait_until(lambda: db.value("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"), 60, "the lock")
            time.sleep(5.5)
            holder.execute("ROLLBACK")
        done = cli.wait()
        assert re.match(r"purge 20000, \d+/s\n", done.stderr), done.stderr
        assert "\r" not in done.stderr and "\x1b" not in done.stderr

    def test_a_bar_of_a_drain(self, db: Database, elastic: Elastic, index: str, outboxd: OutboxdFactory) -> None:
        daemon = outboxd()
        init(daemon)
        publish_many(db, index, ((str(n), {"n": n}) for n in range(2000)))
        code, text = daemon.run_on_terminal("run", "--once")
        assert code == 0 and undelivered(db) == 0
        assert "deliver [--------------------]   0% 0/2000" in text
        assert "event=drained" in text and "event=progress" not in text

    def test_a_drain_whose_total_nobody_knows(self, cli: Outboxd) -> None:
        away = Outboxd(postgres_dsn="host=127.0.0.1 port=1 user=x", elasticsearch_url="http://127.0.0.1:1",
                       relay_once_timeout="2s")
        code, text = away.run_on_terminal("run", "--once")
        assert code == 75 and "deliver 0\x1b[K\r" in text
