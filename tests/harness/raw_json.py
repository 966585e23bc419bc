"""Finding a value inside a JSON text without losing how it was written."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

Span = tuple[int, int]

_SPACE = re.compile(r"[ \t\r\n]*")
_value_at = json.JSONDecoder().raw_decode


def members(text: str, start: int = 0) -> dict[str, Span]:
    """Where the values of the object at `start` begin and end."""
    spans: dict[str, Span] = {}
    position = _skip(text, _expect(text, start, "{"))
    while text[position] != "}":
        name, position = _value_at(text, position)
        value = _skip(text, _expect(text, _skip(text, position), ":"))
        _, end = _value_at(text, value)
        spans[name] = (value, end)
        position = _next(text, end)
    return spans


def elements(text: str, start: int = 0) -> Iterator[Span]:
    """Where the elements of the array at `start` begin and end."""
    position = _skip(text, _expect(text, start, "["))
    while text[position] != "]":
        _, end = _value_at(text, position)
        yield position, end
        position = _next(text, end)


def _skip(text: str, position: int) -> int:
    space = _SPACE.match(text, position)
    assert space
    return space.end()


def _expect(text: str, position: int, character: str) -> int:
    if text[position] != character:
        raise ValueError(f"expected {character!r} at {position}: {text[position:position + 40]!r}")
    return position + 1


def _next(text: str, end: int) -> int:
    """Past the comma after a value, or at the bracket that ends the list."""
    position = _skip(text, end)
    return _skip(text, position + 1) if text[position] == "," else position
