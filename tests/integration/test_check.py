"""`outboxd check`: every kind of fault is planted on real servers, and the line that names it demanded."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import OutboxdFactory
from helpers import init, publish

from harness import (Answer, Completed, Database, Elastic, Outboxd, PgBouncer, Postgres, ScriptedElastic,
                     wait_until)
from harness.ports import own_address

CONFIG, AWAY = 78, 75


@pytest.fixture
def ready(outboxd: OutboxdFactory, db: Database, elastic: Elastic, index: str) -> Callable[..., Outboxd]:
    """A table with the wake-up trigger, an index and one event of it that waits: nothing to find."""
    init(outboxd(), "--notify")
    elastic.create_index(index)
    publish(db, index, "1", {"n": 1})
    return outboxd


def lines(done: Completed, state: str) -> list[str]:
    return [line for line in done.stdout.splitlines() if line.startswith(state + " ")]


def found(done: Completed, state: str, code: int, *words: str) -> str:
    """The only line of that state, which has all these words."""
    assert done.exit_code == code, done.stdout + done.stderr
    matching = [line for line in lines(done, state) if all(word in line for word in words)]
    assert len(matching) == 1, done.stdout
    return matching[0]


def problem(done: Completed, *words: str, code: int = CONFIG) -> str:
    return found(done, "PROBLEM", code, *words)


def warning(done: Completed, *words: str) -> str:
    """... and it is not taken for a problem."""
    return found(done, "WARNING", 0, *words)


def test_nothing_to_find(ready: OutboxdFactory, db: Database, elastic: Elastic, index: str) -> None:
    before = db.execute("SELECT *, ctid, xmin::text FROM outbox")
    done = ready().run("check")
    assert (done.exit_code, done.stderr) == (0, ""), done.stdout
    assert lines(done, "PROBLEM") == lines(done, "WARNING") == []
    assert len(lines(done, "ok")) == len(done.stdout.splitlines()) > 20
    for words in ("configuration", "PostgreSQL 1", "it is the primary", "the connection is direct", "clock agrees",
                  "was tried on 1 rows", "the cluster is green", f"{index} exists"):
        assert words in done.stdout
    assert db.execute("SELECT *, ctid, xmin::text FROM outbox") == before
    assert elastic.count(index) == 0


def test_for_programs(ready: OutboxdFactory, db: Database) -> None:
    db.execute("DROP TRIGGER outboxd_notify ON outbox; ALTER TABLE outbox DROP COLUMN attempts")
    done = ready().run("check", "--json")
    findings = json.loads(done.stdout)
    assert done.exit_code == CONFIG
    assert all(set(each) == {"area", "what", "state", "advice"} for each in findings)
    assert {each["state"] for each in findings} == {"ok", "warning", "problem"}
    assert all(bool(each["advice"]) is (each["state"] != "ok") for each in findings), findings


def test_the_file_is_named(db: Database, elastic: Elastic, outboxd: OutboxdFactory) -> None:
    init(outboxd(), "--notify")
    done = outboxd(config_text=f"[postgres]\ndsn = {db.dsn}\n[elasticsearch]\nurl = {elastic.url}\n").run("check")
    assert done.exit_code == 0, done.stdout
    assert "outboxd.conf" in lines(done, "ok")[0]
    assert "no row names an index yet" in done.stdout


# -- PostgreSQL


def test_postgres_is_away(ready: OutboxdFactory, db: Database) -> None:
    """... and Elasticsearch is looked at all the same."""
    done = ready(postgres_dsn=db.dsn_with(port=1)).run("check")
    problem(done, "postgres ", "cannot connect", code=AWAY)
    assert "the cluster is green" in done.stdout


@pytest.mark.parametrize("wrong", [{"user": "nobody_here"}, {"dbname": "nowhere"}])
def test_postgres_answers_and_refuses(wrong: dict[str, str], ready: OutboxdFactory, postgres: Postgres, db: Database) -> None:
    """Waiting does not cure that: it is no server that is away."""
    dsn = postgres.dsn(**{"dbname": db.name, **wrong})
    done = ready(postgres_dsn=dsn).run("check")
    problem(done, "postgres ", "does not exist", "see user, password and database in postgres.dsn")
    assert "the cluster is green" in done.stdout


def test_elasticsearch_is_away(ready: OutboxdFactory) -> None:
    """... and the database is looked at all the same."""
    done = ready(elasticsearch_url="http://127.0.0.1:1").run("check")
    problem(done, "elasticsearch ", "unreachable", code=AWAY)
    assert "the index for claims is valid" in done.stdout


def test_both_are_away(ready: OutboxdFactory, db: Database) -> None:
    done = ready(postgres_dsn=db.dsn_with(port=1), elasticsearch_url="http://127.0.0.1:1").run("check")
    assert (done.exit_code, len(lines(done, "PROBLEM"))) == (AWAY, 2)


def test_what_waiting_does_not_cure_decides(ready: OutboxdFactory, db: Database) -> None:
    db.execute("ALTER TABLE outbox DROP COLUMN attempts")
    done = ready(elasticsearch_url="http://127.0.0.1:1").run("check")
    problem(done, "columns of the relay are missing", "outboxd init")
    problem(done, "elasticsearch ", "unreachable")


def test_a_frozen_database(ready: OutboxdFactory, postgres: Postgres) -> None:
    """It takes connections and answers nothing: connect_timeout ends that."""
    postgres.pause()
    try:
        done = ready().run("check")
    finally:
        postgres.resume()
    problem(done, "postgres ", "timeout", code=AWAY)
    assert "the cluster is green" in done.stdout


def test_no_table(outboxd: OutboxdFactory, db: Database) -> None:
    problem(outboxd().run("check"), "there is no table", "outboxd init")


def test_no_address(db: Database) -> None:
    problem(Outboxd(postgres_dsn=db.dsn).run("check"), "no address is set", "elasticsearch.url")


@pytest.mark.parametrize("statement,words", [
    ("ALTER TABLE outbox DROP COLUMN retry_at", ["columns of the relay are missing", "outboxd init"]),
    ("CREATE TABLE child () INHERITS (outbox)", ["other tables inherit", "a table of its own"]),
    ("DO $$ BEGIN EXECUTE (SELECT format('DROP INDEX %I', indexname) FROM pg_indexes WHERE indexname LIKE '%lane%'); END $$",
     ["the index for claims is missing", "outboxd init"]),
    ("UPDATE pg_index SET indisvalid = false WHERE indexrelid = (SELECT oid FROM pg_class WHERE relname LIKE '%lane%')",
     ["the index for claims is missing or invalid", "outboxd init"]),
    ("ALTER SEQUENCE outbox_id_seq CACHE 20", ["sequence with a cache", "ALTER SEQUENCE outbox_id_seq CACHE 1"]),
    ("UPDATE outbox SET error = '{\"type\": \"version_from_the_future\"}'", ["1 events wait", "--raise-sequence"]),
])
def test_the_table_is_not_right(statement: str, words: list[str], ready: OutboxdFactory, db: Database) -> None:
    db.execute(statement)
    problem(ready().run("check"), "table ", *words)


@pytest.mark.parametrize("statement,words", [
    ("DROP TRIGGER outboxd_notify ON outbox", ["no trigger wakes the relays", "init --notify"]),
    ("ALTER TABLE outbox DISABLE TRIGGER outboxd_notify", ["no trigger wakes the relays", "init --notify"]),
    ("ALTER TABLE outbox SET (autovacuum_enabled = off)", ["autovacuum is off", "RESET (autovacuum_enabled)"]),
])
def test_the_table_could_be_better(statement: str, words: list[str], ready: OutboxdFactory, db: Database) -> None:
    db.execute(statement)
    warning(ready().run("check"), "table ", *words)


def test_idle_sessions_are_ended(ready: OutboxdFactory, postgres: Postgres, db: Database) -> None:
    if postgres.version < 14:
        assert "the server ends no idle session" in ready().run("check").stdout
        return
    db.execute(f"ALTER DATABASE {db.name} SET idle_session_timeout = '10min'")
    warning(ready().run("check"), "table ", "idle_session_timeout", "ALTER ROLE postgres SET idle_session_timeout = 0")


def test_nobody_wants_wakeups(ready: OutboxdFactory, db: Database) -> None:
    db.execute("DROP TRIGGER outboxd_notify ON outbox")
    assert lines(ready(relay_notify=False).run("check"), "WARNING") == []


@pytest.fixture
def role(db: Database) -> Iterator[str]:
    """A login that may do what a relay does, and not more."""
    name = f"relay_{db.name}"
    db.execute(f"CREATE ROLE {name} LOGIN")
    yield name
    db.execute(f"DROP OWNED BY {name}; DROP ROLE {name}")


GRANTS = {"SELECT": "GRANT SELECT ON outbox TO {}", "UPDATE": "GRANT UPDATE ON outbox TO {}",
          "DELETE": "GRANT DELETE ON outbox TO {}", "SEQUENCE": "GRANT SELECT ON SEQUENCE outbox_id_seq TO {}"}


def grant_but(db: Database, role: str, missing: str = "") -> str:
    for what, statement in GRANTS.items():
        if what != missing:
            db.execute(statement.format(role))
    return db.dsn_with(user=role)


def test_the_least_privileges_are_enough(ready: OutboxdFactory, db: Database, role: str) -> None:
    done = ready(postgres_dsn=grant_but(db, role)).run("check")
    assert (done.exit_code, lines(done, "WARNING")) == (0, []), done.stdout


def test_the_example_role_is_enough(ready: OutboxdFactory, db: Database) -> None:
    """packaging/role.sql, with a name of this test's own."""
    name = f"relay_{db.name}"
    sql = (Path(__file__).parents[2] / "packaging/role.sql").read_text()
    db.execute(re.sub(r"\boutboxd\b(?= LOGIN|;)", name, sql))
    try:
        done = ready(postgres_dsn=db.dsn_with(user=name)).run("check")
        assert (done.exit_code, lines(done, "WARNING")) == (0, []), done.stdout
    finally:
        db.execute(f"DROP OWNED BY {name}; DROP ROLE {name}")


