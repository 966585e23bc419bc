"""The container with its systemd, and one service in it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping

from harness import wait_until


class Machine:
    def __init__(self) -> None:
        self.container = os.environ["OUTBOXD_CONTAINER"]  # tests/systemd/run makes it

    def run(self, *command: str, input: str | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(["podman", "exec", "--interactive", self.container, *command], input=input, text=True,
                              capture_output=True)
        if check:
            assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done

    def write(self, path: str, text: str, mode: str = "644") -> None:
        self.run("install", "-D", "-m", mode, "/dev/stdin", path, input=text)


class Service:
    """A unit with its configuration; drop_in sets what a test wants otherwise."""

    def __init__(self, machine: Machine, unit: str = "outboxd.service", name: str = "outboxd") -> None:
        self.machine = machine
        self.unit = unit
        self._config = f"/etc/outboxd/{name}.conf"
        self._drop_ins = f"/etc/systemd/system/{unit}.d"
        self._began = machine.run("date", "+%s").stdout.strip()

    def configure(self, text: str) -> None:
        self.machine.write(self._config, text)

    def drop_in(self, **settings: object) -> None:
        lines = [f"{name}={value}" for name, values in settings.items()
                 for value in (values if isinstance(values, list) else [values])]
        self.machine.write(f"{self._drop_ins}/test.conf", "[Service]\n" + "\n".join(lines) + "\n")
        self.machine.run("systemctl", "daemon-reload")

    def systemctl(self, verb: str, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.machine.run("systemctl", verb, *arguments, self.unit, check=check)

    def show(self) -> Mapping[str, str]:
        text = self.systemctl("show").stdout
        return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)

    def property(self, name: str) -> str:
        return self.systemctl("show", "--value", "-p", name).stdout.strip()

    def wait_property(self, name: str, words: str, timeout: float = 60) -> str:
        def look() -> str | None:
            value = self.property(name)
            return value if words in value else None

        return wait_until(look, timeout, f"{words!r} in {name}: {self.property(name)!r}", every=0.2)

    def journal(self) -> str:
        return self.machine.run("journalctl", "--no-pager", "-u", self.unit, f"--since=@{self._began}").stdout

    def remove(self) -> None:
        self.systemctl("stop", check=False)
        print(f"--- {self.unit}\n{self.journal()[-6000:]}")
        self.machine.run("rm", "-rf", "/etc/outboxd", self._drop_ins)
        self.machine.run("systemctl", "daemon-reload")
        self.systemctl("reset-failed", check=False)
