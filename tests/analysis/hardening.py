#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Is the program hardened as docs/SECURITY.md says? Reads ELF headers, machine code and the commands it was built by.

    tests/analysis/hardening.py BUILD      a build folder of the preset `release` or `package`
    tests/analysis/hardening.py --self     shows that each check can fail: on small programs that lack one thing each
"""
from __future__ import annotations

import json
import platform
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
X86 = platform.machine() == "x86_64"
COMPILE = ["-D_FORTIFY_SOURCE=3", "-fstack-protector-strong", "-ftrivial-auto-var-init=zero", "-fPIE", "-O2",
           "-fstack-clash-protection"] + (["-fcf-protection=full"] if X86 else [])
LINK = ["-pie", "-Wl,-z,relro", "-Wl,-z,now", "-Wl,-z,noexecstack"]
# Who overwrites secrets, and is not inlined everywhere.
WIPERS = ["buf_wipe", "config_secret_free", "config_read_secret", "config_read_file", "config_read_env", "conn_free",
          "conn_open", "hosts_free_options", "http_headers_free", "wiping_free"]
CRT = ["Scrt1.o", "crti.o", "crtn.o", "crtbeginS.o", "crtendS.o"]


def output(*command: str | Path) -> str:
    return subprocess.run([str(word) for word in command], check=True, capture_output=True, text=True,
                          env={"LC_ALL": "C", "PATH": "/usr/bin:/bin"}).stdout


def segments(program: Path) -> list[tuple[str, str]]:
    """(type, flags), for example ("LOAD", "RE")."""
    found = re.findall(r"^  ([A-Z_]+) +(?:0x[0-9a-f]+ +){5}([RWE ]{3}) +0x", output("readelf", "-lW", program), re.M)
    return [(kind, flags.replace(" ", "")) for kind, flags in found]


def check_elf(program: Path) -> list[str]:
    dynamic, parts = output("readelf", "-dW", program), segments(program)
    symbols = set(re.findall(r" UND ([\w]+)", output("readelf", "--dyn-syms", "-W", program)))
    stack = [flags for kind, flags in parts if kind == "GNU_STACK"]
    rules = {
        "not a position-independent executable": re.search(r"FLAGS_1\).*\bPIE\b", dynamic),
        "no RELRO": any(kind == "GNU_RELRO" for kind, _ in parts),
        "not bound at start (BIND_NOW)": re.search(r"FLAGS\).*BIND_NOW|FLAGS_1\).*\bNOW\b", dynamic),
        "an executable stack": len(stack) == 1 and "E" not in stack[0],
        "a segment that is writable and executable":
            not [1 for kind, flags in parts if kind == "LOAD" and "W" in flags and "E" in flags],
        "text relocations": not re.search(r"\(TEXTREL\)|FLAGS\).*TEXTREL", dynamic),
        "RPATH or RUNPATH": not re.search(r"\((RPATH|RUNPATH)\)", dynamic),
        "no stack protector": "__stack_chk_fail" in symbols,
        "no fortified functions": {name for name in symbols if name.endswith("_chk")},
    }
    return [complaint for complaint, good in rules.items() if not good]


def marks(file: Path) -> set[str]:
    return set(re.findall(r"\b(IBT|SHSTK)\b", output("readelf", "-nW", file)))


def check_cet(program: Path, objects: list[Path]) -> tuple[list[str], list[str]]:
    """Complaints, and what is not our fault: the linker drops the mark when one object, of libc's too, lacks it."""
    if not X86:
        return [], []
    wanted = {"IBT", "SHSTK"}
    complaints = [f"{file.name} is not marked for CET" for file in objects if marks(file) != wanted]
    if not objects:
        complaints = ["no object files to look at for CET"]
    if marks(program) == wanted:
        return complaints, []
    crt = {name: Path(output("gcc", f"-print-file-name={name}").strip()) for name in CRT}
    lacking = [name for name, path in crt.items() if path.exists() and marks(path) != wanted]
    if not lacking:
        return complaints + ["not marked for CET, though all that it is linked from is"], []
    return complaints, [f"not marked for CET: the C library's {', '.join(lacking)} are not; our objects are"]


