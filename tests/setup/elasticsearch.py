#!/usr/bin/python3
"""Makes sure that a pinned Elasticsearch is unpacked in the cache, and says where it is.

Prints three lines, version=, home= and java=, for programs to read. The distribution is the minimal one that
Elasticsearch publishes for integration tests: the real server without optional modules.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, NoReturn


class Pin(NamedTuple):
    version: str
    sha256: str
    least_java: int


# Newest first: the first one that a Java on this machine can run is taken.
PINS = (
    Pin("9.5.0", "db0e275fd790f723eca7bcde96069fd6fed304ad23afdb70c8c09553dd9e8b1b", 21),
    Pin("8.19.0", "14833b2d86c30656901f92049f81fb5777a8e4545413c8656cd1a21b55173033", 17),
)
ARTIFACT = "org.elasticsearch.distribution.integ-test-zip:elasticsearch:{version}:zip"


def die(message: str) -> NoReturn:
    sys.exit(f"elasticsearch.py: {message}")


def cache_folder() -> Path:
    if explicit := os.environ.get("OUTBOXD_CACHE"):
        return Path(explicit)
    if os.geteuid() == 0:
        # The server refuses to run as root, and root's home is usually closed to the user that it runs as.
        return Path("/var/cache/outboxd")
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "outboxd"


def java_homes() -> Iterator[Path]:
    if explicit := os.environ.get("JAVA_HOME"):
        yield Path(explicit)
    yield from sorted(Path("/usr/lib/jvm").glob("*/"))
    if on_path := shutil.which("java"):
        yield Path(on_path).resolve().parent.parent


def java_major(home: Path) -> int | None:
    """The major version of the Java at `home`, or None where there is none that runs."""
    try:
        answer = subprocess.run([home / "bin/java", "-version"], capture_output=True, text=True)
    except OSError:
        return None
    found = re.search(r'version "(\d+)', answer.stderr)
    return int(found[1]) if found else None


def installed_javas() -> dict[int, Path]:
    javas: dict[int, Path] = {}
    for home in {home.resolve(): None for home in java_homes() if home.is_dir()}:
        if major := java_major(home):
            javas.setdefault(major, home)
    return javas


def choose(javas: dict[int, Path]) -> tuple[Pin, Path]:
    """The pin to use, and the oldest Java that runs it: the nearest to what that release was tested with."""
    wanted = os.environ.get("OUTBOXD_ES_VERSION")
    pins = [pin for pin in PINS if wanted in (None, "", pin.version)]
    if not pins:
        die(f"OUTBOXD_ES_VERSION={wanted} is not pinned; pinned: {', '.join(p.version for p in PINS)}")
    for pin in pins:
        fitting = [major for major in javas if major >= pin.least_java]
        if fitting:
            return pin, javas[min(fitting)]
    have = ", ".join(map(str, sorted(javas))) or "none"
    die(f"Elasticsearch {pins[-1].version} needs Java {pins[-1].least_java} or newer; found: {have}")


def fetch(pin: Pin, folder: Path) -> Path:
    if not shutil.which("mvn"):
        die("mvn is missing; run tests/setup/install.sh demo")
    artifact = ARTIFACT.format(version=pin.version)
    print(f"elasticsearch.py: fetching {artifact}", file=sys.stderr)
    command = ["mvn", "-q", "-B", "dependency:copy", f"-Dartifact={artifact}", f"-DoutputDirectory={folder}"]
    answer = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if answer.returncode != 0:
        die(f"cannot fetch {artifact}:\n{answer.stdout}")
    return folder / f"elasticsearch-{pin.version}.zip"


def verify(archive: Path, pin: Pin) -> None:
    with archive.open("rb") as file:
        seen = hashlib.file_digest(file, "sha256").hexdigest()
    if seen != pin.sha256:
        die(f"{archive.name} is not the pinned file: sha256 is {seen}, must be {pin.sha256}. Nothing was unpacked.")


def unpack(archive: Path, folder: Path) -> None:
    with zipfile.ZipFile(archive) as bundle:
        for entry in bundle.infolist():
            path = bundle.extract(entry, folder)
            # zipfile drops permissions; the scripts in bin/ need theirs, and everybody may read.
            os.chmod(path, (entry.external_attr >> 16) & 0o755 | (0o755 if entry.is_dir() else 0o644))


def ensure(pin: Pin, cache: Path) -> Path:
    home = cache / f"elasticsearch-{pin.version}"
    if home.is_dir():
        return home
    cache.mkdir(parents=True, exist_ok=True)
    # Fetched and unpacked aside, then renamed: a folder with the final name is always complete.
    with tempfile.TemporaryDirectory(prefix=".unpack-", dir=cache) as aside:
        archive = fetch(pin, Path(aside))
        verify(archive, pin)
        unpack(archive, Path(aside))
        try:
            os.rename(Path(aside) / home.name, home)
        except OSError:
            if not home.is_dir():  # otherwise another run was faster, and its folder is as good as ours
                raise
    return home


def main() -> None:
    os.umask(0o022)
    pin, java = choose(installed_javas())
    print(f"version={pin.version}\nhome={ensure(pin, cache_folder())}\njava={java}")


if __name__ == "__main__":
    main()
