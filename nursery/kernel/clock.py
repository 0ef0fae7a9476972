"""Where time comes from.

Invariant: the kernel asks a clock only three things, and a clock never runs backwards.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod


class Clock(ABC):
    """The interface of custom clocks (trio's `trio.abc.Clock`)."""

    @abstractmethod
    def start_clock(self) -> None:
        """Do what is needed before the first question; called once, when the run begins."""

    @abstractmethod
    def current_time(self) -> float:
        """Return the time in seconds, by this clock."""

    @abstractmethod
    def deadline_to_sleep_time(self, deadline: float) -> float:
        """Return how many real seconds to sleep until `deadline`, a time of this clock, has come.

        It may be an under-estimate: the kernel asks again.
        """


class SystemClock(Clock):
    """The system's monotonic clock, the one that asyncio's `loop.time()` shows as well."""

    def __init__(self) -> None:
        # The C function itself hides the method below: a deadline then costs no Python frame.
        self.current_time = time.monotonic  # type: ignore[method-assign]  # same signature, found first

    def start_clock(self) -> None:
        """Nothing to do."""

    def current_time(self) -> float:
        return time.monotonic()

    def deadline_to_sleep_time(self, deadline: float) -> float:
        return deadline - time.monotonic()
