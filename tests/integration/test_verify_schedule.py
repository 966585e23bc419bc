"""[verify] interval: the daemon compares by itself, says what it found, and is not disturbed by it. And `outboxd verify` of all
tables at once, which is what it calls."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from admin import Admin
from conftest import OutboxdFactory
from helpers import PRODUCTS, drain, init, publish

from harness import Database, Elastic, Outboxd, wait_until

TABLES = ("brands", "products")


@pytest.fixture
def shop(db: Database, elastic: Elastic, outboxd: OutboxdFactory, admin: Admin) -> Iterator[Outboxd]:
    """Two tracked tables, delivered."""
    elastic.ensure_running()
    for table in TABLES:
        elastic.delete_index(table)
    daemon = outboxd(admin_listen=admin.listen, verify_interval="1s", verify_rate=100_000, retry_base="50ms", retry_cap="500ms")
    init(daemon)
    db.execute(f"{PRODUCTS}; CREATE TABLE brands (id int PRIMARY KEY, name text)")
    for table in TABLES:
        assert daemon.run("track", table, "--index", table).exit_code == 0
    db.execute("INSERT INTO products SELECT n, 'product ' || n, n FROM generate_series(1, 50) n; "
               "INSERT INTO brands SELECT n, 'brand ' || n FROM generate_series(1, 10) n")
    drain(daemon)
    yield daemon
    if daemon.is_alive:
        daemon.kill9()
    for table in TABLES:
        elastic.delete_index(table)


def differences(admin: Admin) -> dict[str, float]:
    return {name: admin.metric(f'outboxd_verify_differences{{difference="{name}"}}') for name in ("missing", "stale", "extra")}


def child_of(daemon: Outboxd) -> int:
    return int(wait_until(lambda: Path(f"/proc/{daemon.pid}/task/{daemon.pid}/children").read_text().split(), 20, "a comparison")[0])


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


class TestSchedule:
    def test_nothing_differs(self, shop: Outboxd, admin: Admin) -> None:
        shop.start()
        said = shop.wait_log("verified", timeout=30)
        assert (said["tables"], said["rows"], said["differences"], said["waiting"]) == ("2", "60", "0", "0")
        assert differences(admin) == {"missing": 0, "stale": 0, "extra": 0}
        assert admin.metric("outboxd_verify_timestamp_seconds") > 1e9 and admin.metric("outboxd_verify_interval_seconds") == 1
        report = admin.get("/status")["verify"]
        assert report["ended_seconds_ago"] < 30 and [table["rows"] for table in report["tables"]] == [10, 50]
        files = admin.metric("process_open_fds")
        shop.wait_log("verified", timeout=30, since=shop.mark())
        wait_until(lambda: admin.metric("process_open_fds") <= files, 20, "what a comparison opened to be closed")

    def test_what_differs_is_told_until_it_is_mended(self, shop: Outboxd, admin: Admin, elastic: Elastic) -> None:
        elastic.call("DELETE", "/products/_doc/7")
        elastic.call("PUT", "/brands/_doc/3?refresh=true", '{"id": 3, "name": "another"}')
        elastic.call("PUT", "/brands/_doc/99?refresh=true", '{"id": 99, "name": "nobody"}')
        shop.start()
        said = shop.wait_log("index_differs", timeout=30, table="public.products")
        assert (said["missing"], said["stale"], said["extra"]) == ("1", "0", "0")
        said = shop.wait_log("index_differs", timeout=30, table="public.brands")
        assert (said["missing"], said["stale"], said["extra"]) == ("0", "1", "1")
        wait_until(lambda: differences(admin) == {"missing": 1, "stale": 1, "extra": 1}, 20, "the metrics")
        (brands, products) = admin.get("/status")["verify"]["tables"]
        assert products["samples"] == [{"id": "7", "difference": "missing"}] and len(brands["samples"]) == 2
        assert "another" not in shop.stderr and "product 7" not in shop.stderr

        assert shop.run("verify", "--repair").exit_code == 0
        wait_until(lambda: differences(admin) == {"missing": 0, "stale": 0, "extra": 0}, 60, "it to be mended")

    def test_a_table_that_cannot_be_compared_is_no_reason_to_leave_the_others_out(self, shop: Outboxd, admin: Admin, db: Database,
                                                                                  elastic: Elastic) -> None:
        db.execute("DROP TABLE products")
        elastic.call("DELETE", "/brands/_doc/3?refresh=true")
        shop.start()
        said = shop.wait_log("verify_failed", timeout=30)
        assert said["table"] == "public.products" and "there is no table" in said["error"]
        shop.wait_log("index_differs", timeout=30, table="public.brands")
        assert admin.metric("outboxd_verify_timestamp_seconds") == 0  # not all of them
        assert admin.metric('outboxd_errors_total{type="verify_failed"}') >= 1

    def test_numbers_of_a_table_stay_until_it_is_compared_again(self, shop: Outboxd, admin: Admin, db: Database, elastic: Elastic) -> None:
        elastic.call("DELETE", "/products/_doc/7?refresh=true")
        elastic.call("DELETE", "/brands/_doc/3?refresh=true")
        shop.start()
        shop.wait_log("admin_listens")
        wait_until(lambda: differences(admin)["missing"] == 2, 30, "both to be found")
        db.execute("ALTER TABLE products RENAME TO hidden")
        shop.wait_log("verify_failed", timeout=30)
        assert shop.run("verify", "brands", "--repair").exit_code == 0
        wait_until(lambda: differences(admin)["missing"] == 1, 30, "the repaired one to be right, and the other one to stay")
        db.execute("ALTER TABLE hidden RENAME TO products")

    def test_a_table_that_is_being_filled_is_left_out(self, shop: Outboxd, admin: Admin, db: Database) -> None:
        db.execute("CREATE TABLE colors (id int PRIMARY KEY); INSERT INTO colors SELECT generate_series(1, 100)")
        assert shop.run("track", "colors", "--index", "colors").exit_code == 0
        shop.begin("backfill", "colors", "--ahead", "10")
        wait_until(lambda: db.value("SELECT count(*) FROM outbox WHERE event = 'backfill'") == 10, 20, "the backfill to wait")
        shop.kill9()
        shop.start()
        assert shop.wait_log("verify_left_out", timeout=30)["table"] == "public.colors"
        assert shop.wait_log("verified", timeout=30)["differences"] == "0" and not shop.logs("verify_failed")
        assert admin.metric("outboxd_verify_timestamp_seconds") == 0
        done = shop.run("verify")
        assert done.exit_code == 0 and "public.colors is just being filled into colors: left out" in done.stderr

    def test_the_role_of_a_relay(self, shop: Outboxd, db: Database) -> None:
        """It may read the outbox alone; what it needs besides is said, and enough."""
        assert shop.run("backfill", "products").exit_code == 0
        db.execute("DROP ROLE IF EXISTS comparer")
        init(shop, "--role", "comparer")
        try:
            shop.settings["postgres_dsn"] = db.dsn_with(user="comparer")
            shop.start()
            assert "permission denied for table" in shop.wait_log("verify_failed", timeout=30)["error"]
            db.execute("GRANT SELECT ON products, brands TO comparer")
            shop.wait_log("verified", timeout=60, differences=0, rows=60)
        finally:
            shop.kill9()
            db.execute("DROP OWNED BY comparer; DROP ROLE comparer")

    def test_no_table_is_tracked(self, db: Database, outboxd: OutboxdFactory) -> None:
        daemon = outboxd(verify_interval="1s")
        init(daemon)
        daemon.start()
        assert daemon.wait_log("verify_failed", timeout=30)["error"].startswith("exit code 64: outboxd: verify: no table is tracked")
        daemon.kill9()

    @pytest.mark.time_limit(300)  # it starts a node
    def test_during_an_outage_nothing_is_compared(self, shop: Outboxd, elastic: Elastic) -> None:
        elastic.stop()
        shop.settings["verify_interval"] = "500ms"
        shop.start()
        shop.wait_log("elasticsearch_away", timeout=30)
        mark = shop.mark()
        elastic.start()
        shop.wait_log("verified", timeout=60, since=mark)
        assert not shop.logs("verify_failed")

    def test_paused(self, shop: Outboxd, admin: Admin) -> None:
        shop.settings["verify_interval"] = "2s"
        shop.start()
        shop.wait_log("admin_listens")
        admin.ask("/pause", "POST")
        shop.wait_log("paused")
        seen = len(shop.logs("verified"))
        admin.ask("/resume", "POST")
        wait_until(lambda: len(shop.logs("verified")) > seen, 30, "a comparison after the pause")

    @pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
    def test_somebody_ends_it(self, number: signal.Signals, shop: Outboxd, db: Database, elastic: Elastic) -> None:
        """It is told; delivery goes on, and so does the schedule."""
        shop.settings["verify_rate"] = 10
        shop.start()
        os.kill(child_of(shop), number)
        said = shop.wait_log("verify_failed", timeout=30)["error"]
        assert said == f"ended by signal {number.value}" or (number == signal.SIGTERM and "interrupted" in said)
        publish(db, "brands", "77", {"id": 77})
        wait_until(lambda: elastic.get("brands", "77"), 30, "an event to be delivered")
        child_of(shop)

    def test_the_end_of_the_daemon_is_its_end(self, shop: Outboxd) -> None:
        shop.settings["verify_rate"] = 10
        shop.start()
        child = child_of(shop)
        assert shop.terminate().exit_code == 0
        wait_until(lambda: is_gone(child), 30, "the comparison to end")

    def test_the_same_configuration(self, shop: Outboxd, db: Database, outboxd: OutboxdFactory, elastic: Elastic) -> None:
        """From a file and from flags, too."""
        text = (f"[postgres]\ndsn = {db.dsn}\n[elasticsearch]\nurl = http://127.0.0.1:1\n[verify]\ninterval = 1h\n"
                "[admin]\nlisten = off\n")
        daemon = outboxd(config_text=text)
        daemon.start("--verify-interval", "1s", "--elasticsearch-url", elastic.url, "--verify-rate=100000")
        daemon.wait_log("verified", timeout=30, tables=2)
        daemon.kill9()

    def test_once_compares_nothing(self, shop: Outboxd) -> None:
        done = shop.run_once()
        assert done.exit_code == 0 and not done.logs("verified")


class TestAllThatIsTracked:
    def reports(self, shop: Outboxd, *words: str, expect: int) -> list[dict[str, Any]]:
        done = shop.run("verify", "--json", *words, timeout=90)
        assert done.exit_code == expect, done
        return list(json.loads(done.stdout))

    def test_each_has_its_report(self, shop: Outboxd, elastic: Elastic) -> None:
        assert [report["table"] for report in self.reports(shop, expect=0)] == ["public.brands", "public.products"]
        elastic.call("DELETE", "/products/_doc/7")
        assert [report["missing"] for report in self.reports(shop, expect=65)] == [0, 1]
        done = shop.run("verify")
        assert done.exit_code == 65 and "10 rows of public.brands" in done.stdout and "50 rows of public.products" in done.stdout
        assert [report["repaired"] for report in self.reports(shop, "--repair", expect=0)] == [0, 1]

    def test_one_that_cannot_be_compared(self, shop: Outboxd, db: Database, elastic: Elastic) -> None:
        db.execute("DROP TABLE brands")
        (failed, fine) = self.reports(shop, expect=78)
        assert failed["table"] == "public.brands" and "there is no table" in failed["error"] and fine["rows"] == 50
        elastic.call("DELETE", "/products/_doc/7")
        self.reports(shop, expect=65)

    @pytest.mark.parametrize("words", [["--index", "products"], ["--when", "true"], ["--key=id"]])
    def test_a_description_wants_a_table(self, words: list[str], shop: Outboxd) -> None:
        done = shop.run("verify", *words)
        assert (done.exit_code, done.stderr) == (64, "outboxd: verify: name the table as well\n")
