"""A PostgreSQL server of our own: own cluster, own port, gone afterwards."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import subprocess
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from . import process
from .ports import HOST, free_port
from .scratch import Scratch
from .waiting import wait_until

START_TIMEOUT = 60
STOP_SIGNALS = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}
DEFAULT_SETTINGS: Mapping[str, Any] = {
    "shared_buffers": "128MB",
    "max_connections": 100,
    "max_prepared_transactions": 10,
    "max_wal_size": "2GB",
    "log_line_prefix": "%m [%p] %a ",
}
# Nothing here is meant to survive a crash of the machine, and kill -9 of the server loses nothing without fsync.
UNSAFE_SETTINGS: Mapping[str, Any] = {"fsync": "off", "full_page_writes": "off"}


def programs_folder() -> Path:
    """Where initdb and postgres are: OUTBOXD_PG_BIN, or what is installed."""
    if explicit := os.environ.get("OUTBOXD_PG_BIN"):
        return Path(explicit)
    return installed_programs()


def installed_programs() -> Path:
    """Where pg_config says, or Debian's newest."""
    candidates = []
    if shutil.which("pg_config"):
        answer = subprocess.run(["pg_config", "--bindir"], capture_output=True, text=True, check=True)
        candidates.append(Path(answer.stdout.strip()))
    debian = Path("/usr/lib/postgresql").glob("*/bin")
    candidates += sorted(debian, key=lambda path: int(path.parent.name), reverse=True)
    for folder in candidates:
        # pg_config comes with the client library; it may know a folder that has no server in it.
        if (folder / "initdb").exists():
            return folder
    raise RuntimeError("no PostgreSQL server programs found; run tests/setup/install.sh demo, or set OUTBOXD_PG_BIN")


