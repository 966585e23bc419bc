"""Running the daemon: its settings, its log, its end."""

from __future__ import annotations

import atexit
import os
import pty
import select
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from . import process
from .logfmt import LogLine, matches, parse_line
from .scratch import Scratch
from .waiting import wait_until

ROOT = Path(__file__).resolve().parent.parent.parent
SANITIZER_REPORTS = ("ERROR: AddressSanitizer", "runtime error:", "LeakSanitizer", "MemorySanitizer")
# All that the daemon inherits. PGHOST, http_proxy or an OUTBOXD_* of the developer's shell must not reach it.
INHERITED = ("PATH", "HOME", "TMPDIR", "LANG", "ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS", "LLVM_PROFILE_FILE",
             "GCOV_PREFIX", "GCOV_PREFIX_STRIP")


def binary() -> Path:
    if explicit := os.environ.get("OUTBOXD_BIN"):
        return Path(explicit).resolve()
    for preset in ("asan", "dev", "release"):
        path = ROOT / "build" / preset / "src" / "cmd" / "outboxd"
        if path.exists():
            return path
    raise RuntimeError("there is no outboxd to run: build it, or set OUTBOXD_BIN")


def plain_binary() -> Path:
    """OUTBOXD_PLAIN_BIN, or what was last built without sanitizers: what they cost is not to be measured."""
    if explicit := os.environ.get("OUTBOXD_PLAIN_BIN"):
        return Path(explicit).resolve()
    built = [path for preset in ("release", "dev") if (path := ROOT / "build" / preset / "src" / "cmd" / "outboxd").exists()]
    if not built:
        raise RuntimeError("memory and time are measured on a build without sanitizers: build one, or set OUTBOXD_PLAIN_BIN")
    return max(built, key=lambda path: path.stat().st_mtime)  # the other one may be of an older source


@dataclass(frozen=True)
class Completed:
    """A command that has ended."""

    exit_code: int  # negative: the signal that ended it
    stdout: str
    stderr: str
    lines: list[LogLine]
    seconds: float
    cpu_seconds: float
    peak_rss_kb: int  # seen every 50 ms; 0 when it ended before the first look

    def logs(self, event: str | None = None, **fields: object) -> list[LogLine]:
        return [line for line in self.lines if matches(line, event, fields)]


