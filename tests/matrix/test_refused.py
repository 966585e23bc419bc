"""PostgreSQL 12: every command refuses it with a sentence, and so does the relay."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from harness import Database, Outboxd, Postgres, ScriptedElastic

CONFIGURATION = 78
SENTENCE = "is too old: outboxd needs 13 or later"
TABLE = """
CREATE TABLE outbox (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, event text, aggregate_type text,
    aggregate_id text, data jsonb, created_at timestamptz NOT NULL DEFAULT now(), processed boolean NOT NULL DEFAULT false,
    processed_at timestamptz, attempts int NOT NULL DEFAULT 0, retry_at timestamptz, dead_at timestamptz, error jsonb)
"""


@pytest.fixture(scope="module")
def db() -> Iterator[Database]:
    with Postgres() as server:
        assert server.version == 12
        yield server.createdb()


@pytest.fixture
def outboxd(db: Database) -> Iterator[Callable[..., Outboxd]]:
    with ScriptedElastic() as elastic:
        yield lambda: Outboxd(postgres_dsn=db.dsn, elasticsearch_url=elastic.url)


@pytest.mark.parametrize("command", ["init", "status", "dead", "purge", "probe", "track", "track t --index t", "backfill t",
                                     "verify t"])
def test_a_command(command: str, outboxd: Callable[..., Outboxd]) -> None:
    done = outboxd().run(*command.split())
    assert done.exit_code == CONFIGURATION and SENTENCE in done.stderr, (done.exit_code, done.stderr)


def test_check(outboxd: Callable[..., Outboxd]) -> None:
    done = outboxd().run("check", "--json")
    findings: list[dict[str, Any]] = json.loads(done.stdout)
    assert done.exit_code == CONFIGURATION
    assert any(SENTENCE in finding["what"] and "upgrade" in finding["advice"] for finding in findings), findings


def test_the_relay(db: Database, outboxd: Callable[..., Outboxd]) -> None:
    db.execute(TABLE)
    done = outboxd().run_once()
    (line,) = done.logs("table_unfit")
    assert "too old" in line["error"] and done.exit_code == CONFIGURATION
