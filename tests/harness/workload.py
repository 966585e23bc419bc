"""Events to relay, and the record of what Elasticsearch must hold when all of them are delivered."""

from __future__ import annotations

from typing import Any, NamedTuple

import psycopg
from psycopg import sql

from .elastic_client import Document, ElasticClient

DOCUMENT_BYTES = 420
MAPPINGS: dict[str, Any] = {
    "dynamic": "strict",
    "properties": {
        "id": {"type": "long"},
        "sku": {"type": "keyword"},
        "title": {"type": "text"},
        "description": {"type": "text"},
        "price": {"type": "double"},  # scaled_float is a module that the minimal distribution lacks
        "stock": {"type": "integer"},
        "tags": {"type": "keyword"},
        "updated_at": {"type": "date"},
    },
}

# The documents are made by the server: 200,000 of them cost a second or two, and nothing of it runs in Python.
# The description is cut so that every document has the same length; its text is 'jsonb::text', which is what is sent.
_INSERT = """
WITH event AS (
    SELECT n, {key} AS key, n * {deletes} - floor(n * {deletes}) < {deletes} AS deleted
    FROM generate_series({first}::bigint, {last}) AS n
), product AS (
    SELECT n, key, deleted, jsonb_build_object(
        'id', key,
        'sku', 'SKU-' || lpad(key::text, 10, '0'),
        'title', 'Product ' || key || ', edition ' || n,
        'description', '',
        'price', ((n * 37 % 100000) / 100.0)::numeric(10, 2),
        'stock', n * 13 % 1000,
        'tags', jsonb_build_array('tag-' || n % 50, 'season-' || n % 4),
        'updated_at', to_char(timestamp '2026-01-01' + n * interval '1 second', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')) AS bare
    FROM event
), document AS (
    SELECT n, key, deleted, bare || jsonb_build_object('description', left(
        repeat('A sturdy thing of brass and walnut, made to be found again. ', {bytes} / 60 + 1),
        {bytes} - length(bare::text))) AS data
    FROM product
)
INSERT INTO {table} (event, aggregate_type, aggregate_id, data)
SELECT CASE WHEN deleted THEN 'product_deleted' ELSE 'product_updated' END, {index}, {prefix} || key,
       CASE WHEN NOT deleted THEN data END
FROM document ORDER BY n
"""


_OWN_KEY = sql.SQL("n")
_SHARED_KEY = sql.SQL("(hashint8extended(n, 1) & 2147483647) % {keys} + 1")


class Expected(NamedTuple):
    event_id: int
    source: str | None  # None: deleted


class History:
    """The newest event of each document."""

    def __init__(self) -> None:
        self.newest: dict[str, Expected] = {}

    def record(self, document_id: str, event_id: int, source: str | None) -> None:
        """In any order: the highest id wins."""
        known = self.newest.get(document_id)
        if known is None or known.event_id < event_id:
            self.newest[document_id] = Expected(event_id, source)

    def assert_matches(self, elastic: ElasticClient, index: str, check_versions: bool = True) -> None:
        """Every document is its newest event to the byte, and there is no other document."""
        found = elastic.all_docs(index)
        wanted = {name: event for name, event in self.newest.items() if event.source is not None}
        problems = {
            "missing": [f"{name}: event {wanted[name].event_id}" for name in wanted.keys() - found.keys()],
            "stale": [_difference(name, event, found[name]) for name, event in wanted.items()
                      if name in found and not _is_equal(event, found[name], check_versions)],
            "extra": [f"{name}: {_fate(self.newest.get(name))}, found version {found[name].version}"
                      for name in found.keys() - wanted.keys()],
        }
        report = [f"{len(samples)} {what}: {'; '.join(sorted(samples)[:5])}"
                  for what, samples in problems.items() if samples]
        assert not report, f"{index} holds {len(found)} documents, must hold {len(wanted)}; " + " | ".join(report)


def insert_events(connection: psycopg.Connection[Any], count: int, *, keys: int | None = None, deletes: float = 0.0,
                  first: int = 1, table: str = "outbox", index: str = "products", prefix: str = "",
                  document_bytes: int = DOCUMENT_BYTES, history: History | None = None) -> None:
    """Inserts events number `first` to `first + count - 1` in one statement.

    Each has a document of its own, or one of `keys` documents in a fixed, scattered order. A share of `deletes` are
    deletes. The same number always makes the same event. `history` costs the transfer of all documents.
    """
    statement = sql.SQL(_INSERT).format(
        table=sql.Identifier(*table.split(".")), index=index, prefix=prefix, deletes=deletes, bytes=document_bytes,
        first=first, last=first + count - 1, key=_SHARED_KEY.format(keys=keys) if keys else _OWN_KEY)
    if history is None:
        connection.execute(statement)
        return
    for event_id, document_id, source in connection.execute(
            statement + sql.SQL("RETURNING id, aggregate_id, data::text")):
        history.record(document_id, event_id, source)


def _is_equal(event: Expected, document: Document, check_version: bool) -> bool:
    return event.source == document.source and (not check_version or event.event_id == document.version)


def _difference(name: str, event: Expected, document: Document) -> str:
    if event.event_id != document.version:
        return f"{name}: must be event {event.event_id}, is version {document.version}"
    return f"{name}: version {document.version} with other content: {document.source[:200]}"


def _fate(event: Expected | None) -> str:
    return "never published" if event is None else f"deleted by event {event.event_id}"
