"""The null sink as a context: an Elasticsearch that takes everything and costs nothing."""

from __future__ import annotations

import subprocess
from pathlib import Path

from harness.ports import HOST, free_port


class Sink:
    def __init__(self, program: Path) -> None:
        self.port = free_port()
        self.url = f"http://{HOST}:{self.port}"
        self._process = subprocess.Popen([program, str(self.port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout
        if self._process.stdout.readline() != b"ready\n":
            raise RuntimeError(f"{program} does not listen on port {self.port}")

    def __enter__(self) -> Sink:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(10)
