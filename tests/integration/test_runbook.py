"""The runbook as an operator uses it: a fault on real servers, the commands of the document, and search is whole again.

Each command and each output comes from docs/RUNBOOK.md; nothing here knows them but by their names. Whoever is called begins
with its first minute: look() types that, and from there on only sections are read to which its table sends.
"""

from __future__ import annotations

import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from conftest import OutboxdFactory
from documents import ROOT, blocks, pattern, read
from helpers import init, publish, secure_node, undelivered
from shell import Operator
from test_operator import Clock
from test_verdicts_secure import privileges, wait_denied

from harness import Answer, Database, Elastic, Outboxd, ScriptedElastic, wait_until

DOCUMENT = "docs/RUNBOOK.md"
INDEX = "products"
QUICK = {"relay_poll_interval": "50ms", "retry_base": "50ms", "retry_cap": "500ms"}
MINUTE = "one-minute-what-is-wrong"
SYMPTOMS = re.findall(r"^\| (.*) \| \[[^|]*\]\(#([\w-]+)\) \|$",
                      read(DOCUMENT).partition("## One minute")[2].partition("**Mended?**")[0], re.MULTILINE)
GRANTED = privileges("index", "delete", "read", "view_index_metadata")


@pytest.fixture
def clean(elastic: Elastic) -> Iterator[Elastic]:
    """Elasticsearch without the indexes of the document."""
    elastic.ensure_running()
    elastic.delete_index(INDEX)
    yield elastic
    elastic.ensure_running()
    elastic.delete_index(INDEX)
    elastic.delete_index("outboxd-probe")


@pytest.fixture
def op(db: Database, clean: Elastic, outboxd: OutboxdFactory, tmp_path: Path) -> Operator:
    """Beside a daemon that is not started yet, and an application's table."""
    operator = Operator(DOCUMENT, db, clean, tmp_path, outboxd(**QUICK))
    init(operator.daemon, "--notify")
    db.execute("CREATE TABLE products (id int PRIMARY KEY, price numeric)")
    clean.create_index(INDEX)
    return operator


@pytest.fixture
def at_work(op: Operator) -> Operator:
    """... and a daemon that has delivered document 42."""
    op.start()
    write(op, 42, 1)
    wait_whole(op)
    return op


def write(op: Operator, key: int, price: float) -> int:
    """What the application does: the entity and its event, in one transaction."""
    return int(op.db.value(
        "WITH w AS (INSERT INTO products VALUES (%(id)s, %(price)s) ON CONFLICT (id) DO UPDATE SET price = %(price)s "
        "           RETURNING *) SELECT outbox_publish(%(index)s, id::text, to_jsonb(w), 'product_updated') FROM w",
        {"id": key, "price": price, "index": INDEX}))


def remove(op: Operator, key: int) -> int:
    return int(op.db.value("WITH w AS (DELETE FROM products WHERE id = %s RETURNING id) "
                           "SELECT outbox_publish(%s, id::text, NULL, 'product_deleted') FROM w", [key, INDEX]))


def in_search(op: Operator) -> dict[str, float]:
    """The price of each document."""
    op.elastic.refresh(INDEX)
    return {hit["_id"]: float(hit["_source"]["price"]) for hit in op.elastic.search(INDEX, size=1000)}


def wait_whole(op: Operator, timeout: float = 60) -> None:
    """Everything delivered, and search equals the table."""
    wait_until(lambda: undelivered(op.db) == 0, timeout, "an empty outbox")
    assert in_search(op) == {str(key): float(price) for key, price in op.db.execute("SELECT id, price FROM products")}


def post(op: Operator, path: str, token: str = "") -> None:
    request = urllib.request.Request(op.variables["ADMIN"] + path, method="POST", headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request) as reply:
        assert reply.status == 200


