"""packaging/outboxd.service under a real systemd: what an operator counts on."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from harness import Answer, Database, Elastic, FaultProxy, History, Outboxd, Postgres, ScriptedElastic, insert_events, wait_until
from harness.ports import free_port
from systemd.machine import Machine, Service

OutboxdFactory = Callable[..., Outboxd]
pytestmark = pytest.mark.time_limit(300)


def config(dsn: str, url: str, more: str = "") -> str:
    return f"[postgres]\ndsn = {dsn}\n[elasticsearch]\nurl = {url}\n{more}"


def init(outboxd: OutboxdFactory) -> None:
    done = outboxd().run("init", "--notify")
    assert done.exit_code == 0, done.stderr


def insert(db: Database, index: str, count: int, history: History | None = None) -> None:
    with db.connect() as connection:
        insert_events(connection, count, index=index, history=history)


def pending(db: Database) -> int:
    return int(db.value("SELECT count(*) FROM outbox WHERE NOT processed"))


def wait_delivered(db: Database) -> None:
    wait_until(lambda: pending(db) == 0, 90, "every event to be delivered", every=0.2)


def test_both_servers_down_is_no_reason_not_to_start(service: Service) -> None:
    service.configure(config(f"host=127.0.0.1 port={free_port()} user=x", f"http://127.0.0.1:{free_port()}"))

    service.systemctl("start")  # waits for READY, within TimeoutStartSec

    assert service.property("ActiveState") == "active"
    service.wait_property("StatusText", "PostgreSQL is away: ")
    service.wait_property("StatusText", "Elasticsearch has not answered yet")  # who has no session asks nobody
    assert service.property("NRestarts") == "0"


def test_it_compares_by_itself(service: Service, db: Database, elastic: Elastic, index: str, outboxd: OutboxdFactory) -> None:
    """The comparison is a process of its own, in the same sandbox."""
    init(outboxd)
    db.execute("CREATE TABLE products (id bigint PRIMARY KEY)")
    done = outboxd().run("track", "products", "--index", index)
    assert done.exit_code == 0, done.stderr
    db.execute("INSERT INTO products SELECT generate_series(1, 100)")
    service.configure(config(db.dsn, elastic.url, "[verify]\ninterval = 2s\n"))
    service.systemctl("start")
    wait_until(lambda: "event=verified tables=1 rows=100 differences=0" in service.journal(), 60, "a comparison", every=0.5)
    assert "verify_failed" not in service.journal()


def test_a_silent_name_server_is_no_hung_loop(machine: Machine, service: Service) -> None:
    """Each look-up of libpq stops the loop for 10 s, and there are five connections."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as name_server:
        name_server.bind(("127.0.0.77", 53))
        machine.write("/etc/outboxd/resolv.conf", "nameserver 127.0.0.77\n")
        service.configure(config("host=db.shop.test user=x", f"http://127.0.0.1:{free_port()}"))
        service.drop_in(BindReadOnlyPaths="/etc/outboxd/resolv.conf:/etc/resolv.conf")

        service.systemctl("start")

        started = int(service.property("ActiveEnterTimestampMonotonic"))
        wait_until(lambda: int(service.property("WatchdogTimestampMonotonic")) > started + 40_000_000, 120,
                   "a beat after more than WatchdogSec", every=1)
        service.wait_property("StatusText", "PostgreSQL is away: could not translate host name")
        assert service.property("NRestarts") == "0"
        # The stop would wait for the look-up too.
        service.systemctl("kill", "--signal=KILL")


def test_it_delivers_and_tells_how_it_is_doing(service: Service, db: Database, elastic: Elastic, index: str,
                                               outboxd: OutboxdFactory) -> None:
    init(outboxd)
    with FaultProxy(elastic.port) as proxy:
        service.configure(config(db.dsn, proxy.url))
        service.systemctl("start")
        proxy.refuse()
        insert(db, index, 200)
        text = service.wait_property("StatusText", "200 pending, oldest ")
        service.wait_property("StatusText", "Elasticsearch is away")
        assert "\n" not in text

        proxy.pass_all()

        wait_delivered(db)
        service.wait_property("StatusText", "0 pending, 0/s")
    assert elastic.get(index, "1")


def test_kill_9_is_followed_by_a_restart(service: Service, db: Database, elastic: Elastic, index: str,
                                         outboxd: OutboxdFactory) -> None:
    init(outboxd)
    service.configure(config(db.dsn, elastic.url))
    service.systemctl("start")
    before = service.property("MainPID")

    service.systemctl("kill", "--signal=KILL")

    service.wait_property("NRestarts", "1")
    service.wait_property("ActiveState", "active")
    assert service.property("MainPID") not in (before, "0")
    insert(db, index, 100)
    wait_delivered(db)