def test_a_missing_privilege(ready: OutboxdFactory, db: Database, role: str) -> None:
    dsn = grant_but(db, role, "SELECT")
    done = ready(postgres_dsn=dsn).run("check")
    problem(done, "this role may not read it", "GRANT SELECT ON", role)
    db.execute(GRANTS["SELECT"].format(role))

    db.execute(f"REVOKE UPDATE ON outbox FROM {role}; GRANT UPDATE (processed) ON outbox TO {role}")
    problem(ready(postgres_dsn=dsn).run("check"), "this role may not mark rows", "GRANT UPDATE (processed, processed_at", role)
    db.execute(GRANTS["UPDATE"].format(role))

    db.execute(f"REVOKE DELETE ON outbox FROM {role}")
    warning(ready(postgres_dsn=dsn).run("check"), "may not delete delivered rows", "GRANT DELETE ON", role)
    problem(ready(postgres_dsn=dsn, retention_keep="0").run("check"), "may not delete delivered rows")
    db.execute(GRANTS["DELETE"].format(role))

    db.execute(f"REVOKE SELECT ON SEQUENCE outbox_id_seq FROM {role}")
    warning(ready(postgres_dsn=dsn).run("check"), "may not read the sequence", "GRANT SELECT ON SEQUENCE", role)


