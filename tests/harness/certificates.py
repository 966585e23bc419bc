"""Certificates of our own: an authority, and what it signs, as the openssl program makes them."""

from __future__ import annotations

import hashlib
import ssl
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .ports import HOST

LOCAL = (f"IP:{HOST}", "DNS:localhost")


@dataclass(frozen=True)
class Certificate:
    file: Path
    key: Path

    @property
    def fingerprint(self) -> str:
        """As Elasticsearch prints it: the SHA-256 of the DER form."""
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(self.file.read_text())).hexdigest()


class Authority(Certificate):
    def __init__(self, folder: Path, name: str = "ca") -> None:
        super().__init__(folder / f"{name}.pem", folder / f"{name}.key")
        self._openssl("req", "-x509", "-nodes", "-subj", f"/CN={name}", "-days", "2", "-out", self.file,
                      "-addext", "keyUsage=critical,keyCertSign", *self._new_key(self.key))

    def issue(self, name: str, hosts: Sequence[str] = LOCAL, days: int = 2) -> Certificate:
        """Signed by this authority, for a server with these names, or for a client called `name`."""
        made = Certificate(self.file.with_name(f"{name}.pem"), self.file.with_name(f"{name}.key"))
        request, extensions = made.file.with_suffix(".csr"), made.file.with_suffix(".ext")
        extensions.write_text(f"subjectAltName={','.join(hosts)}\n")
        self._openssl("req", "-nodes", "-subj", f"/CN={name}", "-out", request, *self._new_key(made.key))
        # A negative number of days makes one that has expired.
        self._openssl("x509", "-req", "-in", request, "-CA", self.file, "-CAkey", self.key, "-CAcreateserial",
                      "-days", str(days), "-extfile", extensions, "-out", made.file)
        return made

    def context(self, client: Certificate | None = None) -> ssl.SSLContext:
        """For a client that trusts this authority."""
        made = ssl.create_default_context(cafile=str(self.file))
        if client:
            made.load_cert_chain(client.file, client.key)
        return made

    @staticmethod
    def _new_key(file: Path) -> tuple[str | Path, ...]:
        return "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-keyout", file

    @staticmethod
    def _openssl(*command: str | Path) -> None:
        done = subprocess.run(["openssl", *map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"openssl {command[0]} failed:\n{done.stdout}")
