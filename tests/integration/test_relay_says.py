"""`outboxd status` and `outboxd check` repeat what the running relay says of itself, and never mind when there is none."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from admin import Admin
from conftest import OutboxdFactory
from harness import Database, Outboxd, ScriptedElastic
from harness.ports import HOST
from helpers import init


def status(daemon: Outboxd) -> tuple[str, dict[str, Any]]:
    """Its lines about the relay, and what programs get."""
    done, told = daemon.run("status"), daemon.run("status", "--json")
    assert (done.exit_code, done.stderr, told.exit_code) == (0, "", 0)
    head, _, _ = done.stdout.partition("pending ")
    relay: dict[str, Any] = json.loads(told.stdout)["relay"]
    return head, relay


def check(daemon: Outboxd, exit_code: int | None = None) -> str:
    """Its line about the relay."""
    done = daemon.run("check")
    assert exit_code is None or done.exit_code == exit_code, done.stdout
    (line,) = [line for line in done.stdout.splitlines() if line.split()[1] == "relay"]
    return line


def test_ready(ready: Outboxd, admin: Admin) -> None:
    line = f"relay      is ready, at http://{admin.listen}\n"
    assert status(ready) == (line, {"state": "ready", "url": f"http://{admin.listen}", "paused": False, "reasons": []})
    assert check(ready, 0).startswith("ok ")


@pytest.mark.parametrize("guarded", [False, True])
def test_paused_and_forgotten(db: Database, outboxd: OutboxdFactory, tmp_path: Path, guarded: bool) -> None:
    """The command that ends it works as it stands there."""
    admin = Admin("a-token" if guarded else "")
    (tmp_path / "token").write_text("a-token\n")
    daemon = outboxd(admin_listen=admin.listen, admin_token_file=tmp_path / "token" if guarded else "")
    init(daemon)
    daemon.start()
    daemon.wait_log("elasticsearch_connected")
    admin.ask("/pause", "POST")

    text, told = status(daemon)
    assert text.startswith(f"relay      is NOT READY, at http://{admin.listen}: paused by an operator\n")
    assert (told["state"], told["paused"], told["reasons"]) == ("not_ready", True, ["paused by an operator"])
    line = check(daemon, 78)
    assert line.startswith("PROBLEM ") and "paused by an operator" in line
    command = line.partition(" -> ")[2]
    assert f"Let it go on: {command}\n" in text
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert json.loads(done.stdout) == {"paused": False}, done.stderr

    assert "is ready" in status(daemon)[0]


def test_it_cannot_reach_what_we_can(stuck: Outboxd, outboxd: OutboxdFactory, admin: Admin) -> None:
    line = check(outboxd(admin_listen=admin.listen), 75)
    assert line.startswith("PROBLEM ") and "is NOT READY" in line and "Elasticsearch is away: " in line and "journalctl" in line


def test_nobody_is_there(outboxd: OutboxdFactory, admin: Admin) -> None:
    daemon = outboxd(admin_listen=admin.listen)
    init(daemon)
    text, told = status(daemon)
    assert text == f"relay      is stopped, or runs elsewhere: nothing listens at http://{admin.listen}\n"
    assert told["state"] == "nobody" and check(daemon, 0).startswith("ok ")


def test_nobody_may_be_asked(outboxd: OutboxdFactory) -> None:
    daemon = outboxd(admin_listen="off")
    init(daemon)
    assert status(daemon) == ("", {"state": "not_asked", "url": "", "paused": False, "reasons": ["admin.listen is off"]})
    assert check(daemon, 0).startswith("ok ")


def test_an_address_that_is_none(outboxd: OutboxdFactory) -> None:
    daemon = outboxd(admin_listen="nowhere.invalid:1")
    init(daemon)
    assert status(daemon)[1]["state"] == "not_asked"
    line = check(daemon, 0)
    assert line.startswith("WARNING ") and "nowhere.invalid" in line and "correct admin.listen" in line


def test_it_hangs(ready: Outboxd) -> None:
    ready.pause()
    try:
        text, told = status(ready)
        line = check(ready, 78)
    finally:
        ready.resume()
    assert text.startswith("relay      HANGS") and told["state"] == "silent"
    assert line.startswith("PROBLEM ") and "systemctl restart outboxd" in line


def test_one_of_another_table(ready: Outboxd, outboxd: OutboxdFactory, admin: Admin) -> None:
    """... is not taken for ours, whatever it says."""
    admin.ask("/pause", "POST")
    daemon = outboxd(admin_listen=admin.listen, outbox_table="other")
    init(daemon)
    text, told = status(daemon)
    assert text == f"relay      is stopped, or runs elsewhere: one of another table is at http://{admin.listen}: outbox\n"
    assert (told["state"], told["paused"]) == ("other", False) and check(daemon, 0).startswith("ok ")


@pytest.mark.parametrize("guarded", [False, True])
def test_a_stranger_gets_no_secret(db: Database, outboxd: OutboxdFactory, tmp_path: Path, guarded: bool) -> None:
    (tmp_path / "token").write_text("a-token\n")
    with ScriptedElastic() as stranger:
        daemon = outboxd(admin_listen=f"{HOST}:{stranger.port}", admin_token_file=tmp_path / "token" if guarded else "")
        init(daemon)
        assert status(daemon)[1]["state"] == "stranger" and check(daemon, 0).startswith("ok ")
        asked = list(stranger.requests)
    assert asked and not any("a-token" in str(request.headers) for request in asked)