def test_row_security(ready: OutboxdFactory, db: Database, role: str) -> None:
    db.execute("ALTER TABLE outbox ENABLE ROW LEVEL SECURITY")
    problem(ready(postgres_dsn=grant_but(db, role)).run("check"), "row security", "BYPASSRLS")


def test_a_standby(postgres: Postgres, ready: OutboxdFactory, db: Database) -> None:
    with postgres.standby() as standby:
        wait_until(lambda: standby.execute("SELECT count(*) FROM pg_class WHERE relname LIKE 'outbox_lane%%'", [],
                                           dbname=db.name) == [(1,)], 30, "the table to arrive there")
        problem(ready(postgres_dsn=standby.dsn(db.name)).run("check"), "a standby", "target_session_attrs=read-write")


def test_a_server_that_only_reads(ready: OutboxdFactory, db: Database) -> None:
    db.execute(f"ALTER DATABASE {db.name} SET default_transaction_read_only = on")
    problem(ready().run("check"), "transactions are read-only", "default_transaction_read_only")


@pytest.mark.parametrize("mode,state,words", [
    ("transaction", "WARNING", "a pooler in transaction mode is between"),
    ("session", "ok", "leaves each client its session"),
])
def test_a_pooler(mode: str, state: str, words: str, ready: OutboxdFactory, postgres: Postgres, db: Database) -> None:
    with PgBouncer(postgres, {"pool_mode": mode}) as pooler:
        found(ready(postgres_dsn=db.dsn_with(port=pooler.port)).run("check"), state, 0, words)


