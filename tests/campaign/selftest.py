"""A checker that cannot fail proves nothing: plants each violation and demands that it is found."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

from harness import Database, wait_until
from harness.bulk import Action

from checker import Result, Sampler, final_check
from injector import Flight, Flights
from world import World


def publish(db: Database, name: str, data: str | None, label: str = "updated") -> int:
    return int(db.value("SELECT outbox_publish('goods', %s, %s, %s)", [name, data, label]))


def self_test(world: World, seed: int) -> tuple[Result, list[str]]:
    db, elastic = world.db, world.elastic
    ids = {name: publish(db, name, '{"n": 1, "price": 19.90}') for name in ("kept", "lost", "stale", "altered", "back")}
    ids |= {f"{name}2": publish(db, name, '{"n": 2}') for name in ("stale", "altered")}
    ids["back2"] = publish(db, "back", None, "deleted")
    ids["poison"] = publish(db, "poison", '{"n": "seven"}', "poison_mapping")
    ids["outdated"] = publish(db, "outdated", '{"n": "seven"}', "poison_mapping")
    wait_until(lambda: world.pending() == 0, 60, "a quiet queue")
    clean = final_check(world)
    sampler = Sampler(world, seed)
    with db.connect() as connection:
        sampler.look(connection, "goods", list(ids))
        clean_looks = list(sampler.violations)

        def put(name: str, version: int, body: dict[str, Any]) -> None:
            elastic.request("DELETE", f"/goods/_doc/{name}?version={version + 1000}&version_type=external")
            elastic.call("POST", "/goods/_close")
            elastic.call("POST", "/goods/_open")  # the tombstone is forgotten
            wait_until(lambda: elastic.request("PUT", f"/goods/_doc/{name}?version={version}&version_type=external",
                                               body).status < 300, 30, "the index to be writable again")

        put("stale", ids["stale"], {"n": 1})
        put("back", ids["back"], {"n": 1})
        put("extra", 5, {"n": 1})
        put("altered", ids["altered2"], {"n": 3})
        elastic.call("DELETE", f"/goods/_doc/lost?version={ids['lost'] + 1000}&version_type=external")
        sampler.look(connection, "goods", ["kept", "lost", "stale", "back"])
    for unit in world.units:
        unit.stop()
    dead = publish(db, "wrongly-dead", '{"n": 4}')
    db.execute("UPDATE outbox SET dead_at = now(), attempts = 3, error = '{\"type\": \"planted\"}' WHERE id = %s", [dead])
    unsent = publish(db, "unsent", '{"n": 4}')
    db.execute("UPDATE outbox SET processed = true WHERE id = %s", [unsent])
    replaced = publish(db, "outdated", '{"n": 4}')
    db.execute("UPDATE outbox SET processed = true WHERE id = %s", [replaced])
    left = publish(db, "left", '{"n": 4}')
    db.execute("UPDATE outbox SET processed = true WHERE id = %s", [ids["poison"]])
    found = final_check(world).violations

    expected = {
        "lost event": f"missing: goods/lost, event {ids['lost']}",
        "never sent": f"missing: goods/unsent, event {unsent}",
        "stale document": f"stale: goods/stale must be event {ids['stale2']}, is version {ids['stale']}",
        "other content": f"altered: goods/altered version {ids['altered2']}",
        "resurrected document": f"resurrected: goods/back was deleted by event {ids['back2']}",
        "extra document": "extra: goods/extra version 5",
        "undelivered event": f"undelivered: ({left},",
        "good event that is dead": f"dead, and no poison: ({dead},",
        "counted attempt": f"attempts of an event that is no poison: ({dead},",
        "dead event that could be settled":
            f"dead, though a newer event of the document is settled: ({ids['outdated']},",
        "settled poison": f"poison that nothing replaced is settled: ({ids['poison']},",
    }
    problems = [f"self-test: {what} was not found: {text}" for what, text in expected.items()
                if not any(line.startswith(text) for line in found)]
    seen = " ".join(sampler.violations)
    problems += [f"self-test: the sampler did not see {text!r}" for text in ("lost: goods/lost", "older: goods/stale",
                                                                             "older: goods/back") if text not in seen]
    problems += [f"self-test: found before anything was planted: {each}" for each in (*clean.violations, *clean_looks)]
    problems += _overlap()
    return (Result(len(ids) + 4, clean.documents, problems),
            [f"self-test: {len(expected) + 4} planted violations", *(f"  found: {line[:150]}" for line in found)])


def _overlap() -> list[str]:
    """Two requests under way with the same document."""

    def silence(*_: object) -> bytes:
        raise BlockingIOError

    def sender(gone: bool) -> Any:
        return SimpleNamespace(recv=(lambda *_: b"") if gone else silence)

    action = Action("index", {"_index": "goods", "_id": "1", "version": 7}, b"{}")
    problems = []
    for gone, excuse, expected in ((False, None, 1), (True, None, 0), (False, "PostgreSQL restarts", 0)):
        flights = Flights(lambda relay, since: excuse)
        for relay, left in ((1, gone), (2, False)):
            flights.begin(Flight(relay, sender(left), time.monotonic()), [action])
        if len(flights.violations) != expected:
            problems.append(f"self-test: overlap with gone={gone}, excuse={excuse}: {flights.violations}")
    return problems
