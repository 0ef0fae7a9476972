"""What several connections have written in one turn, to be sent together.

Invariant: whenever a transport is in the outbox, the outbox is in the run queue, at the end of the turn.  It is used
only while others wait for their turn; a transport that is alone sends at once.

To send to a peer that sleeps is to wake it: the system interrupts another core, and with the caches that this takes it
is dearer than all the rest of the send.  If the answers of a turn are sent one right after the other, the peer is awake
from the second on: a server of aiohttp with 50 connections needs 0.7 of the time for a request.  Sixteen at a time have
nearly the whole effect, so nobody waits for long; and where turns prove to be slow (a handler that computes), sends are
direct again for a while.
"""

from __future__ import annotations

from contextvars import Context
from time import monotonic
from typing import TYPE_CHECKING, Final

from ...kernel.traps import PARK
from ..handles import Handle

if TYPE_CHECKING:
    from ...kernel.runner import Runner
    from ..loop.state import LoopState
    from .socket import SocketTransport

# So many transports are sent for at once.
MOST: Final = 16
# If the first of them has waited for so many seconds, the turns are slow: no message waits for a while.
LATE: Final = 0.005
# The same if they came faster than this, in seconds from one to the next: the peer had no time to fall asleep.
FAST: Final = 0.000_008
# Not so many, at first; each time it happens again, twice as many.
PATIENCE: Final = 16
MOST_PATIENCE: Final = 1024
# While the loop is paused, none at all.
PAUSED: Final = 1 << 60


class Outbox(Handle):
    """A handle that stands in the run queue without being made for it."""

    __slots__ = ("_doubled", "_queued", "_since", "patience", "runner", "waiting")

    def __init__(self, runner: Runner) -> None:
        self.runner = runner
        self.waiting: list[SocketTransport] = []
        self._queued = False
        self._since = 0.0
        # So many messages are sent directly from now on; and how many it will be the next time.
        self.patience = PAUSED
        self._doubled = PATIENCE
        self._context = Context()
        self._args = ()
        self._cancelled = False
        self._repr = None
        self._source_traceback = None

    if not TYPE_CHECKING:

        @property
        def _loop(self) -> LoopState:
            # The run knows it while it is inside; a reference to it would keep a forgotten loop alive.
            return self.runner.dialect

        def _callback(self) -> None:
            self._queued = False
            self.send_all()

    def run(self, send: object, nothing: None) -> object:
        """Do what the batch of compat does, for the kernel's own loops."""
        self.runner.current = None
        self._queued = False
        self.send_all()
        return PARK

    def open(self) -> None:
        """Let transports put off what they send: the loop runs from now on."""
        self.patience = 0

    def close(self) -> None:
        """Send what is there, and take no more: the loop pauses."""
        self.patience = PAUSED
        self.send_all()

    def begin(self) -> None:
        """Go to the end of the turn: somebody is waiting."""
        self._since = monotonic()
        if not self._queued:
            self._queued = True
            self.runner.queue.append(self)

    def send_all(self) -> None:
        """Let all send that are waiting."""
        waiting = self.waiting
        if not waiting:
            return
        if not self.patience:
            seconds = monotonic() - self._since
            if seconds > LATE or seconds < FAST * len(waiting):
                self.patience = self._doubled
                self._doubled = min(2 * self.patience, MOST_PATIENCE)
            else:
                self._doubled = PATIENCE
        self.waiting = []
        sent = 0
        try:
            for transport in waiting:
                sent += 1
                transport.send_put_off()
        finally:
            if sent < len(waiting):
                # An exit, or Ctrl-C, in the middle: the rest has not lost its turn.
                self.waiting[:0] = waiting[sent:]
                self.begin()
