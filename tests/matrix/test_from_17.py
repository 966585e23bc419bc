"""What PostgreSQL has since 17."""

from __future__ import annotations

from helpers import drain, init, publish, undelivered

from harness import Answer, Database, ScriptedElastic
from integration.conftest import OutboxdFactory


def test_a_transaction_timeout_does_not_end_a_claim(db: Database, outboxd: OutboxdFactory) -> None:
    """It would end every claim whose answer takes longer, and the same events would be sent again for ever."""
    db.execute(f"ALTER DATABASE {db.name} SET transaction_timeout = '500ms'")
    assert db.value("SHOW transaction_timeout") == "500ms"
    with ScriptedElastic(lambda _: Answer(delay=2)) as slow:
        daemon = outboxd(elasticsearch_url=slow.url)
        init(daemon)
        publish(db, "products", "1", {"n": 1})
        drain(daemon)
        assert undelivered(db) == 0 and len(slow.bulks) == 1
