"""After a secret was replaced, the old one is nowhere in the daemon's memory: not in ours, not in what libcurl freed.

Root looks into /proc/PID/mem (memory_of.py; by sudo where the tests are not root's). The sanitized build keeps freed
memory as it is, so nothing is overwritten there by luck.
"""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import OutboxdFactory
from helpers import init, publish, undelivered
from test_auth import QUICK, Aws, signed, write_keys

from harness import Answer, Database, Outboxd, ScriptedElastic, process, wait_until
from harness.scripted_elastic import Request

OLD, NEW = "first-secret-Kq7v", "second-secret-Zt4m"
LOOK = Path(__file__).with_name("memory_of.py")


def places(relay: Outboxd, secret: str) -> list[str]:
    """Mappings that hold the secret, plain or as basic authentication sends it."""
    words = [secret.encode(), base64.b64encode(b"relay:" + secret.encode())[:-4]]
    command = process.as_root(["/usr/bin/python3", LOOK, str(relay.pid), *(word.hex() for word in words)])
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()


def deliver(db: Database, index: str, document: str) -> None:
    publish(db, index, document, {"n": 1})
    wait_until(lambda: undelivered(db) == 0, 20, f"event {document}")


def rotate(relay: Outboxd, db: Database, index: str, change: Callable[[], None]) -> None:
    relay.start()
    deliver(db, index, "1")
    assert places(relay, OLD), "this way of looking does not find a secret that is in use"
    change()
    deliver(db, index, "2")  # by the one worker, with the new secret
    deliver(db, index, "3")
    assert places(relay, NEW)
    assert places(relay, OLD) == []


@pytest.mark.parametrize("scheme,setting", [
    ("Basic", "elasticsearch_password_file"), ("ApiKey", "elasticsearch_api_key_file"), ("Bearer", "elasticsearch_bearer_file"),
])
def test_nothing_stays_of_a_rotated_secret(scheme: str, setting: str, db: Database, index: str, outboxd: OutboxdFactory,
                                           tmp_path: Path) -> None:
    file, holds = tmp_path / "secret", [OLD]
    file.write_text(OLD)

    def judge(request: Request) -> Answer | None:
        basic = base64.b64encode(f"relay:{holds[0]}".encode()).decode()
        wanted = f"{scheme} {basic if scheme == 'Basic' else holds[0]}"
        return None if request.headers.get("authorization") == wanted else Answer(status=401, body="{}")

    def change() -> None:
        file.write_text(NEW)
        holds[0] = NEW

    with ScriptedElastic(judge, judge) as server:
        settings: dict[str, Any] = {"elasticsearch_url": server.url, setting: file, "relay_workers": 1, **QUICK}
        if scheme == "Basic":
            settings["elasticsearch_username"] = "relay"
        relay = outboxd(**settings)
        init(relay, "--notify")
        rotate(relay, db, index, change)


def test_nothing_stays_of_rotated_keys_of_aws(db: Database, index: str, outboxd: OutboxdFactory, tmp_path: Path) -> None:
    file, aws = tmp_path / "credentials", Aws("es")

    def change() -> None:
        aws.keys, aws.token = {"AKIDSECOND": NEW}, f"token-of-{NEW}"
        write_keys(file, "AKIDSECOND", NEW, aws.token)

    with aws.server:
        aws.keys, aws.token = {"AKIDFIRST": OLD}, f"token-of-{OLD}"
        write_keys(file, "AKIDFIRST", OLD, aws.token)
        relay = outboxd(**signed(aws, file, relay_workers=1))
        init(relay, "--notify")
        rotate(relay, db, index, change)


def test_the_environment_is_overwritten(db: Database, index: str, outboxd: OutboxdFactory) -> None:
    """The password of PostgreSQL is needed for the next connection, so it stays in memory, but not where it came from."""
    relay = outboxd(postgres_dsn=db.dsn_with(password=OLD))
    init(relay)
    relay.start()
    deliver(db, index, "1")
    assert places(relay, OLD) and "[stack]" not in places(relay, OLD)
    assert OLD not in process.read_as_root(Path(f"/proc/{relay.pid}/environ"))