def test_a_clear_connection_to_another_host(ready: OutboxdFactory, postgres: Postgres, db: Database) -> None:
    with PgBouncer(postgres, {"pool_mode": "session", "listen_addr": "*"}) as pooler:
        dsn = db.dsn_with(host=own_address(), port=pooler.port, sslmode="disable")
        done = ready(postgres_dsn=dsn).run("check")
    warning(done, "the connection to another host is not encrypted", "sslmode=verify-full")


def test_an_encrypted_connection(ready: OutboxdFactory, postgres: Postgres, db: Database) -> None:
    """Through a pooler that speaks TLS: the last hop is its own affair."""
    with PgBouncer(postgres, {"pool_mode": "session"}) as pooler:
        key, certificate = pooler.scratch.path / "key.pem", pooler.scratch.path / "certificate.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-keyout", key,
                        "-out", certificate], check=True, capture_output=True)
        pooler.scratch.own(pooler.scratch.path)
        pooler.kill9()
        with pooler._config_file.open("a") as config:
            config.write(f"client_tls_sslmode = require\nclient_tls_key_file = {key}\nclient_tls_cert_file = {certificate}\n")
        pooler.start()
        done = ready(postgres_dsn=db.dsn_with(port=pooler.port, sslmode="require")).run("check")
    found(done, "ok", 0, "the connection is encrypted")


def test_a_wrong_clock_of_the_database(ready: OutboxdFactory, db: Database) -> None:
    db.execute("CREATE SCHEMA late; CREATE FUNCTION late.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS "
               "$$ SELECT pg_catalog.clock_timestamp() - interval '1 minute' $$")
    db.execute(f"ALTER DATABASE {db.name} SET search_path = late, pg_catalog, public")
    warning(ready().run("check"), "clock is -60", "off this host's", "NTP")


@pytest.mark.parametrize("mode,words", [("ACCESS EXCLUSIVE", "it cannot be read"), ("SHARE", "no row can be marked")])
def test_a_locked_table(mode: str, words: str, ready: OutboxdFactory, db: Database) -> None:
    with db.connect(application_name="a migration") as holder:
        holder.execute("BEGIN")
        holder.execute(f"LOCK TABLE outbox IN {mode} MODE")
        problem(ready().run("check"), words, "a migration", f"pg_terminate_backend({holder.info.backend_pid})")


# -- the mapping, tried on rows


def test_an_expression_that_cannot_be_read(ready: OutboxdFactory) -> None:
    problem(ready(outbox_index="o.no_such_column").run("check"), "mapping ", "outbox.index = o.no_such_column",
            "cannot be read from table")


def test_an_expression_that_fails_on_some_rows(ready: OutboxdFactory, db: Database, index: str) -> None:
    bad = [publish(db, index, name, {"price": "a lot"}) for name in "ab"]
    for n in range(5):
        publish(db, index, str(n), {"price": 7})
    done = ready(outbox_document="o.data || jsonb_build_object('cents', (o.data->>'price')::int * 100)").run("check")
    line = problem(done, "mapping ", "outbox.document =", "fails on 2 of 8 rows")
    assert f"first on event {bad[1]}: 22P02" in line and '"a lot"' in line
    assert "the cluster is green" in done.stdout


def test_two_expressions_are_both_named(ready: OutboxdFactory) -> None:
    done = ready(outbox_index="('x' || o.id)::int::text", outbox_routing="o.nothing").run("check")
    problem(done, "outbox.index", "fails on 1 of 1 rows", "22P02")
    problem(done, "outbox.routing", "cannot be read")


