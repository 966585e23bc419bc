"""The only way to wait in a test: for something to become true, with a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(predicate: Callable[[], T | None], timeout: float, what: str, every: float = 0.02) -> T:
    """Polls until `predicate` returns something true, and returns that.

    The predicate is asked once more after the deadline, so a slow machine cannot fail what has happened in time.
    """
    deadline = time.monotonic() + timeout
    while True:
        late = time.monotonic() >= deadline
        value = predicate()
        if value:
            return value
        if late:
            raise TimeoutError(f"waited {timeout:g} s in vain for {what}; last seen: {value!r}")
        time.sleep(every)
