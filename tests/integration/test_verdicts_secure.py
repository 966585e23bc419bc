"""What a server with security on has to say: passwords, privileges, and how it goes on when they are granted."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import OutboxdFactory
from helpers import init, publish, publish_many, secure_node
from test_verdicts import WATCHED, delivered, untouched, wait_delivered, wait_tried_again

from harness import Database, Elastic, ElasticClient, Outboxd, wait_until


def privileges(*names: str, on: str = "*") -> dict[str, Any]:
    return {"relay": {"indices": [{"names": [on], "privileges": list(names)}]}}


@pytest.fixture(scope="module")
def node() -> Iterator[Elastic]:
    with secure_node(privileges("index", "delete")) as server:
        yield server


@pytest.fixture
def secure(node: Elastic, index: str, outboxd: OutboxdFactory) -> Iterator[Elastic]:
    """With two indexes, `index` and the same with -good behind it, and a table."""
    init(outboxd())
    node.create_index(index)
    node.create_index(f"{index}-good")
    yield node
    node.set_roles(privileges("index", "delete"))
    node.delete_index(index)
    node.delete_index(f"{index}-good")


def start(outboxd: OutboxdFactory, secure: Elastic, secret: Path, **settings: Any) -> Outboxd:
    settings = {"elasticsearch_username": "relay", "elasticsearch_password_file": secret, **settings}
    relay = outboxd(**WATCHED, **settings, elasticsearch_url=secure.url)
    relay.start()
    return relay


def assert_stopped_and_served(relay: Outboxd, db: Database, index: str, status: int, *words: str) -> dict[str, str]:
    """One line with the server's own reason, everything untouched, all that it does is to try again."""
    line = relay.wait_log("elasticsearch_away", timeout=30)
    wait_tried_again(relay)
    assert f"HTTP {status} security_exception" in line["error"], line
    assert all(word in line["error"] for word in words), line
    assert untouched(db, index) == 5
    assert len(relay.logs("elasticsearch_away")) == 1
    return line


def assert_back(relay: Outboxd, db: Database, secure: Elastic, index: str) -> None:
    wait_delivered(db, index, 5, "the events to be delivered when the cause is gone")
    assert set(secure.all_docs(index)) == set("01234")
    assert len(relay.logs("elasticsearch_away")) == len(relay.logs("elasticsearch_back")) == 1
    assert db.value("SELECT count(*) FROM outbox WHERE attempts > 0 OR error IS NOT NULL") == 0
    assert "-secret" not in relay.stderr


def five(db: Database, index: str) -> None:
    publish_many(db, index, [(str(n), {"n": n}) for n in range(5)])


def test_a_wrong_password_is_read_again(db: Database, secure: Elastic, index: str, secret: Path,
                                        outboxd: OutboxdFactory) -> None:
    secret.write_text("wrong-secret")
    relay = start(outboxd, secure, secret)
    five(db, index)
    assert_stopped_and_served(relay, db, index, 401, "unable to authenticate user [relay]")

    secret.write_text("relay-secret")

    assert_back(relay, db, secure, index)


@pytest.mark.parametrize("settings,words", [
    ({"elasticsearch_username": "", "elasticsearch_password_file": ""}, "missing authentication credentials"),
    ({"elasticsearch_username": "nobody"}, "unable to authenticate user [nobody]"),
])
def test_who_are_you(settings: dict[str, str], words: str, db: Database, secure: Elastic, index: str, secret: Path,
                     outboxd: OutboxdFactory) -> None:
    relay = start(outboxd, secure, secret, **settings)
    five(db, index)
    assert_stopped_and_served(relay, db, index, 401, words)


@pytest.mark.parametrize("key", ["relay:not-encoded", base64.b64encode(b"unknown:unknown-secret").decode()])
def test_an_api_key_that_is_none(key: str, db: Database, secure: Elastic, index: str, secret: Path,
                                 outboxd: OutboxdFactory) -> None:
    secret.write_text(key)
    relay = start(outboxd, secure, secret, elasticsearch_username="", elasticsearch_password_file="",
                  elasticsearch_api_key_file=secret)
    five(db, index)
    assert_stopped_and_served(relay, db, index, 401)
    assert key not in relay.stderr