def test_an_expression_that_writes(ready: OutboxdFactory, db: Database) -> None:
    db.execute("CREATE SEQUENCE s")
    warning(ready(outbox_version="nextval('s')").run("check"), "outbox.version", "writes, so it was not tried")
    assert db.value("SELECT is_called FROM s") is False


def test_rows_that_would_go_dead(ready: OutboxdFactory, db: Database, index: str) -> None:
    number = publish(db, "UPPER", "1", {"n": 1})
    done = ready().run("check")
    problem(done, "1 rows to deliver would go dead, of 2", f"first event {number}", "must be lower case")
    assert f"{index} exists" in done.stdout
    db.execute("UPDATE outbox SET processed = true WHERE id = %s", [number])
    warning(ready().run("check"), "0 rows to deliver, and delivered ones")


# -- Elasticsearch


def test_something_else_answers(ready: OutboxdFactory) -> None:
    with ScriptedElastic(other=lambda request: Answer(body="<html>It works!</html>")) as server:
        problem(ready(elasticsearch_url=server.url).run("check"), "something answers there that is not Elasticsearch")


def test_tls_where_there_is_none(ready: OutboxdFactory, elastic: Elastic) -> None:
    """Waiting would not cure that."""
    done = ready(elasticsearch_url=elastic.url.replace("http://", "https://")).run("check")
    problem(done, "elasticsearch ", "tls", "elasticsearch.ca_file")


def test_a_redirect(ready: OutboxdFactory) -> None:
    with ScriptedElastic(other=lambda request: Answer(302, {"location": "https://elsewhere/"}, body="")) as server:
        problem(ready(elasticsearch_url=server.url).run("check"), "redirect", "HTTP 302")


def scripted(answers: dict[str, Any]) -> ScriptedElastic:
    """A healthy Elasticsearch of the full distribution, except for what is said of some paths."""
    known = {"/": {"version": {"number": "9.5.0"}}, "/_cluster/health": {"status": "green"}, "/_cluster/settings": {},
             "/_template": {}, "/_index_template": {"index_templates": []}, **answers}

    def answer(request: Any) -> Answer:
        if request.path in known:
            return Answer(200, {"content-type": "application/json"}, json.dumps(known[request.path]))
        return Answer(404, {"content-type": "application/json"}, "{}")

    return ScriptedElastic(other=answer)


@pytest.mark.parametrize("status,call,words", [
    ("yellow", warning, ["the cluster is yellow", "number_of_replicas"]),
    ("red", problem, ["the cluster is red", "allocation/explain"]),
])
def test_health(status: str, call: Any, words: list[str], ready: OutboxdFactory) -> None:
    with scripted({"/_cluster/health": {"status": status}}) as server:
        done = ready(elasticsearch_url=server.url).run("check")
    call(done, *words)
    assert "Elasticsearch 9.5.0" in done.stdout


def test_a_wrong_clock_of_elasticsearch(ready: OutboxdFactory) -> None:
    with scripted({"/_nodes/_local/stats/jvm": {"nodes": {"a": {"timestamp": 1000}}}}) as server:
        warning(ready(elasticsearch_url=server.url).run("check"), "elasticsearch ", "off this host's", "NTP")


def test_opensearch_is_named(ready: OutboxdFactory) -> None:
    with scripted({"/": {"version": {"number": "3.3.0", "distribution": "opensearch"}}}) as server:
        assert "OpenSearch 3.3.0" in ready(elasticsearch_url=server.url).run("check").stdout


@pytest.mark.parametrize("version,call,words", [
    ({"number": "6.8.23"}, problem, ["Elasticsearch 6.8.23 is too old", "7.17 or later"]),
    ({"number": "7.10.2"}, warning, ["Elasticsearch 7.10.2 is older than", "7.17"]),
    ({"number": "1.3.20", "distribution": "opensearch"}, warning, ["OpenSearch 1.3.20 is older than", "2.0"]),
])
def test_old_versions(version: dict[str, str], call: Any, words: list[str], ready: OutboxdFactory) -> None:
    with scripted({"/": {"version": version}}) as server:
        call(ready(elasticsearch_url=server.url).run("check"), *words)


