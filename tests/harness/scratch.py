"""Scratch folders that vanish with their owner."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

from .process import server_account


class Scratch:
    """A temporary folder that belongs to the account that servers run as."""

    def __init__(self, purpose: str) -> None:
        self.path = Path(tempfile.mkdtemp(prefix=f"outboxd-{purpose}-"))
        self.own(self.path)
        atexit.register(self.remove)

    def own(self, path: Path) -> None:
        """Hands a file or folder, with all that is in it, to the server account."""
        account = server_account()
        if account.pw_uid == os.geteuid():
            return
        for item in (path, *path.rglob("*")):
            os.chown(item, account.pw_uid, account.pw_gid)

    def folder(self, name: str) -> Path:
        made = self.path / name
        made.mkdir()
        self.own(made)
        return made

    def remove(self) -> None:
        # A server that was killed a moment ago may still be writing: what it leaves is not worth an error.
        shutil.rmtree(self.path, ignore_errors=True)
        atexit.unregister(self.remove)
