"""Pinned archives of servers from Maven Central: fetched once, checked, unpacked in the cache."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn


def die(message: str) -> NoReturn:
    sys.exit(f"{Path(sys.argv[0]).name}: {message}")


def cache_folder() -> Path:
    if explicit := os.environ.get("OUTBOXD_CACHE"):
        return Path(explicit)
    if os.geteuid() == 0:
        # The servers refuse to run as root, and root's home is usually closed to the user that they run as.
        return Path("/var/cache/outboxd")
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "outboxd"


def ensure(name: str, artifact: str, sha256: str, unpack: Callable[[Path, Path], None]) -> Path:
    """The folder `name` of the cache. `unpack` makes it inside of the folder that it is given."""
    home = cache_folder() / name
    if home.is_dir():
        return home
    home.parent.mkdir(parents=True, exist_ok=True)
    # Fetched and unpacked aside, then renamed: a folder with the final name is always complete.
    with tempfile.TemporaryDirectory(prefix=".unpack-", dir=home.parent) as aside:
        archive = _fetch(artifact, Path(aside) / "archive")
        _verify(archive, sha256)
        unpack(archive, Path(aside))
        try:
            os.rename(Path(aside) / name, home)
        except OSError:
            if not home.is_dir():  # otherwise another run was faster, and its folder is as good as ours
                raise
    return home


def _fetch(artifact: str, folder: Path) -> Path:
    if not shutil.which("mvn"):
        die("mvn is missing; run tests/setup/install.sh demo")
    print(f"{Path(sys.argv[0]).name}: fetching {artifact}", file=sys.stderr)
    command = ["mvn", "-q", "-B", "dependency:copy", f"-Dartifact={artifact}", f"-DoutputDirectory={folder}"]
    answer = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if answer.returncode != 0:
        die(f"cannot fetch {artifact}:\n{answer.stdout}")
    (archive,) = folder.iterdir()
    return archive


def _verify(archive: Path, sha256: str) -> None:
    with archive.open("rb") as file:
        seen = hashlib.file_digest(file, "sha256").hexdigest()
    if seen != sha256:
        die(f"{archive.name} is not the pinned file: sha256 is {seen}, must be {sha256}. Nothing was unpacked.")