def test_a_server_that_never_answers(ready: OutboxdFactory) -> None:
    with ScriptedElastic(other=lambda request: Answer(delay=20)) as server:
        done = ready(elasticsearch_url=server.url, elasticsearch_timeout="1s").run("check")
    problem(done, "timed_out", code=AWAY)


def test_a_cluster_that_is_read_only(ready: OutboxdFactory, elastic: Elastic) -> None:
    elastic.call("PUT", "/_cluster/settings", {"persistent": {"cluster.blocks.read_only_allow_delete": True}})
    try:
        problem(ready().run("check"), "the whole cluster is read-only", "free the disk")
    finally:
        elastic.call("PUT", "/_cluster/settings", {"persistent": {"cluster.blocks.read_only_allow_delete": None}})


# -- its indexes


def test_a_closed_index(ready: OutboxdFactory, elastic: Elastic, index: str) -> None:
    elastic.call("POST", f"/{index}/_close")
    problem(ready().run("check"), f"{index} is closed", f"POST /{index}/_open")


@pytest.mark.parametrize("block", ["write", "read_only", "read_only_allow_delete"])
def test_a_blocked_index(block: str, ready: OutboxdFactory, elastic: Elastic, index: str) -> None:
    elastic.call("PUT", f"/{index}/_settings", {f"index.blocks.{block}": True})
    try:
        problem(ready().run("check"), f"{index} is blocked: index.blocks.{block}")
    finally:
        elastic.call("PUT", f"/{index}/_settings", {f"index.blocks.{block}": None})


@pytest.mark.parametrize("value,allowed", [("false", False), ("+logs-*,-*", False), ("-*x,+products-*", True), ("true", True)])
def test_an_index_that_may_not_be_made(value: str, allowed: bool, ready: OutboxdFactory, elastic: Elastic, index: str) -> None:
    elastic.delete_index(index)
    elastic.call("PUT", "/_cluster/settings", {"persistent": {"action.auto_create_index": value}})
    try:
        done = ready().run("check")
        if allowed:
            found(done, "ok", 0, f"{index} does not exist: the first event makes it")
        else:
            problem(done, f"{index} does not exist and may not be made", "action.auto_create_index")
    finally:
        elastic.call("PUT", "/_cluster/settings", {"persistent": {"action.auto_create_index": None}})


@pytest.fixture
def alias(elastic: Elastic, ready: OutboxdFactory, db: Database, index: str) -> Iterator[str]:
    """Of two indexes, neither of which is the one to write; an event names it."""
    name = f"{index}-alias"
    publish(db, name, "1", {"n": 1})
    for each in (f"{index}-a", f"{index}-b"):
        elastic.create_index(each)
        elastic.call("POST", "/_aliases", {"actions": [{"add": {"index": each, "alias": name}}]})
    yield name
    elastic.delete_index(f"{index}-a")
    elastic.delete_index(f"{index}-b")


def test_an_alias_without_a_write_index(alias: str, ready: OutboxdFactory, elastic: Elastic, index: str) -> None:
    problem(ready().run("check"), f"{alias} is an alias of 2 indexes without a write index", "is_write_index")
    elastic.call("POST", "/_aliases", {"actions": [{"add": {"index": f"{index}-b", "alias": alias, "is_write_index": True}}]})
    found(ready().run("check"), "ok", 0, f"{alias} is an alias; {index}-b is written")


def test_a_missing_index_of_opensearch(ready: OutboxdFactory, index: str) -> None:
    """It answers 200 where Elasticsearch answers 404."""
    nothing: dict[str, list[str]] = {"indices": [], "aliases": [], "data_streams": []}
    answers = {f"/_resolve/index/{index}": nothing,
               "/_cluster/settings": {"persistent": {"action.auto_create_index": "false"}}}
    with scripted(answers) as server:
        done = ready(elasticsearch_url=server.url).run("check")
    assert f"{index} exists" not in done.stdout
    problem(done, index, "auto_create_index")


