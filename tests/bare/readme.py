"""Types README's blocks in a bare Debian that tests/bare/run has made, and says how long that took."""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace

from documents import Block, missing
from shell import Newcomer

from harness import wait_until
from harness.ports import HOST, free_port

README = "README.md"
PATIENCE = 4 * 3600  # for a block: the machine may be slow, and the mirrors far away
LIMIT = 300  # s, beyond downloads: from nothing to the first product found
# Lines of ./demo.sh about what another run would find in its place.
DOWNLOADS = re.compile(r"^(?:packages|Elasticsearch) .*\.\.\. (\d+) s$", re.MULTILINE)


@dataclass
class Clock:
    """Seconds of what the reader of README does, and those of them that went into downloads and their installation."""

    all: float = 0
    downloads: float = 0

    def __str__(self) -> str:
        return f"{self.all:.0f} s, {self.all - self.downloads:.0f} s without downloads and the installation of packages"

    def __add__(self, other: Clock) -> Clock:
        return Clock(self.all + other.all, self.downloads + other.downloads)


def inside(container: str, environment: Mapping[str, str], *command: str) -> list[str]:
    variables = [f"--env={name}={value}" for name, value in {"HOME": "/home/newcomer", **environment}.items()]
    return ["podman", "exec", "--interactive", "--user=newcomer", "--workdir=/home/newcomer/outboxd", *variables, container, *command]


class Reader(Newcomer):
    """A newcomer in the container: each block must end well."""

    def __init__(self, container: str, environment: Mapping[str, str], elsewhere: Mapping[str, str]) -> None:
        super().__init__(README, {}, elsewhere, inside(container, environment, "bash"), PATIENCE)

    def type(self, block: Block) -> str:
        if block.language != "sh":
            return super().type(block)
        # Not from our stdin, which has the next commands.
        printed = super().type(replace(block, text=f"trap 'bad=1' ERR; bad=0\n{{\n{block.text}\n}} </dev/null\n"
                                       "printf '\\nexit code %s\\n' $bad\ntrap - ERR\n"))
        assert re.search(r"^exit code 0$", printed, re.MULTILINE), f"{block} failed:\n{printed}"
        return printed


def demo(container: str) -> Clock:
    began = time.monotonic()
    with closing(Reader(container, {}, {})) as someone:
        printed = someone.sees("demo")
    downloads = [int(seconds) for seconds in DOWNLOADS.findall(printed)]
    assert len(downloads) == 2, "the demo no longer says what it fetched"
    return Clock(time.monotonic() - began, sum(downloads))


def leaves_nothing(container: str) -> None:
    """No process of the newcomer, and no scratch folder."""
    look = ("ls -d /tmp/outboxd-* 2>/dev/null; for each in /proc/[0-9]*; do "
            "[ \"$(stat -c %U $each 2>/dev/null)\" != newcomer ] || cat $each/comm; done; true")

    def is_clean() -> bool:
        return not subprocess.run(["podman", "exec", container, "sh", "-c", look], stdout=subprocess.PIPE, text=True, check=True).stdout

    wait_until(is_clean, 30, "the demo to leave nothing behind", every=1)


@contextmanager
def servers(container: str) -> Iterator[dict[str, str]]:
    """What README's reader has already."""
    command = inside(container, {}, "/usr/bin/python3", "tests/bare/servers.py")
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdin and running.stdout
        try:
            yield json.loads(running.stdout.readline())
        finally:
            running.stdin.close()


def tutorial(container: str, found: Mapping[str, str]) -> Clock:
    clock = Clock()
    environment = {"PATH": f"{found['programs']}:/usr/local/bin:/usr/bin:/bin", "PGPORT": found["port"], "PAGER": "cat",
                   "OUTBOXD_ADMIN_LISTEN": f"{HOST}:{free_port()}"}
    with closing(Reader(container, environment, {"http://localhost:9200": found["url"]})) as someone:
        for line in someone.known["build"].text.splitlines():
            began = time.monotonic()
            print(someone.type(replace(someone.known["build"], text=line)), end="")
            seconds = time.monotonic() - began
            clock += Clock(seconds, seconds if line.startswith("tests/setup/install.sh") else 0)
        began = time.monotonic()
        someone.run("addresses")
        started = someone.run("start")
        assert "PROBLEM" not in started, started
        someone.run("publish")
        assert not missing(someone.known["found"].shown, someone.comes_to_see("found"))
        clock += Clock(time.monotonic() - began)
        someone.type(replace(someone.known["start"], text="kill $! && wait $!\n"))  # it drains, and ends well
        return clock


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests/bare/run")
    parser.add_argument("--tests", action="store_true")
    parser.add_argument("container")
    options = parser.parse_args()
    first = demo(options.container)
    leaves_nothing(options.container)
    with servers(options.container) as found:
        second = tutorial(options.container, found)
    whole = first + second
    print(f"the demo: {first}\nfive minutes on your own database: {second}\nfrom nothing to the first product found: {whole}", flush=True)
    assert whole.all - whole.downloads < LIMIT
    if options.tests:
        with closing(Reader(options.container, {}, {})) as someone:
            someone.run("test")


if __name__ == "__main__":
    main()
