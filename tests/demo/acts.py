"""The three acts. What should have been otherwise ends up in the stage's list of failures."""

from __future__ import annotations

import time
from decimal import Decimal

from harness import Database, Outboxd, wait_until
from screen import GREEN, RED
from shop import PER_SECOND, DualWriteShop, OutboxShop, Shop, change_price, delete
from stage import Hit, Outcome, Stage

# In products, not in seconds: so that both acts lose their Elasticsearch at the same product.
KILLED_AT = 4 * PER_SECOND
STARTED_AT = 6 * PER_SECOND
MORE_AFTERWARDS = 3 * PER_SECOND
EXAMPLE = 5 * PER_SECOND  # added in the middle of the outage
REPLAYED = 100
NEW_PRICE = Decimal("19.90")
DRAIN_TIMEOUT = 90


def dual_writes(stage: Stage, database: Database) -> Outcome:
    screen = stage.screen
    screen.title("Act 1: dual writes. PostgreSQL first, then a PUT to Elasticsearch, whose errors are logged.")
    with stage.watching(database), DualWriteShop(database.dsn, stage.elastic.url, database.name) as shop:
        open_until_outage(stage, shop)
        restart(stage)
        shop.wait_added(shop.added + MORE_AFTERWARDS)
    screen.event(f"the shop closes; no customer saw an error, but its log has {len(shop.log):,} lines such as")
    screen.quote(shop.log[0] if shop.log else "(none)")

    outcome = stage.outcome(database)
    missing = outcome.missing
    tell(stage, outcome)
    if missing:
        samples = [missing[len(missing) * quarter // 4] for quarter in (1, 2, 3)]
        screen.line("  missing, for example:   " + "; ".join(outcome.name(number) for number in samples))
    stage.expect(bool(missing), "act 1 lost nothing, so there was nothing to prevent")
    stage.expect(not tell_search(stage, database, outcome.name(str(EXAMPLE))),
                 "act 1: search finds a product that was added while Elasticsearch was away")
    screen.line("  They stay missing: PostgreSQL has committed them, and nothing is left that would send them again.")
    return outcome


def with_outbox(stage: Stage, database: Database, daemon: Outboxd) -> Outcome:
    screen = stage.screen
    screen.title("Act 2: the outbox. Product and event in one transaction; outboxd talks to Elasticsearch.")
    tell_command(stage, daemon, "init", "--notify")
    daemon.start()
    screen.event("$ outboxd run")
    with stage.watching(database), OutboxShop(database.dsn, database.name) as shop:
        open_until_outage(stage, shop)
        daemon.wait_log("elasticsearch_away")
        screen.quote(log_lines(daemon, "elasticsearch_away"))
        restart(stage)
        returned = time.monotonic()
        ((waiting, newest),) = database.execute("SELECT count(*), max(id) FROM outbox WHERE NOT processed")
        wait_delivered(database, newest)
        seconds = time.monotonic() - returned
        screen.quote(log_lines(daemon, "elasticsearch_back"))
        screen.event(f"the last of the {waiting:,} waiting products is delivered, {seconds:.1f} s after that answer")
        shop.wait_added(shop.added + MORE_AFTERWARDS)
    wait_delivered(database)
    screen.event("the shop closes")

    outcome = stage.outcome(database)
    name = outcome.name(str(EXAMPLE))
    tell(stage, outcome)
    stage.expect(waiting > 0, "act 2: no product was waiting, so its outage proves nothing")
    stage.expect(not outcome.missing, f"act 2 lost {len(outcome.missing)} products")
    stage.expect(bool(tell_search(stage, database, name)), f'act 2: search does not find "{name}"')
    times = len(daemon.logs("elasticsearch_away"))
    stage.expect(times == 1, f"act 2: the outage is in the log {times} times")
    return outcome


def changes_and_replay(stage: Stage, database: Database, daemon: Outboxd) -> None:
    screen, index = stage.screen, database.name
    screen.title("Act 3: a new price, a delete, and a replay.")
    cheaper, gone = (stage.product(database, number) for number in (EXAMPLE, EXAMPLE + 1))
    assert stage.search(index, gone.name) == [gone]
    with database.connect() as session:
        change_price(session, index, cheaper.number, NEW_PRICE)
        delete(session, index, gone.number)
    wait_delivered(database)
    screen.event(f'"{cheaper.name}" costs {NEW_PRICE} instead of {cheaper.price}; "{gone.name}" is deleted')
    now = tell_search(stage, database, cheaper.name)
    stage.expect(cheaper.price != NEW_PRICE, "act 3: the new price is the old one")
    stage.expect([str(hit.price) for hit in now] == [str(NEW_PRICE)], f"act 3: search shows {now} after the new price")
    stage.expect(not tell_search(stage, database, gone.name), "act 3: search finds the deleted product")

    before, asked = stage.elastic.all_docs(index), stage.indexing(index)
    replayed = database.execute("""
        UPDATE outbox SET processed = false, processed_at = NULL
        WHERE event = 'product_created' AND aggregate_id::bigint BETWEEN %s AND %s RETURNING id
    """, (EXAMPLE, EXAMPLE + REPLAYED - 1))
    wait_delivered(database)
    after, answered = stage.elastic.all_docs(index), stage.indexing(index)
    changed = sum(before.get(number) != after.get(number) for number in before.keys() | after.keys())
    screen.event(f"{len(replayed)} old events are sent once more, among them those two products' first ones")
    screen.line(f"  Elasticsearch wrote {answered.written - asked.written} of them again, as they were, and refused"
                f" {answered.refused - asked.refused} as older than what it has.")
    screen.fact("documents changed by it", changed, GREEN if changed == 0 else RED)
    stage.expect(len(replayed) == REPLAYED, f"act 3: {len(replayed)} events replayed instead of {REPLAYED}")
    stage.expect(changed == 0, f"act 3: the replay changed {changed} documents")
    stage.expect(not tell_search(stage, database, gone.name), "act 3: the replay brought back the deleted product")
    tell_command(stage, daemon, "status")


def open_until_outage(stage: Stage, shop: Shop) -> None:
    stage.screen.event(f"the shop opens and adds {PER_SECOND} products per second")
    shop.wait_added(KILLED_AT)
    stage.elastic.kill9()
    stage.screen.event("kill -9 for Elasticsearch; the shop stays open")
    shop.wait_added(STARTED_AT)


def restart(stage: Stage) -> None:
    """Returns as soon as the index can be written again."""
    stage.elastic.start(wait=False)
    stage.screen.event("Elasticsearch is started again")
    stage.elastic.wait_started()
    stage.screen.event("Elasticsearch answers again")


def wait_delivered(database: Database, newest: int | None = None) -> None:
    """Until no event is pending, or none up to `newest`."""
    pending = "SELECT count(*) FROM outbox WHERE NOT processed AND id <= coalesce(%s, id)"
    with database.connect() as session:
        def is_drained() -> bool:
            row = session.execute(pending, (newest,)).fetchone()
            return row == (0,)

        wait_until(is_drained, DRAIN_TIMEOUT, "outboxd to deliver what is pending")


def tell(stage: Stage, outcome: Outcome) -> None:
    stage.screen.fact("written to PostgreSQL", len(outcome.written))
    stage.screen.fact("found by search", outcome.count)
    stage.screen.fact("missing", len(outcome.missing), RED if outcome.missing else GREEN)
    stage.expect(not outcome.complaint, outcome.complaint)


def tell_search(stage: Stage, database: Database, name: str) -> list[Hit]:
    hits = stage.search(database.name, name)
    answer = ", ".join(f"product {hit.number} for {hit.price}" for hit in hits) or "nothing"
    stage.screen.line(f'  search for "{name}" finds: {answer}')
    return hits


def tell_command(stage: Stage, daemon: Outboxd, *arguments: str) -> None:
    done = daemon.run(*arguments)
    stage.screen.event(f"$ outboxd {' '.join(arguments)}")
    stage.screen.quote(done.stdout + done.stderr)
    stage.expect(done.exit_code == 0, f"outboxd {arguments[0]} ended with {done.exit_code}")


def log_lines(daemon: Outboxd, event: str) -> str:
    return "\n".join(line for line in daemon.stderr.splitlines() if f" event={event} " in line)
