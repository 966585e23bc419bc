"""What must be true: all the time (Sampler), and when everything is healed and quiet (final_check)."""

from __future__ import annotations

import http.client
import random
import threading
from typing import Any, NamedTuple

import psycopg

from harness import ElasticClient

from injector import clock
from world import World
from writers import HOT, IMPORT_HOT, IMPORT_KEYS, INDEXES, KEYS, document_id

TOMBSTONE = '{"deleted":true}'
SHOWN = 8  # of each kind of violation
# Of each document: up to where its events are settled, its newest delete and its newest event at all.
FLOORS = """
SELECT h.doc, max(h.id) FILTER (WHERE (o.id IS NULL OR o.processed) AND h.event NOT LIKE 'poison%%'),
       max(h.id) FILTER (WHERE h.data IS NULL), max(h.id)
FROM history h LEFT JOIN outbox o USING (id)
WHERE h.idx = %s AND md5(h.doc) IN (SELECT md5(d) FROM unnest(%s::text[]) AS d) GROUP BY h.doc
"""
NEWEST = """
SELECT idx, doc, id, data FROM history
JOIN (SELECT max(id) AS id FROM history WHERE event NOT LIKE 'poison%' GROUP BY idx, doc) AS newest USING (id)
"""


class Floor(NamedTuple):
    settled: int
    deleted: int
    newest: int


class Sampler:
    """Looks at some documents all the time: none may be older than what the outbox calls delivered."""

    def __init__(self, world: World, seed: int) -> None:
        self.violations: list[str] = []
        self.looks = 0
        self._world = world
        self._rng = random.Random(f"{seed} sampler")
        self._client = ElasticClient(world.elastic.url, timeout=20)
        self._seen: dict[tuple[str, str], int] = {}
        self._epoch = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(60)

    def look(self, connection: psycopg.Connection[Any], index: str, names: list[str]) -> None:
        epoch = self._world.es_epoch
        if epoch != self._epoch:
            # What was read may have been lost with the node before it was acknowledged; what is settled may not.
            self._seen.clear()
            self._epoch = epoch
        floors = _floors(connection, index, names)
        reply = self._client.request("POST", f"/{index}/_mget?_source=false", {"ids": names})
        if reply.status != 200 or self._world.es_epoch != epoch:
            return
        self.looks += 1
        versions = {doc["_id"]: int(doc["_version"]) if doc["found"] else 0
                    for doc in reply.json()["docs"] if "error" not in doc}
        later: dict[str, Floor] | None = None
        for name, version in versions.items():
            floor = floors.get(name, Floor(0, 0, 0))
            if version == 0 and floor.settled > floor.deleted:
                # A delete that was committed and delivered after we asked.
                later = later if later is not None else _floors(connection, index, names)
                if later[name].deleted < floor.settled:
                    self._complain(f"lost: {index}/{name} is not there, event {floor.settled} is settled")
            elif 0 < version < floor.settled:
                self._complain(f"older: {index}/{name} is version {version}, event {floor.settled} is settled")
            elif 0 < version < self._seen.get((index, name), 0):
                self._complain(f"went back: {index}/{name} is version {version}, was {self._seen[index, name]}")
            elif version > 0:
                self._seen[index, name] = version

    def _complain(self, what: str) -> None:
        self.violations.append(f"{clock()} sampler: {what}")

    def _run(self) -> None:
        connection: psycopg.Connection[Any] | None = None
        while not self._stop.wait(0.25):
            # A few: hot ones have a long history, and to read it is load that slows down what is tested.
            numbers = {*self._rng.sample(range(HOT), 1), *self._rng.sample(range(KEYS), 8),
                       *self._rng.sample(range(5000, 5060), 4)}
            names = [*map(document_id, numbers), *(f"i-{n}" for n in self._rng.sample(range(IMPORT_HOT), 2)),
                     *(f"i-{n}" for n in self._rng.sample(range(IMPORT_KEYS), 8))]
            try:
                if connection is None or connection.closed:
                    connection = self._world.db.connect(connect_timeout=5, options="-c statement_timeout=10s")
                self.look(connection, self._rng.choice(INDEXES), names)
            except (psycopg.Error, OSError, http.client.HTTPException):
                if connection is not None:
                    connection.close()
        if connection is not None:
            connection.close()


def _floors(connection: psycopg.Connection[Any], index: str, names: list[str]) -> dict[str, Floor]:
    rows = connection.execute(FLOORS, [index, names]).fetchall()
    return {name: Floor(settled or 0, deleted or 0, newest) for name, settled, deleted, newest in rows}


class Result(NamedTuple):
    events: int
    documents: int
    violations: list[str]


