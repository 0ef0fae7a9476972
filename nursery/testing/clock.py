"""A clock that a test holds in its hand.

Invariant: the clock's time is `_virtual_base + rate * (real time since _real_base)`, and moves by `jump` besides.
Whatever changes it, or the threshold, is seen by a loop that is asleep: the run is told, in whichever thread.

When the clock jumps by itself is decided by the loop (kernel/loop.py): after `wait_all_tasks_blocked`, never before.
"""

from __future__ import annotations

import threading
import time
from math import inf, isnan
from typing import TYPE_CHECKING, final

from ..kernel.clock import Clock
from ..kernel.current import current_runner
from ..kernel.errors import RunFinishedError

if TYPE_CHECKING:
    from ..kernel.runner import Runner

# Any finite number does: the kernel never sleeps longer than a day at a time, and asks again.
_A_LONG_TIME = 1e9


@final
class MockClock(Clock):
    """A clock whose time the test moves: by hand, at a rate, or by itself when nothing else can happen.

    Arguments: rate is how many seconds of this clock pass in a real second, 0 for none.  autojump_threshold is in
    real seconds: when all tasks have been blocked for so long, the clock jumps to the next deadline; inf for never.
    Use 0 where nothing but time is waited for, and a little more where sockets or threads take part.

    Attributes: `rate` and `autojump_threshold` may be set at any time; a changed threshold acts on a loop that is
    already asleep.  The time begins at 0.

    Raises ValueError for a negative rate.

    Example::

        async def main() -> None:
            await nursery.sleep(3600)  # takes no time

        nursery.run(main, clock=nursery.testing.MockClock(autojump_threshold=0))

    A task in `wait_all_tasks_blocked` goes first: the clock does not jump while there is one.

    Source: trio's documentation, `trio.testing.MockClock`.
    """

    def __init__(self, rate: float = 0.0, autojump_threshold: float = inf) -> None:
        self._real_clock = time.perf_counter
        self._real_base = self._real_clock()
        self._virtual_base = 0.0
        self._rate = _valid_rate(rate)
        self._autojump_threshold = _valid_threshold(autojump_threshold)
        self._runner: Runner | None = None

    def __repr__(self) -> str:
        return f"<MockClock, time={self.current_time():.7f}, rate={self._rate} @ {id(self):#x}>"

    @property
    def rate(self) -> float:
        """Seconds of this clock in a real second."""
        return self._rate

    @rate.setter
    def rate(self, new_rate: float) -> None:
        new_rate = _valid_rate(new_rate)
        now = self._real_clock()
        self._virtual_base = self._at(now)
        self._real_base = now
        self._rate = new_rate
        self._tell_run()

    @property
    def autojump_threshold(self) -> float:
        """Real seconds of quiet after which the clock jumps; inf for never."""
        return self._autojump_threshold

    @autojump_threshold.setter
    def autojump_threshold(self, new_autojump_threshold: float) -> None:
        self._autojump_threshold = _valid_threshold(new_autojump_threshold)
        self._tell_run()

    def jump(self, seconds: float) -> None:
        """Move the time forward by `seconds`.

        Raises ValueError if they are negative.  Not a cancel point: what became due runs when this task next waits.
        Source: trio's documentation, `trio.testing.MockClock.jump`.
        """
        if not seconds >= 0:
            raise ValueError(f"time can't go backwards: seconds must be non-negative, not {seconds!r}")
        self._virtual_base += seconds
        self._tell_run()

    # What the kernel calls

    def start_clock(self) -> None:
        """Be told that a run begins."""
        self._runner = runner = current_runner()
        runner.autojump_clock = self._autojump
        runner.autojump_threshold = self._autojump_threshold

    def current_time(self) -> float:
        """Return the time of this clock, in seconds."""
        return self._at(self._real_clock())

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """Return how many real seconds pass until `deadline`, unless the clock jumps."""
        seconds = deadline - self.current_time()
        if seconds <= 0:
            return 0.0
        return seconds / self._rate if self._rate > 0 else _A_LONG_TIME

    def _at(self, real: float) -> float:
        return self._virtual_base + self._rate * (real - self._real_base)

    def _autojump(self) -> None:
        """Be told by the loop that nothing can happen any more unless time moves."""
        runner = self._runner
        if runner is None:
            return
        deadline = runner.deadlines.next_deadline()
        now = self._real_clock()
        if deadline != inf and deadline > self._at(now):
            # Not jump(deadline - now): the sum of rounded differences may fall short of the deadline.
            self._virtual_base = deadline - self._rate * (now - self._real_base)

    def _tell_run(self) -> None:
        """Let the run act on a change, also if it is asleep now."""
        runner = self._runner
        if runner is None:
            return
        if runner.finished:
            self._runner = None
        elif runner.thread == threading.get_ident():
            self._resync()
        else:
            try:
                runner.inbox.put(self._resync, (), True)
            except RunFinishedError:
                self._runner = None

    def _resync(self) -> None:
        runner = self._runner
        if runner is not None and runner.clock is self:
            runner.autojump_threshold = self._autojump_threshold
            # A guest's host may call us while the loop sleeps in its thread.
            if runner.wake_host is not None:
                runner.wake_host()


def _valid_rate(rate: float) -> float:
    if not rate >= 0:
        raise ValueError(f"rate must be >= 0, in seconds a second, not {rate!r}")
    return float(rate)


def _valid_threshold(threshold: float) -> float:
    if isnan(threshold):
        raise ValueError("autojump_threshold must not be NaN: it is a number of real seconds, or inf for never")
    return float(threshold)


__all__ = ["MockClock"]
