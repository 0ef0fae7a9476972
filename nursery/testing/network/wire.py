"""One direction of a connection.

Invariant: segments arrive complete and in the order in which they were sent.  Only the first one is ever aimed at: if
it is lost it is sent again, each time after twice the time, and what is behind it waits; after too many tries the
connection breaks at the sender with ETIMEDOUT.
"""

from __future__ import annotations

import errno
from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from .stream_socket import StreamSocket

# Linux's: the first repetition after 200 ms, at most two minutes between two, 15 of them (seconds).
FIRST_RETRY: Final = 0.2
LONGEST_RETRY: Final = 120.0
RETRIES: Final = 15


class Segment:
    """Some bytes under way, or None for the end of the stream."""

    __slots__ = ("data", "due", "lost")

    def __init__(self, data: bytes | None, due: float, lost: bool) -> None:
        self.data = data
        self.due = due
        # Whether it got lost the first time.
        self.lost = lost


class Wire:
    """What is under way from one end to the other."""

    def __init__(self, source: StreamSocket, target: StreamSocket) -> None:
        self.source = source
        self.target = target
        # How many bytes are under way.
        self.load = 0
        self._segments: deque[Segment] = deque()
        self._tries = 0
        # When expire() will be called, if it will.
        self._timer: float | None = None

    def push(self, data: bytes | None) -> None:
        """Send bytes, or the end."""
        network = self.source.network
        here, there = self.source.host, self.target.host
        lost = not network.passes(here, there)
        due = network.runner.now() + network.travel_time(here, there)
        self._segments.append(Segment(data, due, lost))
        self.load += len(data or b"")
        if self._timer is None:
            self.expire()

    def stop(self) -> None:
        """Drop what is under way."""
        self._segments.clear()
        self.load = 0
        if self._timer is not None:
            self.source.network.runner.deadlines.remove(self, self._timer)
            self._timer = None

    def _aim(self, when: float) -> None:
        self._timer = when
        self.source.network.runner.deadlines.add(self, when)

    def expire(self) -> None:
        """Deliver what is due; called when the first segment is, and when it is to be sent again."""
        self._timer = None
        network = self.source.network
        now = network.runner.now()
        while self._segments:
            segment = self._segments[0]
            if segment.due > now:
                self._aim(segment.due)
                return
            if self._tries > RETRIES:
                self.source.fail(errno.ETIMEDOUT)
                return
            if not self._gets_through(segment):
                self._tries += 1
                segment.due = now + min(FIRST_RETRY * 2.0 ** (self._tries - 1), LONGEST_RETRY)
                continue
            self._tries = 0
            self._segments.popleft()
            self.load -= len(segment.data or b"")
            self.target.arrived(segment.data)

    def _gets_through(self, segment: Segment) -> bool:
        network = self.source.network
        here, there = self.source.host, self.target.host
        if self._tries:
            return network.passes(here, there)
        return not segment.lost and not network.is_cut(here, there)
