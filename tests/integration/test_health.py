"""`outboxd health`, by which a container's HEALTHCHECK and the probes of Kubernetes ask."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest

from admin import Admin
from harness import Completed, Outboxd, ScriptedElastic, wait_until
from harness.ports import HOST, free_port

OutboxdFactory = Callable[..., Outboxd]


def health(daemon: Outboxd, *flags: str) -> Completed:
    """As in the container: the same settings as the relay's."""
    done = daemon.run("health", *flags)
    said = done.stdout if done.exit_code == 0 else done.stderr
    assert said.count("\n") == 1 and (done.stdout + done.stderr) == said, "one sentence, in one place"
    return done


def test_healthy(daemon: Outboxd) -> None:
    done = health(daemon)

    assert (done.exit_code, done.stdout) == (0, "healthy: the relay's loop turns\n")


def test_ready(ready: Outboxd) -> None:
    done = health(ready, "--ready")

    assert (done.exit_code, done.stdout) == (0, "ready: events can be delivered now\n")


def test_not_running(outboxd: OutboxdFactory, admin: Admin) -> None:
    done = health(outboxd(admin_listen=admin.listen))

    assert done.exit_code == 75
    assert f"nothing listens at http://{admin.listen}/healthz" in done.stderr


def test_hanging_is_not_healthy_and_runs_again_is(daemon: Outboxd) -> None:
    daemon.pause()

    done = health(daemon, "--timeout", "300ms")
    assert done.exit_code == 75
    assert "within 0.3 s: the relay hangs" in done.stderr

    daemon.resume()
    wait_until(lambda: health(daemon).exit_code == 0, 30, "health again")


def test_an_outage_is_a_reason_not_to_be_ready_but_none_to_be_restarted(stuck: Outboxd) -> None:
    assert health(stuck).exit_code == 0

    done = health(stuck, "--ready")
    assert done.exit_code == 75
    assert done.stderr.startswith("outboxd: not ready: Elasticsearch is away: ")


def test_several_reasons_are_one_line(outboxd: OutboxdFactory, admin: Admin) -> None:
    daemon = outboxd(admin_listen=admin.listen, postgres_dsn=f"host={HOST} port={free_port()}",
                     elasticsearch_url=f"http://{HOST}:{free_port()}")
    daemon.start()
    daemon.wait_log("postgres_away", timeout=20)

    done = health(daemon, "--ready")

    assert done.exit_code == 75
    assert "PostgreSQL is away: " in done.stderr and done.stderr.endswith("; Elasticsearch has not answered yet\n")


def test_paused_is_not_ready(ready: Outboxd, admin: Admin) -> None:
    assert admin.ask("/pause", "POST").status == 200

    done = health(ready, "--ready")

    assert (done.exit_code, done.stderr) == (75, "outboxd: not ready: paused by an operator\n")


@pytest.mark.parametrize("everywhere, here", [("0.0.0.0", "127.0.0.1"), ("[::]", "[::1]")])
def test_every_address_is_asked_at_loopback_and_without_any_secret(outboxd: OutboxdFactory, tmp_path: Any, everywhere: str,
                                                                  here: str) -> None:
    token, port = tmp_path / "token", free_port()
    token.write_text("a-token\n")
    daemon = outboxd(admin_listen=f"{everywhere}:{port}", admin_token_file=token)

    assert f"nothing listens at http://{here}:{port}/healthz" in health(daemon).stderr
    daemon.start()
    daemon.wait_log("admin_listens")
    token.unlink()  # whoever asks need not be allowed to read it

    assert health(daemon).exit_code == 0


def test_no_interface_is_a_matter_of_configuration(outboxd: OutboxdFactory) -> None:
    done = health(outboxd(admin_listen="off"))

    assert done.exit_code == 78
    assert "admin.listen is off" in done.stderr


@pytest.mark.parametrize("listen", ["9465", ":9465", "nowhere.invalid:9465"])
def test_an_address_that_is_none(outboxd: OutboxdFactory, listen: str) -> None:
    done = health(outboxd(admin_listen=listen))

    assert done.exit_code == 78
    assert f'admin.listen: "{listen}"' in done.stderr


def test_a_proxy_of_the_environment_is_not_asked(outboxd: OutboxdFactory, admin: Admin) -> None:
    nobody = f"http://{HOST}:{free_port()}"
    daemon = outboxd(admin_listen=admin.listen, environment={"http_proxy": nobody, "all_proxy": nobody})
    daemon.start()
    daemon.wait_log("admin_listens")

    assert health(daemon).exit_code == 0


def test_somebody_else_at_the_address(outboxd: OutboxdFactory) -> None:
    with ScriptedElastic() as other:
        done = health(outboxd(admin_listen=f"{HOST}:{other.port}"))

    assert done.exit_code == 75
    assert "which outboxd never does: see who listens there" in done.stderr


def test_an_answer_that_is_no_http(outboxd: OutboxdFactory) -> None:
    with socket.create_server((HOST, 0)) as server:
        daemon = outboxd(admin_listen=f"{HOST}:{server.getsockname()[1]}")
        daemon.begin("health", "--timeout", "10s")
        connection, _ = server.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")

        done = daemon.wait()

    assert done.exit_code == 75
    assert "outboxd: no answer from http://" in done.stderr
