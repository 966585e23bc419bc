"""Somebody who types what a document says."""

from __future__ import annotations

import configparser
import os
import re
import selectors
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from documents import Block, missing, named

from harness import Database, Elastic, Outboxd, wait_until
from harness.outboxd import INHERITED, SANITIZER_REPORTS, binary
from harness.ports import HOST, free_port

PROGRAMS = {
    # The daemon is a child of the test: the journal is its log, and the service manager asks the test.
    "journalctl": "#!/bin/sh\ncat {folder}/journal\n",
    "systemctl": "#!/bin/sh\nif [ $1 = is-active ]; then cat {folder}/active; exit; fi\necho \"$@\" >> {folder}/orders\n",
}
NO_COMMAND = re.compile(r"command not found|syntax error|ERROR: |unknown option|option .* is ambiguous")
BLOCK_TIMEOUT = 90


class Typist:
    """Types blocks by their names, and compares what they print with what the document shows."""

    def __init__(self, document: str) -> None:
        self.document = document
        self.known = named(document)

    def type(self, block: Block) -> str:
        raise NotImplementedError

    def run(self, name: str) -> str:
        """One block of the document; what it prints. Its exit code is not looked at: it is often that of a grep."""
        printed = self.type(self.known[name])
        print(f"--- {name}\n{self.known[name].text}---\n{printed}", end="")
        assert not any(report in printed for report in SANITIZER_REPORTS)
        assert not NO_COMMAND.search(printed), f"{self.known[name]} is no command that works:\n{printed}"
        return printed

    def sees(self, name: str) -> str:
        """... and it prints what the document shows."""
        return self._fits(name, self.run(name))

    def comes_to_see(self, name: str, timeout: float = 60) -> str:
        """... at the latest after a while, as somebody would who types it again."""
        shown = self.known[name].shown
        assert shown
        seen = [""]

        def look() -> bool:
            seen[0] = self.run(name)
            return not missing(shown, seen[0])

        try:
            wait_until(look, timeout, name, every=0.3)
        except TimeoutError:
            self._fits(name, seen[0])
        return seen[0]

    def text(self, name: str) -> str:
        """What a block says that is no command."""
        return self.known[name].text

    def settings(self, name: str) -> dict[str, str]:
        """A block of a configuration file, as the tests name settings."""
        file = configparser.RawConfigParser(interpolation=None)
        file.read_string(self.known[name].text)
        return {f"{section}_{key}": value for section in file.sections() for key, value in file[section].items()}

    def _fits(self, name: str, output: str) -> str:
        shown = self.known[name].shown
        assert shown, f"the document shows no output of {self.known[name]}"
        absent = missing(shown, output)
        assert not absent, f"{self.known[name]} does not print {absent}\nbut:\n{output}"
        return output


