"""Every figure that has a target, each with what was measured, in one table.

A figure is a row of FIGURES. Timing says nothing across machines or runs; ratios are of one run. No test depends on these numbers.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import figures_drain as drains  # noqa: E402
import figures_kept as kept  # noqa: E402
import figures_table as tables  # noqa: E402
from bench import show  # noqa: E402
from figures_lab import Lab, Values  # noqa: E402
from release import ROOT  # noqa: E402


class Goal(NamedTuple):
    """One of the values of a figure that belongs into the table."""

    value: str
    at_least: float | None = None
    at_most: float | None = None

    @property
    def target(self) -> str:
        if self.at_least is not None:
            return f">= {self.at_least:g}"
        return "-" if self.at_most is None else f"<= {self.at_most:g}"

    def reached(self, measured: float) -> bool | None:
        if self.at_least is not None:
            return measured >= self.at_least
        return None if self.at_most is None else measured <= self.at_most


class Figure(NamedTuple):
    name: str
    what: str
    measure: Callable[[Lab], Values]
    goals: Sequence[Goal]


FIGURES = (
    Figure("drain", "200,000 pending events, against the raw _bulk ceiling just before", drains.drain,
           [Goal("share_of_ceiling", at_least=0.75), Goal("share_if_busy")]),
    Figure("drain0", "the same with keep = 0", drains.drain0, [Goal("share_of_ceiling", at_least=0.85), Goal("share_if_busy")]),
    Figure("large", "the same with 2,000,000", drains.large,
           [Goal("keep_share_of_ceiling", at_least=0.75), Goal("keep0_share_of_ceiling", at_least=0.85)]),
    Figure("cpu", "own CPU of drain and drain0", drains.cpu,
           [Goal("keep_s_per_100k", at_most=0.2), Goal("keep0_s_per_100k", at_most=0.2)]),
    Figure("latency", "commit to readable by id, at 500 and 2,000 events/s", drains.latencies,
           [goal for rate in (500, 2000) for goal in (
               Goal(f"p50_ms_at_{rate}", at_most=3), Goal(f"p99_ms_at_{rate}", at_most=12), Goal(f"no_relay_p50_ms_at_{rate}"),
               Goal(f"no_relay_p99_ms_at_{rate}"), Goal(f"written_events_s_at_{rate}"))]),
    Figure("rss", "peak memory of drain and drain0", drains.rss, [Goal("keep_mb", at_most=16), Goal("keep0_mb", at_most=16)]),
    Figure("rss1mb", "peak memory with documents of 1 MB", drains.rss1mb, [Goal("peak_mb", at_most=48)]),
    Figure("idle", "at rest, with notify", tables.idle,
           [Goal("cpu_percent", at_most=0.1), Goal("transactions_s", at_most=2), Goal("statements_s")]),
    Figure("pinned", "claims while a snapshot is held, after 5,000,000 processed rows (sink)", tables.pinned,
           [Goal("to_first", at_most=1.2)]),
    Figure("two", "two relays on one table, against one", drains.two, [Goal("rate_to_one", at_least=0.95)]),
    Figure("four", "four relays on one table, against one", drains.four, [Goal("rate_to_one", at_least=0.95)]),
    Figure("hot", "1,000,000 updates of 1,000 documents", drains.hot, [Goal("sent_per_event", at_most=0.05)]),
    Figure("deep", "100,000 events of 10,000,000 pending, against 100,000 of 300,000 (sink)", tables.deep,
           [Goal("rate_to_shallow", at_least=0.95)]),
    Figure("purge", "a drain beside a purge; 5,000,000 events through a table that is purged (sink)", kept.purge,
           [Goal("rate_to_without", at_least=0.95), Goal("size_growth", at_most=1.2), Goal("dead_growth", at_most=1.2),
            Goal("steady_events_s"), Goal("peak_size_mb"), Goal("peak_dead_rows")]),
    Figure("partitions", "drains of a partitioned and a plain table; 5,000,000 events through a partitioned one (sink)",
           kept.partitions,
           [Goal("rate_to_plain", at_least=0.95), Goal("size_growth", at_most=1.2), Goal("dead_growth", at_most=1.2),
            Goal("steady_events_s"), Goal("peak_size_mb"), Goal("peak_dead_rows")]),
    Figure("sink", "the relay and PostgreSQL alone", tables.sink, [Goal("events_s"), Goal("cycles_per_event")]),
)


def chosen(names: str) -> list[Figure]:
    known = {figure.name: figure for figure in FIGURES}
    wanted = names.split(",") if names else list(known)
    if unknown := [name for name in wanted if name not in known]:
        raise SystemExit(f"there is no figure {', '.join(unknown)}; there are {', '.join(known)}")
    return [known[name] for name in wanted]


def number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def print_table(figures: Sequence[Figure], found: dict[str, Values], is_trial: bool) -> None:
    print(f"\n{'figure':<10} {'value':<26} {'measured':>12} {'target':>10}  reached")
    for figure in figures:
        if figure.name not in found:
            print(f"{figure.name:<10} {'(failed)':<26} {'-':>12} {'-':>10}  no")
            continue
        for goal in figure.goals:
            measured = found[figure.name].get(goal.value)
            shown = "-" if measured is None else number(measured)
            reached = None if is_trial or measured is None else goal.reached(measured)
            verdict = {True: "yes", False: "no", None: "-"}[reached]
            print(f"{figure.name:<10} {goal.value:<26} {shown:>12} {goal.target:>10}  {verdict}")


def as_json(figure: Figure, values: Values, is_trial: bool) -> dict[str, Any]:
    goals = [{"value": goal.value, "measured": values[goal.value], "target": goal.target,
              "reached": None if is_trial else goal.reached(values[goal.value])} for goal in figure.goals if goal.value in values]
    return {"what": figure.what, "values": values, "goals": goals}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", metavar="NAME,NAME", help=", ".join(figure.name for figure in FIGURES))
    parser.add_argument("--scale", type=float, default=1.0, help="of all counts; other than 1 only tries whether all of it works")
    parser.add_argument("--rounds", type=int, default=3, help="of which the medians are taken")
    parser.add_argument("--json", type=Path, default=ROOT / "build" / "figures.json")
    options = parser.parse_args()
    figures, found, is_trial = chosen(options.only), {}, options.scale != 1
    report: dict[str, Any] = {"scale": options.scale, "rounds": options.rounds, "cpus": os.cpu_count(),
                              "load_before": os.getloadavg()[0], "figures": {}}
    with Lab(options.scale, options.rounds) as lab:
        for figure in figures:
            began = time.monotonic()
            try:
                found[figure.name] = figure.measure(lab)
            except Exception:  # the other figures are not lost with this one
                print(f"\n{figure.name} failed:\n{traceback.format_exc()}", flush=True)
                continue
            show(f"{figure.name}: {figure.what}; took {time.monotonic() - began:.0f} s", found[figure.name])
            report["figures"][figure.name] = as_json(figure, found[figure.name], is_trial)
            options.json.write_text(json.dumps(report, indent=2) + "\n")
    print_table(figures, found, is_trial)
    print(f"\nscale {options.scale:g}, {options.rounds} rounds" + (": a trial, no measurement" if is_trial else ""))
    print(f"written to {options.json}" if found else "nothing was measured")
    return 0 if len(found) == len(figures) else 1


if __name__ == "__main__":
    sys.exit(main())