def look(op: Operator, alert: str = "") -> None:
    """The first minute. What it prints, and the alert, choose rows of the table; only where these send to is read from now on."""
    printed = "".join(op.run(name) for name in ("ready", "status", "check", "journal")) + alert

    def fits(symptom: str) -> bool:
        words = [pattern(text).pattern for text in re.findall("`(.+?)`", symptom)] + re.findall(r"Outboxd\w+", symptom)
        return any(re.search(rf"(?<!\w){word}(?!\w)", printed) for word in words)

    op.sent_to = {section for symptom, section in SYMPTOMS if fits(symptom)}
    assert op.sent_to, f"no row of the table fits\n{printed}"
    op.sent_to.add(MINUTE)


def wait_ready(op: Operator) -> None:
    op.comes_to_see("ready")


# -- ten prepared faults


@pytest.mark.time_limit(300)  # it starts a node
def test_elasticsearch_is_down(at_work: Operator) -> None:
    op = at_work
    op.services["elasticsearch"] = op.elastic.start
    op.elastic.stop()
    write(op, 42, 2)
    op.daemon.wait_log("elasticsearch_away", timeout=30)

    look(op)
    op.sees("away-ready")
    op.sees("away-check")
    op.run("start-elasticsearch")

    wait_whole(op)
    wait_ready(op)


def test_postgresql_is_down(at_work: Operator) -> None:
    op = at_work
    op.services["postgresql"] = op.db.server.start
    write(op, 42, 2)
    op.db.server.stop("immediate")
    op.daemon.wait_log("postgres_away", timeout=30)

    look(op)
    assert "PostgreSQL is away: " in op.run("away-ready")
    assert "see whether the server runs, and host, port and sslmode in postgres.dsn" in op.run("away-check")
    op.run("start-postgres")

    wait_whole(op)
    wait_ready(op)


@pytest.fixture(scope="module")
def secure() -> Iterator[Elastic]:
    with secure_node(GRANTED) as node:
        yield node


@pytest.fixture
def secured(db: Database, secure: Elastic, outboxd: OutboxdFactory, secret: Path, tmp_path: Path) -> Operator:
    """Beside a server with security on; the administrator's name is in ~/.netrc."""
    daemon = outboxd(**QUICK, elasticsearch_url=secure.url, elasticsearch_username="relay",
                     elasticsearch_password_file=secret)
    operator = Operator(DOCUMENT, db, secure, tmp_path, daemon)
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login admin password admin-secret\n")
    init(daemon, "--notify")
    db.execute("CREATE TABLE products (id int PRIMARY KEY, price numeric)")
    secure.set_roles(GRANTED)
    secure.delete_index(INDEX)
    secure.create_index(INDEX)
    return operator


@pytest.mark.parametrize("said", ["is away", "denies access"])
def test_a_wrong_password(secured: Operator, said: str) -> None:
    """With events that it refuses, and before there is any."""
    op = secured
    secret = Path(op.daemon.settings["elasticsearch_password_file"])
    secret.write_text("expired")
    op.start()
    if said == "is away":
        write(op, 42, 1)
    op.daemon.wait_log("elasticsearch_away" if said == "is away" else "elasticsearch_denies", timeout=30)

    look(op)
    assert f"Elasticsearch {said}: HTTP 401" in op.run("away-ready")
    assert "refuses these credentials (HTTP 401" in op.run("away-check")
    secret.write_text("relay-secret")

    wait_whole(op)
    wait_ready(op)


def test_a_missing_privilege(secured: Operator) -> None:
    op = secured
    op.elastic.set_roles(privileges("delete", "read", "view_index_metadata"))
    wait_denied(op.elastic, INDEX, "index")
    op.start()
    write(op, 42, 1)
    op.daemon.wait_log("index_paused", timeout=30)

    look(op)
    assert "index on products is missing: its events wait -> add it to the role" in op.run("paused")
    op.elastic.set_roles(GRANTED)

    wait_whole(op)


def test_an_administrators_name_and_password(secured: Operator) -> None:
    """They come from ~/.netrc: the relay's own role may not do what the runbook does."""
    secured.start()
    write(secured, 42, 1)
    wait_whole(secured)
    assert '"found" : true' in secured.run("document")


