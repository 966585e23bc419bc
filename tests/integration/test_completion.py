"""What Tab offers in bash: what --help knows, and nothing else. The other shells are asked by tests/packages."""

from __future__ import annotations

import re
import shlex
import subprocess

import pytest

from harness import Outboxd

ASK = "{script}\nCOMP_WORDS=({words}) COMP_CWORD={at}; compopt() {{ :; }}; _outboxd; printf '%s\\n' \"${{COMPREPLY[@]}}\""


def say(*arguments: str) -> str:
    done = Outboxd().run(*arguments)
    assert done.exit_code == 0, done.stderr
    return done.stdout


def offered(line: str) -> list[str]:
    """The line as bash cuts it: at blanks, and at each = too."""
    words = [word for word in re.split(r"\s|(=)", line) if word] + ([""] if line[-1] == " " else [])
    script = ASK.format(script=say("config", "bash"), words=" ".join(map(shlex.quote, words)), at=len(words) - 1)
    done = subprocess.run(["bash", "--norc", "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.split()


def test_the_commands_are_those_of_help() -> None:
    commands = re.findall(r"^  ([a-z]+) +\S", say("--help").partition("general flags:")[0], re.MULTILINE)

    assert offered("outboxd ") == commands
    assert offered("outboxd re") == ["requeue", "reindex"]
    assert offered("outboxd --log-level=debug re") == ["requeue", "reindex"]


def test_the_flags_are_those_of_help() -> None:
    commands, general = say("--help").split("general flags:")
    everywhere = {flag for pair in re.findall(r"^  (--[a-z-]+)(?:, (--[a-z-]+))?", general, re.MULTILINE) for flag in pair} - {""}
    for command, text in re.findall(r"^  ([a-z]+) (.*?)(?=^  [a-z]|\Z)", commands, re.MULTILINE | re.DOTALL):
        own = set(re.findall(r"^ {13}(--[a-z-]+)", text, re.MULTILINE))
        assert set(offered(f"outboxd {command} -")) == own | everywhere, command
    assert set(offered("outboxd -")) == everywhere | {"--once"}


@pytest.mark.parametrize(("line", "words"), [
    ("outboxd --log-level ", ["debug", "info", "warn", "error"]),
    ("outboxd --log-level=", ["debug", "info", "warn", "error"]),
    ("outboxd run --log-level=de", ["debug"]),
    ("outboxd --relay-notify=", ["true", "false"]),
    ("outboxd --relay-notify che", ["check"]),  # the word after a boolean is not its value
    ("outboxd --postgres-dsn ", []),
    ("outboxd --postgres-dsn=", []),
    ("outboxd dead --limit ", []),
    ("outboxd requeue ", []),
    ("outboxd --config=/etc/hostn", ["/etc/hostname"]),
])
def test_values(line: str, words: list[str]) -> None:
    assert offered(line) == words


def test_the_texts_of_config_are_those_of_help() -> None:
    usage = re.search(r"^  config +\[(.*?)\]", say("--help"), re.MULTILINE)
    assert usage

    assert offered("outboxd config ") == usage[1].split(" | ")
    for text in offered("outboxd config "):
        assert say("config", text)
