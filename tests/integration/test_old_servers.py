"""A search server that is too old: nothing is lost by it, and what is said names the cause."""

from __future__ import annotations

import json
from typing import Any

from conftest import OutboxdFactory
from helpers import dead, init, publish, undelivered

from harness import Answer, Database, Elastic, ScriptedElastic, wait_until


def untyped(request: Any) -> Answer:
    """Elasticsearch 6 wants a type in each action."""
    reason = "Validation Failed: " + "".join(f"{n}: type is missing;" for n in range(1, len(request.actions) + 1))
    error = {"type": "action_request_validation_exception", "reason": reason}
    return Answer(400, body=json.dumps({"error": {"root_cause": [error], **error}, "status": 400}))


def test_elasticsearch_6_is_an_outage_and_buries_nobody(db: Database, elastic: Elastic, index: str,
                                                         outboxd: OutboxdFactory) -> None:
    with ScriptedElastic(untyped) as old:
        daemon = outboxd(elasticsearch_url=old.url, retry_cap="100ms")
        init(daemon)
        for n in range(3):
            publish(db, index, str(n), {"n": n})
        daemon.start()
        away = daemon.wait_log("elasticsearch_away")
        assert "older than 7" in away["error"]
        # The probe, which sends one event alone, is no reason to give that one up.
        old.wait_bulks(4)
        daemon.terminate()
    assert undelivered(db) == 3 and not dead(db)
    daemon.settings["elasticsearch_url"] = elastic.url
    daemon.start()
    wait_until(lambda: undelivered(db) == 0, 20, "delivery after the upgrade")
