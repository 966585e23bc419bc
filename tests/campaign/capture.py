"""Search equals the database. `tests/campaign/capture` builds the daemon and then runs this."""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parent.parent))
os.environ["ASAN_OPTIONS"] = "quarantine_size_mb=8:" + os.environ.get("ASAN_OPTIONS", "")

from campaign import settle, strike  # noqa: E402
from faults import Faults  # noqa: E402
from shop import INDEX, Shop  # noqa: E402
from world import settings_of  # noqa: E402

# What writes events of its own, or reads tables of the other campaign.
WITHOUT = ["late_commit", "pin_xmin"]
PATIENCE = 900
DIFFERENCES = ("missing", "stale", "extra")


class Wrong(Exception):
    """What must not be."""


def verify(world: Shop, *words: str, expect: int) -> dict[str, Any]:
    done = world.operator.run("verify", "products", "--json", *words, timeout=PATIENCE)
    if done.exit_code != expect:
        raise Wrong(f"verify {' '.join(words)} ended with {done.exit_code}, not {expect}: {done.stdout[-3000:]}{done.stderr[-1000:]}")
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def drain(world: Shop) -> None:
    done = world.operator.run("run", "--once", timeout=PATIENCE)
    if done.exit_code != 0:
        raise Wrong(f"the drain ended with {done.exit_code}: {done.stderr[-2000:]}")


def behind_the_back(world: Shop, statement: str, keys: list[int]) -> None:
    """No trigger fires."""
    with world.db.connect() as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute(statement, [keys])


class Planted:
    """Differences of every kind, each of a document of its own."""

    def __init__(self, world: Shop, seed: int, count: int) -> None:
        self.expected: dict[str, str] = {}
        self._world = world
        rows = [row[0] for row in world.db.execute("SELECT id FROM products WHERE id > 50 ORDER BY id")]
        keys = random.Random(f"{seed} planted").sample(rows, count)
        kinds = [self._deleted, self._changed, self._old, self._last_digit, self._added, self._row_changed, self._row_gone,
                 self._child_changed]
        share = count // len(kinds)
        for number, kind in enumerate(kinds):
            kind(keys[number * share:(number + 1) * share] if number + 1 < len(kinds) else keys[number * share:])

    def _expect(self, keys: list[Any], what: str) -> None:
        self.expected.update((str(key), what) for key in keys)

    def _bulk(self, lines: list[str]) -> None:
        for at in range(0, len(lines), 500):
            answer = self._world.elastic.call("POST", f"/{INDEX}/_bulk", "\n".join(lines[at:at + 500]) + "\n")
            if answer["errors"]:
                raise RuntimeError(f"planting failed: {str(answer)[:500]}")

    def _rewrite(self, keys: list[int], change: Any) -> None:
        """The documents as they are there, in the digits that stand there, but for one change."""
        lines: list[str] = []
        for key in keys:
            document = self._world.elastic.get(INDEX, str(key))
            if document is None:
                raise Wrong(f"document {key} is missing before anything was planted")
            lines += [json.dumps({"index": {"_id": str(key)}}), change(document.source, key)]
        self._bulk(lines)
        self._expect(keys, "stale")

    def _deleted(self, keys: list[int]) -> None:
        self._bulk([json.dumps({"delete": {"_id": str(key)}}) for key in keys])
        self._expect(keys, "missing")

    def _added(self, keys: list[int]) -> None:
        added = [key + 10**9 for key in keys]
        self._bulk([json.dumps(line) for key in added for line in ({"index": {"_id": str(key)}}, {"name": "nobody", "price": key})])
        self._expect(added, "extra")

    def _changed(self, keys: list[int]) -> None:
        self._rewrite(keys, lambda source, key: json.dumps({**json.loads(source), "name": f"another {key}"}))

    def _old(self, keys: list[int]) -> None:
        """A state that was right once."""
        self._rewrite(keys, lambda source, key: json.dumps({"name": f"product {key}", "price": -1, "variants": [], "stock": []}))

    def _last_digit(self, keys: list[int]) -> None:
        """Of a price with more digits than a double has."""
        self._world.db.execute("UPDATE products SET price = 12345678901234567890.12345678901 WHERE id = ANY (%s)", [keys])
        drain(self._world)
        self._rewrite(keys, lambda source, _: source.replace("12345678901234567890.12345678901", "12345678901234567890.12345678902"))

    def _row_changed(self, keys: list[int]) -> None:
        behind_the_back(self._world, "UPDATE products SET name = 'behind the back' WHERE id = ANY (%s)", keys)
        self._expect(keys, "stale")

    def _child_changed(self, keys: list[int]) -> None:
        behind_the_back(self._world, "INSERT INTO stock (place, pieces, product) SELECT 'behind', 1, k FROM unnest(%s::bigint[]) k", keys)
        self._expect(keys, "stale")

    def _row_gone(self, keys: list[int]) -> None:
        for child in ("variants", "stock"):
            behind_the_back(self._world, f"DELETE FROM {child} WHERE product = ANY (%s)", keys)
        behind_the_back(self._world, "DELETE FROM products WHERE id = ANY (%s)", keys)
        self._expect(keys, "extra")


