"""README, CONTRIBUTING and docs: what they name exists, what they link to is there, and every block of code is run.

A block of commands (`sh`, `sql`) or a `text` that is no output is named, ```sh id=NAME, and is typed by the test module
of its document, by run("NAME"), sees("NAME") or comes_to_see("NAME"); sees() and comes_to_see() compare what it prints
with the `text` below it, and text("NAME") reads one. What cannot run here is in RUN_ELSEWHERE. `ini`, `json` and
`yaml` need no name: they are loaded here, by what is to read them.
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from documents import COMMANDS, DOCUMENTS, ROOT, Block, anchors, blocks, links, missing, prose, read

from harness.outboxd import binary

TESTS = Path(__file__).resolve().parent
PROGRAMS = [*TESTS.glob("test_*.py"), *ROOT.glob("tests/systemd/test_*.py")]
DEFINED = set(re.findall(r"def (test_\w+)", "".join(file.read_text() for file in PROGRAMS)))
FILES = {file.stem for file in PROGRAMS}
UNITS = {f"unit_{file.stem.removeprefix('test_')}" for file in ROOT.glob("tests/unit/test_*.c")}
FUZZERS = {file.stem for file in ROOT.glob("tests/fuzz/fuzz_*.c")}

# Who types the commands of a document.
TYPED_BY = {
    "README.md": "test_readme.py",
    "docs/MAPPING.md": "test_mapping_doc.py",
    "docs/MIGRATING.md": "test_migrating.py",
    "docs/OPERATING.md": "test_operating.py",
    "docs/REINDEXING.md": "test_reindexing_doc.py",
    "docs/RUNBOOK.md": "test_runbook.py",
    "docs/TRACKING.md": "test_tracking_doc.py",
    "docs/VERIFYING.md": "test_verifying_doc.py",
}
GENERATED = {"docs/STATE-MACHINES.md": ["config", "fsm"]}


class Run(NamedTuple):
    """By another test, and what its text and that of the block both have."""

    test: str
    words: str


RUN_ELSEWHERE = {
    ("README.md", "test"): Run(".ci/run", "./test.sh"),
    ("README.md", "track"): Run("docs/TRACKING.md", "outboxd track products --index products --document product_documents"),
    ("README.md", "verify"): Run("docs/VERIFYING.md", "outboxd verify products --repair"),
    ("README.md", "build"): Run("tests/systemd/run", "cmake --preset release -B build/install -DBUILD_TESTING=OFF"),
    ("CONTRIBUTING.md", "build"): Run("test.sh", "tests/setup/install.sh test"),
    ("docs/CONTAINERS.md", "build"): Run("tests/containers/engine.sh", "buildah bud"),
    ("docs/CONTAINERS.md", "closed"): Run("tests/containers/engine.py", "--cap-drop"),
    ("docs/CONTAINERS.md", "job"): Run("tests/containers/test_image.py", "--once"),
    ("docs/CONTAINERS.md", "compose"): Run("tests/containers/test_compose.py", "up"),
    ("docs/CONTAINERS.md", "tour"): Run("tests/containers/test_compose.py", "docker compose down --volumes"),
    ("docs/MODEL.md", "model"): Run("test.sh", "tests/model/run"),
    ("docs/PACKAGES.md", "build"): Run("tests/packages/run", "cmake --workflow --preset package"),
    ("docs/PACKAGES.md", "environment"): Run("tests/packages/test_install.py", "systemd-run"),
    ("docs/SECURITY.md", "analysis"): Run("test.sh", "tests/analysis/run"),
    ("docs/OPERATING.md", "service"): Run("tests/packages/test_install.py", "--now"),
    ("docs/OPERATING.md", "instance"): Run("tests/systemd/test_unit.py", "outboxd@"),
}
DRAWINGS = {("README.md", "picture")}

ADVICE = """
Give every block a home (the first lines of tests/integration/test_docs.py say how):
- commands: name it, ```sh id=NAME, and type it in a test by run("NAME"), or by sees("NAME") when the `text` below it is
  its output; the test module of the document is in TYPED_BY;
- what cannot run beside a scratch PostgreSQL and Elasticsearch: name it, and name in RUN_ELSEWHERE the test that runs
  it, with words that both have;
- settings: ```ini; a body: ```json; Prometheus: ```yaml. They are loaded without a name;
- a picture: DRAWINGS."""


def typed_in(module: str) -> dict[str, set[str]]:
    """Which names a test module types, and how."""
    calls: dict[str, set[str]] = {"run": set(), "sees": set(), "comes_to_see": set(), "text": set()}
    for node in ast.walk(ast.parse((TESTS / module).read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in calls and node.args \
                and isinstance(node.args[0], ast.Constant):
            calls[node.func.attr].add(str(node.args[0].value))
    return calls


def homeless(block: Block) -> str:
    """Why nobody runs this block; "" when somebody does."""
    if block.language in LOADERS or block.language == "mermaid" and block.document in GENERATED:
        return ""
    if not block.name:
        return "has no name"
    if (block.document, block.name) in RUN_ELSEWHERE or (block.document, block.name) in DRAWINGS:
        return ""
    if block.document not in TYPED_BY:
        return "is of a document that nobody types: add it to TYPED_BY or RUN_ELSEWHERE"
    calls = typed_in(TYPED_BY[block.document])
    compared = calls["sees"] | calls["comes_to_see"]
    if block.language not in COMMANDS:
        return "" if block.name in calls["text"] else f"is read by no text(\"{block.name}\") in {TYPED_BY[block.document]}"
    if block.name not in compared | calls["run"]:
        return f"is typed by no run(\"{block.name}\") in {TYPED_BY[block.document]}"
    return "" if not block.shown or block.name in compared else "shows an output that nobody compares: use sees()"


def load_ini(block: Block, folder: Path) -> None:
    file = folder / "outboxd.conf"
    file.write_text(block.text)
    required = {"OUTBOXD_POSTGRES_DSN": "dbname=shop", "OUTBOXD_ELASTICSEARCH_URL": "http://localhost:9200"}
    present = {key.strip() for key in re.findall(r"^(\w+) *=", block.text, re.MULTILINE)}
    done = subprocess.run([binary(), "config", "--config", file], text=True, capture_output=True,
                          env={name: value for name, value in required.items() if name.split("_")[-1].lower() not in present})
    assert done.returncode == 0, f"{block}: {done.stderr}"
    for key in present:
        assert re.search(rf"^\w+\.{key} = .*  # {re.escape(str(file))}", done.stdout, re.MULTILINE), f"{block}: {done.stdout}"


def load_json(block: Block, _: Path) -> None:
    json.loads(block.text)


def load_yaml(block: Block, folder: Path) -> None:
    loaded = yaml.safe_load(block.text)
    if "scrape_configs" in loaded:
        (folder / "outboxd.rules.yml").write_text((ROOT / "packaging" / "outboxd.rules.yml").read_text())
        (folder / "prometheus.yml").write_text(block.text)
        done = subprocess.run(["promtool", "check", "config", folder / "prometheus.yml"], text=True, capture_output=True)
        assert done.returncode == 0, f"{block}: {done.stdout}{done.stderr}"


LOADERS = {"ini": load_ini, "json": load_json, "yaml": load_yaml}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_block_is_executed(document: str) -> None:
    finds = [f"{block} {why}" for block in blocks(document) if (why := homeless(block))]
    assert not finds, "\n".join(finds) + ADVICE


@pytest.mark.parametrize("document", DOCUMENTS)
def test_settings_and_bodies_load(document: str, tmp_path: Path) -> None:
    for number, block in enumerate(blocks(document)):
        if block.language in LOADERS:
            folder = tmp_path / str(number)
            folder.mkdir()
            LOADERS[block.language](block, folder)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_code_stands_in_fences(document: str) -> None:
    """Four spaces make code too, but none that these tests see; and a fence that is not read is none that is run."""
    text = prose(document)
    assert not re.search(r"(?:\A|\n\n)(?: {4}|\t)(?! *[-*\d])", text), f"{document}: indented code; use a fence"
    assert "```" not in text, f"{document}: a fence that is indented, not closed, or has more than `id=NAME` behind its language"


def test_what_is_run_elsewhere_is_run_there() -> None:
    names = {(document, block.name): block for document in DOCUMENTS for block in blocks(document)}
    assert set(RUN_ELSEWHERE) | DRAWINGS <= set(names), "a block that is no more"
    for place, run in RUN_ELSEWHERE.items():
        words = re.compile(rf"(?<![\w-]){re.escape(run.words)}(?:(?<!\w)|(?!\w))")
        assert words.search(names[place].text), f"{names[place]} has no {run.words}"
        assert words.search((ROOT / run.test).read_text()), f"{run.test} does not run {run.words}"


@pytest.mark.parametrize("document,command", GENERATED.items())
def test_what_is_generated_is_what_the_program_says(document: str, command: list[str]) -> None:
    assert subprocess.run([binary(), *command], text=True, capture_output=True, env={}).stdout == read(document)


def test_nobody_types_what_is_no_more() -> None:
    for document, module in TYPED_BY.items():
        known = {block.name for block in blocks(document)}
        calls = typed_in(module)
        assert calls["sees"] | calls["comes_to_see"] | calls["text"] <= known, f"{module} types more than {document} has"


@pytest.mark.parametrize("shown,output", [
    ("it is closed", "it is open"), ("it is", "it is closed"), ("HTTP 401 no", "HTTP 403 no"), ("document 42", "document 41"),
    ("a\nb", "b\na"), ("a", ""), ("a ... c", "a b"), ("3 ms", "x ms"), ("1,234 rows", "no rows"),
])
def test_another_output_is_noticed(shown: str, output: str) -> None:
    assert missing(shown, output)
    assert missing(shown, shown) == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_link_leads_somewhere(document: str) -> None:
    for target in links(document):
        path, _, anchor = target.partition("#")
        assert (ROOT / path).exists(), f"{document} links to {path}"
        assert not anchor or anchor in anchors(path), f"{document} links to {target}"


def test_the_readme_leads_to_every_document() -> None:
    linked = {target.partition("#")[0] for target in links("README.md")}
    assert sorted(set(DOCUMENTS) - linked - {"README.md"}) == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_file_that_a_document_names(document: str) -> None:
    named = set(re.findall(r"`\.?/?((?:tests|sql|packaging|src|include|cmake)/[\w./@-]*\w)", read(document)))
    assert {path for path in named if "NNNN" not in path and not (ROOT / path).exists()} == set()


@pytest.mark.parametrize("document", ["docs/ARCHITECTURE.md", "docs/GUARANTEES.md", "docs/MODEL.md", "docs/PERFORMANCE.md"])
def test_every_name_of_the_code_that_a_document_has(document: str) -> None:
    """`function_name` and `file.c`: in the code, or a setting of a server that the code or a test uses."""
    files = [file for folder in ("src", "include", "sql", "tests") for file in (ROOT / folder).rglob("*.*")
             if file.suffix in (".c", ".h", ".sql", ".py", ".def", ".txt", ".pml")]
    code = "\n".join(file.read_text() for file in files) + " ".join(file.name for file in files)
    for name in set(re.findall(r"`([a-z]\w*_\w+|\w+\.(?:c|h|sql|def))`", read(document))):
        assert name.removeprefix("unit_") in code, f"{document} names {name}"


@pytest.mark.parametrize("document", ["RELIABILITY.md", "GUARANTEES.md", "VERDICTS.md", "COMPARISON.md", "SECURITY.md"])
def test_every_test_that_a_document_names(document: str) -> None:
    named = set(re.findall(r"`((?:test|unit|fuzz)_\w+)`", read(f"docs/{document}")))
    assert sorted(named - DEFINED - FILES - UNITS - FUZZERS - {"unit_NAME"}) == []


@pytest.mark.parametrize("document,least", [("RELIABILITY.md", 60), ("SECURITY.md", 50)])
def test_the_matrix_names_many(document: str, least: int) -> None:
    assert len(re.findall(r"`(?:test|unit|fuzz)_\w+`", read(f"docs/{document}"))) > least


def test_the_version_has_one_value() -> None:
    """docs/RELEASING.md names its homes; the manual is compared with the program by test.sh."""
    (version,) = re.findall(r"^project\(outboxd VERSION (\S+)", read("CMakeLists.txt"), re.MULTILINE)
    manifests = "".join(file.read_text() for file in sorted((ROOT / "packaging/kubernetes").glob("*.yaml")))
    assert set(re.findall(r"image: outboxd:(\S+)", manifests)) == {version}
    assert set(re.findall(r"`outboxd[_-](\d[\d.]*)-", read("docs/PACKAGES.md"))) == {version}


def test_each_defence_has_a_test() -> None:
    table = read("docs/SECURITY.md").partition("| attack | defence | test |")[2].partition("## ")[0]
    rows = re.findall(r"^\| .* \| .* \| (.*) \|$", table, re.MULTILINE)
    assert len(rows) > 20
    for tests in rows:
        assert re.search(r"`(test|unit|fuzz)_\w+`|`tests/\S+`", tests), tests
