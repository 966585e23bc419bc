"""README as a newcomer reads it: the tutorial from an empty database to the first product that search finds, and the demo."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from documents import Block, missing
from shell import Newcomer, Typist, newcomer

from harness import Elastic, Postgres, wait_until
from harness.outboxd import ROOT, binary
from harness.ports import HOST, free_port

README = "README.md"


@pytest.fixture
def machine(elastic: Elastic, tmp_path: Path) -> Iterator[Newcomer]:
    """Both servers as README expects them, on ports of their own, and outboxd installed (RUN_ELSEWHERE: "build")."""
    elastic.delete_index("products")
    with Postgres() as server:
        with psycopg.connect(host=HOST, port=server.port, user="postgres", autocommit=True) as session:
            session.execute("CREATE ROLE shop LOGIN")
            session.execute("CREATE DATABASE shop OWNER shop")
        (tmp_path / "outboxd").symlink_to(binary())
        environment = {"PATH": f"{tmp_path}:{server.programs}:{os.environ['PATH']}", "PGPORT": str(server.port),
                       "OUTBOXD_ADMIN_LISTEN": f"{HOST}:{free_port()}", "PAGER": "cat"}
        with newcomer(README, environment, {"http://localhost:9200": elastic.url}) as someone:
            yield someone
    elastic.delete_index("products")


def test_the_tutorial_from_nothing_to_the_first_product_found(machine: Newcomer) -> None:
    began = time.monotonic()
    machine.run("addresses")
    started = machine.run("start")
    assert "PROBLEM" not in started and "outbox" in started, started
    machine.run("publish")
    machine.comes_to_see("found")
    print(f"from the first line to the first product found: {time.monotonic() - began:.1f} s")
    wait_until(lambda: "(0 rows)" in machine.run("undelivered"), 30, "an empty outbox")


class Visitor(Typist):
    """At the root of a checkout that is built already."""

    def type(self, block: Block) -> str:
        done = subprocess.run(["bash", "-c", block.text], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, env={**os.environ, "OUTBOXD_BIN": str(binary())})
        assert done.returncode == 0, done.stdout
        return done.stdout


@pytest.mark.alone
@pytest.mark.time_limit(400)
def test_the_demo_prints_what_is_shown() -> None:
    """Line by line, with other numbers; tests/demo/recording makes the text anew."""
    Visitor(README).sees("demo")


def test_the_demo_is_shown_with_its_point() -> None:
    shown = Visitor(README).known["demo"].shown
    assert missing("Dual writes lost 1 of 2 products. The outbox lost none of 3.", shown) == []
