"""Reading the daemon's log lines: `ts=... level=info event=bulk_retry rows=3 error="..."`."""

from __future__ import annotations

import json
import re

LogLine = dict[str, str]

_PAIR = re.compile(r'([a-z0-9_]+)=("(?:[^"\\]|\\.)*"|[^ "]*)(?: |$)')


def parse_line(line: str) -> LogLine | None:
    """The fields of a line, or None where it is something else, such as a sanitizer's report."""
    fields: LogLine = {}
    position = 0
    while position < len(line):
        pair = _PAIR.match(line, position)
        if pair is None:
            return None
        fields[pair[1]] = _unquoted(pair[2])
        position = pair.end()
    return fields if "event" in fields else None


def matches(line: LogLine, event: str | None, fields: dict[str, object]) -> bool:
    """Compares as the log prints it: 3 matches `3`, True matches `true`."""
    if event is not None and line["event"] != event:
        return False
    return all(line.get(name) == _printed(value) for name, value in fields.items())


def _printed(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _unquoted(value: str) -> str:
    if not value.startswith('"'):
        return value
    try:
        return str(json.loads(value))
    except ValueError:
        return value[1:-1]  # an escape that JSON does not have
