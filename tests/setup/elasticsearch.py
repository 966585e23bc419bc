#!/usr/bin/python3
"""Makes sure that a pinned Elasticsearch or OpenSearch is unpacked in the cache, and says where it is.

Prints four lines, product=, version=, home= and java=, for programs to read. The distributions are the minimal ones that
both publish for integration tests: the real server without optional modules. OUTBOXD_ES_VERSION chooses another one than
the first of PINS that a Java on this machine can run: 8.19.0, opensearch-3.3.0.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from maven import die, ensure


class Pin(NamedTuple):
    version: str
    sha256: str
    least_java: int
    product: str = "elasticsearch"
    most_java: int = 99

    @property
    def name(self) -> str:
        return self.version if self.product == "elasticsearch" else f"{self.product}-{self.version}"


PINS = (
    Pin("9.5.0", "db0e275fd790f723eca7bcde96069fd6fed304ad23afdb70c8c09553dd9e8b1b", 21),
    Pin("8.19.0", "14833b2d86c30656901f92049f81fb5777a8e4545413c8656cd1a21b55173033", 17),
    # 7.17 and 2.x need Java's security manager, which went in Java 24.
    Pin("7.17.29", "841ee00be1a72ba8e707b5a2fb55f23fe7a4184369b4585393238b1c903eedaf", 11, most_java=21),
    Pin("2.19.6", "71d6d8b1c637f3faecda0752b184b1cc526fc6eaad59ec1408c6327bb00b9293", 11, "opensearch", most_java=21),
    Pin("3.3.0", "c3a6bf825ea05b8d9fe3758dad70ed198cf9c365700895165d310a0a9e7f48a5", 21, "opensearch"),
)
ARTIFACT = "org.{product}.distribution.integ-test-zip:{product}:{version}:zip"


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
    pins = [pin for pin in PINS if wanted in (None, "", pin.name)]
    if not pins:
        die(f"OUTBOXD_ES_VERSION={wanted} is not pinned; pinned: {', '.join(p.name for p in PINS)}")
    for pin in pins:
        fitting = [major for major in javas if pin.least_java <= major <= pin.most_java]
        if fitting:
            return pin, javas[min(fitting)]
    have = ", ".join(map(str, sorted(javas))) or "none"
    last = pins[-1] if wanted else PINS[1]
    die(f"{last.product} {last.version} needs Java {last.least_java} or newer"
        f"{f', {last.most_java} at most' if last.most_java < 99 else ''}; found: {have}")


def unpack(archive: Path, folder: Path) -> None:
    with zipfile.ZipFile(archive) as bundle:
        for entry in bundle.infolist():
            path = bundle.extract(entry, folder)
            # zipfile drops permissions; the scripts in bin/ need theirs, and everybody may read.
            os.chmod(path, (entry.external_attr >> 16) & 0o755 | (0o755 if entry.is_dir() else 0o644))


def main() -> None:
    os.umask(0o022)
    pin, java = choose(installed_javas())
    artifact = ARTIFACT.format(product=pin.product, version=pin.version)
    home = ensure(f"{pin.product}-{pin.version}", artifact, pin.sha256, unpack)
    print(f"product={pin.product}\nversion={pin.version}\nhome={home}\njava={java}")


if __name__ == "__main__":
    main()
