"""The image: what is in it, and how it behaves as a container."""

from __future__ import annotations

import re
import stat
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from admin import Admin
from containers.conftest import ContainerFactory
from containers.engine import IMAGE, Container, inspect, podman
from harness import Database, Elastic, FaultProxy, History, insert_events, wait_until
from harness.ports import HOST, free_port
from helpers import publish

pytestmark = pytest.mark.time_limit(300)
MAX_BYTES = 40_000_000


def insert(db: Database, index: str, count: int, history: History | None = None) -> None:
    with db.connect() as connection:
        insert_events(connection, count, index=index, history=history)


def pending(db: Database) -> int:
    return int(db.value("SELECT count(*) FROM outbox WHERE NOT processed"))


@pytest.fixture(scope="module")
def contents(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[tarfile.TarInfo]]:
    archive = tmp_path_factory.mktemp("image") / "root.tar"
    name = podman("create", IMAGE).stdout.split()[-1]
    podman("export", "--output", str(archive), name)
    podman("rm", name)
    with tarfile.open(archive) as tar:
        yield tar.getmembers()


def test_what_it_says_about_itself() -> None:
    image = inspect("image", IMAGE)
    config = image["Config"]

    assert config["User"] == "65532:65532"
    assert config["Entrypoint"] == ["outboxd"]
    assert config["StopSignal"] == "SIGTERM"
    assert image["Healthcheck"]["Test"] == ["CMD", "outboxd", "health"]
    version = podman("run", "--rm", IMAGE, "--version").stdout.split()[1]
    head = subprocess.run(["git", "rev-parse", "HEAD"], text=True, capture_output=True, check=True).stdout.strip()
    labels = {name.removeprefix("org.opencontainers.image."): text for name, text in config["Labels"].items()}
    assert labels["version"] == version and labels["revision"] == head
    assert labels["title"] == "outboxd" and labels["licenses"] == "MIT" and labels["description"]


def test_it_is_small_and_holds_one_program(contents: list[tarfile.TarInfo]) -> None:
    size = inspect("image", IMAGE)["Size"]
    print(f"{size} bytes")
    assert size < MAX_BYTES

    programs = {one.name for one in contents if one.isfile() and one.mode & 0o111 and ".so" not in one.name}
    assert programs == {"usr/bin/outboxd"}


def test_nobody_but_root_may_change_a_file(contents: list[tarfile.TarInfo]) -> None:
    ours = [one for one in contents if not one.issym()]

    assert {(one.uid, one.gid) for one in ours} == {(0, 0)}
    assert [one.name for one in ours if one.mode & (stat.S_IWGRP | stat.S_IWOTH | stat.S_ISUID | stat.S_ISGID)] == []


def test_scanners_learn_what_is_in_it(contents: list[tarfile.TarInfo]) -> None:
    names = {one.name for one in contents}
    described = {Path(name).name for name in names if name.startswith("var/lib/dpkg/status.d/")} - {"status.d"}

    assert {"libc6", "libpq5", "libssl3", "libjansson4", "ca-certificates"} <= described
    assert {f"usr/share/doc/{package}/copyright" for package in described | {"outboxd"}} <= names
    assert "etc/ssl/certs/ca-certificates.crt" in names


def test_no_root_no_rights_and_nothing_to_write_to(container: ContainerFactory, admin: Admin) -> None:
    relay = container(admin_listen=admin.listen)
    relay.start()
    relay.wait_health("healthy")
    process = Path(f"/proc/{relay.state()['Pid']}")

    status = dict(line.split(":\t", 1) for line in (process / "status").read_text().splitlines() if ":\t" in line)
    assert set(status["Uid"].split()) == set(status["Gid"].split()) == {"65532"}
    assert {int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
    assert status["NoNewPrivs"] == "1"
    mounts = [line.split()[4:6] for line in (process / "mountinfo").read_text().splitlines()]
    writable = {path for path, options in mounts if "rw" in options.split(",")}
    # Devices and the kernel's own, and what the engine brings in: a file each, of root.
    brought = {"/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/run/.containerenv"}
    assert {path for path in writable - brought if not path.startswith(("/dev", "/proc", "/sys"))} == set()
    assert "/" in dict(mounts)


def test_it_finds_names_in_etc_hosts_and_verifies_with_its_ca_bundle(container: ContainerFactory) -> None:
    """What a root without glibc's and OpenSSL's files would not do."""
    relay = container(elasticsearch_url=f"https://localhost:{free_port()}")

    done = relay.run("check")

    assert "localhost" in done.stdout
    assert not re.search("resolve|certificate file|CAfile", done.stdout), done.stdout


def test_health_follows_the_loop(container: ContainerFactory, admin: Admin) -> None:
    relay = container(admin_listen=admin.listen, elasticsearch_url=f"http://{HOST}:{free_port()}")
    relay.start()
    relay.wait_health("healthy")  # Elasticsearch is away, which is no reason to be restarted

    relay.signal("STOP")
    relay.wait_health("unhealthy")
    relay.signal("CONT")
    relay.wait_health("healthy")


def test_a_stop_in_mid_drain_loses_nothing(container: ContainerFactory, db: Database, elastic: Elastic, index: str) -> None:
    history = History()
    insert(db, index, 20_000, history)
    with FaultProxy(elastic.port) as proxy:
        proxy.delay(0.2)  # so that something is in flight whenever it is asked to stop
        relay = container(elasticsearch_url=proxy.url, relay_batch_rows="500")
        relay.start()
        wait_until(lambda: pending(db) < 20_000, 60, "the drain to begin")

        assert relay.stop(30) == 0

        assert "event=stopped" in relay.log()
        assert 0 < pending(db) < 20_000
    marked = {key for (key,) in db.execute("SELECT aggregate_id FROM outbox WHERE processed")}
    assert marked <= elastic.all_docs(index).keys()
    assert container().run("--once").returncode == 0
    assert pending(db) == 0
    history.assert_matches(elastic, index)


def test_once_as_a_job(container: ContainerFactory, db: Database, elastic: Elastic, index: str) -> None:
    insert(db, index, 100)

    assert container(elasticsearch_url=f"http://{HOST}:{free_port()}", relay_once_timeout="1s").run("--once").returncode == 75
    assert pending(db) == 100

    assert container().run("--once").returncode == 0
    elastic.refresh(index)
    assert pending(db) == 0 and elastic.count(index) == 100

    publish(db, index, "x" * 600, {"n": 1})  # longer than an _id may be
    assert container().run("--once").returncode == 65
    assert container(relay_workers="none").run("--once").returncode == 78


def test_secrets_come_as_files(container: ContainerFactory, db: Database, elastic: Elastic, index: str, tmp_path: Path) -> None:
    """A service file of libpq and a configuration, mounted as Kubernetes mounts them: of root, readable by a group."""
    service, config = tmp_path / "pg_service.conf", tmp_path / "outboxd.conf"
    service.write_text("[shop]\n" + db.dsn.replace(" ", "\n") + "\n")
    config.write_text(f"[postgres]\ndsn = service=shop\n[elasticsearch]\nurl = {elastic.url}\n")
    for file in (service, config):
        file.chmod(0o440)
    insert(db, index, 10)

    done = podman("run", "--rm", *Container.flags, "--group-add=0", f"--volume={config}:/etc/outboxd/outboxd.conf:ro",
                  f"--volume={service}:/run/secrets/outboxd/pg_service.conf:ro",
                  "--env=PGSERVICEFILE=/run/secrets/outboxd/pg_service.conf", IMAGE, "--once", check=False)

    assert done.returncode == 0, done.stderr
    assert pending(db) == 0