def test_no_privilege_at_all(db: Database, secure: Elastic, index: str, secret: Path, outboxd: OutboxdFactory) -> None:
    secure.set_roles({"relay": {"cluster": ["monitor"]}})
    relay = start(outboxd, secure, secret)
    # Where the change has not arrived yet, these show it.
    relay.wait_log("elasticsearch_connected", timeout=20)
    wait_denied(secure, index)
    five(db, index)
    assert_stopped_and_served(relay, db, index, 403, "[indices:data/write/bulk]", "[relay]", "create", "index", "write")

    secure.set_roles(privileges("index"))

    assert_back(relay, db, secure, index)


def wait_denied(secure: Elastic, index: str, privilege: str = "index", granted: bool = False) -> None:
    """Until the node knows the roles that were set."""
    client = ElasticClient(secure.url, "relay", "relay-secret")
    asked = {"index": [{"names": [index], "privileges": [privilege]}]}
    wait_until(lambda: client.call("POST", "/_security/user/_has_privileges", asked)["has_all_requested"] is granted, 20,
               "the node to read its roles")


@pytest.mark.parametrize("granted,on,missing", [
    ("index", "*-good", "index"),
    ("create_doc", "{index}", "index"),
], ids=["none on the index", "create only"])
def test_no_privilege_on_one_index(granted: str, on: str, missing: str, db: Database, secure: Elastic, index: str,
                                   secret: Path, outboxd: OutboxdFactory) -> None:
    roles = privileges(granted, on=on.format(index=index))
    roles["relay"]["indices"].append({"names": ["*-good"], "privileges": ["index", "delete"]})
    secure.set_roles(roles)
    wait_denied(secure, index)
    five(db, index)
    five(db, f"{index}-good")
    relay = start(outboxd, secure, secret)
    wait_delivered(db, f"{index}-good", 5, "the neighbours to be delivered")
    paused = relay.wait_log("index_paused", timeout=20)
    wait_tried_again(relay)

    assert (paused["index"], paused["type"]) == (index, "security_exception")
    assert f"on indices [{index}]" in paused["reason"] and missing in paused["reason"].partition("granted by")[2], paused
    assert untouched(db, index) == 5
    assert len(relay.logs("index_paused")) == 1 and relay.logs("elasticsearch_away") == []

    secure.set_roles(privileges("index"))

    wait_delivered(db, index, 5, "the index to be served when the privilege is granted")
    assert len(relay.logs("index_paused")) == len(relay.logs("index_resumed")) == 1
    assert db.value("SELECT max(attempts) FROM outbox") == 0


def test_no_privilege_to_delete(db: Database, secure: Elastic, index: str, secret: Path,
                                outboxd: OutboxdFactory) -> None:
    secure.call("PUT", f"/{index}/_doc/old?version=0&version_type=external", {})
    secure.set_roles(privileges("index"))
    wait_denied(secure, index, "delete")
    publish(db, index, "old", None)
    five(db, index)
    relay = start(outboxd, secure, secret)
    paused = relay.wait_log("index_paused", timeout=20)
    wait_delivered(db, index, 5, "what is no delete to be delivered")

    assert "[indices:data/write/bulk[s]]" not in paused["reason"] and "delete" in paused["reason"], paused
    wait_tried_again(relay)
    assert untouched(db, index) == 1 and len(relay.logs("index_paused")) <= 2

    secure.set_roles(privileges("index", "delete"))

    wait_delivered(db, index, 6, "the delete to be done when it is allowed")
    assert set(secure.all_docs(index)) == set("01234")


def test_no_privilege_to_create_the_index(db: Database, secure: Elastic, index: str, secret: Path,
                                          outboxd: OutboxdFactory) -> None:
    """403, not 404."""
    absent = f"{index}-absent"
    five(db, absent)
    five(db, index)
    relay = start(outboxd, secure, secret)
    paused = relay.wait_log("index_paused", timeout=20)
    wait_delivered(db, index, 5, "the neighbours to be delivered")
    wait_tried_again(relay)

    assert (paused["index"], paused["type"]) == (absent, "security_exception")
    assert "auto_create" in paused["reason"] and "auto_configure" in paused["reason"], paused
    assert untouched(db, absent) == 5 and delivered(db, absent) == 0

    secure.set_roles(privileges("index", "delete", "auto_configure"))

    try:
        wait_delivered(db, absent, 5, "the index to be created when it may be")
    finally:
        secure.delete_index(absent)
