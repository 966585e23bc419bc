"""TLS to Elasticsearch: who is trusted, who is not, what is said, and that a file that changes is read again."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import OutboxdFactory
from helpers import USERS, drain, init, publish, undelivered
from test_check import problem

from harness import Authority, Database, Elastic, Outboxd, wait_until
from harness.ports import HOST

CONFIG = 78
QUICK = {"relay_poll_interval": "50ms", "retry_base": "50ms", "retry_cap": "300ms"}
RELAY = {"relay": {"indices": [{"names": ["*"], "privileges": ["index", "delete", "auto_configure"]}]}}
SERVER = {
    "xpack.security.http.ssl.enabled": True,
    "xpack.security.http.ssl.certificate": "http.pem",
    "xpack.security.http.ssl.key": "http.key",
    "xpack.security.http.ssl.client_authentication": "required",
    "xpack.security.http.ssl.certificate_authorities": ["clients.pem"],
    "resource.reload.interval.high": "200ms",
    "resource.reload.interval.medium": "200ms",
}


class Tls:
    """A node that shows `http`, and lets in whom `ca` has signed."""

    def __init__(self, folder: Path) -> None:
        self.ca = Authority(folder)
        self.stranger = Authority(folder, "stranger")
        self.http = self.ca.issue("http", [f"IP:{HOST}"])
        self.client = self.ca.issue("client")
        self.stranger_client = self.stranger.issue("other")
        self.chain = folder / "chain.pem"
        self.chain.write_text(self.http.file.read_text() + self.ca.file.read_text())
        self.node = Elastic(settings=SERVER, users=USERS, roles=RELAY, heap="384m",
                            context=self.ca.context(self.client),
                            files={"http.pem": self.chain, "http.key": self.http.key, "clients.pem": self.ca.file})

    @property
    def by_another_name(self) -> str:
        """The same node, by a name that its certificate does not have."""
        return self.node.url.replace(HOST, "localhost")

    def settings(self, password: Path, **other: Any) -> dict[str, Any]:
        return {"elasticsearch_url": self.node.url, "elasticsearch_ca_file": self.ca.file,
                "elasticsearch_cert_file": self.client.file, "elasticsearch_key_file": self.client.key,
                "elasticsearch_username": "relay", "elasticsearch_password_file": password, **QUICK, **other}


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tls]:
    made = Tls(tmp_path_factory.mktemp("tls"))
    with made.node:
        yield made


@pytest.fixture
def one(db: Database, index: str, outboxd: OutboxdFactory) -> str:
    """The index of an event that waits."""
    init(outboxd())
    publish(db, index, "1", {"n": 1})
    return index


def refused(relay: Outboxd, db: Database, *words: str) -> None:
    """Nothing is delivered, the sentence says why, and the doctor calls it a problem, not a server that is away."""
    relay.start()
    relay.wait_log("elasticsearch_away", timeout=30)
    done = relay.terminate()
    assert done.exit_code == 0 and undelivered(db) == 1, done.stderr
    errors = [line["error"] for line in done.logs("elasticsearch_away")]
    assert len(errors) == 1 and all(word in errors[0] for word in ("tls", *words)), errors
    problem(relay.run("check"), "elasticsearch ", "tls", "elasticsearch.ca_file", *words)


def test_a_server_and_a_client_that_prove_who_they_are(tls: Tls, db: Database, one: str, secret: Path,
                                                       outboxd: OutboxdFactory) -> None:
    drain(outboxd(**tls.settings(secret)))
    assert set(tls.node.all_docs(one)) == {"1"}


def test_an_unknown_authority_is_refused_by_default(tls: Tls, db: Database, one: str, secret: Path,
                                                    outboxd: OutboxdFactory) -> None:
    refused(outboxd(**tls.settings(secret, elasticsearch_ca_file="")), db, "self-signed certificate in certificate chain")


def test_another_authority_is_refused(tls: Tls, db: Database, one: str, secret: Path, outboxd: OutboxdFactory) -> None:
    refused(outboxd(**tls.settings(secret, elasticsearch_ca_file=tls.stranger.file)), db, "certificate")


def test_another_host_name_is_refused(tls: Tls, db: Database, one: str, secret: Path, outboxd: OutboxdFactory) -> None:
    refused(outboxd(**tls.settings(secret, elasticsearch_url=tls.by_another_name)), db, "host name 'localhost'")


def test_no_client_certificate(tls: Tls, db: Database, one: str, secret: Path, outboxd: OutboxdFactory) -> None:
    settings = tls.settings(secret, elasticsearch_cert_file="", elasticsearch_key_file="")
    refused(outboxd(**settings), db, "certificate")  # TLS 1.3 says "required", 1.2 "bad"


def test_a_client_certificate_of_a_stranger(tls: Tls, db: Database, one: str, secret: Path,
                                            outboxd: OutboxdFactory) -> None:
    settings = tls.settings(secret, elasticsearch_cert_file=tls.stranger_client.file,
                            elasticsearch_key_file=tls.stranger_client.key)
    refused(outboxd(**settings), db, "alert")


class TestFingerprint:
    @pytest.mark.parametrize("form", [str, str.upper, lambda text: ":".join(map("".join, zip(text[::2], text[1::2])))],
                             ids=["as Elasticsearch prints it", "upper case", "as openssl prints it"])
    def test_of_the_authority(self, form: Any, tls: Tls, one: str, secret: Path, outboxd: OutboxdFactory) -> None:
        drain(outboxd(**tls.settings(secret, elasticsearch_ca_file="",
                                     elasticsearch_fingerprint=form(tls.ca.fingerprint))))
        assert set(tls.node.all_docs(one)) == {"1"}

    def test_of_the_server(self, tls: Tls, one: str, secret: Path, outboxd: OutboxdFactory) -> None:
        drain(outboxd(**tls.settings(secret, elasticsearch_ca_file="",
                                     elasticsearch_fingerprint=tls.http.fingerprint)))
        assert set(tls.node.all_docs(one)) == {"1"}

    def test_of_another_certificate(self, tls: Tls, db: Database, one: str, secret: Path,
                                    outboxd: OutboxdFactory) -> None:
        """Also where a CA of the system would have vouched: the pin stands alone."""
        settings = tls.settings(secret, elasticsearch_ca_file="",
                                elasticsearch_fingerprint=tls.stranger.fingerprint)
        refused(outboxd(**settings), db, "no certificate that the server sent has elasticsearch.fingerprint")

    def test_the_host_name_counts_all_the_same(self, tls: Tls, db: Database, one: str, secret: Path,
                                               outboxd: OutboxdFactory) -> None:
        settings = tls.settings(secret, elasticsearch_ca_file="", elasticsearch_fingerprint=tls.ca.fingerprint,
                                elasticsearch_url=tls.by_another_name)
        refused(outboxd(**settings), db, "host name 'localhost'")

    def test_a_certificate_that_only_came_along(self, tls: Tls, db: Database, one: str, secret: Path,
                                                outboxd: OutboxdFactory) -> None:
        """The server sends the pinned certificate, but that did not sign the server's own. Elasticsearch would not send
        such a chain, an impostor would."""
        chain = tls.chain.with_name("impostor.pem")
        chain.write_text(tls.chain.read_text() + tls.stranger.file.read_text())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chain, tls.http.key)
        with socket.create_server((HOST, 0)) as listener:
            threading.Thread(target=shake_hands, args=(listener, context), daemon=True).start()
            settings = tls.settings(secret, elasticsearch_url=f"https://{HOST}:{listener.getsockname()[1]}",
                                    elasticsearch_ca_file="", elasticsearch_fingerprint=tls.stranger.fingerprint)
            refused(outboxd(**settings), db, "self-signed certificate in certificate chain")
            listener.shutdown(socket.SHUT_RDWR)

    def test_of_a_certificate_that_has_expired(self, tls: Tls, db: Database, one: str, secret: Path,
                                               outboxd: OutboxdFactory) -> None:
        old = tls.ca.issue("old", days=-1)
        settings = tls.settings(secret, elasticsearch_ca_file="", elasticsearch_fingerprint=old.fingerprint)
        with shown(tls, old.file.read_text(), old.key.read_text()):
            refused(outboxd(**settings), db, "certificate has expired")

    @pytest.mark.parametrize("settings,words", [
        ({"elasticsearch_fingerprint": "ab:cd"}, "64 hexadecimal digits"),
        ({"elasticsearch_fingerprint": "a" * 65}, "longer than"),
        ({"elasticsearch_fingerprint": "a" * 64}, "excludes elasticsearch.ca_file"),
        ({"elasticsearch_url": "http://127.0.0.1:9200"}, "needs an https:// address"),
    ])
    def test_what_is_wrong_is_said_at_the_start(self, settings: dict[str, str], words: str, tls: Tls, secret: Path,
                                                outboxd: OutboxdFactory) -> None:
        kept = {} if "excludes" in words or "https" in words else {"elasticsearch_ca_file": ""}
        done = outboxd(**tls.settings(secret, **{**kept, **settings})).run("run", "--once")
        assert done.exit_code == CONFIG and words in done.stderr, done.stderr


def shake_hands(listener: socket.socket, context: ssl.SSLContext) -> None:
    """With whoever comes, and no more than that."""
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        try:
            context.wrap_socket(connection, server_side=True).close()
        except OSError:
            pass


class shown:
    """The node shows another certificate for a while; it reads its files again by itself."""

    def __init__(self, tls: Tls, chain: str, key: str | None = None) -> None:
        self.tls, self.chain, self.key = tls, chain, key or tls.http.key.read_text()

    def __enter__(self) -> None:
        self._show(self.chain, self.key)

    def __exit__(self, *_: object) -> None:
        self._show(self.tls.chain.read_text(), self.tls.http.key.read_text())

    def _show(self, chain: str, key: str) -> None:
        self.tls.node.put("http.key", key)
        self.tls.node.put("http.pem", chain)
        wanted = chain[:chain.index("END CERTIFICATE")]

        def look() -> bool:
            return ssl.get_server_certificate((HOST, self.tls.node.port)).strip().startswith(wanted.strip())

        wait_until(look, 30, "the node to show another certificate")


@pytest.mark.parametrize("setting", ["elasticsearch_ca_file", "elasticsearch_cert_file"])
def test_a_file_that_changes_is_read_again(setting: str, tls: Tls, db: Database, one: str, secret: Path,
                                           outboxd: OutboxdFactory, tmp_path: Path) -> None:
    """A renewed authority, a renewed client certificate: no restart."""
    settings = tls.settings(secret)
    right: Path = settings[setting]
    file = settings[setting] = tmp_path / "certificate.pem"
    file.write_bytes(tls.stranger.file.read_bytes())
    if setting == "elasticsearch_cert_file":
        file.write_bytes(tls.stranger_client.file.read_bytes())
        key = settings["elasticsearch_key_file"] = tmp_path / "key.pem"
        key.write_bytes(tls.stranger_client.key.read_bytes())
    relay = outboxd(**settings)
    relay.start()
    assert "tls" in relay.wait_log("elasticsearch_away", timeout=30)["error"]

    file.write_bytes(right.read_bytes())
    if setting == "elasticsearch_cert_file":
        key.write_bytes(tls.client.key.read_bytes())

    relay.wait_log("elasticsearch_back", timeout=30)
    wait_until(lambda: undelivered(db) == 0, 30, "the event")
    assert "-secret" not in relay.stderr