def test_a_hung_loop_is_killed_and_started_again(service: Service, db: Database, elastic: Elastic, index: str,
                                                 outboxd: OutboxdFactory) -> None:
    init(outboxd)
    service.configure(config(db.dsn, elastic.url))
    service.drop_in(WatchdogSec=3)
    service.systemctl("start")
    before = service.property("MainPID")
    insert(db, index, 100)
    wait_delivered(db)
    # While the loop turns the beats keep it alive for longer than the period.
    started = int(service.property("ActiveEnterTimestampMonotonic"))
    wait_until(lambda: int(service.property("WatchdogTimestampMonotonic")) > started + 7_000_000, 30,
               "a beat after two periods", every=0.2)
    assert service.property("NRestarts") == "0"

    service.systemctl("kill", "--signal=STOP")
    insert(db, index, 100)

    service.wait_property("NRestarts", "1")
    service.wait_property("ActiveState", "active")
    assert service.property("MainPID") not in (before, "0")
    assert "Watchdog timeout" in service.journal()
    wait_delivered(db)


def test_a_stop_in_mid_drain_loses_nothing(service: Service, db: Database, elastic: Elastic, index: str,
                                           outboxd: OutboxdFactory) -> None:
    init(outboxd)
    history = History()
    insert(db, index, 20_000, history)
    with FaultProxy(elastic.port) as proxy:
        proxy.delay(0.2)  # so that something is in flight whenever it is asked to stop
        service.configure(config(db.dsn, proxy.url, "[relay]\nbatch_rows = 500\n"))
        service.systemctl("start")
        wait_until(lambda: pending(db) < 20_000, 60, "the drain to begin")

        service.systemctl("stop")  # past TimeoutStopSec systemd would kill it: Result=timeout

        assert 0 < pending(db) < 20_000
        assert service.property("Result") == "success"
        assert service.property("ExecMainStatus") == "0"
        assert "event=stopped" in service.journal()
        proxy.pass_all()
        marked = {key for (key,) in db.execute("SELECT aggregate_id FROM outbox WHERE processed")}
        assert marked <= elastic.all_docs(index).keys()

        service.systemctl("start")
        wait_delivered(db)
    history.assert_matches(elastic, index)


def test_a_long_shutdown_timeout_is_granted(service: Service, db: Database, elastic: Elastic, index: str,
                                            outboxd: OutboxdFactory) -> None:
    """Elasticsearch is silent, so the drain takes all of shutdown_timeout, which is more than TimeoutStopSec."""
    init(outboxd)
    with FaultProxy(elastic.port) as proxy:
        service.configure(config(db.dsn, proxy.url, "[relay]\nshutdown_timeout = 8s\n"))
        service.drop_in(TimeoutStopSec=3)
        service.systemctl("start")
        insert(db, index, 1)
        wait_delivered(db)
        proxy.stall()
        insert(db, index, 1)
        wait_until(lambda: db.server.execute("SELECT 1 FROM pg_stat_activity WHERE state = 'idle in transaction' AND "
                                             "datname = %s", [db.name]), 30, "a request to be in flight")

        service.systemctl("stop")

        assert "event=shutdown_timeout" in service.journal()
        assert service.property("Result") == "success"
    assert pending(db) == 1


def test_a_wrong_configuration_is_not_started_again(service: Service) -> None:
    service.configure("[relay]\nworker = 3\n")

    assert service.systemctl("start", check=False).returncode != 0

    # A restart to come would be "activating".
    assert service.property("ActiveState") == "failed"
    assert service.property("ExecMainStatus") == "78"
    assert service.property("NRestarts") == "0"
    status = service.systemctl("status", "--no-pager", check=False).stdout
    assert '/etc/outboxd/outboxd.conf:2: unknown key "worker" in [relay]' in status, status


def test_a_wrong_command_line_is_not_started_again(service: Service) -> None:
    service.drop_in(ExecStart=["", "outboxd run --no-such-flag"])

    assert service.systemctl("start", check=False).returncode != 0

    assert service.property("ActiveState") == "failed"
    assert service.property("ExecMainStatus") == "64"


@contextmanager
def role_with_password(postgres: Postgres, db: Database) -> Iterator[str]:
    """A connection string without a password for a role that needs one; the password is `it's secret`."""
    hba = postgres.data_folder / "pg_hba.conf"
    trust = hba.read_text()
    postgres.execute("DROP ROLE IF EXISTS guarded")
    postgres.execute("CREATE ROLE guarded LOGIN SUPERUSER PASSWORD 'it''s secret'")
    hba.write_text("host all guarded 127.0.0.1/32 scram-sha-256\n" + trust)
    postgres.reload()
    try:
        yield f"host=127.0.0.1 port={postgres.port} user=guarded dbname={db.name}"
    finally:
        hba.write_text(trust)
        postgres.reload()