def check_wipers(program: Path, names: list[str]) -> list[str]:
    code = dict(re.findall(r"^[0-9a-f]+ <(\w+)>:\n(.*?)(?:\n\n|\Z)", output("objdump", "-d", "--no-show-raw-insn", program),
                           re.M | re.S))
    return [f"{name} is not in the program" if name not in code else f"{name} does not overwrite"
            for name in names if "explicit_bzero" not in code.get(name, "")]


def check_commands(build: Path) -> list[str]:
    complaints = []
    commands = [entry for entry in json.loads((build / "compile_commands.json").read_text()) if "/src/" in entry["file"]]
    for entry in commands:
        words = shlex.split(entry["command"])
        missing = [flag for flag in [*COMPILE, "-UNDEBUG"] if flag not in words]
        if missing:
            complaints.append(f"{entry['file']} is compiled without {' '.join(missing)}")
    return complaints if commands else ["no compile commands"]


def check_build(build: Path) -> list[str]:
    program = build / "src" / "cmd" / "outboxd"
    objects = sorted((build / "src").rglob("*.o"))
    complaints, notes = check_cet(program, objects)
    complaints = check_elf(program) + complaints + check_wipers(program, WIPERS) + check_commands(build)
    for note in notes:
        print(f"{program}: note: {note}")
    print(f"{program}: {len(objects)} objects, {len(WIPERS)} functions that overwrite, {len(complaints)} complaints")
    return complaints


# What a tiny program lacks when it is built otherwise: (flags of the compiler, of the linker, the complaint).
LACKS = [
    (["-fno-pie"], ["-no-pie"], "not a position-independent executable"),
    ([], ["-Wl,-z,norelro"], "no RELRO"),
    ([], ["-Wl,-z,lazy"], "not bound at start (BIND_NOW)"),
    ([], ["-Wl,-z,execstack"], "an executable stack"),
    (["-DWRITABLE_CODE"], [], "a segment that is writable and executable"),
    (["-DTEXTREL"], ["-Wl,-z,notext"], "text relocations"),
    ([], ["-Wl,-rpath,/tmp"], "RPATH or RUNPATH"),
    (["-fno-stack-protector"], [], "no stack protector"),
    (["-U_FORTIFY_SOURCE"], [], "no fortified functions"),
    (["-fcf-protection=none"], [], "tiny.o is not marked for CET"),
    (["-DELIDED"], [], "wipe does not overwrite"),
]


def check_tiny(folder: Path, compile_flags: list[str], link_flags: list[str]) -> list[str]:
    made, program = folder / "tiny.o", folder / "tiny"
    output("gcc", "-w", *COMPILE, *compile_flags, "-c", HERE / "tiny.c", "-o", made)
    output("gcc", *LINK, *link_flags, made, "-o", program)
    return check_elf(program) + check_cet(program, [made])[0] + check_wipers(program, ["wipe"])


def check_self() -> list[str]:
    complaints = []
    with tempfile.TemporaryDirectory() as name:
        if found := check_tiny(Path(name), [], []):
            complaints.append(f"a hardened program: {found}")
        for compile_flags, link_flags, complaint in LACKS:
            if not X86 and "CET" in complaint:
                continue
            if complaint not in check_tiny(Path(name), compile_flags, link_flags):
                complaints.append(f"not found in a program that lacks it: {complaint}")
    print(f"{len(LACKS)} programs that lack one thing each, {len(complaints)} complaints")
    return complaints


def main() -> int:
    if len(sys.argv) != 2:
        print(__doc__)
        return 64
    complaints = check_self() if sys.argv[1] == "--self" else check_build(Path(sys.argv[1]))
    for complaint in complaints:
        print(f"hardening: {complaint}")
    return 1 if complaints else 0


sys.exit(main())
