"""docker-compose.yml, by docker-compose: the whole path comes up in its order, and products are found.

Its PostgreSQL and Elasticsearch are stand-ins under the official names, see tests/containers/standins.
"""

from __future__ import annotations

import json
import os
import subprocess
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from containers.engine import health_checks, health_of, inspect, podman
from harness import wait_until
from harness.ports import HOST, free_port

pytestmark = pytest.mark.time_limit(500)
PRODUCTS = 1000


class Stack:
    def __init__(self) -> None:
        self.project = f"outboxd-test-{os.getpid()}"
        self.port = free_port()

    def compose(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(["docker-compose", "--project-name", self.project, *command], text=True, capture_output=True,
                              env={**os.environ, "ELASTICSEARCH_PORT": str(self.port)})
        if check:
            assert done.returncode == 0, f"{command}: {done.stdout[-5000:]}{done.stderr[-5000:]}"
        return done

    def container(self, service: str) -> dict[str, Any]:
        (name,) = self.compose("ps", "--quiet", service).stdout.split()
        return inspect("container", name)

    def state(self, service: str) -> dict[str, Any]:
        return dict(self.container(service)["State"])

    def log(self, service: str) -> str:
        return self.compose("logs", "--no-color", service).stdout

    def sql(self, statement: str) -> None:
        self.compose("exec", "-T", "postgres", "psql", "-U", "shop", "-d", "shop", "-v", "ON_ERROR_STOP=1", "-c", statement)

    def count(self) -> int:
        with urllib.request.urlopen(f"http://{HOST}:{self.port}/products/_count", timeout=10) as reply:
            return int(json.load(reply)["count"])


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    made = Stack()
    with health_checks(made.project):
        try:
            made.compose("up", "--detach", "--no-build")
            yield made
        finally:
            print(made.compose("ps", check=False).stdout, made.compose("logs", "--no-color", "--tail=60", check=False).stdout)
            made.compose("down", "--volumes", "--timeout", "10", check=False)
    assert made.project not in podman("ps", "--all", "--format", "{{.Names}}").stdout


def test_the_products_are_found(stack: Stack) -> None:
    wait_until(lambda: stack.state("found")["Status"] == "exited", 180, "the last service to end", every=1)

    assert stack.state("found")["ExitCode"] == 0, stack.log("found")
    said = stack.log("found")
    assert f"{PRODUCTS} products committed, {PRODUCTS} found in Elasticsearch" in said
    assert '"name":"teapot no. ' in said.replace(" :", ":").replace(": ", ":")
    assert stack.count() == PRODUCTS


def test_it_came_up_in_its_order(stack: Stack) -> None:
    states = {name: stack.state(name) for name in ("postgres", "elasticsearch", "init", "shop", "outboxd", "found")}

    assert states["init"]["ExitCode"] == states["shop"]["ExitCode"] == 0
    assert states["postgres"]["StartedAt"] < states["init"]["StartedAt"]
    for name in ("shop", "outboxd"):
        assert states["init"]["FinishedAt"] <= states[name]["StartedAt"]
    assert max(states[name]["StartedAt"] for name in states if name != "found") < states["found"]["StartedAt"]
    assert states["shop"]["FinishedAt"] <= states["found"]["StartedAt"]
    assert {health_of(states[name]) for name in ("postgres", "elasticsearch", "outboxd")} == {"healthy"}


def test_the_relay_is_closed_in(stack: Stack) -> None:
    relay = stack.container("outboxd")

    assert relay["HostConfig"]["ReadonlyRootfs"]
    assert relay["EffectiveCaps"] in (None, [])
    assert any("no-new-privileges" in one for one in relay["HostConfig"]["SecurityOpt"])
    assert relay["Config"]["User"] == "65532:65532"


def test_what_is_committed_by_hand_is_found_too(stack: Stack) -> None:
    before = stack.count()

    stack.sql("CALL add_product('by hand', 42.00)")

    wait_until(lambda: stack.count() == before + 1, 60, "it to be found", every=0.5)


def test_once_as_a_job_of_the_stack(stack: Stack) -> None:
    before = stack.count()
    stack.compose("stop", "outboxd")
    assert stack.state("outboxd")["ExitCode"] == 0, "stopped within stop_grace_period, by its own will"
    stack.sql("CALL add_product('while nobody delivers', 43.00)")

    done = stack.compose("run", "--rm", "--no-deps", "-T", "outboxd", "--once", check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    wait_until(lambda: stack.count() == before + 1, 60, "it to be found", every=0.5)
    stack.compose("start", "outboxd")
