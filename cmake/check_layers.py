#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Which room may include what. Run from the top of the tree; prints each break of the rule, exits 1 on any."""
import pathlib
import re
import sys

# cmd -> run -> {pg, es} -> core -> base; pg and es never see each other.
ROOMS = {
    "base": {"base"},
    "core": {"core", "base"},
    "pg": {"pg", "core", "base"},
    "es": {"es", "core", "base"},
    "run": {"run", "pg", "es", "core", "base"},
    "cmd": {"cmd", "run", "pg", "es", "core", "base"},
}
# Third-party headers, and the only rooms or files (without ending) that may include them.
LIBRARIES = {
    r"libpq-fe\.h|libpq/.*|postgres_ext\.h": {"pg"},
    r"curl/.*": {"es"},
    r"jansson\.h": {"es", "pg", "cmd", "run/child", "run/status", "run/sweeper", "run/verifier"},
    r"zlib\.h": {"es"},
    r"ev\.h": {"pg/conn", "es/http", "es/http_sync", "run"},
    r"ut(hash|list|array|string)\.h": {"core"},
    r"microhttpd\.h": {"run/admin"},
}
INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]')


def complaint(room, module, header):
    for pattern, allowed in LIBRARIES.items():
        if re.fullmatch(pattern, header):
            return None if {room, module} & allowed else f"only {', '.join(sorted(allowed))} may include {header}"
    target = header.split("/")[0]
    if "/" in header and target in ROOMS and target not in ROOMS[room]:
        return f"room {room} must not see room {target} ({header})"
    return None


def main():
    bad = 0
    for path in sorted(p for room in ROOMS for top in ("src", "include") for p in pathlib.Path(top, room).rglob("*.[ch]")):
        room = path.parts[1]
        module = "/".join(path.parts[1:]).rsplit(".", 1)[0]
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            match = INCLUDE.match(line)
            why = complaint(room, module, match[1]) if match else None
            if why:
                print(f"{path}:{number}: {why}")
                bad += 1
    return 1 if bad else 0


sys.exit(main())
