"""What the documents name exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent.parent
ROOT = TESTS.parent
FILES = [*TESTS.glob("integration/test_*.py"), *TESTS.glob("systemd/test_*.py")]
DEFINED = set(re.findall(r"def (test_\w+)", "".join(file.read_text() for file in FILES)))
DEFINED |= {file.stem for file in FILES}
# Programs of CMake: unit_test(NAME ...), fuzz_target(NAME).
for kind in ("unit", "fuzz"):
    names = re.findall(rf"^{kind}_\w+\((\w+)", (TESTS / kind / "CMakeLists.txt").read_text(), re.M)
    DEFINED |= {f"{kind}_{name}" for name in names}


def named(document: str) -> list[str]:
    return re.findall(r"`((?:test|unit|fuzz)_\w+)`", (ROOT / "docs" / document).read_text())


@pytest.mark.parametrize("document", ["RELIABILITY.md", "GUARANTEES.md", "VERDICTS.md", "SECURITY.md"])
def test_every_test_that_a_document_names(document: str) -> None:
    missing = set(named(document)) - DEFINED - {"unit_NAME"}
    assert not missing, sorted(missing)


@pytest.mark.parametrize("document,least", [("RELIABILITY.md", 60), ("SECURITY.md", 50)])
def test_the_matrix_names_many(document: str, least: int) -> None:
    assert len(named(document)) > least


def test_each_defence_has_a_test() -> None:
    text = (ROOT / "docs" / "SECURITY.md").read_text()
    rows = re.findall(r"^\| .* \| .* \| (.*) \|$", text.partition("| attack | defence | test |")[2].partition("## ")[0], re.M)
    assert len(rows) > 20
    for tests in rows:
        assert re.search(r"`(test|unit|fuzz)_\w+`|`tests/\S+`", tests), tests
    for path in re.findall(r"`(tests/[\w./]+)", text):
        assert (ROOT / path).exists(), path
