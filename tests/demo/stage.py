"""The two servers of the demo, and the questions that it asks them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from http.client import HTTPException
from typing import NamedTuple

from harness import Database, Elastic, ElasticClient, ElasticError, Postgres
from harness.elastic_client import Document
from screen import Screen, bar
from shop import MAPPINGS, TABLE


class Hit(NamedTuple):
    number: int
    name: str
    price: Decimal  # the digits that the server answered: 19.90 is not 19.9


@dataclass(frozen=True)
class Outcome:
    """What both servers say of one shop."""

    written: dict[str, str]  # by id, as the document that search must show
    found: Mapping[str, Document]
    count: int  # Elasticsearch's own count, to check ours

    @property
    def missing(self) -> list[str]:
        return sorted(self.written.keys() - self.found.keys(), key=int)

    @property
    def complaint(self) -> str:
        """What is wrong apart from missing documents, or nothing."""
        differing = sum(self.found[number].source != text for number, text in self.written.items()
                        if number in self.found)
        extra = len(self.found.keys() - self.written.keys())
        if differing or extra:
            return f"{differing} documents differ from their rows, {extra} have no row"
        return "" if self.count == len(self.found) else f"Elasticsearch counts {self.count}, shows {len(self.found)}"

    def name(self, number: str) -> str:
        return str(json.loads(self.written[number])["name"])


class Indexing(NamedTuple):
    """Elasticsearch's counters of one index since it was opened."""

    written: int
    refused: int


class Stage:
    def __init__(self, screen: Screen, postgres: Postgres, elastic: Elastic, failures: list[str]) -> None:
        self.screen = screen
        self.postgres = postgres
        self.elastic = elastic
        self.failures = failures
        self._onlooker = ElasticClient(elastic.url, timeout=1)

    def expect(self, condition: bool, otherwise: str) -> None:
        if not condition:
            self.failures.append(otherwise)

    def prepare(self, name: str) -> Database:
        """An empty shop: a database, and an index of the same name."""
        database = self.postgres.createdb(name)
        database.execute(TABLE)
        self.elastic.create_index(name, MAPPINGS)
        return database

    def outcome(self, database: Database) -> Outcome:
        found = self.elastic.all_docs(database.name)  # refreshes first: nothing is late, what is not there is missing
        rows = database.execute("SELECT id::text, to_jsonb(p)::text FROM products p")
        return Outcome(dict(rows), found, self.elastic.count(database.name))

    def search(self, index: str, name: str) -> list[Hit]:
        """As a customer would: all the words, in any order."""
        self.elastic.refresh(index)
        query = {"query": {"match": {"name": {"query": name, "operator": "and"}}}}
        reply = self.elastic.request("POST", f"/{index}/_search", query)
        if reply.status != 200:
            raise ElasticError(f"search {index}", reply)
        answer = json.loads(reply.body, parse_float=Decimal)
        sources = [hit["_source"] for hit in answer["hits"]["hits"]]
        return [Hit(source["id"], source["name"], source["price"]) for source in sources]

    def product(self, database: Database, number: int) -> Hit:
        ((name, price),) = database.execute("SELECT name, price FROM products WHERE id = %s", (number,))
        return Hit(number, name, price)

    def indexing(self, index: str) -> Indexing:
        seen = self.elastic.call("GET", f"/{index}/_stats/indexing")["_all"]["primaries"]["indexing"]
        return Indexing(seen["index_total"], seen["index_failed_due_to_version_conflict"])

    @contextmanager
    def watching(self, database: Database) -> Iterator[None]:
        """On a terminal, both servers' counts all along."""
        found = 0

        def look() -> str:
            nonlocal found
            row = session.execute("SELECT count(*) FROM products").fetchone()
            assert row
            state = ""
            try:
                found = self._onlooker.count(database.name)
            except (OSError, HTTPException, ElasticError):
                state = "  Elasticsearch: away"
            return f"  {bar(found, row[0])} {row[0]:,} written, {found:,} found{state}"

        with database.connect() as session, self.screen.watching(look):
            yield
