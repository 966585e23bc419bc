"""The .deb on a bare Debian: what it brings, what an upgrade keeps, what stays after removal and after purge."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
from harness import Database, Elastic, FaultProxy, History, Outboxd, insert_events, wait_until
from harness.ports import free_port
from packages.root import Root
from systemd.machine import Service

pytestmark = pytest.mark.time_limit(300)
OutboxdFactory = Callable[..., Outboxd]
CONFIG, SECRETS = "/etc/outboxd/outboxd.conf", "/etc/outboxd/outboxd.env"


def away() -> str:
    return f"[postgres]\ndsn = host=127.0.0.1 port={free_port()} user=x\n[elasticsearch]\nurl = http://127.0.0.1:{free_port()}\n"


def pending(db: Database) -> int:
    return int(db.value("SELECT count(*) FROM outbox WHERE NOT processed"))


@pytest.fixture
def instance(installed: Root) -> Iterator[Service]:
    """One of the template, outboxd@shop, that waits for servers; its configuration is no package's."""
    shop = Service(installed, "outboxd@shop.service", "shop")
    shop.configure(away() + "[admin]\nlisten = off\n")
    shop.systemctl("enable", "--now")
    yield shop
    shop.systemctl("disable", "--now", check=False)
    shop.systemctl("reset-failed", check=False)
    installed.run("rm", "-f", "/etc/outboxd/shop.conf")


@pytest.fixture
def bare(root: Root) -> Iterator[dict[str, str]]:
    """Every file of the root before anything was installed: for the first test only."""
    assert root.status() == "" and "libpq5" not in root.shell("dpkg-query -W")
    yield root.files()
    root.purge()


def test_purge_leaves_nothing(root: Root, bare: dict[str, str]) -> None:
    """The package is used before it goes, and what came because of it goes too."""

    root.install(root.first)
    assert root.status() == "ii "
    root.write(CONFIG, away())
    root.run("systemctl", "enable", "--now", "outboxd")
    assert root.running()
    assert len(root.files()) > len(bare) + 30
    root.apt("purge", "--autoremove", "outboxd")

    assert root.status() == ""
    assert root.files() == bare
    assert not root.running()
    assert "could not be found" in root.run("systemctl", "status", "outboxd", check=False).stderr
    assert root.run("getent", "passwd", "outboxd", check=False).stdout == ""


def test_what_it_brings(installed: Root) -> None:
    version = installed.run("outboxd", "--version").stdout.splitlines()
    assert version[0].startswith("outboxd ") and len(version) == 7
    for path, mode in {"/usr/bin/outboxd": "755", CONFIG: "644", SECRETS: "600", "/etc/outboxd": "755",
                       "/usr/lib/systemd/system/outboxd.service": "644", "/usr/lib/systemd/system/outboxd@.service": "644"}.items():
        assert installed.shell(f"stat -c '%a %U:%G' {path}").strip() == f"{mode} root:root", path
    assert ".TH OUTBOXD 8" in installed.shell("zcat /usr/share/man/man8/outboxd.8.gz")
    doc = installed.shell("ls /usr/share/doc/outboxd /usr/share/doc/outboxd/examples").split()
    assert {"README.md", "CONTRIBUTING.md", "copyright", "changelog.gz", "changelog.Debian.gz", "outboxd.cdx.json", "docs",
            "grafana-outboxd.json", "outboxd.rules.yml", "role.sql", "docker-compose.yml", "kubernetes"} <= set(doc)
    assert installed.shell("cd / && md5sum --quiet -c /var/lib/dpkg/info/outboxd.md5sums") == ""
    assert installed.shell("systemd-analyze verify --man=no outboxd.service outboxd@shop.service 2>&1") == ""


def test_it_is_not_enabled_and_not_started(installed: Root) -> None:
    assert installed.run("systemctl", "is-enabled", "outboxd", check=False).stdout.strip() == "disabled"
    assert installed.run("systemctl", "is-active", "outboxd", check=False).stdout.strip() == "inactive"


def test_started_as_it_comes_it_says_what_is_missing(service: Service) -> None:
    service.systemctl("start", check=False)

    service.wait_property("ActiveState", "failed")
    assert service.property("ExecMainStatus") == "78"
    assert "postgres.dsn" in service.journal()


def test_started_without_servers_it_waits_and_says_so(installed: Root, service: Service) -> None:
    installed.write(CONFIG, away())

    service.systemctl("start")

    service.wait_property("StatusText", "PostgreSQL is away: ")
    service.wait_property("StatusText", "Elasticsearch has not answered yet")  # who has no session asks nobody


def test_the_secret_is_read_and_nobody_else_reads_it(installed: Root, service: Service) -> None:
    installed.write(CONFIG, away())
    installed.shell(f"echo OUTBOXD_LOG_LEVEL=debug >>{SECRETS}")

    service.systemctl("start")

    pid = service.property("MainPID")
    assert "OUTBOXD_LOG_LEVEL=debug" in installed.shell(f"tr '\\0' '\\n' </proc/{pid}/environ")
    assert "level=debug" in service.journal()
    user = installed.shell(f"stat -c %u /proc/{pid}").strip()
    assert user != "0"
    read = installed.run("setpriv", f"--reuid={user}", "--clear-groups", "cat", SECRETS, check=False)
    assert "Permission denied" in read.stderr
    # As docs/PACKAGES.md has it for a command.
    shown = installed.run("systemd-run", "--quiet", "--pipe", f"--property=EnvironmentFile={SECRETS}", "outboxd", "config")
    assert re.search(r"^log.level = debug +# OUTBOXD_LOG_LEVEL$", shown.stdout, re.MULTILINE)