def test_a_data_stream(ready: OutboxdFactory, index: str) -> None:
    resolved = {"indices": [], "aliases": [], "data_streams": [{"name": index}]}
    with scripted({f"/_resolve/index/{index}": resolved}) as server:
        problem(ready(elasticsearch_url=server.url).run("check"), f"{index} is a data stream", "outbox.operation = 'create'")
        done = ready(elasticsearch_url=server.url, outbox_operation="'create'").run("check")
    found(done, "ok", 0, f"{index} is a data stream")


@pytest.mark.parametrize("settings,words", [
    ({"index.translog.durability": "async"}, ["index.translog.durability is async", "acknowledged events are lost"]),
    ({"index.gc_deletes": "5s"}, ["index.gc_deletes is 5s", "index.gc_deletes\": \"60s"]),
])
def test_settings_of_an_index(settings: dict[str, str], words: list[str], ready: OutboxdFactory, elastic: Elastic,
                              index: str) -> None:
    elastic.call("PUT", f"/{index}/_settings", settings)
    warning(ready().run("check"), index, *words)


@pytest.mark.parametrize("kind", ["default_pipeline", "final_pipeline"])
def test_pipelines_of_an_index(kind: str, ready: OutboxdFactory, elastic: Elastic, index: str) -> None:
    elastic.call("PUT", f"/{index}/_settings", {f"index.{kind}": "nobody-made-it"})
    problem(ready().run("check"), f"index.{kind} is nobody-made-it, which does not exist")
    elastic.call("PUT", "/_ingest/pipeline/nobody-made-it", {"processors": []})
    try:
        warning(ready().run("check"), f"index.{kind} is nobody-made-it: it may change every document")
    finally:
        elastic.call("PUT", f"/{index}/_settings", {f"index.{kind}": None})
        elastic.call("DELETE", "/_ingest/pipeline/nobody-made-it")


@pytest.mark.parametrize("mapping,words", [
    ({"dynamic": "strict", "properties": {"n": {"type": "long"}}}, "has no field `deleted`"),
    ({"properties": {"deleted": {"type": "date"}}}, "`deleted` (date) does not take"),
])
def test_a_mapping_that_refuses_tombstones(mapping: dict[str, Any], words: str, ready: OutboxdFactory, elastic: Elastic,
                                           index: str) -> None:
    elastic.call("PUT", f"/{index}/_mapping", mapping)
    assert ready().run("check").exit_code == 0, "deletes are deletes: nothing to find"
    problem(ready(outbox_deletes="tombstone").run("check"), index, words)
    if "dynamic" in mapping:
        elastic.call("PUT", f"/{index}/_mapping", {"properties": {"deleted": {"type": "boolean"}}})
        assert ready(outbox_deletes="tombstone").run("check").exit_code == 0


BODY = {"mappings": {"dynamic": "strict"}, "settings": {"index.translog.durability": "async"}}


@pytest.mark.parametrize("path,body", [
    ("_index_template", {"priority": 7, "template": BODY}),
    ("_template", BODY),
])
def test_a_template_of_a_missing_index(path: str, body: dict[str, Any], ready: OutboxdFactory, elastic: Elastic,
                                       index: str) -> None:
    elastic.delete_index(index)
    elastic.call("PUT", f"/{path}/planted", {"index_patterns": [index[:-3] + "*"], **body})
    try:
        done = ready(outbox_deletes="tombstone").run("check")
    finally:
        elastic.call("DELETE", f"/{path}/planted")
    problem(done, f"template planted, which {index} will get", "has no field `deleted`")
    found(done, "WARNING", CONFIG, "template planted", "durability is async")


def test_a_template_of_a_data_stream(ready: OutboxdFactory, elastic: Elastic, index: str) -> None:
    elastic.delete_index(index)
    elastic.call("PUT", "/_index_template/planted", {"index_patterns": [index], "priority": 7, "data_stream": {}})
    try:
        problem(ready().run("check"), "makes a data stream", "outbox.operation = 'create'")
    finally:
        elastic.call("DELETE", "/_index_template/planted")


def test_versions_that_the_table_never_drew(ready: OutboxdFactory, elastic: Elastic, index: str) -> None:
    elastic.call("PUT", f"/{index}/_doc/1?version=1000000&version_type=external", {"from": "the lost future"})
    problem(ready().run("check"), f"{index} holds version 1000000, the table has drawn ids up to 1", "--raise-sequence")
