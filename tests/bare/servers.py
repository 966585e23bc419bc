"""The PostgreSQL and the Elasticsearch that README's reader has already; until nobody holds our stdin any more."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import psycopg

sys.path.append(str(Path(__file__).resolve().parent.parent))

from harness import Elastic, Postgres  # noqa: E402
from harness.ports import HOST  # noqa: E402

with Postgres() as postgres, Elastic() as elastic:
    with psycopg.connect(host=HOST, port=postgres.port, user="postgres", autocommit=True) as session:
        session.execute("CREATE ROLE shop LOGIN")
        session.execute("CREATE DATABASE shop OWNER shop")
    print(json.dumps({"port": str(postgres.port), "programs": str(postgres.programs), "url": elastic.url}), flush=True)
    sys.stdin.read()