def test_an_upgrade_keeps_configuration_service_and_events(installed: Root, db: Database, elastic: Elastic, index: str,
                                                           outboxd: OutboxdFactory, service: Service,
                                                           instance: Service) -> None:
    assert outboxd().run("init", "--notify").exit_code == 0
    history = History()
    with db.connect() as connection:
        insert_events(connection, 20_000, index=index, history=history)
    installed.shell(f"echo '#by hand' >>{SECRETS}")
    with FaultProxy(elastic.port) as proxy:
        proxy.delay(0.5)  # a second for each request of 100 events: the drain is longer than any upgrade
        by_hand = (f"# by hand\n[postgres]\ndsn = {db.dsn}\n[elasticsearch]\nurl = {proxy.url}\n"
                   "[relay]\nworkers = 1\nbatch_rows = 100\n")
        installed.shell(f"cat >{CONFIG} <<'END'\n{by_hand}END")
        service.systemctl("enable", "--now")
        before = {each: each.property("MainPID") for each in (service, instance)}
        wait_until(lambda: pending(db) < 20_000, 60, "the drain to begin")

        said = installed.install(installed.next)

        assert 0 < pending(db) < 20_000
        assert "failed" not in said.lower()
        for each in (service, instance):
            assert each.property("ActiveState") == "active"
            assert each.property("MainPID") not in (before[each], "0")
            assert each.property("NRestarts") == "0"  # stopped and started, not crashed
            assert each.systemctl("is-enabled").stdout.strip() == "enabled"
            assert "deleted" not in installed.shell(f"readlink /proc/{each.property('MainPID')}/exe")
            assert "event=stopped" in each.journal()
        proxy.pass_all()
        wait_until(lambda: pending(db) == 0, 90, "all events delivered", every=0.2)
    assert installed.run("outboxd", "--version").stdout.startswith("outboxd 99.0.1\n")
    assert installed.shell(f"cat {CONFIG}") == by_hand
    assert "of the next version" in installed.shell(f"cat {CONFIG}.dpkg-dist")
    assert "#by hand" in installed.shell(f"cat {SECRETS}")
    assert installed.shell(f"stat -c %a {SECRETS}").strip() == "600"
    assert db.value("SELECT count(*) FROM outbox WHERE dead_at IS NOT NULL") == 0
    history.assert_matches(elastic, index)


def test_an_unchanged_configuration_is_upgraded(installed: Root) -> None:
    installed.install(installed.next)

    assert "of the next version" in installed.shell(f"cat {CONFIG}")
    assert installed.run("systemctl", "is-active", "outboxd", check=False).stdout.strip() == "inactive"


def test_removal_keeps_the_configuration_and_purge_does_not(installed: Root, service: Service, instance: Service) -> None:
    installed.write(CONFIG, away())
    service.systemctl("enable", "--now")

    assert instance.property("ActiveState") == "active"

    installed.apt("remove", "outboxd")

    assert installed.status() == "rc "
    assert not installed.running()
    left = installed.shell("find / -xdev -path '*outboxd*' -not -path '/proc/*' -not -path '/run/*' -not -path '/var/log/*'").split()
    expected = [r"/etc/outboxd(/(outboxd\.(conf|env)|shop\.conf))?", r"/var/lib/dpkg/info/outboxd\.(list|postrm)",
                r"/etc/systemd/system/multi-user\.target\.wants/outboxd(@shop)?\.service"]
    assert [path for path in left if not any(re.fullmatch(e, path) for e in expected)] == []
    assert "user=x" in installed.shell(f"cat {CONFIG}")

    installed.install(installed.first)
    assert "user=x" in installed.shell(f"cat {CONFIG}")
    assert service.systemctl("is-enabled").stdout.strip() == "enabled"
    installed.run("rm", "/etc/outboxd/shop.conf")  # purge would leave it, and the folder
    installed.purge()
    assert installed.shell("ls -d /etc/outboxd /etc/systemd/system/*/outboxd* 2>/dev/null || true") == ""


def test_what_was_put_there_by_hand_stays(installed: Root) -> None:
    installed.write("/etc/outboxd/shop.conf", "[postgres]\n")

    installed.purge()

    assert installed.shell("find /etc/outboxd -type f").split() == ["/etc/outboxd/shop.conf"]
    installed.run("rm", "-r", "/etc/outboxd")


def test_the_tarball(installed: Root) -> None:
    """Where the libraries are, as they are with the package, unpacking is enough."""
    try:
        installed.shell(f"mkdir /tmp/unpacked && tar -C /tmp/unpacked --strip-components=1 -xzf {installed.tarball}")
        assert installed.run("/tmp/unpacked/bin/outboxd", "--version").stdout.count("\n") == 7
        files = installed.shell("cd /tmp/unpacked && find . -type f").split()
        assert {"./lib/systemd/system/outboxd.service", "./share/man/man8/outboxd.8", "./share/doc/outboxd/LICENSE",
                "./share/doc/outboxd/outboxd.conf", "./share/zsh/site-functions/_outboxd"} <= set(files)
        owners = installed.shell(f"tar -tvzf {installed.tarball}").splitlines()
        assert all(line.split()[1] == "0/0" for line in owners)
    finally:
        installed.run("rm", "-rf", "/tmp/unpacked")
