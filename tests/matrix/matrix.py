"""Runs the rows of the matrix, and says what each showed. tests/matrix/run calls it."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from xml.etree import ElementTree

from rows import EXEMPTIONS, Row, exempt, rows

ROOT = Path(__file__).resolve().parent.parent.parent
LOGS = ROOT / "build" / "matrix"  # what pytest prints of each row
PYTEST = ["/usr/bin/python3", "-m", "pytest", "-c", "tests/pytest.ini"]


@dataclass
class Result:
    postgres: str
    search: str
    passed: int = 0
    failed: list[str] = field(default_factory=list)
    skipped: int = 0
    exempted: int = 0
    exit_code: int = 0
    seconds: int = 0

    @property
    def ok(self) -> bool:
        # No test skips, and a row without a test proves nothing.
        return self.exit_code == 0 and self.passed > 0 and not self.failed and not self.skipped


def node(name: str) -> str:
    return f"tests/integration/{name}"


def collected() -> list[str]:
    """Every integration test by the name that pytest gives it."""
    done = subprocess.run([*PYTEST, "--collect-only", "-q", "tests/integration"], cwd=ROOT, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(done.stdout + done.stderr)
    return [f"tests/{line}" if not line.startswith("tests/") else line for line in done.stdout.splitlines() if "::" in line]


def check_exemptions(tests: list[str]) -> None:
    """One that names no test would exempt nothing, and say that it does."""
    for exemption in EXEMPTIONS:
        if not any(test.startswith(node(exemption.test)) for test in tests):
            sys.exit(f"tests/matrix/rows.py: no test is called {exemption.test}")


def server_program(major: int) -> Path:
    done = subprocess.run([ROOT / "tests/setup/postgres.py", str(major)], stdout=subprocess.PIPE, text=True, check=True)
    return Path(done.stdout.strip()) / "postgres"


def read_report(report: Path, result: Result) -> None:
    if not report.exists():
        return
    for case in ElementTree.parse(report).iter("testcase"):
        name = f"{case.get('classname')}::{case.get('name')}"
        if case.find("failure") is not None or case.find("error") is not None:
            result.failed.append(name)
        elif case.find("skipped") is not None:
            result.skipped += 1
        else:
            result.passed += 1


def run(row: Row, tests: list[str], quick: bool, more: list[str]) -> Result:
    program = server_program(row.postgres)
    version = subprocess.run([program, "--version"], stdout=subprocess.PIPE, text=True, check=True).stdout.split()[-1]
    result = Result(version, row.search)
    files = row.files(quick)
    without = [node(exemption.test) for exemption in exempt(row)]
    result.exempted = sum(test.partition("::")[0] in files and any(map(test.startswith, without)) for test in tests)
    environment = {**os.environ, "OUTBOXD_PG_BIN": str(program.parent), "OUTBOXD_ES_VERSION": row.search}
    began = time.monotonic()
    kept = [file for file in files if file not in without]
    LOGS.mkdir(parents=True, exist_ok=True)
    log = LOGS / f"postgresql-{version}-{row.search}.log"
    log.unlink(missing_ok=True)
    # Each folder has its own conftest.py, and Python one module of a name.
    for folder in sorted({Path(file).parent for file in kept}):
        # pytest's own names begin where pytest.ini is.
        command = [*PYTEST, "-q", *(f"--deselect={name.removeprefix('tests/')}" for name in without), *more,
                   *(file for file in kept if Path(file).parent == folder)]
        run_pytest(command, environment, log, result)
    result.seconds = round(time.monotonic() - began)
    if not result.ok:
        print(log.read_text(errors="replace")[-60_000:])
    return result


def run_pytest(command: list[str], environment: dict[str, str], log: Path, result: Result) -> None:
    with tempfile.TemporaryDirectory() as folder, log.open("a") as output:
        report = Path(folder) / "report.xml"
        done = subprocess.run([*command, f"--junitxml={report}"], cwd=ROOT, env=environment, stdout=output,
                              stderr=subprocess.STDOUT)
        read_report(report, result)
    result.exit_code = result.exit_code or done.returncode


def show(result: Result) -> None:
    exempted = f", {result.exempted} do not apply" if result.exempted else ""
    print(f"{'ok    ' if result.ok else 'FAILED'} PostgreSQL {result.postgres:<6} {result.search:<18} "
          f"{result.passed} passed, {len(result.failed)} failed{exempted} ({result.seconds} s)", flush=True)
    for name in result.failed:
        print(f"         {name}")


def show_exemptions(chosen: list[Row]) -> None:
    for exemption in EXEMPTIONS:
        without = [row for row in chosen if exemption.applies(row)]
        names = (f"PostgreSQL {row.postgres} with {row.search}" for row in without)
        if without:
            where = "every row" if without == chosen else ", ".join(names)
            print(f"not run: {exemption.test}: {exemption.reason} ({where})")


def read_only(text: str | None) -> dict[str, str]:
    """pg=17,es=7.17"""
    pairs = dict(part.split("=", 1) if "=" in part else (part, "") for part in text.split(",")) if text else {}
    if not pairs.keys() <= {"pg", "es"} or not all(pairs.values()):
        sys.exit(f"--only {text}: write pg=MAJOR, es=VERSION, or both: pg=17,es=opensearch-3")
    return pairs


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests/matrix/run")
    parser.add_argument("--quick", action="store_true", help="one file for each row")
    parser.add_argument("--cross", action="store_true", help="every PostgreSQL with every search server")
    parser.add_argument("--only", help="pg=MAJOR,es=VERSION")
    parser.add_argument("--jobs", type=int, default=1, help="so many rows at a time; each has servers of its own")
    parser.add_argument("--json", type=Path, help="write the results here too")
    parser.add_argument("--list", action="store_true", help="say what would be run")
    parser.add_argument("more", nargs="*", help="for pytest")
    return parser.parse_args()


def main() -> int:
    options = arguments()
    only = read_only(options.only)
    # A pair that is named need not be one of PAIRS.
    chosen = [row for row in rows(options.cross or len(only) == 2) if row.is_named(only.get("pg"), only.get("es"))]
    if not chosen:
        sys.exit(f"--only {options.only}: there is no such row; see --list")
    tests = collected()
    check_exemptions(tests)
    if options.list:
        for row in chosen:
            print(f"PostgreSQL {row.postgres}, {row.search}: {' '.join(row.files(options.quick))}")
        show_exemptions(chosen)
        return 0

    def run_and_show(row: Row) -> Result:
        result = run(row, tests, options.quick, options.more)
        show(result)
        return result

    with ThreadPoolExecutor(options.jobs) as pool:
        results = list(pool.map(run_and_show, chosen))
    show_exemptions(chosen)
    if options.json:
        options.json.write_text(json.dumps({"date": date.today().isoformat(), "rows": [
            {**asdict(result), "ok": result.ok} for result in results]}, indent=1) + "\n")
    bad = sum(not result.ok for result in results)
    print(f"{len(results) - bad} rows passed, {bad} failed")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
