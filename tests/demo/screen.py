"""What the demo prints: plain lines, and on a terminal colours and one line that moves."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

WIDTH = 100
BOLD, DIM, RED, GREEN = "1", "2", "31", "32"


class Screen:
    def __init__(self) -> None:
        self._is_terminal = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
        self._has_colours = self._is_terminal and not os.environ.get("NO_COLOR")
        self._lock = threading.Lock()
        self._moving = ""
        self._began = time.monotonic()

    def line(self, text: str = "", colour: str = "") -> None:
        with self._lock:
            self._erase()
            print(self._coloured(text, colour), flush=True)

    def title(self, text: str) -> None:
        self.line()
        self.line(text, BOLD)
        self._began = time.monotonic()

    def event(self, text: str) -> None:
        """Something that happened now, in seconds since the title."""
        self.line(f"{time.monotonic() - self._began:6.1f} s  {text}")

    def quote(self, text: str) -> None:
        """What a program said."""
        margin = " " * 10
        for each in text.splitlines():
            for part in textwrap.wrap(each, WIDTH, initial_indent=margin, subsequent_indent=margin + "  "):
                self.line(part, DIM)

    def fact(self, label: str, value: object, colour: str = "") -> None:
        text = f"{value:,}" if isinstance(value, int) else str(value)
        self.line(f"  {label:<24}{self._coloured(text, colour)}")

    @contextmanager
    def step(self, label: str) -> Iterator[None]:
        """One line for work that takes a while, with the seconds that it took."""
        began = time.monotonic()
        print(f"{label} ... ", end="", flush=True)
        try:
            yield
        except BaseException:
            print("failed", flush=True)
            raise
        print(f"{time.monotonic() - began:.0f} s", flush=True)

    @contextmanager
    def watching(self, look: Callable[[], str]) -> Iterator[None]:
        """On a terminal, shows what `look` returns as one moving line until the block ends."""
        if not self._is_terminal:
            yield
            return
        ended = threading.Event()

        def show() -> None:
            while not ended.wait(0.2):
                text = look()[:shutil.get_terminal_size().columns - 1]
                with self._lock:
                    self._erase()
                    self._moving = text
                    print(text, end="", flush=True)

        thread = threading.Thread(target=show, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join(5)
            with self._lock:
                self._erase()

    def _erase(self) -> None:
        if self._moving:
            print("\r\x1b[K", end="")
            self._moving = ""

    def _coloured(self, text: str, colour: str) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if colour and self._has_colours else text


def bar(part: int, whole: int, width: int = 30) -> str:
    filled = width * part // whole if whole else 0
    return "[" + "#" * filled + "-" * (width - filled) + "]"