class Outboxd:
    """The daemon with its settings, given as `section_key=value` or as the text of a configuration file.

    `start` runs it in the background; `run` and `run_once` run a command to its end. An instance can be started
    again after it ended; the log then begins anew. Every end is checked for sanitizer reports.
    """

    def __init__(self, *, config_text: str | None = None, binary_path: Path | None = None,
                 environment: Mapping[str, str] | None = None, **settings: Any) -> None:
        self.settings = settings
        self._environment = environment or {}
        # Several relays run on this host: only who names a port gets one, or asks there.
        self._defaults = {} if config_text is not None and "[admin]" in config_text else {"admin_listen": "off"}
        self._binary = binary_path or binary()
        self._scratch: Scratch | None = None
        self._flags: list[str] = []
        self._run: _Run | None = None
        if config_text is not None:
            self._scratch = Scratch("config")
            config_file = self._scratch.path / "outboxd.conf"
            config_file.write_text(config_text)
            self._flags = ["--config", str(config_file)]
        atexit.register(self.close)

    def __enter__(self) -> Outboxd:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- commands

    def run(self, *arguments: str, timeout: float = 60) -> Completed:
        """Runs one command to its end: run("init", "--print")."""
        run = self._spawn(*arguments)
        try:
            run.wait(timeout)
        finally:
            run.kill()
        return run.completed()

    def run_once(self, timeout: float = 60) -> Completed:
        return self.run("run", "--once", timeout=timeout)

    def run_on_terminal(self, *arguments: str, timeout: float = 60) -> tuple[int, str]:
        """Runs one command to its end on a terminal of its own: its exit code, and all that it wrote there."""
        ours, theirs = pty.openpty()
        child = process.spawn([str(self._binary), *arguments, *self._flags], env=self._variables(arguments),
                              stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs)
        os.close(theirs)
        written, deadline = b"", time.monotonic() + timeout
        try:
            while select.select([ours], [], [], max(0.0, deadline - time.monotonic()))[0]:
                try:
                    piece = os.read(ours, 65536)
                except OSError:  # EIO: nobody has the terminal any more
                    break
                written += piece
            child.wait(max(0.1, deadline - time.monotonic()))
        finally:
            child.kill()
            child.wait()
            os.close(ours)
        text = written.decode(errors="replace")
        assert not any(report in text for report in SANITIZER_REPORTS), text[-20_000:]
        return child.returncode, text

    # -- the daemon

    def start(self, *arguments: str) -> None:
        self.begin("run", *arguments)

    def begin(self, *arguments: str) -> None:
        """Starts any command in the background; wait, signal and kill9 go to it."""
        if self._run is not None:
            if self._run.is_alive:
                raise RuntimeError("it is running already")
            self._run.completed()
        self._run = self._spawn(*arguments)

    def terminate(self, timeout: float = 30) -> Completed:
        """Asks it to drain and waits for its end."""
        self.signal(signal.SIGTERM)
        return self.wait(timeout)

    def wait(self, timeout: float = 30) -> Completed:
        """Waits for an end that comes by itself."""
        self._current.wait(timeout)
        return self._current.completed()

    def kill9(self) -> Completed:
        self._current.kill()
        return self._current.completed()

    def signal(self, number: signal.Signals) -> None:
        process.signal_one(self._current.pid, number)

    def pause(self) -> None:
        self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.signal(signal.SIGCONT)

    def close(self) -> None:
        """Kills what still runs; raises on a sanitizer report."""
        atexit.unregister(self.close)
        if self._run is not None:
            self._run.kill()
        if self._scratch is not None:
            self._scratch.remove()
        if self._run is not None:
            self._run.completed()

    @property
    def pid(self) -> int:
        return self._current.pid

    @property
    def is_alive(self) -> bool:
        return self._run is not None and self._run.is_alive

    @property
    def stderr(self) -> str:
        return self._current.stderr_text()

    # -- its log

    def print_log(self, lines: int = 100) -> None:
        """For pytest, which shows it when the test failed."""
        if self._run is not None:
            print(f"--- outboxd {self.pid}, last {lines} lines:\n{self._run.tail(lines)}", end="")

    def mark(self) -> int:
        """A place in the log, for `since`: only what comes later counts."""
        return len(self._current.lines)

    def logs(self, event: str | None = None, since: int = 0, **fields: object) -> list[LogLine]:
        return [line for line in self._current.lines[since:] if matches(line, event, fields)]

    def wait_log(self, event: str, timeout: float = 10, since: int = 0, **fields: object) -> LogLine:
        """The first such line, as soon as it is there; fails at once when the daemon ends without it."""

        def look() -> LogLine | None:
            ended = not self._current.is_alive
            found = self.logs(event, since, **fields)
            if not found and ended:
                raise RuntimeError(f"outboxd ended without event={event} {fields}:\n{self._current.tail()}")
            return found[0] if found else None

        try:
            return wait_until(look, timeout, f"event={event} {fields}")
        except TimeoutError as error:
            raise TimeoutError(f"{error}\n{self._current.tail()}") from None

    # -- what it costs

    def rss_kb(self) -> int:
        return process.memory_kb(self._current.pid, "VmRSS")

    def peak_rss_kb(self) -> int:
        return self._current.peak_rss_kb()

    def cpu_seconds(self) -> float:
        """CPU time so far, or in all when it has ended."""
        return self._current.cpu_seconds()

    # -- inside

    @property
    def _current(self) -> _Run:
        if self._run is None:
            raise RuntimeError("outboxd was not started")
        return self._run

    def _variables(self, arguments: Sequence[str]) -> dict[str, str]:
        environment = {name: os.environ[name] for name in INHERITED if name in os.environ}
        environment.update(self._environment)
        defaults = self._defaults if arguments[:1] in (("run",), ("status",), ("check",)) else {}
        for name, value in {**defaults, **self.settings}.items():
            text = str(value).lower() if isinstance(value, bool) else str(value)
            environment[f"OUTBOXD_{name.upper()}"] = text
        return environment

    def _spawn(self, *arguments: str) -> _Run:
        return _Run([str(self._binary), *arguments, *self._flags], self._variables(arguments))