class Postgres:
    def __init__(self, settings: Mapping[str, Any] | None = None, fsync: bool = False,
                 copy_of: Postgres | None = None, stream_from: int | None = None) -> None:
        self.programs = programs_folder()
        self.port = free_port()
        self.scratch = Scratch("postgres")
        self.socket_folder = self.scratch.folder("socket")
        self.data_folder = self.scratch.path / "data"
        self.log_file = self.scratch.path / "postgres.log"
        self._process: subprocess.Popen[bytes] | None = None
        if copy_of is None:
            self._initdb()
        else:
            self._copy(copy_of, stream_from or copy_of.port)
        self.configure({**DEFAULT_SETTINGS, **({} if fsync else UNSAFE_SETTINGS), **(settings or {})})

    def __enter__(self) -> Postgres:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- the server

    def configure(self, settings: Mapping[str, Any]) -> None:
        """Adds to postgresql.conf; takes effect at the next start, or at reload where the setting allows it."""
        with (self.data_folder / "postgresql.conf").open("a") as file:
            for name, value in settings.items():
                file.write("{} = '{}'\n".format(name, str(value).replace("'", "''")))

    def start(self) -> None:
        command: process.Command = [self.programs / "postgres", "-D", self.data_folder, "-p", str(self.port),
                                    "-h", HOST, "-k", self.socket_folder]
        with self.log_file.open("ab") as log:
            # SIGQUIT lets it remove its shared memory when we die.
            self._process = process.spawn(command, as_server=True, dies_by=signal.SIGQUIT, cwd=self.scratch.path,
                                          stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        atexit.register(self.close)
        wait_until(self._answers, START_TIMEOUT, f"PostgreSQL on port {self.port}")

    def stop(self, mode: str = "fast") -> None:
        """Ends the server as pg_ctl stop -m MODE does: smart, fast or immediate."""
        if self._process is None:
            return
        self.resume()
        process.signal_one(self._process.pid, STOP_SIGNALS[mode])
        self._process.wait(60)
        self._process = None

    def restart(self, mode: str = "fast") -> None:
        self.stop(mode)
        self.start()

    def reload(self) -> None:
        process.signal_one(self.pid, signal.SIGHUP)

    def kill9(self) -> None:
        """Kills the server and all its sessions at once, as a power cut would; start() recovers it."""
        members = [self.pid, *process.children(self.pid)]
        for pid in members:
            process.signal_one(pid, signal.SIGKILL)
        self._running().wait(60)
        self._process = None
        # A session that still lives keeps the shared memory, and the server refuses to start beside it.
        wait_until(lambda: not any(map(process.is_alive, members)), 30, "the end of the killed sessions")

    def pause(self) -> None:
        """Freezes the server with all its sessions; connections stay open, nothing answers."""
        for pid in (self.pid, *process.children(self.pid)):
            process.signal_one(pid, signal.SIGSTOP)

    def resume(self) -> None:
        for pid in (*process.children(self.pid), self.pid):
            process.signal_one(pid, signal.SIGCONT)

    def ensure_running(self) -> None:
        """Brings back what an earlier test left stopped, frozen or dead."""
        if self._process is None or self._process.poll() is not None:
            self.start()
        else:
            self.resume()

    def standby(self, port: int | None = None) -> Postgres:
        """A streaming standby that is not started yet; `port` leads to this server by another way, such as a proxy."""
        return Postgres(copy_of=self, stream_from=port)

    def promote(self) -> None:
        """Makes a standby the primary, with what it has received so far."""
        (done,), = self.execute("SELECT pg_promote(true, 60)")
        if not done:
            raise TimeoutError(f"the standby was not promoted:\n{process.log_tail(self.log_file)}")

    def close(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.stop("immediate")
        self.scratch.remove()
        atexit.unregister(self.close)

    def program(self, name: str) -> Path:
        """One of the programs beside the server, or the installed one: servers of the matrix come without clients."""
        beside = self.programs / name
        return beside if beside.exists() else installed_programs() / name

    @property
    def version(self) -> int:
        """The major one."""
        return int((self.data_folder / "PG_VERSION").read_text())

    @property
    def pid(self) -> int:
        return self._running().pid

    def cpu_seconds(self) -> float:
        """CPU time of the server and of all its sessions, those that ended included."""
        return process.tree_cpu_seconds(self.pid)

    # -- its databases

    def dsn(self, dbname: str = "postgres", **extra: Any) -> str:
        """A connection string; `extra` adds to it or replaces, as in dsn('x', port=proxy.port)."""
        return make_conninfo(**{"host": HOST, "port": self.port, "user": "postgres", "dbname": dbname, **extra})

    def connect(self, dbname: str = "postgres", **extra: Any) -> psycopg.Connection[Any]:
        return psycopg.connect(self.dsn(dbname, **extra), autocommit=True)

    def execute(self, statement: str, parameters: Sequence[Any] | None = None,
                dbname: str = "postgres") -> list[tuple[Any, ...]]:
        """Runs one statement in a session of its own and returns its rows, if it has any."""
        with self.connect(dbname) as connection:
            return execute(connection, statement, parameters)

    def createdb(self, name: str | None = None) -> Database:
        name = name or f"test_{uuid.uuid4().hex[:12]}"
        with self.connect() as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return Database(self, name)

    def dropdb(self, name: str) -> None:
        with self.connect() as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    # -- inside

    def _initdb(self) -> None:
        command: process.Command = [self.programs / "initdb", "-D", self.data_folder, "--username=postgres",
                                    "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"]
        answer = subprocess.run(process.as_server_account(command), cwd=self.scratch.path, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if answer.returncode != 0:
            raise RuntimeError(f"initdb failed:\n{answer.stdout}")

    def _copy(self, primary: Postgres, stream_from: int) -> None:
        # By hand, since pg_basebackup refuses a server that is newer than itself. The primary's postgresql.conf comes
        # with the files, so the settings agree; its port is given on the command line.
        old = primary.version < 15
        begin = "pg_start_backup('copy', true, false)" if old else "pg_backup_start('copy', true)"
        end = "pg_stop_backup(false, false)" if old else "pg_backup_stop(false)"
        with primary.connect() as connection:
            connection.execute(f"SELECT {begin}")
            shutil.copytree(primary.data_folder, self.data_folder, copy_function=_copy_if_there,
                            ignore=shutil.ignore_patterns("postmaster.*", "pgsql_tmp*"))
            ((label,),) = execute(connection, f"SELECT labelfile FROM {end}")
            # What was written meanwhile, as far as the primary still has it; the rest is streamed.
            shutil.copytree(primary.data_folder / "pg_wal", self.data_folder / "pg_wal", dirs_exist_ok=True,
                            copy_function=_copy_if_there)
        (self.data_folder / "backup_label").write_text(label)
        (self.data_folder / "standby.signal").touch()
        upstream = make_conninfo(host=HOST, port=stream_from, user="postgres")
        self.configure({"primary_conninfo": upstream})
        self.data_folder.chmod(0o700)
        self.scratch.own(self.data_folder)

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError("this PostgreSQL is not running")
        return self._process

    def _answers(self) -> bool:
        if self._running().poll() is not None:
            raise RuntimeError(f"PostgreSQL did not start:\n{process.log_tail(self.log_file)}")
        try:
            self.connect(connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True


@dataclass(frozen=True)
class Database:
    """One database of a server, with the verbs that a test needs."""

    server: Postgres
    name: str

    @property
    def dsn(self) -> str:
        return self.server.dsn(self.name)

    def dsn_with(self, **extra: Any) -> str:
        return self.server.dsn(self.name, **extra)

    def connect(self, **extra: Any) -> psycopg.Connection[Any]:
        return self.server.connect(self.name, **extra)

    def execute(self, statement: str, parameters: Sequence[Any] | None = None) -> list[tuple[Any, ...]]:
        return self.server.execute(statement, parameters, dbname=self.name)

    def value(self, statement: str, parameters: Sequence[Any] | None = None) -> Any:
        """The only column of the only row."""
        ((value,),) = self.execute(statement, parameters)
        return value

    def drop(self) -> None:
        self.server.dropdb(self.name)


def execute(connection: psycopg.Connection[Any], statement: str,
            parameters: Sequence[Any] | None = None) -> list[tuple[Any, ...]]:
    cursor = connection.execute(statement, parameters)
    return cursor.fetchall() if cursor.description else []


def _copy_if_there(source: str, target: str) -> None:
    """Files come and go while a server is copied; its log mends what they miss."""
    try:
        shutil.copy2(source, target)
    except FileNotFoundError:
        pass
