"""Everything that PostgreSQL, its operators and the network to it may do: nothing lost, said once, it goes on by itself."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from harness import Database, Elastic, FaultProxy, History, Outboxd, Postgres, ScriptedElastic, insert_events, wait_until
from harness.process import signal_one

from helpers import init, undelivered

OutboxdFactory = Callable[..., Outboxd]
QUICK = {"retry_base": "10ms", "retry_cap": "200ms"}
# What a connection whose other end is gone costs at most here: 2 s instead of the relay's own 20 s.
IMPATIENT_TCP = {"keepalives_idle": 1, "keepalives_interval": 1, "keepalives_count": 2, "tcp_user_timeout": 2000}
SESSIONS = "FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'outboxd'"


def wait_drained(db: Database, what: str, timeout: float = 40) -> None:
    wait_until(lambda: undelivered(db) == 0, timeout, what, every=0.05)


@pytest.fixture
def role(db: Database) -> Iterator[str]:
    """A role that may do what the relay needs to, and no more. Makes the table."""
    name = f"relay_{db.name}"
    init(Outboxd(postgres_dsn=db.dsn, elasticsearch_url="http://127.0.0.1:9"))
    db.execute(f"CREATE ROLE {name} LOGIN; GRANT SELECT, UPDATE ON outbox TO {name}; "
               f"GRANT SELECT ON SEQUENCE outbox_id_seq TO {name}")
    yield name
    db.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{name}'")
    db.execute(f"DROP OWNED BY {name}; DROP ROLE {name}")


# -- the connection


def test_the_connection_is_lost_in_each_state(postgres: Postgres, db: Database, elastic: Elastic, index: str,
                                              outboxd: OutboxdFactory) -> None:
    history = History()
    with FaultProxy(postgres.port) as proxy, FaultProxy(elastic.port) as slow:
        relay = outboxd(postgres_dsn=db.dsn_with(port=proxy.port), elasticsearch_url=slow.url, log_level="debug",
                        relay_workers=2, relay_batch_rows=200, **QUICK)
        init(outboxd(), "--notify")
        slow.delay(0.02)
        relay.start()
        relay.wait_log("wakeups_work", timeout=30)
        first = 1
        for state in ("IDLE", "CLAIMING", "SENDING", "SETTLING", "INSPECTING", "CONNECTING", "OFFLINE"):
            proxy.delay(0.02)
            before = relay.mark()
            with db.connect() as connection:
                insert_events(connection, 1000, first=first, keys=300, deletes=0.1, index=index, history=history)
            first += 1000
            if state in ("INSPECTING", "CONNECTING", "OFFLINE"):
                proxy.reset_all()
            relay.wait_log("worker", to=state, since=before, timeout=30)
            proxy.reset_all()
            proxy.pass_all()

            wait_drained(db, f"the drain after the connections were lost in {state}")
            # Whoever was cut when all was done already says so later.
            wait_until(lambda: 1 <= len(relay.logs("postgres_away", since=before)) == len(relay.logs("postgres_back", since=before)), 20,
                       f"the sessions to be back after {state}")
            away, back = relay.logs("postgres_away", since=before), relay.logs("postgres_back", since=before)
            assert 1 <= len(away) <= 3 and len(away) == len(back), state
    assert relay.logs("bug_no_rule") == []
    history.assert_matches(elastic, index)


@pytest.mark.parametrize("part", ["request", "response"])
def test_the_connection_is_cut_at_each_exchange(part: Any, postgres: Postgres, db: Database, elastic: Elastic,
                                                index: str, outboxd: OutboxdFactory) -> None:
    """Hello, log-in, inspection, claim, settlement and its COMMIT, next claim, last look."""
    history = History()
    init(outboxd())
    with FaultProxy(postgres.port) as proxy:
        relay = outboxd(postgres_dsn=db.dsn_with(port=proxy.port), relay_workers=1, **QUICK)
        number, cuts = 0, 1
        while cuts:
            number += 1
            with db.connect() as connection:
                insert_events(connection, 30, first=number * 30, keys=50, index=index, history=history)
            before = proxy.counters.cuts
            proxy.cut_exchange(number, part)

            done = relay.run_once(timeout=30)

            cuts = proxy.counters.cuts - before
            assert done.exit_code == 0
            assert undelivered(db) == 0
    assert number >= 6, "one run has more exchanges than that"
    history.assert_matches(elastic, index)


def test_a_commit_whose_answer_is_lost(postgres: Postgres, db: Database, elastic: Elastic, index: str,
                                       outboxd: OutboxdFactory) -> None:
    """The server has committed, the relay cannot know. What it does then must change nothing."""
    history = History()
    with FaultProxy(postgres.port) as proxy:
        relay = outboxd(postgres_dsn=db.dsn_with(port=proxy.port), relay_workers=1, log_level="debug", **QUICK)
        init(relay)
        with db.connect() as connection:
            insert_events(connection, 200, index=index)
        for number in range(3, 9):  # the settlement is one exchange among several: find it
            db.execute("TRUNCATE outbox")
            with db.connect() as connection:
                insert_events(connection, 200, index=index, history=history)
            proxy.cut_exchange(number, "response")
            done = relay.run_once(timeout=30)
            assert (done.exit_code, undelivered(db)) == (0, 0)
            if done.logs("worker", **{"from": "SETTLING", "on": "DOWN"}):
                break
        else:
            pytest.fail("the proxy never hit the COMMIT")
    # The lost COMMIT marked them: they were not claimed again. The relay, not knowing, counts them as given back.
    line = done.logs("drained")[0]
    assert (line["claimed"], line["delivered"], line["returned"]) == ("200", "0", "200")
    history.assert_matches(elastic, index)


def test_the_connection_is_cut_while_rows_stream(postgres: Postgres, db: Database, elastic: Elastic, index: str,
                                                 outboxd: OutboxdFactory) -> None:
    history = History()
    init(outboxd())
    with FaultProxy(postgres.port) as proxy:
        relay = outboxd(postgres_dsn=db.dsn_with(port=proxy.port), relay_workers=2, **QUICK)
        with db.connect() as connection:
            insert_events(connection, 3000, keys=1000, deletes=0.1, index=index, history=history)
        relay.start()
        for count in (3000, 20_000, 60_000, 100_000, 200_000):
            proxy.cut_after(count, "down")
            proxy.wait_cut(30)
        proxy.pass_all()

        wait_drained(db, "the drain to end")
        relay.wait_log("postgres_back")
        assert relay.logs("bug_no_rule") == []
    history.assert_matches(elastic, index)


@pytest.mark.parametrize("how", ["terminate", "cancel"])
def test_an_operator_ends_every_session(how: str, db: Database, elastic: Elastic, index: str,
                                        outboxd: OutboxdFactory) -> None:
    history = History()
    relay = outboxd(relay_batch_rows=200, **QUICK)
    init(relay, "--notify")
    with db.connect() as connection:
        insert_events(connection, 8000, keys=1000, deletes=0.1, index=index, history=history)
        relay.start()
        for done in range(1, 9):
            moved = undelivered(db)
            wait_until(lambda: connection.execute(f"SELECT count(*) {SESSIONS} AND xact_start IS NOT NULL").fetchone()
                       != (0,) or undelivered(db) == 0, 20, "the relay to work, or to be done")
            connection.execute(f"SELECT pg_{how}_backend(pid) {SESSIONS}")
            wait_until(lambda: undelivered(db) < moved or moved == 0, 20, "the drain to go on")
    wait_drained(db, "the drain to end")
    log = "postgres_away" if how == "terminate" else "sql_failed"
    # Not once for each of the five sessions. One that ends late, when another is back already, makes it two of one round.
    assert len(relay.logs(log)) <= 2 * done
    history.assert_matches(elastic, index)
    if how == "terminate":  # the server gave its reason: "closed unexpectedly" would send the operator on a wrong track
        assert "terminating connection due to administrator command" in relay.logs(log)[0]["error"]


def test_one_backend_is_killed(postgres: Postgres, db: Database, elastic: Elastic, index: str,
                               outboxd: OutboxdFactory) -> None:
    """As by the OOM killer: the server drops every connection and recovers."""
    history = History()
    relay = outboxd(log_level="debug", relay_batch_rows=200, **QUICK)
    init(relay)
    with db.connect() as connection:
        insert_events(connection, 20_000, keys=1000, index=index, history=history)
    relay.start()
    relay.wait_log("worker", on="SETTLED", timeout=30)

    at_work = wait_until(lambda: db.execute(f"SELECT pid {SESSIONS} AND state <> 'idle' LIMIT 1"), 20, "a session at work")
    signal_one(at_work[0][0], signal.SIGKILL)

    relay.wait_log("postgres_back", timeout=60)
    wait_until(lambda: postgres._answers(), 30, "the server to recover")
    wait_drained(db, "the drain to go on", timeout=80)
    history.assert_matches(elastic, index)


def test_a_smart_shutdown_waits_for_the_relay(postgres: Postgres, db: Database, elastic: Elastic, index: str,
                                              outboxd: OutboxdFactory) -> None:
    """It keeps its sessions and delivers; once they are ended, it waits for the server to come again."""
    relay = outboxd(**QUICK)
    init(relay)
    relay.start()
    relay.wait_log("elasticsearch_connected", timeout=30)
    wait_until(lambda: db.value(f"SELECT count(*) {SESSIONS}") == 5, 20, "all its sessions")
    with db.connect() as last:
        signal_one(postgres.pid, signal.SIGTERM)

        last.execute("SELECT outbox_publish(%s, '1', '{\"n\": 1}')", [index])
        wait_until(lambda: elastic.get(index, "1"), 20, "an event to be delivered meanwhile")
        last.execute(f"SELECT pg_terminate_backend(pid) {SESSIONS}")
    postgres._running().wait(30)
    relay.wait_log("postgres_away", timeout=20)
    postgres.ensure_running()

    relay.wait_log("postgres_back", timeout=20)
    db.execute("SELECT outbox_publish(%s, '2', '{\"n\": 1}')", [index])
    wait_until(lambda: elastic.get(index, "2"), 20, "an event to be delivered afterwards")
    assert len(relay.logs("postgres_away")) == 1


def test_a_server_that_stays_away(postgres: Postgres, db: Database, elastic: Elastic, index: str,
                                  outboxd: OutboxdFactory) -> None:
    relay = outboxd(retry_base="10ms", log_level="debug")
    init(relay)
    db.execute("SELECT outbox_publish(%s, '1', '{\"n\": 1}')", [index])
    postgres.stop()
    relay.start()
    # Its workers try at their own pace; the cap of a silent server's backoff is 2 s, whatever retry.cap says.
    wait_until(lambda: len(relay.logs("worker", on="CONNECT")) >= 20, 30, "it to try many times")
    assert len(relay.logs("postgres_away")) == 1
    assert relay.cpu_seconds() < 5

    postgres.start()

    wait_until(lambda: elastic.get(index, "1"), 20, "the event to be delivered")
    assert len(relay.logs("postgres_away")) == len(relay.logs("postgres_back")) == 1


def test_a_machine_that_vanishes(postgres: Postgres, db: Database, elastic: Elastic, index: str,
                                 outboxd: OutboxdFactory) -> None:
    """Half-open: no FIN, no RST, nothing is acknowledged. Noticed in each state within tcp_user_timeout."""
    history = History()
    with FaultProxy(postgres.port) as proxy, FaultProxy(elastic.port) as slow:
        relay = outboxd(postgres_dsn=db.dsn_with(port=proxy.port, **IMPATIENT_TCP), elasticsearch_url=slow.url,
                        log_level="debug", relay_workers=2, relay_batch_rows=200, **QUICK)
        init(outboxd())
        relay.start()
        relay.wait_log("elasticsearch_connected", timeout=30)
        slow.delay(0.02)
        for number, state in enumerate(("IDLE", "CLAIMING", "SENDING", "SETTLING")):
            proxy.delay(0.02)
            with db.connect() as connection:
                insert_events(connection, 500, first=1 + 500 * number, keys=200, index=index, history=history)
            before = relay.mark()
            relay.wait_log("worker", to=state, since=before, timeout=30)
            proxy.vanish()
            relay.wait_log("postgres_away", since=before, timeout=15)
            proxy.reset_all()
            proxy.pass_all()
            relay.wait_log("postgres_back", since=before, timeout=25)
            wait_drained(db, f"the drain after the server vanished in {state}")
    history.assert_matches(elastic, index)


def test_the_rows_of_a_vanished_relay_come_free(postgres: Postgres, db: Database, elastic: Elastic, index: str,
                                                outboxd: OutboxdFactory) -> None:
    """The server sees no end of that connection either: its own time-outs give the rows back."""
    with FaultProxy(postgres.port) as proxy, FaultProxy(elastic.port) as stuck:
        gone = outboxd(postgres_dsn=db.dsn_with(port=proxy.port), elasticsearch_url=stuck.url, relay_workers=1,
                       elasticsearch_timeout="1s", log_level="debug")
        init(outboxd())
        with db.connect() as connection:
            insert_events(connection, 100, index=index)
        gone.start()
        gone.wait_log("worker", to="CLAIMING", timeout=30)
        stuck.stall()
        gone.wait_log("worker", to="SENDING", timeout=30)
        proxy.vanish()
        gone.kill9()

        other = outboxd(elasticsearch_timeout="1s")
        other.start()

        wait_drained(db, "another relay to get the rows", 30)  # 2 x 1 s + 15 s


# -- limits and privileges


def test_too_many_connections(db: Database, role: str, elastic: Elastic, index: str, outboxd: OutboxdFactory) -> None:
    """Two of five sessions: it works with those. None: it waits."""
    relay = outboxd(postgres_dsn=db.dsn_with(user=role), retry_base="10ms", retry_cap="500ms")
    db.execute(f"ALTER ROLE {role} CONNECTION LIMIT 0")
    with db.connect() as connection:
        insert_events(connection, 200, index=index)
    relay.start()
    assert "too many connections for role" in relay.wait_log("postgres_away", timeout=30)["error"]

    db.execute(f"ALTER ROLE {role} CONNECTION LIMIT 2")
    wait_drained(db, "two sessions to do the work")
    for number in range(10):
        db.execute("SELECT outbox_publish(%s, %s, '{}')", [index, f"more-{number}"])
        wait_drained(db, "an event to be delivered")
    assert len(relay.logs("postgres_away")) <= 3, "the three that find no place do not say so again and again"

    db.execute(f"ALTER ROLE {role} CONNECTION LIMIT -1")
    wait_until(lambda: db.value(f"SELECT count(*) {SESSIONS}") == 5, 20, "all its sessions")


@pytest.mark.parametrize("privilege", ["SELECT", "UPDATE", "USAGE"])
def test_a_privilege_is_taken_away(privilege: str, db: Database, role: str, elastic: Elastic, index: str,
                                   outboxd: OutboxdFactory) -> None:
    relay = outboxd(postgres_dsn=db.dsn_with(user=role), retry_base="10ms", retry_cap="500ms")
    relay.start()
    relay.wait_log("elasticsearch_connected", timeout=30)
    what = "SCHEMA public" if privilege == "USAGE" else "outbox"
    whom = "public" if privilege == "USAGE" else role
    db.execute(f"REVOKE {privilege} ON {what} FROM {whom}")
    with db.connect() as connection:
        insert_events(connection, 200, index=index)
    line = relay.wait_log("sql_failed", timeout=20)
    assert line["sqlstate"] in ("42501", "42P01")
    assert "permission denied" in line["error"] or "does not exist" in line["error"]
    assert "privileges" in line["then"]

    db.execute(f"GRANT {privilege} ON {what} TO {whom}")

    wait_drained(db, "the drain to go on")
    relay.wait_log("sql_works")
    assert len(relay.logs("sql_failed")) == 1


def test_row_security_that_hides_rows(db: Database, role: str, elastic: Elastic, index: str,
                                      outboxd: OutboxdFactory) -> None:
    """An empty table is all that such a relay sees: it must not call that a success."""
    db.execute("ALTER TABLE outbox ENABLE ROW LEVEL SECURITY")
    with db.connect() as connection:
        insert_events(connection, 50, index=index)
    relay = outboxd(postgres_dsn=db.dsn_with(user=role), relay_poll_interval="100ms")
    relay.start()
    relay.wait_log("postgres_connected", timeout=30)
    db.execute("CREATE POLICY half ON outbox USING (id <= 25)")
    wait_until(lambda: undelivered(db) == 25, 20, "what it may see to be delivered")
    db.execute("ALTER TABLE outbox DISABLE ROW LEVEL SECURITY")
    wait_drained(db, "the rest to be delivered")
    said = [line for line in relay.logs() if "row" in line.get("error", "") and "security" in line.get("error", "")]
    assert len(said) == 1, "it says once that rows may be hidden"


# -- the table


def test_the_table_is_dropped_and_made_again(db: Database, elastic: Elastic, index: str,
                                             outboxd: OutboxdFactory) -> None:
    relay = outboxd(retry_base="10ms", retry_cap="500ms")
    init(relay, "--notify")
    db.execute("SELECT outbox_publish(%s, '1', '{}')", [index])
    relay.start()
    wait_drained(db, "the first event")
    db.execute("DROP TABLE outbox")
    relay.wait_log("sql_failed", sqlstate="42P01", timeout=20)

    init(outboxd(), "--notify")

    db.execute("SELECT outbox_publish(%s, '2', '{}')", [index])
    wait_drained(db, "an event of the new table", 20)
    assert len(relay.logs("sql_failed")) == 1


def test_columns_come_and_go(db: Database, elastic: Elastic, index: str, outboxd: OutboxdFactory) -> None:
    relay = outboxd(retry_base="10ms", retry_cap="500ms", log_level="debug")
    init(relay)
    relay.start()
    relay.wait_log("elasticsearch_connected", timeout=30)
    for number, (away, again, column) in enumerate([
            ("ALTER TABLE outbox RENAME data TO payload", "ALTER TABLE outbox RENAME payload TO data", "data"),
            ("ALTER TABLE outbox DROP processed_at", "ALTER TABLE outbox ADD processed_at timestamptz", "processed_at"),
            ("ALTER TABLE outbox RENAME attempts TO tries", "ALTER TABLE outbox RENAME tries TO attempts", "attempts")]):
        before = relay.mark()
        db.execute(away)
        db.execute("INSERT INTO outbox (aggregate_type, aggregate_id) VALUES (%s, %s)", [index, str(number)])
        line = relay.wait_log("sql_failed", since=before, timeout=20)
        assert (line["sqlstate"], column in line["error"]) == ("42703", True)

        db.execute(again)

        wait_drained(db, "the event to be delivered when the column is back")
        relay.wait_log("sql_works", since=before)
        assert len(relay.logs("sql_failed", since=before)) == 1
    before = relay.mark()
    for change in ("ADD extra text DEFAULT 'x'", "ALTER data TYPE json", "ALTER aggregate_id TYPE varchar(100)",
                   "DROP extra"):
        db.execute(f"ALTER TABLE outbox {change}")
        db.execute("INSERT INTO outbox (aggregate_type, aggregate_id, data) VALUES (%s, %s, '{}')", [index, change])
        wait_drained(db, f"the drain after {change}")
    assert relay.logs("sql_failed", since=before) == relay.logs("postgres_away") == []


@pytest.mark.time_limit(150)
def test_a_table_lock_is_waited_for(db: Database, elastic: Elastic, index: str, outboxd: OutboxdFactory) -> None:
    """SKIP LOCKED does not skip those: DDL in an open transaction."""
    relay = outboxd(retry_base="10ms", retry_cap="500ms")
    init(relay)
    relay.start()
    relay.wait_log("elasticsearch_connected", timeout=30)
    with psycopg.connect(db.dsn) as ddl:
        ddl.execute("ALTER TABLE outbox ADD extra text")
        ddl.execute("INSERT INTO outbox (aggregate_type, aggregate_id, data) VALUES (%s, '1', '{}')", [index])

        line = relay.wait_log("sql_failed", timeout=30)

        assert line["sqlstate"] == "55P03"
        ddl.commit()
    wait_drained(db, "the drain to go on")
    assert len(relay.logs("sql_failed")) == 1


def test_settings_of_role_and_database_do_not_matter(db: Database, elastic: Elastic, index: str,
                                                     outboxd: OutboxdFactory) -> None:
    history = History()
    relay = outboxd(**QUICK)
    init(relay)
    for setting in ("default_transaction_isolation = serializable", "statement_timeout = '50ms'",
                    "idle_in_transaction_session_timeout = '1ms'", "lock_timeout = '1ms'", "DateStyle = 'German, DMY'",
                    "IntervalStyle = sql_standard", "bytea_output = escape", "TimeZone = 'Asia/Kathmandu'",
                    "standard_conforming_strings = off", "extra_float_digits = -5", "row_security = off",
                    "default_transaction_deferrable = on", "enable_indexscan = off", "enable_seqscan = off"):
        db.execute(f"ALTER DATABASE {db.name} SET {setting}")
    with psycopg.connect(db.dsn_with(options="-c statement_timeout=0 -c idle_in_transaction_session_timeout=0 "
                                             "-c DateStyle=ISO -c standard_conforming_strings=on -c TimeZone=UTC"),
                         autocommit=True) as connection:
        insert_events(connection, 3000, keys=500, deletes=0.1, index=index, history=history)

    assert relay.run_once(timeout=60).exit_code == 0

    history.assert_matches(elastic, index)


def test_a_document_does_not_depend_on_who_sends_it(db: Database, elastic: Elastic, index: str, outboxd: OutboxdFactory) -> None:
    """Expressions of the mapping print times and numbers."""
    relay = outboxd(outbox_document="jsonb_build_object('at', (o.data->>'at')::timestamptz, 'day', ((o.data->>'at')::timestamptz)::text, "
                                    "'n', (0.1::float8 + 0.2)::text, 'b', convert_to('ä', 'UTF8')::text)", **QUICK)
    init(relay)
    for setting in ("DateStyle = 'German, DMY'", "bytea_output = escape", "TimeZone = 'Asia/Kathmandu'", "extra_float_digits = -5"):
        db.execute(f"ALTER DATABASE {db.name} SET {setting}")
    db.execute("SELECT outbox_publish(%s, '1', '{\"at\": \"2026-01-02T03:04:05Z\"}')", [index])
    assert relay.run_once(timeout=60).exit_code == 0
    document = elastic.get(index, "1")
    assert document is not None and json.loads(document.source) == {
        "at": "2026-01-02T03:04:05+00:00", "day": "2026-01-02 03:04:05+00", "n": "0.30000000000000004", "b": "\\xc3a4"}


# -- errors by SQLSTATE


FLAG = ("CREATE TABLE fault (state text); "
        "CREATE FUNCTION raise_fault() RETURNS void LANGUAGE plpgsql AS $$ DECLARE s text; BEGIN "
        "SELECT state INTO s FROM fault; IF s IS NOT NULL THEN RAISE EXCEPTION 'a fault of the test' USING ERRCODE = s, "
        "HINT = 'what the server advises'; END IF; END $$; ")


@contextmanager
def fault(db: Database, sqlstate: str) -> Iterator[None]:
    db.execute("INSERT INTO fault VALUES (%s)", [sqlstate])
    yield
    db.execute("DELETE FROM fault")


RECONNECT = ("08006", "57P01", "57P02", "57P03", "25P03", "25006")
REPEAT = ("40001", "40P01", "55P03", "57014", "53000", "53100", "53200", "53300", "58030", "55006", "42501")


def test_errors_of_a_settlement(db: Database, index: str, outboxd: OutboxdFactory) -> None:
    """Deadlock, serialization, disk full, ...: what was sent is sent again, and that changes nothing."""
    with ScriptedElastic() as scripted:
        relay = outboxd(elasticsearch_url=scripted.url, **QUICK)
        init(relay)
        db.execute(FLAG + "CREATE FUNCTION guard() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM raise_fault(); "
                   "RETURN NEW; END $$; CREATE TRIGGER guard BEFORE UPDATE ON outbox FOR EACH ROW EXECUTE FUNCTION guard()")
        relay.start()
        relay.wait_log("postgres_connected", timeout=30)
        said = {}
        for state in (*REPEAT, "XX000", "22012", "23514", "P0001", *RECONNECT):
            before = relay.mark()
            with fault(db, state):
                db.execute("SELECT outbox_publish('i', %s, '{}')", [state])
                if state in RECONNECT:
                    relay.wait_log("postgres_away", since=before, timeout=20)
                else:
                    line = relay.wait_log("sql_failed", since=before, timeout=20, sqlstate=state)
                    # The author of a RAISE may have quoted data.
                    assert "a fault" not in line["error"] and "in PostgreSQL's log" in line["error"]
                    assert line["in"] == "settle"
            wait_drained(db, f"the drain to go on after {state}")
            assert db.value("SELECT count(*) FROM outbox WHERE attempts > 0 OR dead_at IS NOT NULL") == 0, state
            if state not in RECONNECT:
                relay.wait_log("sql_works", since=before)
                said[state] = len(relay.logs("sql_failed", since=before))
        assert {action.id for action in scripted.sent_actions()} == {*REPEAT, "XX000", "22012", "23514", "P0001", *RECONNECT}
        assert set(said.values()) == {1}, f"once for each fault: {said}"


def test_errors_of_a_claim(db: Database, index: str, outboxd: OutboxdFactory) -> None:
    with ScriptedElastic() as scripted:
        init(outboxd())
        db.execute(FLAG)
        relay = outboxd(elasticsearch_url=scripted.url, outbox_document="(SELECT o.data FROM raise_fault())", **QUICK)
        relay.start()
        relay.wait_log("elasticsearch_connected", timeout=30)
        said = {}
        for state in (*REPEAT, *RECONNECT):
            before = relay.mark()
            with fault(db, state):
                db.execute("SELECT outbox_publish('i', %s, '{}')", [state])
                relay.wait_log("postgres_away" if state in RECONNECT else "sql_failed", since=before, timeout=20)
            wait_drained(db, f"the drain to go on after {state}")
            assert db.value("SELECT count(*) FROM outbox WHERE attempts > 0 OR dead_at IS NOT NULL") == 0, state
            if state not in RECONNECT:
                said[state] = len(relay.logs("sql_failed", since=before))
        assert set(said.values()) == {1}, f"once for each fault: {said}"


@contextmanager
def full_disk(postgres: Postgres, db: Database) -> Iterator[Callable[[], None]]:
    """The table on a disk that has no room left; the value makes room.

    As root a real one, a small tmpfs. Nobody else may mount: then a trigger raises what the server would.
    """
    if os.geteuid() != 0:
        db.execute(FLAG + "CREATE FUNCTION guard() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM raise_fault(); "
                   "RETURN NEW; END $$; CREATE TRIGGER guard BEFORE UPDATE ON outbox FOR EACH ROW EXECUTE FUNCTION guard(); "
                   "INSERT INTO fault VALUES ('53100')")
        yield lambda: db.execute("DELETE FROM fault") and None
        return
    folder = postgres.scratch.folder(f"disk-{db.name}")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m,mode=0777", "outboxd-test", folder], check=True)
    try:
        postgres.scratch.own(folder)
        postgres.execute(f"CREATE TABLESPACE {db.name} LOCATION '{folder}'")
        db.execute(f"ALTER TABLE outbox SET TABLESPACE {db.name}")
        (folder / "other").write_bytes(b"")
        with (folder / "other").open("ab", buffering=0) as other:
            try:
                while other.write(bytes(4096)):
                    pass
            except OSError:
                pass
        yield (folder / "other").unlink
    finally:
        db.execute("DROP TABLE IF EXISTS outbox")
        postgres.execute("CHECKPOINT")
        postgres.execute(f"DROP TABLESPACE IF EXISTS {db.name}")
        # Workers of PostgreSQL 18 that read and write for others may have a file of it open for a moment yet.
        subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_full_disk(postgres: Postgres, db: Database, elastic: Elastic, index: str, outboxd: OutboxdFactory) -> None:
    history = History()
    relay = outboxd(retry_base="10ms", retry_cap="500ms")
    init(relay)
    with db.connect() as connection:
        insert_events(connection, 500, index=index, history=history)
    with full_disk(postgres, db) as make_room:
        relay.start()
        line = relay.wait_log("sql_failed", timeout=30)
        assert line["sqlstate"] == "53100"
        assert "space" in line["error"] or os.geteuid() != 0

        make_room()

        wait_drained(db, "the drain to go on when there is room again")
        assert len(relay.logs("sql_failed")) == 1
        history.assert_matches(elastic, index)
        relay.terminate()


# -- other transactions


def test_late_committers(db: Database, elastic: Elastic, index: str, outboxd: OutboxdFactory) -> None:
    """An id is drawn before its commit: the older event may show up last, and must be delivered, but never win."""
    relay = outboxd(**QUICK)
    init(relay)
    relay.start()
    publish = "INSERT INTO outbox (aggregate_type, aggregate_id, data) VALUES (%s, %s, %s)"
    with psycopg.connect(db.dsn) as late:
        late.execute(publish, [index, "both", '{"from": "late"}'])
        late.execute(publish, [index, "only-late", '{"from": "late"}'])
        with db.connect() as connection:
            insert_events(connection, 3000, index=index)
        db.execute(publish, [index, "both", '{"from": "newer"}'])
        wait_drained(db, "all that is committed")
        late.commit()
    wait_drained(db, "what was committed late")
    found = elastic.mget(index, ["both", "only-late"])
    assert found["both"].source == '{"from": "newer"}'
    assert found["only-late"].source == '{"from": "late"}'


def test_prepared_transactions(db: Database, elastic: Elastic, index: str, outboxd: OutboxdFactory) -> None:
    """They hold rows and have no session, across restarts; everything else goes on."""
    relay = outboxd(**QUICK)
    init(relay)
    with db.connect() as connection:
        insert_events(connection, 100, index=index)
        connection.execute("BEGIN; SELECT FROM outbox WHERE id % 10 = 0 FOR UPDATE; PREPARE TRANSACTION 'held'")
        connection.execute("BEGIN")
        insert_events(connection, 10, first=101, index=index)
        connection.execute("PREPARE TRANSACTION 'unborn'")
        try:
            assert outboxd(relay_once_timeout="2s").run_once(timeout=30).exit_code == 75
            assert undelivered(db) == 10
            relay.start()
            relay.wait_log("elasticsearch_connected", timeout=30)
        finally:
            connection.execute("COMMIT PREPARED 'unborn'")
            wait_until(lambda: undelivered(db) == 10, 20, "the events that were committed now")
            connection.execute("ROLLBACK PREPARED 'held'")
    wait_drained(db, "the rows that were held")
    assert len(elastic.all_docs(index)) == 110


def test_a_pinned_horizon(db: Database, elastic: Elastic, index: str, outboxd: OutboxdFactory) -> None:
    """Dead row versions cannot be removed: every claim must still see what is pending, and only that."""
    history = History()
    relay = outboxd(**QUICK)
    init(relay)
    with psycopg.connect(db.dsn) as report:
        report.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        report.execute("SELECT count(*) FROM outbox")
        relay.start()
        with db.connect() as connection:
            for first in range(1, 12_000, 3000):
                insert_events(connection, 3000, first=first, keys=700, deletes=0.1, index=index, history=history)
        wait_drained(db, "the drain beside an old snapshot")
        report.execute("SELECT 1")
    history.assert_matches(elastic, index)
    assert db.value("SELECT count(*) FROM outbox WHERE processed") == 12_000
