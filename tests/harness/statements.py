"""What the relay asks PostgreSQL, each statement with its time, from the server's own log: exact, and off before and after."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from .postgres import Postgres
from .waiting import wait_until

# Lines that go on begin with a tab, so only a record begins with the prefix. Parameters are left out: a batch has thousands.
SETTINGS = {"log_line_prefix": "@%a@%v@ ", "log_min_duration_statement": "0", "log_parameter_max_length": "0"}
RECORD = re.compile(r"outboxd@(?P<transaction>[^@]*)@ LOG:  duration: (?P<ms>[\d.]+) ms  "
                    r"(?P<phase>parse|bind|execute|statement)\b ?(?P<name>[^:]*): (?P<text>.*)", re.DOTALL)


class Statement(NamedTuple):
    transaction: str  # its virtual id; ends in /0 when the transaction was over by the time of the record, as for COMMIT
    phase: str  # parse, bind, execute; statement = all of them
    ms: float
    name: str  # <unnamed>: parsed and planned each time
    text: str

    @property
    def is_run(self) -> bool:
        return self.phase in ("execute", "statement")


@contextmanager
def statements(server: Postgres) -> Iterator[list[Statement]]:
    """The list is filled at the end."""
    found: list[Statement] = []
    _set(server, "ALTER SYSTEM SET {} = '{}'", "0")
    begin = server.log_file.stat().st_size
    try:
        yield found
        with server.log_file.open("rb") as log:
            log.seek(begin)
            text = log.read().decode(errors="replace")
        matches = map(RECORD.match, re.split(r"^@", text, flags=re.MULTILINE))
        found += [Statement(one["transaction"], one["phase"], float(one["ms"]), one["name"], one["text"].rstrip())
                  for one in matches if one]
    finally:
        _set(server, "ALTER SYSTEM RESET {}", "-1")


def transactions(asked: list[Statement]) -> dict[str, list[Statement]]:
    by_id: dict[str, list[Statement]] = {}
    for statement in asked:
        if not statement.transaction.endswith("/0"):
            by_id.setdefault(statement.transaction, []).append(statement)
    return by_id


def _set(server: Postgres, change: str, then: str) -> None:
    for name, value in SETTINGS.items():
        server.execute(change.format(name, value))
    server.reload()
    # A new session knows what the server knows, which has told all others by then.
    wait_until(lambda: server.execute("SHOW log_min_duration_statement") == [(then,)], 10, "the server's settings")
