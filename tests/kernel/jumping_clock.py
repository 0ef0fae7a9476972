"""A clock on which nobody waits.

Invariant: time moves only when the kernel has nothing to run and asks how long to sleep, and then exactly to the
deadline it asked about; so a test that sleeps for an hour takes no time and reads exact times.
"""

from __future__ import annotations

from nursery.kernel.clock import Clock


class JumpingClock(Clock):
    """Virtual time, in seconds; begins at `start`."""

    def __init__(self, start: float = 1000.0) -> None:
        self.time = start
        self.started = 0

    def start_clock(self) -> None:
        self.started += 1

    def current_time(self) -> float:
        return self.time

    def deadline_to_sleep_time(self, deadline: float) -> float:
        self.time = max(self.time, deadline)
        return 0.0
