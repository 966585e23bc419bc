"""The `_bulk` format, as far as a scripted server needs it: reading requests, making answers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

ItemError = tuple[int, str, str]  # HTTP status, error type, reason


@dataclass(frozen=True)
class Action:
    """One action line and, but for a delete, its document line as it came."""

    operation: str
    meta: Mapping[str, Any]
    source: bytes | None

    @property
    def index(self) -> str | None:
        return self.meta.get("_index")

    @property
    def id(self) -> str | None:
        return self.meta.get("_id")

    @property
    def version(self) -> int | None:
        return self.meta.get("version")


def parse_bulk(body: bytes) -> list[Action]:
    """Raises ValueError for what the real server would answer 400 to, and for a last action without a document."""
    if not body.endswith(b"\n"):
        raise ValueError("the bulk request must be terminated by a newline")
    actions = []
    lines = iter(body.removesuffix(b"\n").split(b"\n"))
    for line in lines:
        operation, meta = _action_line(line)
        source = None
        if operation != "delete":
            source = next(lines, None)
            if source is None:
                raise ValueError(f"no document after the action {line!r}")
        actions.append(Action(operation, meta, source))
    return actions


def _action_line(line: bytes) -> tuple[str, Mapping[str, Any]]:
    action = json.loads(line)
    if not isinstance(action, dict) or len(action) != 1:
        raise ValueError(f"malformed action line {line!r}")
    ((operation, meta),) = action.items()
    if operation not in ("index", "create", "delete", "update") or not isinstance(meta, dict):
        raise ValueError(f"malformed action line {line!r}")
    return operation, meta


def bulk_answer(actions: Sequence[Action], refused: Mapping[int, ItemError]) -> dict[str, Any]:
    """What a server says that accepts all but the items at the positions in `refused`."""
    items = [_item(position, action, refused.get(position)) for position, action in enumerate(actions)]
    return {"errors": any("error" in entry for item in items for entry in item.values()), "took": 1, "items": items}


def _item(position: int, action: Action, error: ItemError | None) -> dict[str, Any]:
    entry: dict[str, Any] = {"_index": action.index, "_id": action.id}
    if error is not None:
        entry["status"], kind, reason = error
        entry["error"] = {"type": kind, "reason": reason, "index": action.index, "shard": "0"}
    else:
        deleted = action.operation == "delete"
        entry["_version"] = action.version or 1
        entry["result"] = "deleted" if deleted else "created"
        entry["_shards"] = {"total": 1, "successful": 1, "failed": 0}
        entry["_seq_no"] = position
        entry["_primary_term"] = 1
        entry["status"] = 200 if deleted else 201
    return {action.operation: entry}


def filter_path(value: Any, filters: str) -> Any:
    """The `filter_path` of Elasticsearch without `**` and exclusions.

    As there, an array keeps no place for an element of which nothing is left.
    """
    kept = _filtered(value, [pattern.split(".") for pattern in filters.split(",")])
    return {} if kept is None else kept


def _filtered(value: Any, patterns: list[list[str]]) -> Any:
    if isinstance(value, list):
        elements = [_filtered(element, patterns) for element in value]
        return [element for element in elements if element is not None] or None
    if not isinstance(value, dict):
        return None
    kept = {}
    for name, member in value.items():
        rests = [pattern[1:] for pattern in patterns if fnmatchcase(name, pattern[0])]
        if [] in rests:
            kept[name] = member
        elif rests and (inner := _filtered(member, rests)) is not None:
            kept[name] = inner
    return kept or None
