"""What is in the package besides the program: the bill of materials, and what Tab offers."""

from __future__ import annotations

import json
import re
import uuid
from typing import Any

import pytest
from packages.root import Root

pytestmark = pytest.mark.time_limit(300)


@pytest.fixture
def bill(installed: Root) -> dict[str, Any]:
    bill: dict[str, Any] = json.loads(installed.shell("cat /usr/share/doc/outboxd/outboxd.cdx.json"))
    return bill


def test_the_shape_of_the_bill(bill: dict[str, Any]) -> None:
    assert (bill["bomFormat"], bill["specVersion"], bill["version"]) == ("CycloneDX", "1.5", 1)
    assert uuid.UUID(bill["serialNumber"]).version == 5
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", bill["metadata"]["timestamp"])
    references = [bill["metadata"]["component"]["bom-ref"]] + [c["bom-ref"] for c in bill["components"]]
    assert len(set(references)) == len(references) > 10
    for component in bill["components"]:
        assert component["type"] == "library" and component["version"]
        assert re.fullmatch(r"pkg:deb/\w+/[a-z0-9.+-]+@[^?]+\?arch=\w+&\S+", component["purl"]), component["purl"]
    assert sorted(d["ref"] for d in bill["dependencies"]) == sorted(references)
    for dependency in bill["dependencies"]:
        assert set(dependency["dependsOn"]) <= set(references)


def test_the_bill_is_that_of_the_installed_program(installed: Root, bill: dict[str, Any]) -> None:
    me = bill["metadata"]["component"]
    assert f"outboxd {me['version']}\n" in installed.run("outboxd", "--version").stdout
    assert me["hashes"] == [{"alg": "SHA-256", "content": installed.shell("sha256sum /usr/bin/outboxd").split()[0]}]
    files = {p["value"]: c["name"] for c in bill["components"] for p in c["properties"]}
    loaded = {re.sub(r".*/", "", line.split()[0]) for line in installed.shell("ldd /usr/bin/outboxd").splitlines()}
    assert set(files) == loaded - {"linux-vdso.so.1"} | {"uthash.h"}
    # What the package depends on is what the program needs by itself, and the header.
    depends = re.findall(r"(\S+) \(", installed.shell("dpkg-query -W -f='${Depends}' outboxd"))
    direct = next(d["dependsOn"] for d in bill["dependencies"] if d["ref"] == me["bom-ref"])
    names = {c["bom-ref"]: c["name"] for c in bill["components"]}
    assert {names[ref] for ref in direct} == set(depends) | {"uthash-dev"}


def offers(shell: str, line: str) -> str:
    if shell == "fish":
        return f"fish -c 'complete -C \"{line}\"'"
    if shell == "bash":  # as somebody's shell loads it: by the name of the command
        return ("bash -ic '. /usr/share/bash-completion/bash_completion; __load_completion outboxd; "
                f"COMP_WORDS=({line} {'' if line[-1] != ' ' else chr(39) * 2}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _outboxd; "
                "printf \"%s\\n\" \"${COMPREPLY[@]}\"' 2>/dev/null")
    # zsh completes in its line editor only: a terminal is made for one, and Tab typed into it.
    return f"""cat >/tmp/zdot/ask <<'END'
zmodload zsh/zpty
zpty z 'ZDOTDIR=/tmp/zdot PS1= zsh -f -i'
zpty -w z 'autoload -Uz compinit && compinit -u -d /tmp/zdot/dump; zstyle ":completion:*" list-prompt ""; LISTMAX=0; stty cols 400; print READY'
while zpty -r z text; do [[ $text == READY* ]] && break; done
zpty -n -w z $'{line}\\t'
sleep 2; zpty -n -w z $'\\t'; sleep 1
while zpty -rt z text; do print -r -- $text; done
END
zsh -f /tmp/zdot/ask"""


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(installed: Root, shell: str) -> None:
    installed.apt("install", "bash-completion", "zsh", "fish", ">/dev/null")
    installed.run("mkdir", "-p", "/tmp/zdot")

    commands = installed.shell(offers(shell, "outboxd "))
    flags = installed.shell(offers(shell, "outboxd requeue --d"))
    levels = installed.shell(offers(shell, "outboxd --log-level "))

    for command in ("run", "init", "status", "dead", "requeue", "purge", "check", "probe", "config"):
        assert re.search(rf"\b{command}\b", commands), (command, commands)
    assert "--dry-run" in flags and "--document" not in flags
    assert all(level in levels for level in ("debug", "info", "warn", "error")) and "logfmt" not in levels