def test_no_privilege_at_all(secured: Operator) -> None:
    op = secured
    op.elastic.set_roles({"relay": {"cluster": ["monitor"]}})
    wait_denied(op.elastic, INDEX, "index")
    op.start()
    write(op, 42, 1)
    op.daemon.wait_log("elasticsearch_away", timeout=30)

    look(op)
    assert "HTTP 403 security_exception" in op.run("away-ready")
    op.elastic.set_roles(GRANTED)

    wait_whole(op)
    wait_ready(op)


@pytest.mark.parametrize("block", ["read_only_allow_delete", "write"])
def test_an_index_is_blocked(at_work: Operator, block: str) -> None:
    op = at_work
    op.elastic.call("PUT", f"/{INDEX}/_settings", {f"index.blocks.{block}": True})
    write(op, 42, 2)
    op.daemon.wait_log("index_paused", timeout=30)

    look(op)
    if block == "read_only_allow_delete":
        op.sees("disk")
    assert f"products is blocked: index.blocks.{block}" in op.run("paused")
    op.run("unblock")

    op.daemon.wait_log("index_resumed", timeout=30)
    wait_whole(op)


def test_a_mapping_conflict(op: Operator) -> None:
    op.elastic.call("PUT", f"/{INDEX}/_mapping", {"properties": {"price": {"type": "double"}}})
    op.start()
    write(op, 41, 1)
    op.db.execute("INSERT INTO products VALUES (42, 19.90)")
    bad = publish(op.db, INDEX, "42", {"id": 42, "price": "a lot"})
    wait_until(lambda: op.db.value("SELECT count(*) FROM outbox WHERE dead_at IS NOT NULL"), 30, "a dead event")

    look(op)
    op.sees("dead-list")
    op.sees("dead-one", EVENT=bad)
    op.run("dead-correct")
    op.sees("requeue")

    wait_whole(op)


def test_many_of_one_reason(op: Operator) -> None:
    """The mapping is corrected, not the rows."""
    op.elastic.call("PUT", f"/{INDEX}/_mapping", {"properties": {"price": {"type": "long", "coerce": False}}})
    op.start()
    for key in (41, 42):
        write(op, key, 1.5)
    wait_until(lambda: op.db.value("SELECT count(*) FROM outbox WHERE dead_at IS NOT NULL") == 2, 30, "dead events")

    look(op)
    status = op.run("status")
    assert re.search(r"dead +2\n +2  document_parsing_exception  \(the first: outboxd dead 1\)", status), status
    op.run("dead-list")
    op.elastic.delete_index(INDEX)
    op.elastic.create_index(INDEX, {"properties": {"price": {"type": "double"}}})
    printed = op.run("requeue-type")

    assert "2 events" in printed, printed
    wait_whole(op)


def test_an_expression_that_fails_on_one_row(op: Operator) -> None:
    op.daemon.settings["outbox_document"] = "o.data || jsonb_build_object('cents', (o.data->>'price')::numeric * 100)"
    op.start()
    write(op, 41, 1)
    op.db.execute("INSERT INTO products VALUES (42, 19.90)")
    bad = publish(op.db, INDEX, "42", {"id": 42, "price": "a lot"})
    wait_until(lambda: op.db.value("SELECT count(*) FROM outbox WHERE dead_at IS NOT NULL"), 30, "a dead event")

    look(op)
    assert "mapping_expression_failed" in op.run("dead-list")
    shown = op.run("dead-one", EVENT=bad)
    assert "an expression of [outbox] fails on this row" in shown and '"a lot"' in shown
    op.run("dead-correct")
    op.sees("requeue")

    wait_whole(op)


def test_a_pinned_horizon(at_work: Operator) -> None:
    """The operator's clock is ahead: nobody can make a transaction old in a test. The relay's own, of a moment each, look old too."""
    op = at_work
    later = Clock(op.db, "10 min").dsn
    with op.db.connect(application_name="nightly report") as holder:
        holder.execute("BEGIN; SELECT pg_current_xact_id()")
        op.variables["OUTBOXD_POSTGRES_DSN"] = later
        look(op)
        status = op.sees("horizon")
        pid = re.search(r"pg_terminate_backend\((\d+)\)", status)
        assert pid and int(pid[1]) == holder.info.backend_pid
        op.run("horizon-end", PID=pid[1])
        with pytest.raises(psycopg.OperationalError):
            holder.execute("SELECT 1")

    wait_until(lambda: "horizon    free" in op.run("horizon"), 30, "a free horizon")
    wait_whole(op)


