"""What the documents name exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent
ROOT = TESTS.parent.parent
DEFINED = set(re.findall(r"def (test_\w+)", "".join(file.read_text() for file in TESTS.glob("test_*.py"))))
FILES = {file.stem for file in TESTS.glob("test_*.py")}


@pytest.mark.parametrize("document", ["RELIABILITY.md", "GUARANTEES.md", "VERDICTS.md"])
def test_every_test_that_a_document_names(document: str) -> None:
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs" / document).read_text()))
    assert named <= DEFINED | FILES, sorted(named - DEFINED - FILES)


def test_the_matrix_names_many() -> None:
    assert len(re.findall(r"`test_\w+`", (ROOT / "docs" / "RELIABILITY.md").read_text())) > 60
