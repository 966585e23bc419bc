#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Functions that have no place here, files that are too long, white space at the end of lines. Run from the
top of the tree; prints each find, exits 1 on any. (Variable-length arrays are banned by -Wvla.)"""
import pathlib
import re
import sys

BANNED = {
    "strcpy": "use struct buf or memcpy", "strcat": "use struct buf", "sprintf": "use snprintf or buf_addf",
    "vsprintf": "use buf_vaddf", "gets": "never", "strtok": "use strcspn", "atoi": "use parse_int",
    "atol": "use parse_int", "localtime": "use gmtime_r", "system": "never", "alloca": "use struct buf",
    "sleep": "use a timer of the loop", "usleep": "use a timer of the loop",
}
CALL = re.compile(r"\b(" + "|".join(BANNED) + r")\s*\(")
# Comments and literals are replaced by nothing, except for their newlines, so line numbers stay right.
NOT_CODE = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)
MAX_LINES = 500


def finds(path):
    text = path.read_text(encoding="utf-8")
    lines = text.split("\n")
    for number, line in enumerate(lines, 1):
        if line != line.rstrip():
            yield number, "white space at the end of the line"
    if path.suffix not in (".c", ".h"):
        return
    if len(lines) - 1 > MAX_LINES:
        yield len(lines) - 1, f"more than {MAX_LINES} lines: split the file"
    code = NOT_CODE.sub(lambda m: "\n" * m[0].count("\n"), text)
    for number, line in enumerate(code.split("\n"), 1):
        for match in CALL.finditer(line):
            yield number, f"{match[1]} is banned: {BANNED[match[1]]}"


def main():
    endings = {".c", ".h", ".def", ".sql", ".py", ".cmake", ".txt", ".json"}
    tops = [pathlib.Path(top) for top in ("src", "include", "sql", "cmake", "tests")]
    files = [p for top in tops for p in sorted(top.rglob("*")) if p.is_file() and p.suffix in endings]
    bad = 0
    for path in files:
        for number, why in finds(path):
            print(f"{path}:{number}: {why}")
            bad += 1
    return 1 if bad else 0


sys.exit(main())
