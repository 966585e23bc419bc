"""docs/RUNBOOK.md as programs, and the operator who types them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness import Database, Elastic, Outboxd, wait_until
from harness.outboxd import INHERITED, ROOT, SANITIZER_REPORTS, binary
from harness.ports import HOST, free_port

DOCUMENT = ROOT / "docs" / "RUNBOOK.md"
FENCE = re.compile(r"^```(\w*)(?: id=([\w-]+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NUMBER = r"\d+(?:\.\d+)?"
PIECE = re.compile(rf"(HTTP \d+|\.\.\.|{NUMBER}|\s+)")
DOCUMENT_ID = "42"
PROGRAMS = {
    # The daemon is a child of the test: the journal is its log, and the service manager asks the test.
    "journalctl": "#!/bin/sh\ncat {folder}/journal\n",
    "systemctl": "#!/bin/sh\nif [ $1 = is-active ]; then cat {folder}/active; exit; fi\necho \"$@\" >> {folder}/orders\n",
}


@dataclass(frozen=True)
class Block:
    language: str
    text: str
    shown: str  # what the document shows as its output; "" where it shows none


def blocks() -> dict[str, Block]:
    """The commands of the document by their names."""
    found: dict[str, Block] = {}
    name = ""
    for language, name_here, text in FENCE.findall(DOCUMENT.read_text()):
        if language in ("sh", "sql"):
            name = name_here
            assert name and name not in found, f"a block of commands without a name of its own:\n{text}"
            found[name] = Block(language, text, "")
        elif name:
            found[name] = Block(found[name].language, found[name].text, found[name].shown + text)
    return found


def pattern(line: str) -> re.Pattern[str]:
    """A line of the document: numbers and distances vary from run to run, `...` is anything."""

    def piece(part: str) -> str:
        if part == "...":
            return ".*"
        if part.isspace():
            return r"\s+"
        return NUMBER if re.fullmatch(NUMBER, part) and part != DOCUMENT_ID else re.escape(part)

    return re.compile("".join(piece(part) for part in PIECE.split(line.strip()) if part))


def missing(shown: str, output: str) -> list[str]:
    """The lines that the document shows and the output does not have, whole and in this order."""
    lines = iter(output.splitlines())
    return [line for line in shown.splitlines()
            if line.strip() and not any(pattern(line).fullmatch(each.strip()) for each in lines)]


@dataclass
class Operator:
    """Types what the document says, in a shell that has the variables that the document asks for."""

    db: Database
    elastic: Elastic
    folder: Path
    daemon: Outboxd
    services: dict[str, Callable[[], None]] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    known: Mapping[str, Block] = field(default_factory=blocks)
    earlier: str = ""  # the log of daemons that have ended

    def __post_init__(self) -> None:
        for name, text in PROGRAMS.items():
            self._program(name, text.format(folder=self.folder))
        (self.folder / "outboxd").symlink_to(binary())
        (self.folder / "psql").symlink_to(self.db.server.program("psql"))
        self.variables = {
            "ADMIN": f"http://{HOST}:{self.port}", "ES": self.elastic.url, "INDEX": "products", "ID": "42",
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
        """One block of the document; what it prints. Its exit code is not looked at: it is often that of a grep."""
        block = self.known[name]
        self.variables.update({key: str(value) for key, value in variables.items()})
        self._tell_services()
        command = ["bash", "-c", block.text] if block.language == "sh" else ["psql", "-X", "-q", "-c", block.text]
        done = subprocess.run(command, env=self._environment(), text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, timeout=90, errors="replace")
        print(f"--- {name}\n{block.text}---\n{done.stdout}", end="")
        assert not any(report in done.stdout for report in SANITIZER_REPORTS)
        assert not re.search(r"command not found|syntax error|ERROR: |unknown option|option .* is ambiguous", done.stdout), \
            f"{name} is no command that works:\n{done.stdout}"
        self._obey()
        return done.stdout

    def sees(self, name: str, **variables: object) -> str:
        """... and it prints what the document shows."""
        return self._fits(name, self.run(name, **variables))

    def comes_to_see(self, name: str, timeout: float = 60, **variables: object) -> str:
        """... at the latest after a while, as somebody would who types it again."""
        shown = self.known[name].shown
        assert shown
        seen = [""]

        def look() -> bool:
            seen[0] = self.run(name, **variables)
            return not missing(shown, seen[0])

        try:
            wait_until(look, timeout, name, every=0.3)
        except TimeoutError:
            self._fits(name, seen[0])
        return seen[0]

    def _fits(self, name: str, output: str) -> str:
        shown = self.known[name].shown
        assert shown, f"the document shows no output of {name}"
        absent = missing(shown, output)
        assert not absent, f"{name} does not print {absent}\nbut:\n{output}"
        return output

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
