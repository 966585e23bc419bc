"""docker-compose.yml, by docker-compose: the whole path comes up in its order, and products are found.

Its PostgreSQL and Elasticsearch are stand-ins under the official names, see tests/containers/standins.
"""

from __future__ import annotations

import json
import os
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from documents import ROOT, named

from containers.engine import health_checks, health_of, inspect, podman
from harness import wait_until
from harness.ports import HOST, free_port

pytestmark = pytest.mark.time_limit(500)
PRODUCTS = 1000


def volumes() -> set[str]:
    return set(podman("volume", "ls", "--quiet").stdout.split())


class Stack:
    def __init__(self) -> None:
        self.project = f"outboxd-test-{os.getpid()}"
        self.port = free_port()
        self.volumes_before = volumes()

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


def test_once_as_a_job_of_the_stack(stack: Stack) -> None:
    before = stack.count()
    stack.compose("stop", "outboxd")
    assert stack.state("outboxd")["ExitCode"] == 0, "stopped within stop_grace_period, by its own will"
    stack.sql("CALL add_product('while nobody delivers', 43.00)")

    done = stack.compose("run", "--rm", "--no-deps", "-T", "outboxd", "--once", check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    wait_until(lambda: stack.count() == before + 1, 60, "it to be found", every=0.5)
    stack.compose("start", "outboxd")


class Tourist:
    """Types the block `tour` of docs/CONTAINERS.md, line by line; `docker compose` is the stack's docker-compose."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self.lines = [line for line in named("docs/CONTAINERS.md")["tour"].text.splitlines() if line]
        self._port = stack.port
        self._environment = {**os.environ, "ELASTICSEARCH_PORT": str(stack.port), "PATH": f"{folder}:{os.environ['PATH']}"}
        docker = folder / "docker"
        # Who types has a terminal, and we have none: -T.
        docker.write_text(f"""#!/bin/sh
[ "$1" = compose ] || exec podman "$@" # what docker-compose 1 asks of docker
shift
verb=$1
shift
case $verb in exec|run) set -- -T "$@" ;; esac
exec docker-compose --project-name {stack.project} "$verb" "$@"
""")
        docker.chmod(0o755)

    def type(self, beginning: str) -> subprocess.CompletedProcess[str]:
        """The next line of the block, which must begin so."""
        line = self.lines.pop(0)
        assert line.startswith(beginning), f"the block has {line} where this test expects {beginning}"
        done = subprocess.run(["bash", "-c", line.replace("localhost:9200", f"{HOST}:{self._port}")], cwd=ROOT, text=True,
                              capture_output=True, env=self._environment)
        print(f"--- {line}\n{done.stdout}{done.stderr}")
        return done

    def again(self, line: str, beginning: str) -> subprocess.CompletedProcess[str]:
        self.lines.insert(0, line)
        return self.type(beginning)


def test_the_tour(stack: Stack, tmp_path: Path) -> None:
    """Last, since it ends with the stack gone."""
    tourist = Tourist(stack, tmp_path)
    before = stack.count()

    assert tourist.type("docker compose exec postgres psql").returncode == 0
    search = tourist.lines[0]
    tourist.type("curl")
    wait_until(lambda: '"by hand"' in tourist.again(search, "curl").stdout, 60, "what was committed by hand to be found", every=1)

    assert tourist.type("docker compose stop elasticsearch").returncode == 0
    stack.sql("CALL add_product('while Elasticsearch is away', 43.00)")
    ready = tourist.lines[0]
    tourist.type("docker compose exec outboxd outboxd health --ready")
    wait_until(lambda: tourist.again(ready, "docker compose exec").returncode == 75, 60, "the relay not to be ready", every=1)
    assert volumes() > stack.volumes_before, "else nothing is shown below"
    assert health_of(stack.state("outboxd")) == "healthy"

    assert tourist.type("docker compose start elasticsearch").returncode == 0
    wait_until(lambda: tourist.again(ready, "docker compose exec").returncode == 0, 180, "the relay to be ready", every=1)
    assert tourist.type("docker compose stop outboxd").returncode == 0
    stack.sql("CALL add_product('while the relay is away', 44.00)")
    job = tourist.type("docker compose run --rm outboxd --once")
    assert job.returncode == 0, job.stdout + job.stderr
    wait_until(lambda: stack.count() == before + 3, 60, "all three to be found", every=0.5)

    assert tourist.type("docker compose down --volumes").returncode == 0
    assert not tourist.lines
    assert volumes() == stack.volumes_before
