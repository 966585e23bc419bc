"""Starting programs so that none of them outlives us, and looking at them while they run."""

from __future__ import annotations

import os
import pwd
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

Command = Sequence[str | Path]

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def server_account() -> pwd.struct_passwd:
    """Who servers run as. Both PostgreSQL and Elasticsearch refuse root; everybody else runs them as themselves."""
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid())
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")


def as_server_account(command: Command) -> list[str]:
    """`command`, run as the server account."""
    return [*_setpriv(server_account()), *map(str, command)]


def as_root(command: Command) -> list[str]:
    """`command`, run as root, whom alone the kernel shows a process that protects its memory. sudo must not ask for a password."""
    return [*([] if os.geteuid() == 0 else ["sudo", "-n"]), *map(str, command)]


def read_as_root(path: Path) -> str:
    return subprocess.run(as_root(["cat", path]), stdout=subprocess.PIPE, text=True, check=True).stdout


def spawn(command: Command, *, as_server: bool = False, dies_by: signal.Signals = signal.SIGKILL,
          **options: Any) -> subprocess.Popen[Any]:
    """Popen in a process group of its own; the kernel sends `dies_by` when this Python dies, however it dies."""
    prefix = [*_setpriv(server_account() if as_server else None), f"--pdeathsig={dies_by.name[3:]}"]
    return _spawner.popen([*prefix, *map(str, command)], start_new_session=True, **options)


def _setpriv(account: pwd.struct_passwd | None) -> list[str]:
    # setpriv replaces itself by the program, so the process id is the program's own.
    if account is None or account.pw_uid == os.geteuid():
        return ["setpriv"]
    return ["setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--init-groups"]


class _Spawner:
    """One thread that lives as long as we do and starts every program.

    The kernel counts the death of the *thread* that started a program as its parent's death. A test that restarts a
    server from a helper thread would lose the server with the thread.
    """

    def __init__(self) -> None:
        self._orders: queue.SimpleQueue[tuple[Future[Any], list[str], dict[str, Any]]] = queue.SimpleQueue()
        self._start = threading.Lock()
        self._thread: threading.Thread | None = None

    def popen(self, command: list[str], **options: Any) -> subprocess.Popen[Any]:
        with self._start:
            if self._thread is None:
                self._thread = threading.Thread(target=self._serve, name="spawner", daemon=True)
                self._thread.start()
        started: Future[subprocess.Popen[Any]] = Future()
        self._orders.put((started, command, options))
        return started.result()

    def _serve(self) -> None:
        while True:
            started, command, options = self._orders.get()
            try:
                started.set_result(subprocess.Popen(command, **options))
            except Exception as error:
                started.set_exception(error)


_spawner = _Spawner()


def signal_group(process: subprocess.Popen[Any], number: signal.Signals) -> None:
    """Signals a spawned process and all that it started; nothing happens when they are gone."""
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        pass


def signal_one(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def await_group_gone(process: subprocess.Popen[Any], timeout: float = 30) -> None:
    process.wait(timeout)
    deadline = time.monotonic() + timeout
    while any(group == process.pid and state not in "ZX" for _, _, group, state, _ in _all_processes()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"processes of group {process.pid} do not end")
        time.sleep(0.01)


def children(pid: int) -> list[int]:
    return [child for child, parent, _, state, _ in _all_processes() if parent == pid and state not in "ZX"]


def is_alive(pid: int) -> bool:
    status = _stat(pid)
    return status is not None and status[3] not in "ZX"


def tree_cpu_seconds(pid: int) -> float:
    """CPU time of a process, of its living descendants and of those that were waited for."""
    table = {child: (parent, ticks) for child, parent, _, _, ticks in _all_processes()}
    members = {pid}
    grown = True
    while grown:
        found = {child for child, (parent, _) in table.items() if parent in members}
        grown = not found <= members
        members |= found
    return sum(table[member][1] for member in members if member in table) / _TICKS_PER_SECOND


def process_cpu_seconds(pid: int) -> float:
    """CPU time of all threads of a running process, to the nanosecond where /proc/PID/stat has 10 ms ticks."""
    # The kernel's own encoding of "the CPU clock of process PID", as clock_getcpuclockid(3) makes it.
    return time.clock_gettime((~pid << 3) | 2)


def memory_kb(pid: int, field: str) -> int:
    """A line of /proc/PID/status: VmRSS is the resident size now, VmHWM the highest so far. 0 when it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    for line in status.splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1])
    return 0


def log_tail(path: Path, lines: int = 40) -> str:
    try:
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
    except OSError as error:
        return f"(no log: {error})"


def _all_processes() -> Iterator[tuple[int, int, int, str, int]]:
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (status := _stat(int(entry))):
            yield status


def _stat(pid: int) -> tuple[int, int, int, str, int] | None:
    """(process, parent, group, state, CPU ticks with those of children that were waited for)"""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The second field is the program's name in parentheses, and may itself hold spaces and parentheses.
    fields = text[text.rindex(")") + 2:].split()
    return pid, int(fields[1]), int(fields[2]), fields[0], sum(map(int, fields[11:15]))