class _Run:
    """One process: what it printed, what it used, how it ended."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self.lines: list[LogLine] = []
        self._stdout: list[str] = []
        self._stderr: list[str] = []
        self._peak_rss_kb = 0
        self._usage_cpu: float | None = None
        self._began = time.monotonic()
        self._seconds = 0.0
        self._process: subprocess.Popen[str] = process.spawn(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, errors="replace")
        self._ended = threading.Event()
        assert self._process.stdout and self._process.stderr
        self._readers = [
            threading.Thread(target=self._read, args=(self._process.stdout, self._stdout), daemon=True),
            threading.Thread(target=self._read_log, args=(self._process.stderr,), daemon=True),
        ]
        for thread in (*self._readers, threading.Thread(target=self._watch, daemon=True)):
            thread.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        return not self._ended.is_set()

    def wait(self, timeout: float) -> None:
        if not self._ended.wait(timeout):
            raise TimeoutError(f"outboxd did not end within {timeout:g} s:\n{self.tail()}")

    def kill(self) -> None:
        if self.is_alive:
            process.signal_group(self._process, signal.SIGKILL)
            self.wait(10)

    def completed(self) -> Completed:
        """Raises AssertionError when a sanitizer reported anything."""
        self.wait(10)
        text = self.stderr_text()
        for report in SANITIZER_REPORTS:
            if report in text:
                raise AssertionError(f"{report}\n{text[-20_000:]}")
        return Completed(self._process.returncode, "".join(self._stdout), text, list(self.lines), self._seconds,
                         self.cpu_seconds(), self._peak_rss_kb)

    def stderr_text(self) -> str:
        return "".join(self._stderr)

    def tail(self, lines: int = 30) -> str:
        return "".join(self._stderr[-lines:])

    def peak_rss_kb(self) -> int:
        # The kernel's own record of a child's peak includes what the child was before exec: a copy of this Python.
        self._peak_rss_kb = max(self._peak_rss_kb, process.memory_kb(self.pid, "VmHWM"))
        return self._peak_rss_kb

    def cpu_seconds(self) -> float:
        if self._usage_cpu is not None:
            return self._usage_cpu
        try:
            return process.process_cpu_seconds(self.pid)
        except OSError:  # it ended between the two lines
            self.wait(10)
            return self._usage_cpu or 0.0

    def _watch(self) -> None:
        ended = os.pidfd_open(self.pid)
        poll = select.poll()
        poll.register(ended, select.POLLIN)
        while not poll.poll(50):
            self.peak_rss_kb()
        os.close(ended)
        _, status, usage = os.wait4(self.pid, 0)
        self._seconds = time.monotonic() - self._began
        self._usage_cpu = usage.ru_utime + usage.ru_stime
        self._process.returncode = os.waitstatus_to_exitcode(status)
        for reader in self._readers:
            reader.join()
        self._ended.set()

    def _read_log(self, stream: IO[str]) -> None:
        with stream:
            for text in stream:
                self._stderr.append(text)
                if (line := parse_line(text.rstrip("\n"))) is not None:
                    self.lines.append(line)

    @staticmethod
    def _read(stream: IO[str], into: list[str]) -> None:
        with stream:
            into.extend(stream)
