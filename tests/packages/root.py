"""A bare Debian, and what apt and dpkg do in it."""

from __future__ import annotations

import subprocess
from pathlib import Path

from systemd.machine import Machine

# What apt and dpkg keep about packages in general, what programs write while they run, and caches that the C library and
# debconf make again by themselves. None of it names a package that was here.
NOT_OURS = ("/dev", "/proc", "/run", "/sys", "/tmp", "/var/cache", "/var/lib/apt", "/var/log", "/root")
UNIMPORTANT = {"/etc/ld.so.cache", "/etc/ld.so.cache~", "/var/lib/dpkg/status-old", "/var/lib/dpkg/available-old",
               "/var/lib/dpkg/diversions-old", "/var/lib/dpkg/statoverride-old"}


class Root(Machine):
    first = "/run/packages/outboxd_0*.deb"
    next = "/run/packages/outboxd_99*.deb"
    tarball = "/run/packages/outboxd-0*.tar.gz"

    def shell(self, script: str, check: bool = True) -> str:
        return self.run("sh", "-ec", script, check=check).stdout

    def copy_in(self, source: Path, target: str) -> None:
        with source.open("rb") as file:
            subprocess.run(["podman", "exec", "--interactive", self.container, "install", "-D", "-m", "644", "/dev/stdin",
                            target], stdin=file, check=True)

    def apt(self, *arguments: str) -> str:
        """Asks nothing; of a configuration that was changed by hand and by the package, dpkg keeps the one by hand."""
        return self.shell("DEBIAN_FRONTEND=noninteractive apt-get -y -o Dpkg::Options::=--force-confdef "
                          f"-o Dpkg::Options::=--force-confold --no-install-recommends {' '.join(arguments)} 2>&1")

    def install(self, package: str) -> str:
        return self.apt("install", package)

    def purge(self) -> None:
        if self.status():
            self.apt("purge", "outboxd")

    def status(self) -> str:
        """As dpkg has it: "ii " is installed, "rc " removed with its configuration kept, "" gone."""
        return self.shell("dpkg-query -W -f='${db:Status-Abbrev}' outboxd 2>/dev/null || true")

    def running(self) -> bool:
        """Is there a process of the program, also of one that was replaced or removed?"""
        return "-> /usr/bin/outboxd" in self.shell("ls -l /proc/[0-9]*/exe 2>/dev/null || true")

    def files(self) -> dict[str, str]:
        """Every file, with its type, mode, owner, and content or target."""
        prune = " -o ".join(f"-path {path}" for path in NOT_OURS)
        listed = self.shell(f"find / \\( {prune} \\) -prune -o -printf '%p\\t%y %m %U:%G %l\\n'")
        sums = self.shell(f"find / \\( {prune} \\) -prune -o -type f -exec sha256sum --zero {{}} +")
        found = dict(line.split("\t", 1) for line in listed.splitlines())
        for line in sums.split("\0")[:-1]:
            digest, path = line.split("  ", 1)
            found[path] += digest
        return {path: what for path, what in found.items() if path not in UNIMPORTANT}
