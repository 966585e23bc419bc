"""Secrets are not where others can look: the process list, the environment, the memory, a core."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import init, publish, undelivered

from harness import Database, Elastic, Outboxd, wait_until
from harness import process
from harness.outboxd import INHERITED, binary
from harness.scratch import Scratch

SECRETS = ("dsn-secret", "relay-secret")


class Victim:
    """The daemon as an ordinary user, who may write cores of any size, with secrets in its environment and files."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.scratch = Scratch("victim")
        self.program = self.scratch.path / "outboxd"
        shutil.copy(binary(), self.program)
        password = self.scratch.path / "password"
        password.write_text("relay-secret\n")
        self.scratch.own(self.scratch.path)
        settings = {**settings, "elasticsearch_username": "me", "elasticsearch_password_file": password,
                    "admin_listen": "off"}
        environment = {name: os.environ[name] for name in INHERITED if name in os.environ}
        environment |= {f"OUTBOXD_{name.upper()}": str(value) for name, value in settings.items()}
        # AddressSanitizer would see to it by itself.
        environment["ASAN_OPTIONS"] = "disable_coredump=0:detect_leaks=0"
        self.child = self.run([self.program], environment)

    def run(self, command: process.Command, environment: dict[str, str]) -> subprocess.Popen[Any]:
        return process.spawn(["prlimit", "--core=unlimited:unlimited", *command], as_server=True, env=environment,
                             cwd=self.scratch.path, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL)

    @property
    def proc(self) -> Path:
        return Path(f"/proc/{self.child.pid}")

    def cores(self) -> list[Path]:
        return list(self.scratch.path.glob("core*"))


@pytest.fixture
def victim(db: Database, elastic: Elastic, index: str, outboxd: Callable[..., Outboxd]) -> Iterator[Victim]:
    """... when it has delivered something."""
    init(outboxd())
    publish(db, index, "1", {"n": 1})
    made = Victim({"postgres_dsn": db.dsn_with(password="dsn-secret"), "elasticsearch_url": elastic.url})
    wait_until(lambda: undelivered(db) == 0, 30, "an event to be delivered")
    yield made
    process.signal_group(made.child, signal.SIGKILL)
    made.child.wait(10)
    made.scratch.remove()


def dumps_core(child: subprocess.Popen[Any]) -> bool:
    os.kill(child.pid, signal.SIGABRT)
    _, status = os.waitpid(child.pid, 0)  # Popen would not tell
    assert os.WTERMSIG(status) == signal.SIGABRT
    return os.WCOREDUMP(status)


def test_no_secret_in_the_process_list(victim: Victim) -> None:
    for file in ("cmdline", "comm"):
        text = (victim.proc / file).read_text()
        assert "outboxd" in text and not [word for word in SECRETS if word in text]


@pytest.mark.parametrize("file", ["environ", "mem", "maps", "auxv"])
def test_the_own_user_may_not_look(victim: Victim, file: str) -> None:
    """Another program of the same user, that is. Nobody but root owns these files."""
    looks = process.as_server_account(["head", "-c1", victim.proc / file])
    done = subprocess.run(looks, capture_output=True, text=True)
    assert done.returncode != 0 and "Permission denied" in done.stderr, done
    assert (victim.proc / file).stat().st_uid == 0


SEIZE = "import ctypes, sys; sys.exit(ctypes.CDLL(None).ptrace(0x4206, int(sys.argv[1]), 0, 0) != 0)"


def test_the_own_user_may_not_attach(victim: Victim) -> None:
    """As gcore and gdb do; they may where it is allowed to, as a program without this protection shows."""
    sleeper = victim.run(["sleep", "60"], {"PATH": os.environ["PATH"]})
    wait_until(lambda: Path(f"/proc/{sleeper.pid}/comm").read_text() == "sleep\n", 10, "sleep")

    def attach(pid: int) -> int:
        return subprocess.run(process.as_server_account(["/usr/bin/python3", "-c", SEIZE, str(pid)])).returncode

    scope = Path("/proc/sys/kernel/yama/ptrace_scope")
    if not scope.exists() or scope.read_text().strip() == "0":
        assert attach(sleeper.pid) == 0
    assert attach(victim.child.pid) != 0
    process.signal_group(sleeper, signal.SIGKILL)
    sleeper.wait(10)


def test_no_core(victim: Victim) -> None:
    sleeper = victim.run(["sleep", "60"], {"PATH": os.environ["PATH"]})
    wait_until(lambda: Path(f"/proc/{sleeper.pid}/comm").read_text() == "sleep\n", 10, "sleep")
    assert dumps_core(sleeper), "this machine writes no cores at all: nothing can be shown here"
    before = victim.cores()
    assert not dumps_core(victim.child)
    assert victim.cores() == before