@pytest.mark.time_limit(180)
@pytest.mark.parametrize("mode", ["SHARE", "ACCESS EXCLUSIVE"])
def test_a_locked_table(at_work: Operator, mode: str) -> None:
    op = at_work
    with op.db.connect(application_name="nightly report") as holder:
        post(op, "/pause")
        write(op, 42, 2)
        holder.execute("BEGIN")
        holder.execute(f"LOCK TABLE outbox IN {mode} MODE")
        post(op, "/resume")

        op.daemon.wait_log("sql_failed", timeout=60)
        if mode == "ACCESS EXCLUSIVE":
            op.daemon.wait_log("count_failed", timeout=60)
        look(op)
        if mode == "SHARE":
            printed = op.comes_to_see("lag-status")
        else:
            printed = op.run("lag-status")
            assert "the table is locked: " in printed
        pid = re.search(r"pid (\d+), nightly report.*\n?.*Ask its owner, or: SELECT pg_terminate_backend\((\d+)\)", printed)
        assert pid and int(pid[1]) == int(pid[2]) == holder.info.backend_pid, printed
        assert "PostgreSQL refuses: canceling statement due to lock timeout" in op.run("lag-ready")
        if mode == "ACCESS EXCLUSIVE":
            op.sees("blind-journal")
        op.run("terminate", PID=pid[1])
        with pytest.raises(psycopg.OperationalError):
            holder.execute("SELECT 1")

    wait_whole(op)
    wait_ready(op)


def test_a_privilege_was_revoked(op: Operator, shop: str) -> None:
    op.daemon.settings["postgres_dsn"] = op.db.dsn_with(user=shop)
    op.start()
    write(op, 42, 1)
    wait_whole(op)
    op.db.execute("REVOKE UPDATE ON outbox FROM shop")
    write(op, 42, 2)
    op.daemon.wait_log("sql_failed", timeout=30)

    look(op)
    assert "PostgreSQL refuses: " in (said := op.run("away-ready")) and "permission denied" in said
    assert "this role may not mark rows -> run GRANT UPDATE (processed, " in op.run("away-check")
    op.run("grant")

    wait_whole(op)
    wait_ready(op)


def test_the_table_may_not_be_read(op: Operator, shop: str) -> None:
    """Nothing is pending, and what comes from now on is not counted: only readiness tells."""
    op.daemon.settings["postgres_dsn"] = op.db.dsn_with(user=shop)
    op.start()
    write(op, 42, 1)
    wait_whole(op)
    op.db.execute("REVOKE SELECT ON outbox FROM shop")
    op.daemon.wait_log("sql_failed", timeout=30)
    op.daemon.wait_log("count_failed", timeout=60)
    write(op, 42, 2)

    look(op, "OutboxdNotReady")
    op.sees("not-ready")
    assert "permission denied for table" in op.run("blind-journal")
    assert "this role may not read it -> run GRANT SELECT ON" in op.run("away-check")
    op.run("grant")

    wait_whole(op)
    wait_ready(op)


@pytest.fixture
def shop(op: Operator) -> Iterator[str]:
    """The role of the document, with what it needs."""
    op.db.execute("CREATE ROLE shop LOGIN")
    op.run("grant")
    yield "shop"
    op.daemon.kill9()
    op.db.execute("DROP OWNED BY shop")
    op.db.execute("DROP ROLE shop")


def test_ids_went_back(op: Operator) -> None:
    op.daemon.settings.update(retry_base="30s", retry_cap="30s")  # it is still waiting when somebody looks
    op.start()
    write(op, 42, 1)
    wait_whole(op)
    op.elastic.call("PUT", f"/{INDEX}/_doc/42?version=1000000&version_type=external", {"id": 42, "price": 7})
    write(op, 42, 2)
    op.daemon.wait_log("version_from_the_future", timeout=30)

    look(op)
    op.sees("waiting")
    op.sees("ids-check")
    op.sees("ids-raise")

    wait_whole(op)


