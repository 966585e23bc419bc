"""Containers, by podman: tests/containers/run says which store and which runtime."""

from __future__ import annotations

import json
import subprocess
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from harness import wait_until

IMAGE = "localhost/outboxd"


def podman(*command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(["podman", *command], text=True, capture_output=True)
    if check:
        assert done.returncode == 0, f"podman {' '.join(command)}: {done.stdout}{done.stderr}"
    return done


def inspect(kind: str, name: str) -> dict[str, Any]:
    (found,) = json.loads(podman(kind, "inspect", name).stdout)
    return found


def health_of(state: dict[str, Any]) -> str:
    """Versions of podman name it differently."""
    return str((state.get("Health") or state["Healthcheck"])["Status"])


class Container:
    """One of the image, closed in as the documents advise, on the network of the servers outside."""

    # Without the three tmpfs that podman adds by itself: outboxd does not need to write anywhere.
    flags = ("--read-only", "--read-only-tmpfs=false", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--network=host")

    def __init__(self, settings: dict[str, str]) -> None:
        self.name = f"outboxd-test-{uuid.uuid4().hex[:12]}"
        self._settings = [f"--env=OUTBOXD_{name.upper()}={value}" for name, value in settings.items()]

    def start(self, *arguments: str) -> None:
        podman("run", "--detach", "--name", self.name, *self.flags, *self._settings, IMAGE, *arguments)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """To its end, like a job."""
        return podman("run", "--rm", *self.flags, *self._settings, IMAGE, *arguments, check=False)

    def state(self) -> dict[str, Any]:
        return inspect("container", self.name)["State"]

    def stop(self, seconds: int) -> int:
        """As `docker stop` does; past its time the container would be killed: 137."""
        podman("stop", "--time", str(seconds), self.name)
        return int(self.state()["ExitCode"])

    def signal(self, name: str) -> None:
        podman("kill", "--signal", name, self.name)

    def log(self) -> str:
        done = podman("logs", self.name, check=False)
        return done.stdout + done.stderr

    def check(self) -> str:
        """One look of HEALTHCHECK, and what it makes of it."""
        podman("healthcheck", "run", self.name, check=False)
        return health_of(self.state())

    def wait_health(self, status: str) -> None:
        wait_until(lambda: self.check() == status, 60, f"{self.name} to be {status}", every=0.5)

    def remove(self) -> None:
        print(f"--- {self.name}\n{self.log()[-6000:]}")
        podman("rm", "--force", "--time", "0", "--ignore", self.name)


@contextmanager
def health_checks(prefix: str) -> Iterator[None]:
    """Runs them, as podman lets systemd's timers do where there is a systemd."""
    over = threading.Event()

    def check() -> None:
        while not over.wait(1):
            names = podman("ps", "--format", "{{.Names}}", "--filter", f"name={prefix}", check=False).stdout.split()
            for name in names:
                podman("healthcheck", "run", name, check=False)  # of one without any, that is an error

    thread = threading.Thread(target=check)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
