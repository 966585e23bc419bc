"""Instructions per event of outboxd's own code, counted by callgrind: the same on every run, whatever the machine's load.

    tests/bench/instructions [--update]

The release build drains two backlogs, from a real PostgreSQL into a null sink; the difference of the two counts is
what the additional events cost. Only outboxd's own object is counted: libraries belong to the machine. The result must
not be larger than the one in instructions.json by more than TOLERANCE; --update writes it there (a release does, and a
change that is worth its price).
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from harness import Database, Postgres, insert_events  # noqa: E402
from release import SINK, fine, relay, wrapped  # noqa: E402
from sink import Sink  # noqa: E402

BASELINE = Path(__file__).resolve().parent / "instructions.json"
FEW, MANY = 10_000, 50_000
TOLERANCE = 0.05


def own_instructions(profile: Path) -> int:
    """The self cost of our object in a file of callgrind: https://valgrind.org/docs/manual/cl-format.html"""
    names: dict[str, str] = {}
    total, ours, of_a_call = 0, False, False
    for line in profile.read_text().splitlines():
        if line.startswith(("ob=", "cob=")):
            key, _, name = line.split("=", 1)[1].partition(" ")
            names.setdefault(key, name)
            if line.startswith("ob="):
                ours = names[key].endswith("/outboxd")
        elif line.startswith("calls="):
            of_a_call = True  # the next line is what was called
        elif line[:1] in set("0123456789+-*"):
            if ours and not of_a_call:
                total += int(line.split()[1])
            of_a_call = False
    if total == 0:
        raise RuntimeError(f"{profile} has no instructions of outboxd")
    return total


def count(db: Database, sink: Sink, events: int, folder: Path) -> int:
    profile = folder / f"callgrind.{events}"
    with db.connect() as connection:
        connection.execute("TRUNCATE outbox")
        insert_events(connection, events, index="products")
        connection.execute("VACUUM ANALYZE outbox")
    program = wrapped(folder, "valgrind", "--quiet", "--tool=callgrind", f"--callgrind-out-file={profile}")
    fine(relay(db, sink, program, relay_workers=1).run_once(timeout=300))
    return own_instructions(profile)


def measure() -> float:
    with Postgres() as postgres, Sink(SINK) as sink, \
            tempfile.TemporaryDirectory() as folder:
        db = postgres.createdb()
        fine(relay(db, sink).run("init"))
        few, many = (count(db, sink, events, Path(folder)) for events in (FEW, MANY))
    return (many - few) / (MANY - FEW)


def compiler() -> str:
    """What the count depends on, beside the source."""
    version = subprocess.run(["gcc", "-dumpfullversion"], capture_output=True, text=True, check=True).stdout.strip()
    machine = subprocess.run(["gcc", "-dumpmachine"], capture_output=True, text=True, check=True).stdout.strip()
    return f"gcc {version.split('.')[0]} {machine}"


def main() -> int:
    known = json.loads(BASELINE.read_text()) if BASELINE.exists() else {}
    per_event, name = measure(), compiler()
    print(f"{name}: {per_event:,.0f} instructions per event in outboxd's own code")
    if "--update" in sys.argv[1:]:
        BASELINE.write_text(json.dumps(known | {name: round(per_event)}, indent=2, sort_keys=True) + "\n")
        return 0
    if name not in known:
        print(f"nothing to compare with: {BASELINE.name} has {', '.join(known) or 'nothing'}")
        return 0
    print(f"at the last release: {known[name]:,} (ratio {per_event / known[name]:.3f}, allowed {1 + TOLERANCE})")
    if per_event > known[name] * (1 + TOLERANCE):
        print("outboxd got slower: find out why (callgrind_annotate), or say in the commit why it is worth it and run --update")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
