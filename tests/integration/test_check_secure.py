"""`outboxd check` and `outboxd probe` before a server with security on: who we are, and what we may do."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import OutboxdFactory
from helpers import init, publish, secure_node
from test_check import CONFIG, found, lines, problem, warning
from test_probe import PROBE, REFUSED, steps
from test_verdicts_secure import wait_denied

from harness import Database, Elastic, Outboxd

SEES = ["index", "delete", "view_index_metadata", "read"]
MONITOR = {"cluster": ["monitor", "manage_index_templates", "read_pipeline"]}


def role(*names: str, cluster: bool = True) -> dict[str, Any]:
    return {"relay": {**(MONITOR if cluster else {}), "indices": [{"names": ["*"], "privileges": list(names)}]}}


@pytest.fixture(scope="module")
def node() -> Iterator[Elastic]:
    with secure_node(role(*SEES)) as server:
        yield server


@pytest.fixture
def relay(node: Elastic, db: Database, index: str, secret: Path, outboxd: OutboxdFactory) -> Iterator[Outboxd]:
    """With an index and an event of it that waits, and all it needs."""
    set_roles(node, *SEES)
    relay = outboxd(elasticsearch_url=node.url, elasticsearch_username="relay", elasticsearch_password_file=secret)
    init(relay, "--notify")
    node.create_index(index)
    publish(db, index, "1", {"n": 1})
    yield relay
    node.delete_index(index)
    node.delete_index(PROBE)


def set_roles(node: Elastic, *names: str, cluster: bool = True) -> None:
    node.set_roles(role(*names, cluster=cluster))
    for name in (*SEES, "create_index", "auto_configure", "delete_index"):
        wait_denied(node, "any", name, granted=name in names)


def test_nothing_to_find(relay: Outboxd) -> None:
    done = relay.run("check")
    assert (done.exit_code, lines(done, "WARNING")) == (0, []), done.stdout
    for words in ("it knows us as relay", "index on ", "delete on ", "the cluster is green"):
        assert words in done.stdout
    assert "-secret" not in done.stdout + done.stderr


def test_the_least_privileges_are_no_fault(relay: Outboxd, node: Elastic, index: str) -> None:
    """What may not be looked at is said, and is no reason to complain."""
    set_roles(node, "index", "delete", cluster=False)
    done = relay.run("check")
    assert (done.exit_code, lines(done, "WARNING")) == (0, []), done.stdout
    assert f"{index}: not looked at (HTTP 403" in done.stdout
    assert "health of the cluster: not looked at (HTTP 403" in done.stdout


@pytest.mark.parametrize("settings,words", [
    ({"elasticsearch_username": "nobody"}, "elasticsearch.username and password_file"),
    ({"elasticsearch_username": "", "elasticsearch_password_file": ""}, "set elasticsearch.api_key_file"),
])
def test_who_are_you(settings: dict[str, str], words: str, relay: Outboxd, outboxd: OutboxdFactory) -> None:
    done = outboxd(**{**relay.settings, **settings}).run("check")
    problem(done, "it refuses these credentials (HTTP 401", words)
    assert "the index for claims is valid" in done.stdout


def test_a_key_that_is_none(relay: Outboxd, secret: Path, outboxd: OutboxdFactory) -> None:
    secret.write_text(base64.b64encode(b"unknown:unknown-secret").decode())
    done = outboxd(**{**relay.settings, "elasticsearch_username": "", "elasticsearch_password_file": "",
                      "elasticsearch_api_key_file": secret}).run("check")
    problem(done, "HTTP 401", "printed as `encoded`")


def test_a_missing_privilege(relay: Outboxd, node: Elastic, db: Database, index: str) -> None:
    set_roles(node, "delete", "view_index_metadata", "read")
    problem(relay.run("check"), "privileges ", f"index on {index} is missing: its events wait", "role")

    set_roles(node, "index", "view_index_metadata", "read")
    warning(relay.run("check"), "privileges ", f"delete on {index} is missing: the first such event would wait")
    publish(db, index, "1", None)
    problem(relay.run("check"), "privileges ", f"delete on {index} is missing: its events wait")


def test_a_missing_privilege_to_make_the_index(relay: Outboxd, node: Elastic, index: str) -> None:
    node.delete_index(index)
    problem(relay.run("check"), "privileges ", f"auto_configure on {index} is missing")
    set_roles(node, *SEES, "auto_configure")
    found(relay.run("check"), "ok", 0, f"auto_configure on {index} is granted")


def test_an_append_only_relay_needs_less(relay: Outboxd, node: Elastic, index: str, outboxd: OutboxdFactory) -> None:
    node.set_roles(role("create_doc", "view_index_metadata", "read"))
    wait_denied(node, index, "index")
    wait_denied(node, index, "create_doc", granted=True)
    appends = outboxd(**{**relay.settings, "outbox_preset": "events"})
    init(appends, "--notify")  # its key is another one, and so is its index
    done = appends.run("check")
    assert (done.exit_code, lines(done, "WARNING")) == (0, []), done.stdout
    done = relay.run("check")
    assert done.exit_code == CONFIG and f"index on {index} is missing" in done.stdout


def test_a_probe_that_may_not_read(relay: Outboxd, node: Elastic, db: Database) -> None:
    """It names the privilege, and cleans up what it can."""
    set_roles(node, "index", "delete", "auto_configure", "view_index_metadata")
    relay.start()
    relay.wait_log("elasticsearch_connected", timeout=30)
    done = relay.run("probe")
    assert (done.exit_code, steps(done)) == (REFUSED, ["committed", "delivered"]), done.stdout
    assert f"needs the privilege `read` on {PROBE}" in done.stderr
    assert "left behind  the index (a probe needs the privilege `delete_index`)" in done.stdout
    assert db.value("SELECT count(*) FROM outbox WHERE event = 'outboxd_probe'") == 0
    assert node.all_docs(PROBE) == {}


def test_a_probe_that_leaves_its_index(relay: Outboxd, node: Elastic, db: Database) -> None:
    set_roles(node, *SEES, "auto_configure")
    relay.start()
    relay.wait_log("elasticsearch_connected", timeout=30)
    done = relay.run("probe")
    assert done.exit_code == REFUSED and len(steps(done)) == 4, done.stdout
    assert "left behind  the index" in done.stdout and "left behind" in done.stderr
    node.delete_index(PROBE)
    set_roles(node, *SEES, "auto_configure", "delete_index")
    assert relay.run("probe").exit_code == 0
