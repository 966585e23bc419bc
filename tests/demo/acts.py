"""The three acts. Each returns what the servers said, and appends to `failures` what should have been otherwise."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from harness import Database, Outboxd, wait_until
from screen import GREEN, RED
from shop import PER_SECOND, DualWriteShop, OutboxShop, Shop, change_price, delete, product
from stage import Hit, Outcome, Stage

# In products, not in seconds: so that both acts lose their Elasticsearch at the same product.
KILLED_AT = 4 * PER_SECOND
STARTED_AFTER = 2 * PER_SECOND
CLOSED_AFTER = 3 * PER_SECOND
EXAMPLE = KILLED_AT + PER_SECOND  # written in the middle of the outage
DRAIN_TIMEOUT = 90
REPLAYED = 100
NEW_PRICE = Decimal("19.90")
PENDING = "SELECT count(*) FROM outbox WHERE NOT processed"


@dataclass
class Play:
    stage: Stage
    failures: list[str]

    def expect(self, condition: bool, otherwise: str) -> None:
        if not condition:
            self.failures.append(otherwise)


def outage(stage: Stage, shop: Shop) -> None:
    """The shop is open all the time; Elasticsearch is not. Returns at the moment when it can be written again."""
    stage.screen.event(f"the shop opens and adds {PER_SECOND} products per second")
    shop.wait_added(KILLED_AT)
    stage.elastic.kill9()
    stage.screen.event("kill -9 of Elasticsearch; the shop stays open")
    shop.wait_added(KILLED_AT + STARTED_AFTER)


def comeback(stage: Stage) -> None:
    stage.elastic.start(wait=False)
    stage.screen.event("Elasticsearch is started again")
    stage.elastic.wait_started()
    stage.screen.event("Elasticsearch answers again")


def dual_writes(play: Play, database: Database) -> Outcome:
    stage, screen = play.stage, play.stage.screen
    screen.title("Act 1: dual writes. First PostgreSQL, then a PUT to Elasticsearch; errors are logged.")
    with stage.watching(database), DualWriteShop(database.dsn, stage.elastic.url, database.name) as shop:
        outage(stage, shop)
        comeback(stage)
        shop.wait_added(shop.added + CLOSED_AFTER)
    screen.event(f"the shop closes; no customer saw an error, its log has {len(shop.log):,} lines such as")
    screen.quote(shop.log[0] if shop.log else "(none)")
    outcome = stage.outcome(database)
    tell(play, outcome, "act 1")
    missing = outcome.missing
    play.expect(len(missing) > 0, "act 1 lost nothing, so there was nothing to prevent")
    names = [name_of(outcome, number) for number in missing[:: max(1, len(missing) // 3)][:3]]
    screen.fact("for example", "; ".join(names))
    tell_search(stage, database.name, product(EXAMPLE)[0])
    screen.line("  Nothing will ever send them: PostgreSQL has them, and nobody knows that search has not.")
    return outcome


def with_an_outbox(play: Play, database: Database, daemon: Outboxd, lost: Outcome) -> Outcome:
    stage, screen = play.stage, play.stage.screen
    screen.title("Act 2: the outbox. Product and event in one transaction; outboxd does the rest.")
    for arguments in (("init", "--notify"),):
        done = daemon.run(*arguments)
        screen.event(f"$ outboxd {' '.join(arguments)}")
        screen.quote(done.stdout + done.stderr)
        play.expect(done.exit_code == 0, f"outboxd init ended with {done.exit_code}")
    daemon.start()
    screen.event("$ outboxd run")
    with stage.watching(database), OutboxShop(database.dsn, database.name) as shop:
        outage(stage, shop)
        screen.quote(log_line(daemon, "elasticsearch_away"))
        comeback(stage)
        waiting = database.value(PENDING)
        newest = database.value("SELECT max(id) FROM outbox")
        seconds = drained(database, newest)
        screen.event(f"the last of {waiting:,} waiting products arrived, {seconds:.1f} s after Elasticsearch's return")
        screen.quote(log_line(daemon, "elasticsearch_back"))
        shop.wait_added(shop.added + CLOSED_AFTER)
    drained(database)
    screen.event("the shop closes")
    outcome = stage.outcome(database)
    tell(play, outcome, "act 2")
    play.expect(waiting > 0, "act 2 had no product waiting, so its outage proves nothing")
    play.expect(not outcome.missing, f"act 2 lost {len(outcome.missing)} products")
    play.expect(len(daemon.logs("elasticsearch_away")) == 1, "the outage was not logged exactly once")
    name = product(EXAMPLE)[0]
    play.expect(bool(tell_search(stage, database.name, name)), f"act 2: the search does not find {name!r}")
    return outcome
