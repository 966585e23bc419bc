"""A real Elasticsearch or OpenSearch node of our own: own data, own port, gone afterwards."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import shutil
import signal
import ssl
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from . import process
from .elastic_client import ElasticClient
from .ports import HOST, free_port
from .scratch import Scratch
from .waiting import wait_until

START_TIMEOUT = 180
SETUP = Path(__file__).resolve().parent.parent / "setup" / "elasticsearch.py"
# The second compiler takes 10 s of processor time at each start, and what it gains comes later than most nodes live.
QUICK_START = "-XX:TieredStopAtLevel=1"
# Its own console output is all that we read of its logs.
LOGGING = """\
status = error
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = [%d{ISO8601}][%p][%c{1.}] %m%n
rootLogger.level = info
rootLogger.appenderRef.console.ref = console
"""


def distribution() -> dict[str, str]:
    """product, version, home and java of the pinned server, which is fetched on first use."""
    answer = subprocess.run(["/usr/bin/python3", SETUP], stdout=subprocess.PIPE, text=True)
    if answer.returncode != 0:
        raise RuntimeError("there is no Elasticsearch to test with; see the message above")
    return dict(line.split("=", 1) for line in answer.stdout.splitlines())


class Elastic(ElasticClient):
    """A node that is also its own client.

    `users` maps a name to (password, role) and turns security on; the first of them is whom the client speaks as.
    `roles` are theirs that the server does not know by itself; `set_roles` changes them while it runs. `files` go beside
    its configuration, and so does what `put` brings later; with `context` it is spoken to by https.
    """

    def __init__(self, settings: Mapping[str, Any] | None = None, heap: str = "512m",
                 users: Mapping[str, tuple[str, str]] | None = None, java_options: str = QUICK_START,
                 roles: Mapping[str, Any] | None = None, files: Mapping[str, Path] | None = None,
                 context: ssl.SSLContext | None = None) -> None:
        found = distribution()
        self.product = found["product"]
        self.version = tuple(map(int, found["version"].split(".")))
        self.home = Path(found["home"])
        self.port = free_port()
        self.scratch = Scratch("elastic")
        self.log_file = self.scratch.path / "elastic.log"
        self._config = self.scratch.folder("config")
        prefix = "OPENSEARCH" if self.is_opensearch else "ES"
        self._environment = {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "HOME": str(self.scratch.path),
            f"{prefix}_PATH_CONF": str(self._config),
            f"{prefix}_TMPDIR": str(self.scratch.folder("tmp")),
            f"{prefix}_JAVA_HOME": found["java"],
            f"{prefix}_JAVA_OPTS": f"-Xms{heap} -Xmx{heap} {java_options}".strip(),
        }
        self._process: subprocess.Popen[bytes] | None = None
        name, (password, _) = next(iter(users.items())) if users else (None, ("", ""))
        scheme = "https" if context else "http"
        super().__init__(f"{scheme}://{HOST}:{self.port}", username=name, password=password, context=context)
        self._configure(settings or {}, secure=bool(users))
        for file, source in (files or {}).items():
            self.put(file, source.read_text())
        if roles is not None:
            self.set_roles(roles)
        for name, (password, role) in (users or {}).items():
            self.run_tool("elasticsearch-users", "useradd", name, "-p", password, "-r", role)

    def __enter__(self) -> Elastic:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self, wait: bool = True) -> None:
        with self.log_file.open("ab") as log:
            # What we start may be a launcher. The server is its child, and ends by itself when the launcher is gone.
            self._process = process.spawn([self.home / "bin" / self.product], as_server=True, env=self._environment,
                                          cwd=self.scratch.path, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        atexit.register(self.close)
        if wait:
            self.wait_started()

    def wait_started(self) -> None:
        """Until it answers and every index that it had can be written again."""
        wait_until(self._answers, START_TIMEOUT, f"{self.product} on port {self.port}", every=0.1)

    def stop(self) -> None:
        """A clean shutdown."""
        if self._process is None:
            return
        self.resume()
        process.signal_one(self._process.pid, signal.SIGTERM)
        process.await_group_gone(self._process, 60)
        self._process = None

    def restart(self) -> None:
        self.stop()
        self.start()

    def kill9(self) -> None:
        running = self._running()
        process.signal_group(running, signal.SIGKILL)
        process.await_group_gone(running)
        self._process = None

    def pause(self) -> None:
        """Freezes the node: connections stay open, the kernel still accepts new ones, nothing answers."""
        process.signal_group(self._running(), signal.SIGSTOP)

    def resume(self) -> None:
        process.signal_group(self._running(), signal.SIGCONT)

    def ensure_running(self) -> None:
        """Brings back what an earlier test left stopped, frozen or dead."""
        if self._process is not None and self._process.poll() is None:
            self.resume()
            self.wait_started()
        else:
            self.start()

    def remove_index(self, name: str) -> None:
        """Whatever state a test has left both in. An index that is red would be waited for in vain, so it goes first."""
        if self._process is not None and self._process.poll() is None:
            self.resume()
            with contextlib.suppress(OSError):
                self.delete_index(name)
        self.ensure_running()
        self.delete_index(name)

    def close(self) -> None:
        if self._process is not None:
            self.kill9()
        self.scratch.remove()
        atexit.unregister(self.close)

    def set_roles(self, roles: Mapping[str, Any]) -> None:
        """All roles of our own, in the words of the role API. A running node notices within its reload interval."""
        self.put("roles.yml", json.dumps(roles))

    def put(self, name: str, text: str) -> None:
        """A file beside its configuration, whole at once: the node watches them."""
        aside = self._config / f".{name}"
        aside.write_text(text)
        self.scratch.own(aside)
        aside.replace(self._config / name)

    @property
    def is_opensearch(self) -> bool:
        return self.product == "opensearch"

    @property
    def parsing_error(self) -> str:
        """How it calls a document that the mapping refuses."""
        is_new = not self.is_opensearch and self.version >= (8, 8)
        return "document_parsing_exception" if is_new else "mapper_parsing_exception"

    @property
    def rejection(self) -> str:
        """How it says that it is too busy."""
        return "rejected_execution_exception" if self.is_opensearch else "es_rejected_execution_exception"

    def cpu_seconds(self) -> float:
        return process.tree_cpu_seconds(self._running().pid)

    def _configure(self, settings: Mapping[str, Any], secure: bool) -> None:
        shutil.copytree(self.home / "config", self._config, dirs_exist_ok=True)
        options = {
            "cluster.name": "outboxd-tests",
            "discovery.type": "single-node",
            "network.host": HOST,
            "http.port": self.port,
            "transport.port": free_port(),
            "path.data": str(self.scratch.folder("data")),
            "path.logs": str(self.scratch.folder("logs")),
            # A full disk is the developer's business, not the test's.
            "cluster.routing.allocation.disk.threshold_enabled": False,
            **settings,
        }
        if not self.is_opensearch:
            options["xpack.security.enabled"] = secure
        elif secure:
            raise RuntimeError("the minimal OpenSearch has no security")
        # JSON values are YAML values.
        lines = (f"{name}: {json.dumps(value)}\n" for name, value in options.items())
        (self._config / f"{self.product}.yml").write_text("".join(lines))
        (self._config / "log4j2.properties").write_text(LOGGING)
        java = self._config / "jvm.options"
        kept = (line for line in java.read_text().splitlines() if "Xlog:gc" not in line)
        java.write_text("\n".join(kept) + "\n")
        self.scratch.own(self._config)

    def run_tool(self, *command: str) -> str:
        """One of the server's own programs, which write what a running node notices."""
        tool = process.as_server_account([self.home / "bin" / command[0], *command[1:]])
        answer = subprocess.run(tool, env=self._environment, cwd=self.scratch.path, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if answer.returncode != 0:
            raise RuntimeError(f"{command[0]} failed:\n{answer.stdout}")
        return answer.stdout

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError("this Elasticsearch is not running")
        return self._process

    def _answers(self) -> bool:
        if self._running().poll() is not None:
            raise RuntimeError(f"{self.product} did not start:\n{process.log_tail(self.log_file)}")
        try:
            reply = self.request("GET", "/_cluster/health?wait_for_status=yellow&timeout=1s")
        except OSError:
            return False
        return reply.status == 200
