"""The role that docs/SECURITY.md shows for Elasticsearch: enough, not more, and nothing in it is idle."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import OutboxdFactory
from helpers import drain, init, publish, secure_node, undelivered
from test_auth import QUICK
from test_check import problem
from test_verdicts_secure import wait_denied

from harness import Database, Elastic, ElasticClient, Outboxd, wait_until

DOCUMENT = Path(__file__).resolve().parent.parent.parent / "docs" / "SECURITY.md"
NEEDED = ["auto_configure", "delete", "index"]


def bodies() -> list[dict[str, Any]]:
    """What the document shows: the role, and the API key."""
    return [json.loads(body) for body in re.findall(r"^```json\n(.*?)^```", DOCUMENT.read_text(), re.M | re.S)]


def documented() -> dict[str, Any]:
    role, _ = bodies()
    return role


def of_the_key() -> dict[str, Any]:
    _, key = bodies()
    assert list(key) == ["name", "role_descriptors"] and len(key["role_descriptors"]) == 1
    (role,) = key["role_descriptors"].values()
    return dict(role)


def without(privilege: str) -> dict[str, Any]:
    role = documented()
    role["indices"][0]["privileges"].remove(privilege)
    return role


@pytest.fixture(scope="module")
def node() -> Iterator[Elastic]:
    with secure_node({"relay": documented()}) as server:
        yield server


@pytest.fixture
def relay(node: Elastic, db: Database, index: str, secret: Path, outboxd: OutboxdFactory) -> Iterator[Outboxd]:
    have(node, index, documented())
    relay = outboxd(elasticsearch_url=node.url, elasticsearch_username="relay", elasticsearch_password_file=secret, **QUICK)
    init(relay, "--notify")
    yield relay
    node.delete_index(index)


def have(node: Elastic, index: str, role: dict[str, Any]) -> None:
    node.set_roles({"relay": role})
    for name in NEEDED:
        wait_denied(node, index, name, granted=name in role["indices"][0]["privileges"])


def contents(node: Elastic, index: str) -> dict[str, Any]:
    return {name: json.loads(document.source) for name, document in node.all_docs(index).items()}


def test_it_is_what_is_taken_apart_here() -> None:
    role = documented()
    assert list(role) == ["indices"] and len(role["indices"]) == 1
    assert sorted(role["indices"][0]["privileges"]) == NEEDED
    assert of_the_key() == role


@pytest.mark.parametrize("role", [documented, of_the_key])
@pytest.mark.parametrize("deletes", ["delete", "tombstone"])
def test_it_is_enough(deletes: str, role: Callable[[], dict[str, Any]], relay: Outboxd, node: Elastic, db: Database, index: str,
                      outboxd: OutboxdFactory) -> None:
    """An index that has to be made, a document that comes, changes and goes, one that is refused for good.

    What the key may is tried as a role: the minimal distribution cannot make keys (its .security index needs a module
    that it lacks).
    """
    have(node, index, role())
    relay = outboxd(**relay.settings, outbox_deletes=deletes)
    publish(db, index, "stays", {"n": 1})
    drain(relay)
    publish(db, index, "goes", {"n": 1})
    publish(db, index, "stays", {"n": 2})
    publish(db, index, "bad", {"n": "no number"})
    drain(relay, expect=65)
    publish(db, index, "goes", None)
    drain(relay, expect=0)
    done = relay.run("check")
    assert "PROBLEM" not in done.stdout, done.stdout
    left = contents(node, index)
    if deletes == "tombstone":
        del left["goes"]
    assert left == {"stays": {"n": 2}}


@pytest.mark.parametrize("method,path,body", [
    ("GET", "/{}/_doc/1", None), ("GET", "/{}/_search", None), ("GET", "/{}/_mapping", None), ("DELETE", "/{}", None),
    ("POST", "/{}/_close", None), ("PUT", "/{}/_settings", {"index.number_of_replicas": 0}),
    ("PUT", "/another/_doc/1", {}), ("GET", "/_cat/indices", None), ("GET", "/_cluster/health", None),
    ("PUT", "/_cluster/settings", {"persistent": {"action.auto_create_index": "true"}}), ("GET", "/_security/user", None),
    ("GET", "/_nodes", None),
])
def test_it_is_not_more(method: str, path: str, body: Any, relay: Outboxd, node: Elastic, index: str) -> None:
    node.create_index(index)
    client = ElasticClient(node.url, "relay", "relay-secret")
    answer = client.request(method, path.format(index), body=body)
    assert answer.status == 403, answer


class TestNothingIsIdle:
    """Each privilege alone is taken away: the relay names it, and so does `check`; it goes on when it is granted."""

    def misses(self, privilege: str, relay: Outboxd, node: Elastic, db: Database, index: str) -> None:
        if privilege != "auto_configure":  # with this role `check` may not see that the index is not there
            problem(relay.run("check"), "privileges ", f"{privilege} on {index} is missing: its events wait")
        relay.start()
        paused = relay.wait_log("index_paused", timeout=30)
        assert paused["index"] == index and paused["type"] == "security_exception", paused
        assert re.search(rf"\b{privilege}\b", paused["reason"].partition("granted by")[2]), paused
        assert undelivered(db) == 1
        have(node, index, documented())
        wait_until(lambda: undelivered(db) == 0, 30, "the event to be delivered when the privilege is granted")

    def test_index(self, relay: Outboxd, node: Elastic, db: Database, index: str) -> None:
        node.create_index(index)
        have(node, index, without("index"))
        publish(db, index, "1", {"n": 1})
        self.misses("index", relay, node, db, index)
        assert contents(node, index) == {"1": {"n": 1}}

    def test_delete(self, relay: Outboxd, node: Elastic, db: Database, index: str) -> None:
        publish(db, index, "1", {"n": 1})
        drain(relay)
        have(node, index, without("delete"))
        publish(db, index, "1", None)
        self.misses("delete", relay, node, db, index)
        assert node.all_docs(index) == {}

    def test_auto_configure(self, relay: Outboxd, node: Elastic, db: Database, index: str) -> None:
        have(node, index, without("auto_configure"))
        publish(db, index, "1", {"n": 1})
        self.misses("auto_configure", relay, node, db, index)
        assert contents(node, index) == {"1": {"n": 1}}