@pytest.mark.parametrize("token", ["", "s3cret-of-the-admin"])
def test_paused_and_forgotten(op: Operator, tmp_path: Path, token: str) -> None:
    if token:
        (tmp_path / "token").write_text(f"{token}\n")
        op.daemon.settings["admin_token_file"] = tmp_path / "token"
        op.variables["AUTH"] = f"--oauth2-bearer {token}"
    op.start()
    wait_ready(op)
    post(op, "/pause", token)
    write(op, 42, 2)

    look(op)
    op.sees("lag-ready")
    printed = op.run("lag-status")
    assert "pending    1\n" in printed and ": paused by an operator\n" in printed
    assert "paused by an operator -> curl -X POST" in op.run("check")
    op.sees("resume")

    wait_whole(op)
    wait_ready(op)


def test_a_closed_index(at_work: Operator) -> None:
    op = at_work
    op.elastic.call("POST", f"/{INDEX}/_close")
    write(op, 42, 2)
    op.daemon.wait_log("index_paused", timeout=30)

    look(op)
    op.sees("paused")
    op.run("open")

    op.daemon.wait_log("index_resumed", timeout=30)
    wait_whole(op)


def test_an_alias_without_a_write_index(op: Operator) -> None:
    op.elastic.delete_index(INDEX)
    for name in (f"{INDEX}-1", f"{INDEX}-2"):
        op.elastic.delete_index(name)
        op.elastic.create_index(name)
        op.elastic.call("POST", "/_aliases", {"actions": [{"add": {"index": name, "alias": INDEX}}]})
    try:
        op.start()
        write(op, 42, 1)
        op.daemon.wait_log("index_paused", timeout=30)

        look(op)
        assert "products is an alias of 2 indexes without a write index" in op.run("paused")
        op.run("write-index", INDEX=f"{INDEX}-2", ALIAS=INDEX)

        op.daemon.wait_log("index_resumed", timeout=30)
        wait_whole(op)
    finally:
        op.elastic.delete_index(f"{INDEX}-1,{INDEX}-2")


# -- more of them


def test_nothing_is_wrong(at_work: Operator) -> None:
    op = at_work
    op.sees("ready")
    op.sees("status")
    assert op.run("check") == ""
    assert "elasticsearch_connected" in op.run("journal")
    op.sees("probe")


def test_it_was_killed(at_work: Operator) -> None:
    op = at_work
    op.daemon.kill9()
    write(op, 42, 2)

    look(op, "OutboxdRestarting")
    op.sees("stopped-ready")
    printed = op.run("stopped-journal")
    assert printed.startswith("failed\n") and "event=started" in printed
    op.run("start")

    wait_whole(op)
    wait_ready(op)
    op.sees("restarting")


def test_elasticsearch_is_busy(db: Database, clean: Elastic, outboxd: OutboxdFactory, tmp_path: Path) -> None:
    """It answers 429 twice; then it takes the documents."""
    busy = Answer(429, {"content-type": "application/json"},
                  '{"error":{"type":"circuit_breaking_exception","reason":"Data too large"},"status":429}')
    with ScriptedElastic([busy, busy]) as server:
        op = Operator(DOCUMENT, db, clean, tmp_path, outboxd(**QUICK, elasticsearch_url=server.url))
        init(op.daemon)
        op.start()
        publish(db, INDEX, "42", {"price": 1})
        wait_until(lambda: undelivered(db) == 0, 30, "its delivery")
        look(op, "OutboxdElasticsearchBusy")
        op.comes_to_see("busy")


def test_missing_in_search(at_work: Operator) -> None:
    op = at_work
    op.elastic.call("DELETE", f"/{INDEX}/_doc/42?version=1&version_type=external_gte")

    op.sees("events-of-document")
    op.sees("document")
    op.run("publish")

    wait_whole(op)


def test_never_published(at_work: Operator) -> None:
    op = at_work
    op.db.execute("INSERT INTO products VALUES (43, 3)")

    assert "(0 rows)" in op.run("events-of-document", ID=43)
    op.run("publish")

    wait_whole(op)


