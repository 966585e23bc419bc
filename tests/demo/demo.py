"""Replays the incident that outboxd exists for. `./demo.sh` installs, builds and then runs this."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from contextlib import ExitStack, closing
from http.client import HTTPException
from pathlib import Path

import psycopg

sys.path.append(str(Path(__file__).resolve().parent.parent))

from acts import changes_and_replay, dual_writes, with_outbox  # noqa: E402
from harness import Elastic, ElasticError, Outboxd, Postgres  # noqa: E402
from screen import BOLD, GREEN, RED, Screen  # noqa: E402
from stage import Outcome, Stage  # noqa: E402

BREAKDOWNS = (AssertionError, OSError, RuntimeError, HTTPException, ElasticError, psycopg.Error)
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(BaseException):
    pass


def interrupt(number: int, _: object) -> None:
    for each in SIGNALS:  # once is enough: the clean-up must not be interrupted
        signal.signal(each, signal.SIG_IGN)
    raise Interrupted(f"interrupted by {signal.Signals(number).name}")


def play(stage: Stage) -> None:
    first, second = stage.prepare("dual_writes"), stage.prepare("with_outbox")
    dual_writes(stage, first)
    with closing(Outboxd(postgres_dsn=second.dsn, elasticsearch_url=stage.elastic.url)) as daemon:
        kept = with_outbox(stage, second, daemon)
        changes_and_replay(stage, second, daemon)
        ended = daemon.terminate()
    stage.expect(ended.exit_code == 0, f"outboxd ended with {ended.exit_code} after SIGTERM")

    stage.screen.title("Summary")
    lost, now = stage.outcome(first), stage.outcome(second)
    stage.expect(not now.missing, f"after act 3 {len(now.missing)} products are missing")
    stage.expect(not now.complaint, f"after act 3 {now.complaint}")
    table(stage.screen, {"act 1, dual writes, counted again now": lost, "act 2, outbox": kept,
                         "act 3, after price, delete and replay": now})
    stage.screen.line()
    if not stage.failures:
        stage.screen.line(f"Dual writes lost {len(lost.missing):,} of {len(lost.written):,} products. "
                          f"The outbox lost none of {len(kept.written):,}.", BOLD)


def table(screen: Screen, rows: Mapping[str, Outcome]) -> None:
    screen.line(f"  {'':<40}{'written':>8}{'found':>8}{'missing':>9}")
    for label, outcome in rows.items():
        written, missing = len(outcome.written), len(outcome.missing)
        screen.line(f"  {label:<40}{written:>8,}{outcome.count:>8,}{missing:>9,}", RED if missing else GREEN)


def main() -> int:
    for each in SIGNALS:
        signal.signal(each, interrupt)
    screen = Screen()
    failures: list[str] = []
    try:
        with ExitStack() as running:
            with screen.step("starting PostgreSQL and Elasticsearch"):
                postgres = running.enter_context(Postgres())
                elastic = running.enter_context(Elastic())
            play(Stage(screen, postgres, elastic, failures))
    except BREAKDOWNS as error:
        failures.append(f"{type(error).__name__}: {error}")
    except Interrupted as interruption:
        failures.append(str(interruption))
    try:
        for failure in failures:
            screen.line(f"FAILED: {failure}", RED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nobody reads us: no complaint at exit either
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
