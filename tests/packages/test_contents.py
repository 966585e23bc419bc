"""What is in the package besides the program: the bill of materials, and what Tab offers."""

from __future__ import annotations

import json
import posixpath
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


def test_no_link_of_the_documents_is_dead(installed: Root) -> None:
    documents = installed.shell("find /usr/share/doc/outboxd -name '*.md'").split()
    assert len(documents) > 15
    for document in documents:
        prose = re.sub(r"^```.*?^```$", "", installed.shell(f"cat {document}"), flags=re.MULTILINE | re.DOTALL)
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", prose):
            if not target.startswith(("http://", "https://")):
                installed.run("test", "-e", posixpath.join(posixpath.dirname(document), target))


ASK = {
    "bash": """. /usr/share/bash-completion/bash_completion
__load_completion outboxd 2>/dev/null || _comp_load outboxd  # the second is its name since 2.12
COMP_WORDS=({words}) COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
_outboxd
printf '%s\\n' "${{COMPREPLY[@]}}"
""",
    "fish": "complete -C '{line}'\n",
    # zsh completes in its line editor only: a terminal is made for one, and Tab typed into it.
    "zsh": """zmodload zsh/zpty
zpty z "zsh -f -i"
zpty -w z 'PS1=; stty cols 200 rows 60; autoload -Uz compinit; compinit -u -D; LISTMAX=0; print REA""DY'
zpty -r -m z text '*READY*' || exit
zpty -n -w z $'{line}\\t\\t'
sleep 3
while zpty -r -t z text; do print -r -- "$text"; done
""",
}


def offers(root: Root, shell: str, line: str) -> str:
    """What the shell offers at the end of the line, as it finds it by itself from where the package put it."""
    words = line if line[-1] != " " else f"{line}''"
    return root.run(shell, input=ASK[shell].format(line=line, words=words)).stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(installed: Root, shell: str) -> None:
    installed.apt("install", "bash-completion", "zsh", "fish")

    commands = offers(installed, shell, "outboxd ")
    flags = offers(installed, shell, "outboxd requeue --d")
    levels = offers(installed, shell, "outboxd --log-level ")

    for command in ("run", "init", "status", "dead", "requeue", "purge", "check", "probe", "config"):
        assert re.search(rf"\b{command}\b", commands), (command, commands)
    assert "--dry-run" in flags and "--document" not in flags
    assert all(level in levels for level in ("debug", "info", "warn", "error")) and "logfmt" not in levels