def final_check(world: World) -> Result:
    """When nothing is pending any more."""
    problems = _check_rows(world)
    documents = 0
    wanted: dict[str, dict[str, tuple[int, str | None]]] = {index: {} for index in INDEXES}
    with world.db.connect() as connection, connection.transaction(), connection.cursor(name="newest") as cursor:
        for index, name, number, data in cursor.execute(NEWEST):
            if index in wanted:
                wanted[index][name] = (number, data)
    for index, expected in wanted.items():
        found = world.elastic.all_docs(index)
        documents += len(expected)
        for name, (number, data) in expected.items():
            source = TOMBSTONE if data is None and world.tombstones else data
            document = found.pop(name, None)
            if source is None:
                if document is not None:
                    problems.append(f"resurrected: {index}/{name} was deleted by event {number}, "
                                    f"is version {document.version}")
            elif document is None:
                problems.append(f"missing: {index}/{name}, event {number}")
            elif document.version != number:
                problems.append(f"stale: {index}/{name} must be event {number}, is version {document.version}")
            elif document.source != source:
                problems.append(f"altered: {index}/{name} version {number}: {document.source[:200]}")
        problems += [f"extra: {index}/{name} version {document.version} was never published"
                     for name, document in found.items()]
    names = world.elastic.call("GET", "/_cat/indices?format=json&expand_wildcards=open,closed")
    problems += [f"extra: index {each['index']}" for each in names
                 if each["index"] not in INDEXES and not each["index"].startswith(".")]
    events = int(world.db.value("SELECT count(*) FROM history"))
    return Result(events, documents, problems)


ROW_RULES = {
    "undelivered": "SELECT o.id, h.event, o.error->>'type' FROM outbox o JOIN history h USING (id) "
                   "WHERE NOT o.processed AND o.dead_at IS NULL",
    "dead, and no poison": "SELECT o.id, h.event, o.error::text FROM outbox o JOIN history h USING (id) "
                           "WHERE NOT o.processed AND o.dead_at IS NOT NULL AND h.event NOT LIKE 'poison%'",
    "dead without a reason": "SELECT id FROM outbox WHERE dead_at IS NOT NULL AND error->>'type' IS NULL",
    # Undelivered ones are told above; a pair of rows for each of millions would take for ever.
    "dead, though a newer event of the document is settled":
        "SELECT o.id, h.event, o.error->>'type', n.id FROM outbox o JOIN history h USING (id) "
        "JOIN history n ON n.idx = h.idx AND md5(n.doc) = md5(h.doc) AND n.id > h.id AND n.event NOT LIKE 'poison%' "
        "WHERE NOT o.processed AND o.dead_at IS NOT NULL",
    "attempts of an event that is no poison":
        "SELECT o.id, o.attempts, o.error::text FROM outbox o JOIN history h USING (id) "
        "WHERE o.attempts > 0 AND h.event NOT LIKE 'poison%'",
    "row without a history": "SELECT id FROM outbox o WHERE NOT EXISTS (SELECT FROM history h WHERE h.id = o.id)",
}
# Of poison nothing may be settled but what a newer event of the same document has replaced.
SETTLED_POISON = """
SELECT h.id, h.event, h.idx, left(h.doc, 40) FROM history h LEFT JOIN outbox o USING (id)
WHERE h.event LIKE 'poison%' AND (o.id IS NULL OR o.processed)
  AND NOT EXISTS (SELECT FROM history n WHERE md5(n.doc) = md5(h.doc) AND n.idx = h.idx AND n.id > h.id
                  AND n.event NOT LIKE 'poison%')
"""


def _check_rows(world: World) -> list[str]:
    rules = {**ROW_RULES, "poison that nothing replaced is settled": SETTLED_POISON}
    if world.keep:
        rules["row that is gone"] = "SELECT id FROM history h WHERE NOT EXISTS (SELECT FROM outbox o WHERE o.id = h.id)"
    else:
        rules["row that should be gone"] = ("SELECT id, error->>'superseded_by' FROM outbox WHERE processed "
                                            "AND NOT coalesce(error ? 'superseded_by', false)")
    problems = []
    for what, statement in rules.items():
        rows = world.db.execute(statement)
        problems += [f"{what}: {row}" for row in rows[:SHOWN]]
        if len(rows) > SHOWN:
            problems.append(f"{what}: {len(rows)} in all")
    confirmed = world.writers.confirmed
    lost = world.db.value("SELECT count(*) FROM unnest(%s::bigint[]) AS c(id) LEFT JOIN history h USING (id) "
                          "WHERE h.id IS NULL", [confirmed])
    if lost:
        problems.append(f"PostgreSQL itself lost {lost} confirmed events: the campaign is no judge")
    return problems
