from __future__ import annotations
import re, os, base64
from pathlib import Path
import pytest
from helpers import init, publish, undelivered, drain
from harness import *
from harness import process


def regions(pid):
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        m = re.match(r"([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ (\d+)\s*(.*)", line)
        a, b, perm, inode, name = int(m[1],16), int(m[2],16), m[3], m[4], m[5]
        if "r" in perm and "w" in perm: yield a, b, name

def find(pid, words):
    out = []
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as mem:
        for a, b, name in regions(pid):
            if b - a > 1 << 34: continue
            pos = a
            try:
                mem.seek(a)
                data = b""
                while pos < b:
                    mem.seek(pos); piece = mem.read(min(b-pos, 1<<24))
                    if not piece: break
                    for w in words:
                        for m in re.finditer(re.escape(w), piece):
                            out.append((name or "anon", hex(pos+m.start()), piece[max(0,m.start()-40):m.end()+20]))
                    pos += len(piece)
            except OSError as e:
                pass
    return out

def test_x(db, index, outboxd, tmp_path):
    file, holds = tmp_path / "password", ["first-password-abc"]
    file.write_text(holds[0])
    def enc(): return "Basic " + base64.b64encode(b"relay:" + holds[0].encode()).decode()
    def judge(request):
        return None if request.headers.get("authorization") == enc() else Answer(status=401, body="{}")
    with ScriptedElastic(judge, judge) as server:
        relay = outboxd(elasticsearch_url=server.url, elasticsearch_username="relay", elasticsearch_password_file=file,
           postgres_dsn=db.dsn_with(password="dsn-needle-secret"), relay_poll_interval="50ms", retry_base="50ms", retry_cap="300ms")
        init(relay, "--notify")
        publish(db, index, "1", {"n": 1})
        relay.start()
        wait_until(lambda: undelivered(db) == 0, 20, "the first event")
        old = [holds[0].encode(), enc()[6:].encode()]
        print("BEFORE")
        for x in find(relay.pid, old): print(x)
        for x in find(relay.pid, [b"dsn-needle-secret"]): print(x)
        holds[0] = "second-password-xyz"
        publish(db, index, "2", {"n": 2})
        relay.wait_log("elasticsearch_away", timeout=20)
        file.write_text(holds[0])
        relay.wait_log("elasticsearch_back", timeout=20)
        for i in range(20):
            publish(db, index, f"3{i}", {"n": 2})
            wait_until(lambda: undelivered(db) == 0, 20, "the second event")
        print("AFTER old")
        for x in find(relay.pid, old): print(x)
        print("AFTER new")
        for x in find(relay.pid, [holds[0].encode(), enc()[6:].encode()]): print(x)
        print("AFTER dsn")
        for x in find(relay.pid, [b"dsn-needle-secret"]): print(x)
        assert 0
