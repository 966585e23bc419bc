#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The dashboard and the alert rules against the program's own list of metrics, and the tests of the rules against the
rules. Prints each find, exits 1 on any: tests/rules/check.py METRICS.def"""
import json
import pathlib
import re
import subprocess
import sys
import tempfile

import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests" / "integration"))

from documents import anchors  # noqa: E402

ROW = re.compile(r'^METRIC\(\w+,\s*(\w+),\s*"(\w+)",\s*"(\w*)",\s*"([^"]*)"', re.MULTILINE)
SUFFIXES = {"COUNTER": ["_total"], "GAUGE": [""], "INFO": ["_info"], "HISTOGRAM": ["_bucket", "_sum", "_count"]}
OF_PROMETHEUS = {"up", "ALERTS"}
SELECTOR = re.compile(r'\b((?:outboxd|process)_\w+|up)\b\s*(?:\{([^}]*)\})?')
MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')


def metrics(path):
    """name as it is scraped -> (its label or "", the label's values)"""
    rows = ROW.findall(path.read_text())
    assert len(rows) > 20, f"{path}: {len(rows)} metrics were understood"
    return {name + suffix: (label, set(values.split("|")) if label and values else set())
            for kind, name, label, values in rows for suffix in SUFFIXES[kind]}


def finds_of_expression(where, expression, known):
    for name, matchers in SELECTOR.findall(expression):
        if name in OF_PROMETHEUS:
            continue
        if name not in known:
            yield f"{where}: there is no metric {name}"
            continue
        own, values = known[name]
        for label, operator, value in MATCHER.findall(matchers):
            if label not in ("job", "instance", own):
                yield f"{where}: {name} has no label {label}"
            elif label == own and operator == "=" and values and value not in values:
                yield f"{where}: {name} has no {label} {value}"


def panels(dashboard):
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def finds_of_dashboard(dashboard, known):
    ids = [panel["id"] for panel in dashboard["panels"]]
    if len(ids) != len(set(ids)):
        yield "dashboard: an id is there twice"
    names = {variable["name"] for variable in dashboard["templating"]["list"]}
    boxes = set()
    for panel in panels(dashboard):
        where = f"dashboard, {panel['title']}"
        box = panel["gridPos"]
        cells = {(x, y) for x in range(box["x"], box["x"] + box["w"]) for y in range(box["y"], box["y"] + box["h"])}
        if cells & boxes or box["x"] + box["w"] > 24:
            yield f"{where}: it lies on another panel or outside"
        boxes |= cells
        for target in panel["targets"]:
            yield from finds_of_expression(where, target["expr"], known)
            for name in re.findall(r"\$(\w+)", target["expr"]):
                if name not in names | {"__rate_interval"}:
                    yield f"{where}: there is no variable {name}"
    used = {name for panel in panels(dashboard) for target in panel["targets"]
            for name, _ in SELECTOR.findall(target["expr"])} | {"outboxd_build_info"}
    for name in sorted(known):
        base = re.sub(r"_(bucket|sum|count)$", "", name)
        if not any(other.startswith(base) for other in used):
            yield f"dashboard: nothing shows {name}"


def finds_of_rules(rules, tests, known):
    fires, quiet, places = set(), set(), {f"docs/RUNBOOK.md#{name}" for name in anchors("docs/RUNBOOK.md")}
    for test in tests["tests"]:
        for case in test.get("alert_rule_test", []):
            alerts = case["exp_alerts"]
            (fires if alerts else quiet).add(case["alertname"])
            fires |= {(case["alertname"], alert["exp_labels"].get("how")) for alert in alerts}
    for rule in (rule for group in rules["groups"] for rule in group["rules"]):
        name, labels, notes = rule["alert"], rule["labels"], rule["annotations"]
        yield from finds_of_expression(name, rule["expr"], known)
        if (name, labels.get("how")) not in fires or name not in quiet:
            yield f"{name} {labels}: no test sees it fire, or none sees it silent"
        if labels["severity"] not in ("warning", "critical") or set(notes) != {"summary", "description", "runbook_url"}:
            yield f"{name}: severity, summary, description and runbook_url are wanted"
        if notes["runbook_url"] not in places:
            yield f"{name}: {notes['runbook_url']} is no place in the runbook"


def finds_of_syntax(dashboard):
    """promtool reads rules, so the dashboard's expressions become some, its variables being any text."""
    rules = [{"record": "x", "expr": re.sub(r"\$__rate_interval", "5m", target["expr"])}
             for panel in panels(dashboard) for target in panel["targets"]]
    text = yaml.safe_dump({"groups": [{"name": f"g{n}", "rules": [rule]} for n, rule in enumerate(rules)]})
    with tempfile.NamedTemporaryFile("w", suffix=".yml") as file:
        file.write(text)
        file.flush()
        done = subprocess.run(["promtool", "check", "rules", "--lint=none", file.name], text=True, capture_output=True)
    if done.returncode != 0 or f"{len(rules)} rules found" not in done.stdout:
        yield f"dashboard: {done.stdout}{done.stderr}"


def main():
    known = metrics(pathlib.Path(sys.argv[1]))
    dashboard = json.loads((ROOT / "packaging" / "grafana-outboxd.json").read_text())
    rules = yaml.safe_load((ROOT / "packaging" / "outboxd.rules.yml").read_text())
    tests = yaml.safe_load((ROOT / "tests" / "rules" / "alerts.test.yml").read_text())
    finds = [*finds_of_dashboard(dashboard, known), *finds_of_syntax(dashboard), *finds_of_rules(rules, tests, known)]
    print("\n".join(finds) or f"{len(panels(dashboard))} panels and the rules know the program's metrics")
    return 1 if finds else 0


sys.exit(main())
