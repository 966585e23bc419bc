"""Real servers, scripted servers and faults, for the tests, the benchmarks and the demo."""

from .certificates import Authority, Certificate
from .elastic import Elastic
from .elastic_client import ElasticClient, ElasticError, Reply
from .fault_proxy import FaultProxy
from .outboxd import Completed, Outboxd
from .pgbouncer import PgBouncer
from .postgres import Database, Postgres
from .scripted_elastic import Answer, ScriptedElastic
from .waiting import wait_until
from .workload import History, insert_events

__all__ = [
    "Answer",
    "Authority",
    "Certificate",
    "Completed",
    "Database",
    "Elastic",
    "ElasticClient",
    "ElasticError",
    "FaultProxy",
    "History",
    "Outboxd",
    "PgBouncer",
    "Postgres",
    "Reply",
    "ScriptedElastic",
    "insert_events",
    "wait_until",
]