def test_edited_by_hand(at_work: Operator) -> None:
    op = at_work
    op.elastic.call("PUT", f"/{INDEX}/_doc/42", {"id": 42, "price": 99})

    op.sees("events-of-document")
    op.run("stale-document")
    op.run("publish")

    wait_whole(op)
    op.sees("stale-document")


def test_a_document_comes_back(at_work: Operator) -> None:
    op = at_work
    remove(op, 42)
    wait_whole(op)
    op.elastic.call("POST", f"/{INDEX}/_close")
    op.elastic.call("POST", f"/{INDEX}/_open")
    op.elastic.call("PUT", f"/{INDEX}/_doc/42?version=1&version_type=external_gte", {"id": 42, "price": 1})

    op.sees("back-events")
    op.run("delete-again")

    wait_whole(op)
    assert '"found" : false' in op.run("document")


def test_the_table_grows(op: Operator, shop: str) -> None:
    op.daemon.settings.update(postgres_dsn=op.db.dsn_with(user=shop), retention_keep="1s", retention_interval="1h")
    op.db.execute("REVOKE DELETE ON outbox FROM shop")
    op.db.execute("INSERT INTO outbox (aggregate_type, aggregate_id, processed, processed_at) "
                  "SELECT 'products', n::text, true, now() - interval '1 day' FROM generate_series(1, 100) n")
    op.start()

    op.sees("size")
    op.run("grant")
    printed = op.run("purge")

    assert printed.splitlines()[-1].startswith("100 "), printed
    assert op.db.value("SELECT count(*) FROM outbox") == 0


def test_an_index_differs(op: Operator) -> None:
    assert op.daemon.run("track", "products", "--index", INDEX).exit_code == 0
    op.daemon.settings["verify_interval"] = "1s"
    op.start()
    op.db.execute("INSERT INTO products VALUES (42, 1)")
    wait_whole(op)
    op.elastic.call("DELETE", f"/{INDEX}/_doc/42")
    op.daemon.wait_log("index_differs", timeout=30)

    look(op)
    op.sees("differs")
    op.run("differs-repair")

    op.daemon.wait_log("verified", timeout=60, since=op.daemon.mark(), differences=0)
    wait_whole(op)


@pytest.mark.time_limit(240)
def test_a_red_index(op: Operator) -> None:
    op.elastic.delete_index(INDEX)
    op.elastic.call("PUT", f"/{INDEX}?wait_for_active_shards=0", {"settings": {
        "number_of_shards": 1, "number_of_replicas": 0, "index.routing.allocation.require._name": "nobody"}})
    op.start()
    write(op, 42, 1)

    look(op)
    op.sees("red")
    assert "nobody" in op.run("explain")
    op.run("allocation")

    wait_whole(op, 120)


def test_a_slot_that_nobody_reads(op: Operator) -> None:
    op.db.execute("SELECT pg_create_physical_replication_slot('forgotten', true)")
    try:
        op.sees("slots")
    finally:
        op.db.execute("SELECT pg_drop_replication_slot('forgotten')")


def test_the_variables_are_those_of_the_document(op: Operator) -> None:
    assert set(re.findall(r"(\w+)=", re.sub(r"#.*", "", op.text("variables")))) <= op.variables.keys()


def test_every_sentence_of_readyz_is_in_the_first_minutes_table() -> None:
    rows = (ROOT / "src/run/health.c").read_text().partition("} rows[] = {")[2].partition("};")[0]
    sentences = [text for text in re.findall(r'"([^"]*)"', rows) if text]
    assert len(sentences) > 7 and "Elasticsearch denies access" in sentences
    assert [sentence for sentence in sentences if not any(f"`{sentence}`" in symptom for symptom, _ in SYMPTOMS)] == []


def test_every_section_is_one_that_somebody_is_sent_to() -> None:
    sections = {block.section for block in blocks(DOCUMENT)}
    assert sections - {section for _, section in SYMPTOMS} == {"runbook", MINUTE}
