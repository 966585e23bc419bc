"""The documents as programs: their blocks of code, and what each shows as its output."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
DOCUMENTS = sorted(str(file.relative_to(ROOT)) for file in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
FENCE = re.compile(r"^```([\w-]*)(?: id=([\w-]+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
HEADLINE = re.compile(r"^#+ (.*)$", re.MULTILINE)
COMMANDS = ("sh", "sql")
NUMBER = r"\d[\d,]*(?:\.\d+)?"
PIECE = re.compile(rf"(HTTP \d+|\.\.\.|{NUMBER}|\s+)")
DOCUMENT_ID = "42"


@dataclass(frozen=True)
class Block:
    """One fenced block. Its name stands behind the language, where readers do not see it: ```sh id=NAME"""

    document: str
    line: int
    language: str
    name: str
    text: str
    section: str  # the anchor of its headline
    shown: str = ""  # of commands: the `text` without a name that follows, which is their output

    def __str__(self) -> str:
        return f"{self.document}:{self.line} ({self.language} {self.name or 'without a name'})"


def read(document: str) -> str:
    return (ROOT / document).read_text()


def blocks(document: str) -> list[Block]:
    """All blocks; an output is part of its commands."""
    found: list[Block] = []
    text = read(document)
    for fence in FENCE.finditer(text):
        language, name, body = fence.group(1), fence.group(2) or "", fence.group(3)
        if language == "text" and not name and found and found[-1].language in COMMANDS:
            found[-1] = replace(found[-1], shown=found[-1].shown + body)
        else:
            before = FENCE.sub("", text[:fence.start()])
            section = ([""] + [anchor(title) for title in HEADLINE.findall(before)])[-1]
            found.append(Block(document, text.count("\n", 0, fence.start()) + 1, language, name, body, section))
    return found


def named(document: str) -> Mapping[str, Block]:
    found = {block.name: block for block in blocks(document) if block.name}
    assert len(found) == sum(bool(block.name) for block in blocks(document)), f"{document}: two blocks have one name"
    return found


def prose(document: str) -> str:
    """The text without its blocks."""
    return FENCE.sub("", read(document))


def anchor(title: str) -> str:
    """Of a headline, as GitHub makes it."""
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")


def anchors(document: str) -> set[str]:
    return {anchor(title) for title in HEADLINE.findall(prose(document))}


def links(document: str) -> Iterator[str]:
    """What it links to within the repository: `docs/X.md#place`."""
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(document)):
        if not target.startswith(("http://", "https://", "mailto:")):
            path, _, anchor = target.partition("#")
            file = (ROOT / document).parent / path if path else ROOT / document
            yield str(file.resolve().relative_to(ROOT)) + (f"#{anchor}" if anchor else "")


def pattern(line: str) -> re.Pattern[str]:
    """A line of a document: numbers and distances vary from run to run, `...` is anything."""

    def piece(part: str) -> str:
        if part == "...":
            return ".*"
        if part.isspace():
            return r"\s+"
        return NUMBER if re.fullmatch(NUMBER, part) and part != DOCUMENT_ID else re.escape(part)

    return re.compile("".join(piece(part) for part in PIECE.split(line.strip()) if part))


def missing(shown: str, output: str) -> list[str]:
    """The lines that a document shows and the output does not have, whole and in this order."""
    lines = iter(output.splitlines())
    return [line for line in shown.splitlines()
            if line.strip() and not any(pattern(line).fullmatch(each.strip()) for each in lines)]
