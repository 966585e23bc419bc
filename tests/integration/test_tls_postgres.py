"""TLS to PostgreSQL on another host: verified unless somebody chose less, and said how to make it so."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import OutboxdFactory
from helpers import drain, init, publish, undelivered
from test_check import found, problem, warning

from harness import Authority, Database, FaultProxy, Outboxd, Postgres, wait_until
from harness.ports import HOST, own_address

HINT = "verified by default (sslmode=verify-full)"
QUICK = {"relay_poll_interval": "50ms", "retry_base": "50ms", "retry_cap": "300ms"}


class Remote:
    """A server that speaks TLS as db.test, by an address that is not a loopback one."""

    def __init__(self, folder: Path) -> None:
        self.ca = Authority(folder)
        self.stranger = Authority(folder, "stranger")
        made = self.ca.issue("db", ["DNS:db.test"])
        self.server = Postgres({"ssl": "on", "ssl_cert_file": "server.crt", "ssl_key_file": "server.key"})
        for name, source in (("server.crt", made.file), ("server.key", made.key)):
            file = self.server.data_folder / name
            file.write_bytes(source.read_bytes())
            file.chmod(0o600)
        (self.server.data_folder / "pg_hba.conf").write_text(
            "local all all trust\nhost all guarded all scram-sha-256\nhost all all all trust\n")
        self.server.scratch.own(self.server.data_folder)

    def dsn(self, db: Database, **other: Any) -> str:
        return db.dsn_with(**{"host": "db.test", "hostaddr": own_address(), "port": self.proxy.port,
                              "sslrootcert": str(self.ca.file), **other})


@pytest.fixture(scope="module")
def remote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Remote]:
    made = Remote(tmp_path_factory.mktemp("tls"))
    with made.server, FaultProxy(made.server.port, listen=own_address()) as made.proxy:
        yield made


@pytest.fixture
def far(remote: Remote, outboxd: OutboxdFactory, index: str) -> Iterator[Database]:
    """A database there, with an event that waits."""
    db = remote.server.createdb()
    init(outboxd(postgres_dsn=db.dsn), "--notify")
    publish(db, index, "1", {"n": 1})
    yield db
    db.drop()


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    """Where there is no ~/.postgresql."""
    return {"HOME": str(tmp_path)}


def refused(relay: Outboxd, *words: str, hint: bool = True) -> None:
    relay.start()
    relay.wait_log("postgres_away", timeout=30)
    done = relay.terminate()
    assert done.exit_code == 0, done.stderr
    errors = [line["error"] for line in done.logs("postgres_away")]
    assert len(errors) == 1 and all(word in errors[0] for word in words) and (HINT in errors[0]) is hint, errors
    done = relay.run("check")
    problem(done, "postgres ", "sslrootcert", *words)
    assert (HINT in done.stdout) is hint
    done = relay.run("status")
    assert done.exit_code == 75 and all(word in done.stderr for word in words), done.stderr
    assert (HINT in done.stderr) is hint


def test_a_server_that_proves_who_it_is(remote: Remote, far: Database, home: dict[str, str],
                                        outboxd: OutboxdFactory) -> None:
    relay = outboxd(postgres_dsn=remote.dsn(far), environment=home)
    found(relay.run("check"), "ok", 0, "the connection is encrypted and the server verified")
    drain(relay)
    assert undelivered(far) == 0


@pytest.mark.parametrize("other,words", [
    ({"sslrootcert": ""}, "root certificate file"),
    ({"sslrootcert": "{stranger}"}, "certificate verify failed"),
    ({"host": "other.test"}, 'does not match host name "other.test"'),
], ids=["no CA is known", "another CA", "another name"])
def test_a_server_that_does_not(other: dict[str, str], words: str, remote: Remote, far: Database, home: dict[str, str],
                                outboxd: OutboxdFactory) -> None:
    other = {key: value.format(stranger=remote.stranger.file) for key, value in other.items()}
    refused(outboxd(postgres_dsn=remote.dsn(far, **other), environment=home), words)
    assert undelivered(far) == 1
    # What was chosen is obeyed, and its errors are not about our default.
    if "host" not in other and other["sslrootcert"]:
        relay = outboxd(postgres_dsn=remote.dsn(far, sslmode="verify-ca", **other), environment=home)
        refused(relay, words, hint=False)


def test_a_server_without_tls(postgres: Postgres, db: Database, home: dict[str, str], outboxd: OutboxdFactory) -> None:
    init(outboxd())
    with FaultProxy(postgres.port, listen=own_address()) as proxy:
        dsn = db.dsn_with(host=own_address(), port=proxy.port)
        refused(outboxd(postgres_dsn=dsn, environment={**home, "PGSSLROOTCERT": "/etc/passwd"}),
                "server does not support SSL")


@pytest.mark.parametrize("mode,words", [
    ("disable", "the connection to another host is not encrypted"),
    ("prefer", "nobody verifies who the server is"),
    ("require", "nobody verifies who the server is"),
])
@pytest.mark.parametrize("where", ["dsn", "environment", "service file"])
def test_what_somebody_chose(where: str, mode: str, words: str, remote: Remote, far: Database, home: dict[str, str],
                             outboxd: OutboxdFactory, tmp_path: Path) -> None:
    """Less than the default is their affair; the doctor says so."""
    dsn = remote.dsn(far, sslrootcert="")
    if where == "dsn":
        dsn += f" sslmode={mode}"
    elif where == "environment":
        home["PGSSLMODE"] = mode
    else:
        (tmp_path / "services").write_text(f"[shop]\nsslmode={mode}\n")
        home["PGSERVICEFILE"] = str(tmp_path / "services")
        dsn += " service=shop"
    relay = outboxd(postgres_dsn=dsn, environment=home)
    warning(relay.run("check"), words, "sslmode=verify-full")
    drain(relay)


@pytest.mark.parametrize("by", ["dsn", "PGSERVICE"])
def test_a_host_from_a_service_file(by: str, remote: Remote, far: Database, home: dict[str, str],
                                    outboxd: OutboxdFactory, tmp_path: Path) -> None:
    services = tmp_path / "services"
    home["PGSERVICEFILE"] = str(services)
    dsn = f"user=postgres dbname={far.name}"
    if by == "dsn":
        dsn += " service=shop"
    else:
        home["PGSERVICE"] = "shop"
    services.write_text(f"[shop]\nhost=db.test\nhostaddr={own_address()}\nport={remote.proxy.port}\n")
    refused(outboxd(postgres_dsn=dsn, environment=home), "root certificate file")

    # The same server by its loopback address: it does not leave this host.
    services.write_text(f"[shop]\nhost={HOST}\nport={remote.server.port}\n")
    drain(outboxd(postgres_dsn=dsn, environment=home))


@pytest.mark.parametrize("variable", ["PGHOST", "PGHOSTADDR"])
def test_a_host_from_the_environment(variable: str, remote: Remote, far: Database, home: dict[str, str],
                                     outboxd: OutboxdFactory) -> None:
    home = {**home, variable: own_address(), "PGPORT": str(remote.proxy.port)}
    refused(outboxd(postgres_dsn=f"user=postgres dbname={far.name}", environment=home), "root certificate file")


def test_one_host_of_several(remote: Remote, far: Database, home: dict[str, str], outboxd: OutboxdFactory) -> None:
    """One of them is another one: all are verified."""
    dsn = far.dsn_with(host=f"{own_address()},{HOST}", port=f"{remote.proxy.port},{remote.server.port}")
    refused(outboxd(postgres_dsn=dsn, environment=home), "root certificate file")


def test_files_that_change_are_read_again(remote: Remote, far: Database, home: dict[str, str], index: str,
                                          outboxd: OutboxdFactory, tmp_path: Path) -> None:
    """A CA that was renewed, a password that was changed: no restart."""
    ca, passwords = tmp_path / "ca.pem", tmp_path / "passwords"
    home["PGPASSFILE"] = str(passwords)
    ca.write_bytes(remote.stranger.file.read_bytes())

    def password(text: str) -> None:
        # Before PostgreSQL 14 the default was md5, which pg_hba.conf does not take.
        far.execute(f"SET password_encryption = 'scram-sha-256'; ALTER ROLE guarded PASSWORD '{text}'")

    def keep(text: str) -> None:
        passwords.write_text(f"*:*:*:guarded:{text}\n")
        passwords.chmod(0o600)

    far.execute("CREATE ROLE guarded SUPERUSER LOGIN")
    try:
        password("first-secret")
        keep("first-secret")
        relay = outboxd(**QUICK, postgres_dsn=remote.dsn(far, user="guarded", sslrootcert=str(ca)), environment=home)
        relay.start()
        assert "certificate verify failed" in relay.wait_log("postgres_away", timeout=20)["error"]
        ca.write_bytes(remote.ca.file.read_bytes())
        wait_until(lambda: undelivered(far) == 0, 20, "the first event")

        password("second-secret")
        far.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'guarded'")
        log = remote.server.log_file
        wait_until(lambda: 'password authentication failed for user "guarded"' in log.read_text(), 20, "a refusal")
        publish(far, index, "2", {"n": 2})
        keep("second-secret")

        wait_until(lambda: undelivered(far) == 0, 30, "the second event")
        relay.terminate()
        assert "-secret" not in relay.stderr
    finally:
        far.execute("DROP ROLE guarded")