def test_secrets_come_as_credentials(machine: Machine, service: Service, postgres: Postgres, db: Database,
                                     outboxd: OutboxdFactory) -> None:
    """Files that only root can read: the lines that the unit shows as comments work when they are switched on."""
    init(outboxd)
    machine.write("/etc/outboxd/api_key", "c2VjcmV0LWtleQ==\n", mode="600")
    unit = machine.run("cat", "/usr/lib/systemd/system/outboxd.service").stdout
    lines = re.findall(r"^#((?:LoadCredential|Environment)=.*(?:api_key|pg_service).*)$", unit, re.MULTILINE)
    assert len(lines) == 4
    with ScriptedElastic() as scripted, role_with_password(postgres, db) as dsn:
        lines_of_service = "\n".join(dsn.split())
        machine.write("/etc/outboxd/pg_service.conf", f"[outboxd]\n{lines_of_service}\npassword=it's secret\n", mode="600")
        service.configure(f"[elasticsearch]\nurl = {scripted.url}\n")
        service.drop_in(**{name: [line.split("=", 1)[1] for line in lines if line.startswith(name)]
                           for name in ("LoadCredential", "Environment")})
        service.systemctl("start")
        db.execute("SELECT outbox_publish('products', '1', '{\"n\": 1}')")
        wait_delivered(db)

        assert scripted.bulks[0].headers["authorization"] == "ApiKey c2VjcmV0LWtleQ=="
        service.systemctl("stop")
    assert "secret" not in service.journal()


def test_settings_come_from_a_file_of_the_environment(machine: Machine, service: Service, postgres: Postgres,
                                                      db: Database, outboxd: OutboxdFactory) -> None:
    """Only root can read it, so it may hold the password."""
    init(outboxd)
    with ScriptedElastic() as scripted, role_with_password(postgres, db) as dsn:
        machine.write("/etc/outboxd/outboxd.env", mode="600", text=(
            f"OUTBOXD_POSTGRES_DSN=\"{dsn} password='it\\\\'s secret'\"\nOUTBOXD_ELASTICSEARCH_URL={scripted.url}\n"))
        service.systemctl("start")
        db.execute("SELECT outbox_publish('products', '1', '{\"n\": 1}')")
        wait_delivered(db)
        service.systemctl("stop")


def test_instances_of_the_template(machine: Machine, db: Database, elastic: Elastic, index: str,
                                   outboxd: OutboxdFactory) -> None:
    init(outboxd)
    names = ("one", "two")
    services = [Service(machine, f"outboxd@{name}.service", name) for name in names]
    try:
        for service in services:  # without addresses of their own, the second would have neither health nor metrics
            service.configure(config(db.dsn, elastic.url, f"[admin]\nlisten = 127.0.0.1:{free_port()}\n"))
            service.systemctl("start")
        insert(db, index, 200)
        wait_delivered(db)
        for name, service in zip(names, services):
            machine.run("outboxd", "health", "--config", f"/etc/outboxd/{name}.conf")
            assert "admin_unavailable" not in service.journal()
        assert len({service.property("MainPID") for service in services} - {"0"}) == 2
    finally:
        for service in services:
            service.remove()


def test_once_under_a_service_manager(machine: Machine, db: Database, elastic: Elastic, index: str,
                                      outboxd: OutboxdFactory) -> None:
    """The unit of a timer: what it sends must not disturb, and its exit code is the unit's."""
    init(outboxd)
    insert(db, index, 100)

    machine.run("systemd-run", "--wait", "--collect", "-p", "Type=oneshot", "-p", "NotifyAccess=all", "-p", "DynamicUser=yes",
                "-E", f"OUTBOXD_POSTGRES_DSN={db.dsn}", "-E", f"OUTBOXD_ELASTICSEARCH_URL={elastic.url}",
                "outboxd", "run", "--once")

    assert pending(db) == 0


def test_hardening(machine: Machine, service: Service) -> None:
    """What the unit asks for holds for the running process, and nothing in it is misspelt."""
    verified = machine.run("systemd-analyze", "verify", "--man=no", "outboxd.service", "outboxd@x.service")
    assert verified.stderr == ""
    score = machine.run("systemd-analyze", "security", "--no-pager", "outboxd.service").stdout
    print(score)
    exposure = re.search(r"Overall exposure level for outboxd\.service: ([0-9.]+)", score)
    assert exposure and float(exposure[1]) <= 1.1, score
    service.configure(config(f"host=127.0.0.1 port={free_port()} user=x", f"http://127.0.0.1:{free_port()}"))
    service.systemctl("start")
    pid = service.property("MainPID")
    status = dict(line.split(":\t", 1) for line in machine.run("cat", f"/proc/{pid}/status").stdout.splitlines())
    assert "0" not in status["Uid"].split()
    assert all(set(status[name]) == {"0"} for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb"))
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    inside = machine.run("nsenter", "--mount", "--target", pid, "sh", "-c",
                         "touch /etc/x /usr/x /var/x; ls /dev; mount | grep ' /etc'", check=False)
    assert inside.stderr.count("Read-only file system") == 3, inside.stderr
    for home in ("/home", "/root"):
        machine.write(f"{home}/planted", "")
        seen = machine.run("nsenter", "--mount", "--target", pid, "ls", home, check=False)
        assert "planted" not in seen.stdout, "not even root sees through that mount"
        listed = machine.run("nsenter", "--mount", "--target", pid, "setpriv", f"--reuid={status['Uid'].split()[0]}",
                             "--clear-groups", "ls", home, check=False)
        assert "Permission denied" in listed.stderr, (home, listed)
        machine.run("rm", f"{home}/planted")
    assert "sda" not in inside.stdout and "kmsg" not in inside.stdout
