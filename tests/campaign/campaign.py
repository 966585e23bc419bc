"""The fault campaign. `tests/campaign/run` builds the daemon and then runs this."""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent))
# Freed memory that the sanitizer keeps back would hide what the daemon itself holds.
os.environ["ASAN_OPTIONS"] = "quarantine_size_mb=8:" + os.environ.get("ASAN_OPTIONS", "")

import writers  # noqa: E402
from checker import SHOWN, Result, Sampler, final_check  # noqa: E402
from faults import KINDS, Faults  # noqa: E402
from selftest import self_test  # noqa: E402
from world import World, settings_of  # noqa: E402

RSS_LIMIT_KB = 300 * 1024  # of the sanitized build, with documents of up to 1.5 MB
HALF_SECONDS = 300  # healed, what is pending is half as much after so long: what only crawls is stuck, too


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests/campaign/run", description=__doc__)
    parser.add_argument("--seconds", type=float, default=150, help="how long faults strike")
    parser.add_argument("--minutes", type=float, help="the same in minutes")
    parser.add_argument("--seed", type=int, default=None, help="of the schedule, the events and the settings")
    parser.add_argument("--relays", type=int, choices=[1, 2, 3], help="default: by the seed")
    parser.add_argument("--deletes", choices=["delete", "tombstone"], help="default: by the seed")
    parser.add_argument("--keep", choices=["7d", "0"], help="default: by the seed")
    parser.add_argument("--rate", type=float, default=200, help="events a second, in small transactions")
    parser.add_argument("--import-rate", type=float, default=1500, help="events a second, in large transactions")
    parser.add_argument("--log-level", default="info")
    parser.add_argument("--strict", action="store_true",
                        help="with deletes=delete, let tombstones be forgotten at any time; finds what docs/MODEL.md says")
    parser.add_argument("--without", action="append", default=[], choices=[*KINDS, "poison_row"],
                        help="leave a kind of fault, or the rows on which the mapping fails, out")
    parser.add_argument("--self-test", action="store_true", help="plant violations; they must be found")
    return parser.parse_args()


def settle(world: World) -> list[str]:
    """Heals, and waits until nothing is pending."""
    problems = []
    world.heal()
    bound, deadline = float("inf"), 0.0
    while (left := world.pending()) > 0:
        if left <= bound:
            bound, deadline = left // 2, time.monotonic() + HALF_SECONDS
        if time.monotonic() > deadline:
            problems.append(f"{left} events are still pending, everything was healed {HALF_SECONDS} s ago and more")
            break
        for unit in world.units:
            unit.look()
        time.sleep(0.2 if left < 10_000 else 5)  # to count them is work, too
    for unit in world.units:
        unit.stop()
        problems += unit.problems
        if unit.max_rss_kb > RSS_LIMIT_KB:
            problems.append(f"relay {unit.number} grew to {unit.max_rss_kb} kB")
    return problems


def watch(world: World, stop: threading.Event) -> None:
    while not stop.wait(1):
        for unit in world.units:
            unit.look()


def strike(world: World, faults: Faults) -> None:
    """Writers write, relays are watched, and all faults of the plan happen."""
    stop = threading.Event()
    watcher = threading.Thread(target=watch, args=(world, stop), daemon=True)
    world.writers.start()
    watcher.start()
    faults.run()
    faults.stop()
    world.writers.stop()
    stop.set()
    watcher.join()


def campaign(world: World, faults: Faults, seed: int) -> tuple[Result, list[str]]:
    sampler = Sampler(world, seed)
    sampler.start()
    strike(world, faults)
    problems = settle(world)
    sampler.stop()
    result = final_check(world)
    problems = sampler.violations + world.flights.violations + problems + result.violations
    lines = [
        f"faults: {', '.join(f'{kind} {count}' for kind, count in sorted(faults.done.items()))} "
        f"(skipped or failed: {sum(faults.skipped.values())})",
        f"injected answers {sum(unit.injector.injected for unit in world.units)}, requests {world.flights.requests}, "
        f"overlaps excused by lost sessions {world.flights.overlaps_excused}, looks of the sampler {sampler.looks}, "
        f"writers' failures {world.writers.failures}",
        "peak RSS " + ", ".join(f"relay {unit.number} {unit.max_rss_kb // 1024} MB" for unit in world.units),
    ]
    if sampler.looks == 0 or world.flights.requests == 0:
        problems.append("nothing was looked at: the campaign proves nothing")
    return Result(result.events, result.documents, problems), lines


def main() -> int:
    options = arguments()
    if options.self_test:
        options.deletes, options.keep, options.relays = "delete", "7d", 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(10**6)
    seconds = options.minutes * 60 if options.minutes else options.seconds
    rng = random.Random(f"{seed} settings")
    settings = settings_of(
        deletes=options.deletes or rng.choice(["delete", "tombstone"]), keep=options.keep or rng.choice(["7d", "7d", "0"]),
        workers=rng.choice([1, 2, 4]), compression=rng.choice(["off", "off", "gzip"]),
        rows=rng.choice([50, 500, 10_000]), level=options.log_level)
    relays = options.relays or rng.choice([1, 2, 2, 3])
    logs = Path(tempfile.mkdtemp(prefix=f"outboxd-campaign-{seed}-"))
    world = World(logs, seed, relays, (options.rate, options.import_rate), settings)
    if "poison_row" in options.without:
        writers.POISON_ROWS_MAX = 0
    faults = Faults(world, seed, seconds, options.strict, options.without)
    print(f"seed {seed}: {seconds:g} s, {relays} relays, {len(faults.plan)} faults planned, "
          + ", ".join(f"{name}={value}" for name, value in settings.items() if name != "outbox_document")
          + (", strict" if options.strict else "") + "".join(f", without {kind}" for kind in options.without), flush=True)
    keep_logs = True
    began = time.monotonic()
    try:
        world.start()
        if options.self_test:
            result, lines = self_test(world, seed)
        else:
            result, lines = campaign(world, faults, seed)
        print("\n".join(lines))
        print(f"seed {seed}: {time.monotonic() - began:.0f} s, {sum(faults.done.values())} faults, {result.events} events, "
              f"{result.documents} documents checked, {len(result.violations)} violations")
        for violation in result.violations[:5 * SHOWN]:
            print(f"  {violation}")
        (logs / "violations.txt").write_text("\n".join(result.violations) + "\n")
        keep_logs = bool(result.violations)
        return 1 if result.violations else 0
    except Exception:
        traceback.print_exc()
        print(f"seed {seed}: the campaign itself failed")
        return 2
    finally:
        world.end(faults.log, keep_logs)


if __name__ == "__main__":
    sys.exit(main())
