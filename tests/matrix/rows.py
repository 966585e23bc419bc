"""What the matrix runs: pairs of servers, the tests, and those that do not apply to some version."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

POSTGRES = (13, 14, 15, 16, 17, 18)
SEARCH = ("7.17.29", "8.19.0", "9.5.0", "opensearch-2.19.6", "opensearch-3.3.0")
# Each version of either side meets one of the other: what depends on both at once is for --cross.
PAIRS = ((13, "7.17.29"), (14, "opensearch-2.19.6"), (15, "9.5.0"), (16, "8.19.0"), (17, "opensearch-3.3.0"), (18, "9.5.0"))

# Tests in which a server's own behaviour decides. What is not among them needs one pair only.
NAMES = ("auth", "backfill", "check", "check_secure", "crash", "cut", "dead", "delete_by_query", "delivery", "failover", "init",
         "mapping", "operator", "outage", "partitioned", "plans", "pooler", "postgres_faults", "probe", "refresh", "reindex", "role", "sessions",
         "stubborn", "tls_elastic", "tls_postgres", "tombstones", "trace", "track", "update", "verdicts", "verdicts_secure", "verify", "writers")
QUICK = ("delivery",)
# Below what is supported: refused with a sentence.
TOO_OLD = (12, "9.5.0")


class Row(NamedTuple):
    postgres: int
    search: str

    @property
    def is_opensearch(self) -> bool:
        return self.search.startswith("opensearch")

    @property
    def search_version(self) -> tuple[int, ...]:
        return tuple(map(int, self.search.rpartition("-")[2].split(".")))

    def is_named(self, postgres: str | None, search: str | None) -> bool:
        """es=7.17 names 7.17.29, es=opensearch-3 names opensearch-3.3.0."""
        return postgres in (None, str(self.postgres)) and (
            search is None or f"{self.search}.".startswith(f"{search}."))

    def files(self, quick: bool) -> list[str]:
        if self == TOO_OLD:
            return ["tests/matrix/test_refused.py"]
        newer = ["tests/matrix/test_from_17.py"] if self.postgres >= 17 else []
        return [f"tests/integration/test_{name}.py" for name in (QUICK if quick else NAMES)] + newer


def rows(cross: bool) -> list[Row]:
    pairs = [(postgres, search) for postgres in POSTGRES for search in SEARCH] if cross else PAIRS
    return [Row(*pair) for pair in (TOO_OLD, *pairs)]


class Exemption(NamedTuple):
    """Tests that a row does not run. They ask for something that this server does not have."""

    test: str  # a file, or the beginning of a test's name in it
    applies: Callable[[Row], bool]
    reason: str


def everywhere(_: Row) -> bool:
    return True


def is_opensearch(row: Row) -> bool:
    return row.is_opensearch


def is_elasticsearch_7(row: Row) -> bool:
    return not row.is_opensearch and row.search_version < (8,)


def before_15(row: Row) -> bool:
    return row.postgres < 15


NO_DATA_STREAMS = "data streams are a module that the minimal distribution of 7.17 lacks"
NO_SECURITY = "OpenSearch's security is a plugin that its minimal distribution lacks"
EXEMPTIONS: tuple[Exemption, ...] = (
    Exemption("test_delivery.py::test_200_000_events_are_drained_once", everywhere, "it is about number: one pair is enough"),
    Exemption("test_verdicts_secure.py", is_opensearch, NO_SECURITY),
    Exemption("test_check_secure.py", is_opensearch, NO_SECURITY),
    Exemption("test_auth.py", is_opensearch, NO_SECURITY),
    Exemption("test_tls_elastic.py", is_opensearch, NO_SECURITY),
    Exemption("test_verdicts.py::test_a_data_stream_takes_creates_only", is_elasticsearch_7, NO_DATA_STREAMS),
    Exemption("test_track.py::TestEvents::test_a_merge_that_gives_a_key_away", before_15, "MERGE came with PostgreSQL 15"),
    Exemption("test_update.py::test_vectors_are_read_too", is_opensearch, "dense_vector is a type of Elasticsearch"),
    Exemption("test_update.py::test_vectors_are_read_too", is_elasticsearch_7, "dense_vector is a module that the minimal distribution of 7.17 lacks"),
    Exemption("test_check.py::test_a_template_of_a_data_stream", is_elasticsearch_7, NO_DATA_STREAMS),
)


def exempt(row: Row) -> list[Exemption]:
    return [exemption for exemption in EXEMPTIONS if exemption.applies(row)]