def plant_and_repair(world: Shop, seed: int, count: int) -> None:
    planted = Planted(world, seed, count)
    world.elastic.refresh(INDEX)
    # What is written by hand counts versions up; no event shall meet its own number there.
    world.db.execute("SELECT nextval(pg_get_serial_sequence('outbox', 'id')) FROM generate_series(1, 10)")
    want = {name: sum(what == name for what in planted.expected.values()) for name in DIFFERENCES}
    said = verify(world, expect=65)
    if {name: said[name] for name in DIFFERENCES} != want:
        raise Wrong(f"planted {want}, found {said}")
    said = verify(world, "--repair", expect=0)
    repaired = {row[0] for row in world.db.execute("SELECT aggregate_id FROM outbox WHERE event = 'repair'")}
    if repaired != set(planted.expected) or said["repaired"] != count:
        raise Wrong(f"repaired {len(repaired)} of {count}; too many: {sorted(repaired - set(planted.expected))[:10]}, "
                    f"too few: {sorted(set(planted.expected) - repaired)[:10]}")
    drain(world)
    verify(world, expect=0)
    print(f"planted {count} differences ({', '.join(f'{name} {number}' for name, number in want.items())}): exactly these were found "
          "and repaired", flush=True)


def run(world: Shop, faults: Faults, seed: int, count: int) -> list[str]:
    backfill = world.backfill()
    strike(world, faults)
    world.heal()
    if backfill.wait(PATIENCE).exit_code != 0:  # PostgreSQL was away: the same command goes on
        done = world.operator.run("backfill", "products", timeout=PATIENCE)
        if done.exit_code != 0:
            raise Wrong(f"the backfill did not go on: {done.stderr}")
    world.operator.run("requeue", "--all")  # what an overload refused too often
    problems = settle(world)
    said = verify(world, expect=0)
    print(f"{world.writers.changes} changes, {world.db.value('SELECT max(id) FROM outbox')} events, "
          f"{sum(faults.done.values())} faults ({', '.join(f'{kind} {n}' for kind, n in sorted(faults.done.items()))}): "
          f"{said['documents']} documents, 0 differences, in {said['seconds']:.1f} s", flush=True)
    plant_and_repair(world, seed, count)
    return world.flights.violations + problems


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests/campaign/capture", description=__doc__)
    parser.add_argument("--seconds", type=float, default=45, help="how long writers write and faults strike")
    parser.add_argument("--minutes", type=float, help="the same in minutes")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--products", type=int, default=5000)
    parser.add_argument("--differences", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=200, help="changes a second")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(10**6)
    seconds = options.minutes * 60 if options.minutes else options.seconds
    rng = random.Random(f"{seed} settings")
    settings = settings_of(deletes=rng.choice(["delete", "tombstone"]), keep="7d", workers=rng.choice([1, 2, 4]), compression="off",
                           rows=rng.choice([50, 500, 10_000]), level="info")
    del settings["outbox_document"]
    logs = Path(tempfile.mkdtemp(prefix=f"outboxd-capture-{seed}-"))
    world = Shop(logs, seed, rng.choice([1, 2]), (options.rate, 0), settings)
    world.products = options.products
    faults = Faults(world, seed, seconds, False, WITHOUT)
    print(f"seed {seed}: {seconds:g} s, {options.products} products, {len(faults.plan)} faults planned, "
          + ", ".join(f"{name}={value}" for name, value in settings.items()), flush=True)
    keep_logs = True
    try:
        world.start()
        problems = run(world, faults, seed, options.differences)
        for problem in problems[:20]:
            print(f"  {problem}")
        keep_logs = bool(problems)
        return 1 if problems else 0
    except Wrong as wrong:
        print(f"seed {seed}: {wrong}")
        return 1
    except Exception:
        traceback.print_exc()
        return 2
    finally:
        world.end(faults.log, keep_logs)


if __name__ == "__main__":
    sys.exit(main())
