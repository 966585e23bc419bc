"""The login that `outboxd init --role` makes: enough for the relay and its commands, and not more; nothing in it is idle."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from conftest import OutboxdFactory
from helpers import drain, init, psql, publish, undelivered
from test_check import CONFIG, lines, problem, warning

from harness import Completed, Database, Elastic, Outboxd

COLUMNS = ["processed", "processed_at", "attempts", "retry_at", "dead_at", "error"]
REFUSED = 65  # some events went dead


@pytest.fixture
def name(db: Database) -> Iterator[str]:
    """Needs its quotes, and is gone afterwards."""
    role = f"Relay of {db.name}"
    yield role
    if db.value("SELECT count(*) FROM pg_roles WHERE rolname = %s", [role]):
        db.execute(f'DROP OWNED BY "{role}"; DROP ROLE "{role}"')


@pytest.fixture
def relay(db: Database, name: str, index: str, elastic: Elastic, outboxd: OutboxdFactory) -> Outboxd:
    """As that role, beside a table in a schema of the application, where nobody is given anything by default."""
    db.execute(f"CREATE SCHEMA shop; REVOKE CONNECT, TEMPORARY ON DATABASE {db.name} FROM PUBLIC; "
               "CREATE TABLE shop.products (id int); ALTER DATABASE {0} SET search_path = shop".format(db.name))
    done = init(outboxd(), "--notify", "--role", name)
    assert f"role {name} may run the relay" in done.stdout
    elastic.create_index(index, {"dynamic": "strict", "properties": {"n": {"type": "integer"}}})
    return outboxd(postgres_dsn=db.dsn_with(user=name), relay_workers=2)


def fill(db: Database, index: str) -> None:
    """One to deliver, one that is refused for good."""
    publish(db, index, "good", {"n": 1})
    publish(db, index, "bad", {"n": "no number"})


def works(relay: Outboxd) -> None:
    assert relay.run_once(timeout=20).exit_code == REFUSED
    for command in (["status"], ["status", "--json"], ["dead"], ["dead", "--document", "2"], ["requeue", "--all"],
                    ["purge", "--older-than", "0"]):
        done = relay.run(*command)
        assert done.exit_code == 0, (command, done.stderr)


def test_it_is_enough(relay: Outboxd, db: Database, index: str) -> None:
    fill(db, index)
    done = relay.run("check")
    assert lines(done, "WARNING") == [] and done.exit_code == 0, done.stdout
    works(relay)
    assert db.execute("SELECT aggregate_id, processed FROM outbox") == [("bad", False)]
    assert relay.run("purge", "--dead", "--older-than", "0").exit_code == 0


@pytest.mark.parametrize("statement", [
    "DROP TABLE outbox", "TRUNCATE outbox", "ALTER TABLE outbox ADD COLUMN x int", "CREATE TABLE shop.mine (x int)",
    "CREATE INDEX ON outbox (event)", "UPDATE outbox SET data = '{}'", "UPDATE outbox SET id = DEFAULT",
    "UPDATE outbox SET aggregate_id = 'x'", "UPDATE outbox SET created_at = now()",
    "INSERT INTO outbox (aggregate_type, aggregate_id) VALUES ('a', 'b')", "SELECT outbox_publish('a', 'b', '{}')",
    "SELECT nextval('outbox_id_seq')", "SELECT setval('outbox_id_seq', 1)", "SELECT * FROM products",
    "DROP TRIGGER outboxd_notify ON outbox", "CREATE TEMP TABLE t (x int)", "CREATE ROLE another",
    "SELECT pg_read_file('postgresql.conf')", "COPY outbox TO PROGRAM 'cat'",
])
def test_it_is_not_more(statement: str, relay: Outboxd, db: Database, index: str, name: str) -> None:
    fill(db, index)
    with db.connect(user=name) as session, pytest.raises(psycopg.errors.InsufficientPrivilege):
        session.execute(statement)


def test_it_hands_nothing_on(relay: Outboxd, db: Database, name: str) -> None:
    """To PostgreSQL that is a warning."""
    with db.connect(user=name) as session:
        session.execute("GRANT SELECT ON outbox TO PUBLIC")
    assert db.value("SELECT count(*) FROM information_schema.table_privileges WHERE grantee = 'PUBLIC' "
                    "AND table_name = 'outbox'") == 0


def denied(done: Completed, *words: str) -> None:
    assert done.exit_code in (75, 77, CONFIG), done.stderr
    assert all(word in done.stderr for word in ("permission denied", *words)), done.stderr


def once(relay: Outboxd) -> Completed:
    return relay.run("run", "--once", "--relay-once-timeout=6s")


class TestNothingIsIdle:
    """Each privilege alone is taken away: who misses it says so, and `check` names what to grant."""

    def test_connect(self, relay: Outboxd, db: Database, name: str) -> None:
        db.execute(f'REVOKE CONNECT ON DATABASE {db.name} FROM "{name}"')
        denied(once(relay), "for database")
        problem(relay.run("check"), "permission denied for database")

    def test_usage_of_the_schema(self, relay: Outboxd, db: Database, index: str, name: str,
                                 outboxd: OutboxdFactory) -> None:
        fill(db, index)
        db.execute(f'REVOKE USAGE ON SCHEMA shop FROM "{name}"')
        relay = outboxd(**{**relay.settings, "outbox_table": "shop.outbox"})
        denied(once(relay), "for schema shop")
        problem(relay.run("check"), "permission denied for schema shop")

    def test_select(self, relay: Outboxd, db: Database, index: str, name: str) -> None:
        fill(db, index)
        db.execute(f'REVOKE SELECT ON outbox FROM "{name}"')
        denied(once(relay), "for table outbox")
        problem(relay.run("check"), "this role may not read it", "GRANT SELECT ON")

    @pytest.mark.parametrize("column", COLUMNS)
    def test_update(self, column: str, relay: Outboxd, db: Database, index: str, name: str) -> None:
        fill(db, index)
        db.execute(f'REVOKE UPDATE ({column}) ON outbox FROM "{name}"')
        denied(once(relay), "for table outbox")
        problem(relay.run("check"), "this role may not mark rows", "GRANT UPDATE (")

    def test_delete(self, relay: Outboxd, db: Database, index: str, name: str, outboxd: OutboxdFactory) -> None:
        fill(db, index)
        assert relay.run_once(timeout=20).exit_code == REFUSED
        db.execute(f'REVOKE DELETE ON outbox FROM "{name}"')
        denied(relay.run("purge", "--older-than", "0"), "for table outbox")
        publish(db, index, "good", {"n": 2})
        denied(once(outboxd(**{**relay.settings, "retention_keep": "0"})), "for table outbox")
        warning(relay.run("check"), "may not delete delivered rows", "GRANT DELETE ON")

    def test_the_sequence(self, relay: Outboxd, db: Database, index: str, name: str) -> None:
        """Ids that went back are not noticed without it."""
        publish(db, index, "good", {"n": 1})
        db.execute(f'REVOKE SELECT ON SEQUENCE outbox_id_seq FROM "{name}"')
        drain(relay)
        done = relay.run("check")
        assert done.exit_code == 0 and any("may not read the sequence" in line for line in lines(done, "WARNING")), done.stdout


def test_init_again(relay: Outboxd, db: Database, index: str, name: str, outboxd: OutboxdFactory) -> None:
    """Nothing is taken away or made twice, and what is missing comes back."""
    db.execute(f'ALTER ROLE "{name}" PASSWORD \'x\'; REVOKE ALL ON outbox FROM "{name}"')
    init(outboxd(), "--role", name)
    assert db.value("SELECT rolpassword IS NOT NULL FROM pg_authid WHERE rolname = %s", [name])
    fill(db, index)
    works(relay)


def test_print(db: Database, index: str, name: str, elastic: Elastic, outboxd: OutboxdFactory) -> None:
    """For an administrator who types it."""
    script = outboxd().run("init", "--print", "--role", name).stdout
    assert f'"{name}"' in script
    psql(db, script)
    elastic.create_index(index, {"dynamic": "strict", "properties": {"n": {"type": "integer"}}})
    fill(db, index)
    works(outboxd(postgres_dsn=db.dsn_with(user=name)))


def test_who_may_not_make_roles(db: Database, name: str, outboxd: OutboxdFactory) -> None:
    db.execute(f'CREATE ROLE "{name}" LOGIN; GRANT CREATE ON SCHEMA public TO "{name}"')
    done = outboxd(postgres_dsn=db.dsn_with(user=name)).run("init", "--role", "another")
    assert done.exit_code == CONFIG and "role another: permission denied to create role" in done.stderr, done.stderr
    assert db.value("SELECT to_regclass('outbox') IS NULL"), "half a job"


@pytest.mark.parametrize("role", ["", "a'b", 'a"b', "a\\b", "a$b", "a%b", "x" * 64])
@pytest.mark.parametrize("flags", [[], ["--print"]])
def test_odd_names(role: str, flags: list[str], db: Database, outboxd: OutboxdFactory) -> None:
    done = outboxd().run("init", "--role", role, *flags)
    assert done.exit_code == 64 and "--role: " in done.stderr, done.stderr
