"""A connection pooler of our own in front of one PostgreSQL server."""

from __future__ import annotations

import atexit
import shutil
import signal
import subprocess
from collections.abc import Mapping
from typing import Any

import psycopg

from . import process
from .ports import HOST, free_port
from .postgres import Postgres
from .scratch import Scratch
from .waiting import wait_until

DEFAULT_SETTINGS: Mapping[str, Any] = {
    "pool_mode": "transaction",
    "auth_type": "trust",
    "max_client_conn": 100,
    "default_pool_size": 20,
    "query_wait_timeout": 20,
    "unix_socket_dir": "",
}


class PgBouncer:
    """Passes every database of `server` on; the client's user must be in `users`."""

    def __init__(self, server: Postgres, settings: Mapping[str, Any] | None = None,
                 users: tuple[str, ...] = ("postgres",)) -> None:
        # Debian installs it where only root looks.
        self.program = shutil.which("pgbouncer", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
        if self.program is None:
            raise RuntimeError("there is no pgbouncer to test with; run tests/setup/install.sh test")
        self.port = free_port()
        self.scratch = Scratch("pgbouncer")
        self.log_file = self.scratch.path / "pgbouncer.log"
        self._config_file = self.scratch.path / "pgbouncer.ini"
        self._process: subprocess.Popen[bytes] | None = None
        user_file = self.scratch.path / "users.txt"
        user_file.write_text("".join(f'"{name}" ""\n' for name in users))
        options = {**DEFAULT_SETTINGS, "listen_addr": HOST, "listen_port": self.port, "auth_file": user_file,
                   "admin_users": "postgres", **(settings or {})}
        lines = ["[databases]", f"* = host={HOST} port={server.port}", "[pgbouncer]"]
        self._config_file.write_text("\n".join([*lines, *(f"{k} = {v}" for k, v in options.items())]) + "\n")
        self.scratch.own(self.scratch.path)

    def __enter__(self) -> PgBouncer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        assert self.program is not None
        with self.log_file.open("ab") as log:
            self._process = process.spawn([self.program, self._config_file], as_server=True, cwd=self.scratch.path,
                                          stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        atexit.register(self.close)
        wait_until(self._answers, 30, f"pgbouncer on port {self.port}")

    def kill9(self) -> None:
        process.signal_group(self._running(), signal.SIGKILL)
        process.await_group_gone(self._running())
        self._process = None

    def close(self) -> None:
        if self._process is not None:
            self.kill9()
        self.scratch.remove()
        atexit.unregister(self.close)

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError("this pgbouncer is not running")
        return self._process

    def _answers(self) -> bool:
        if self._running().poll() is not None:
            raise RuntimeError(f"pgbouncer did not start:\n{process.log_tail(self.log_file)}")
        try:
            psycopg.connect(host=HOST, port=self.port, user="postgres", dbname="pgbouncer", connect_timeout=5,
                            autocommit=True).close()
        except psycopg.OperationalError:
            return False
        return True