@dataclass
class Operator(Typist):
    """Beside a daemon of the test; each block in a shell of its own that has the variables the documents ask for."""

    document: str
    db: Database
    elastic: Elastic
    folder: Path
    daemon: Outboxd
    services: dict[str, Callable[[], None]] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    earlier: str = ""  # the log of daemons that have ended
    sent_to: set[str] = field(default_factory=set)  # the only sections of the document that are read; none: all of it

    def __post_init__(self) -> None:
        super().__init__(self.document)
        for name, text in PROGRAMS.items():
            self._program(name, text.format(folder=self.folder))
        (self.folder / "outboxd").symlink_to(binary())
        (self.folder / "psql").symlink_to(self.db.server.program("psql"))
        self.variables = {
            "ADMIN": f"http://{HOST}:{self.port}", "AUTH": "", "ES": self.elastic.url, "INDEX": "products", "ID": "42",
            "PGHOST": HOST, "PGPORT": str(self.db.server.port), "PGUSER": "postgres", "PGDATABASE": self.db.name,
            "HOME": str(self.folder), "PAGER": "cat", "COLUMNS": "200", **self.variables,
        }
        self.daemon.settings["admin_listen"] = f"{HOST}:{self.port}"
        self.services.setdefault("outboxd", self.start)

    def start(self) -> None:
        """The daemon, until it answers."""
        self.daemon.start()
        self.daemon.wait_log("admin_listens", timeout=30)

    def run(self, name: str, **variables: object) -> str:
        assert not self.sent_to or self.known[name].section in self.sent_to, f"nobody sends us to {self.known[name]}"
        self.variables.update({key: str(value) for key, value in variables.items()})
        return super().run(name)

    def sees(self, name: str, **variables: object) -> str:
        return self._fits(name, self.run(name, **variables))

    def type(self, block: Block) -> str:
        self._tell_services()
        command = ["bash", "-c", block.text] if block.language == "sh" else ["psql", "-X", "-q", "-c", block.text]
        done = subprocess.run(command, env=self._environment(), text=True, stdout=subprocess.PIPE, cwd=self.folder,
                              stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, timeout=BLOCK_TIMEOUT,
                              errors="replace")
        self._obey()
        return done.stdout

    def _environment(self) -> dict[str, str]:
        inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
        settings = {f"OUTBOXD_{name.upper()}": str(value) for name, value in self.daemon.settings.items()}
        return {**inherited, **settings, **self.variables, "PATH": f"{self.folder}:{os.environ['PATH']}"}

    def _program(self, name: str, text: str) -> None:
        file = self.folder / name
        file.write_text(text)
        file.chmod(0o755)

    def _tell_services(self) -> None:
        (self.folder / "active").write_text("active\n" if self.daemon.is_alive else "failed\n")
        try:
            (self.folder / "journal").write_text(self.earlier + self.daemon.stderr)
        except RuntimeError:  # it was never started
            (self.folder / "journal").write_text("")

    def _obey(self) -> None:
        orders = self.folder / "orders"
        for order in orders.read_text().splitlines() if orders.exists() else []:
            verb, _, service = order.partition(" ")
            if service == "outboxd" and self.daemon.is_alive:
                assert verb == "restart", order
                self.daemon.signal(signal.SIGTERM)
                self.daemon.wait()
            if service == "outboxd":
                self.earlier += self.daemon.stderr
            self.services[service]()
        orders.unlink(missing_ok=True)


class Newcomer(Typist):
    """Has one shell, and nothing in it but the environment of the machine: what it needs, the document must say.

    `elsewhere` are addresses of the document that are other ones here. `shell` may be one on another machine.
    """

    def __init__(self, document: str, environment: Mapping[str, str], elsewhere: Mapping[str, str],
                 shell: Sequence[str] = ("bash",), patience: float = BLOCK_TIMEOUT) -> None:
        super().__init__(document)
        self._elsewhere = elsewhere
        self._patience = patience
        inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
        self._bash = subprocess.Popen(shell, env={**inherited, **environment}, stdin=subprocess.PIPE,
                                      stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)

    def close(self) -> None:
        os.killpg(self._bash.pid, signal.SIGKILL)
        self._bash.communicate()

    def type(self, block: Block) -> str:
        text = block.text
        for there, here in self._elsewhere.items():
            text = text.replace(there, here)
        if block.language == "sql":
            text = f"psql -X -q \"$OUTBOXD_POSTGRES_DSN\" <<'END_OF_SQL'\n{text}END_OF_SQL\n"
        end = uuid.uuid4().hex
        assert self._bash.stdin
        self._bash.stdin.write(f"{text}\nprintf '\\n%s\\n' {end}\n".encode())
        self._bash.stdin.flush()
        return self._read_until(f"\n{end}\n".encode()).decode(errors="replace")

    def _read_until(self, end: bytes) -> bytes:
        assert self._bash.stdout
        printed, deadline = b"", time.monotonic() + self._patience
        with selectors.DefaultSelector() as selector:
            selector.register(self._bash.stdout, selectors.EVENT_READ)
            while end not in printed:
                assert selector.select(max(0.0, deadline - time.monotonic())), f"it does not end:\n{printed!r}"
                piece = os.read(self._bash.stdout.fileno(), 65536)
                assert piece, f"the shell ended:\n{printed!r}"
                printed += piece
        return printed.replace(end, b"\n")


@contextmanager
def newcomer(document: str, environment: Mapping[str, str], elsewhere: Mapping[str, str]) -> Iterator[Newcomer]:
    someone = Newcomer(document, environment, elsewhere)
    try:
        yield someone
    finally:
        someone.close()
