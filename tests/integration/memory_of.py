"""For root: the mappings of a process in which words stand, a line for each place: memory_of.py PID WORD... (in hex)"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

PIECE, OVERLAP, SHADOW = 1 << 24, 1 << 10, 1 << 34  # AddressSanitizer's shadow is larger than any machine


def memory(pid: str) -> Iterator[tuple[str, bytes]]:
    """All that the process can write: the name of the mapping, and its bytes in pieces that overlap."""
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as mem:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            found = re.match(r"(\w+)-(\w+) rw\S* \S+ \S+ \d+ *(.*)", line)
            begin, end = (int(found[1], 16), int(found[2], 16)) if found else (0, 0)
            if not found or end - begin > SHADOW:
                continue
            for at in range(begin, end, PIECE):
                mem.seek(at)
                yield found[3] or "anonymous", mem.read(min(PIECE + OVERLAP, end - at))


for name, data in memory(sys.argv[1]):
    for word in sys.argv[2:]:
        print(f"{name}\n" * data.count(bytes.fromhex(word)), end="")
