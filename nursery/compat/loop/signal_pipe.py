"""The pipe into which the interpreter writes the numbers of signals: its wake-up descriptor, one for the process.

Invariant: as long as a loop has a signal handler, the number of each signal comes out of the pipe once, in whichever
thread the signal came, and is given to the loop that took that signal last.  Every loop with a handler reads here, so
it does not matter which of them runs.

A process that is forked meanwhile is in none of the loops: there the signals have their default effect again, and
what it gets is not told to its parent, with whom it shares the pipe (on asyncio's own loop it is, so that a child that
should terminate ends its parent).
"""

from __future__ import annotations

import os
import signal
import weakref
from asyncio.log import logger
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, ClassVar, Final, TypeAlias

if TYPE_CHECKING:
    from .signals import Signals

SignalHandler: TypeAlias = "signal.Handlers | Callable[[int, FrameType | None], object]"

READ_SIZE: Final = 4096


class SignalPipe:
    """The pipe, and who reads it."""

    __slots__ = ("_before", "_count", "_read", "_takers", "_write")

    # The one of the process; None as long as no loop has a handler.
    current: ClassVar[SignalPipe | None] = None

    def __init__(self) -> None:
        self._before = -1
        # How many loops read; the loops themselves say whether they do, since the collector clears weak references to a
        # forgotten loop before it lets it close itself.
        self._count = 0
        self._takers: weakref.WeakValueDictionary[int, Signals] = weakref.WeakValueDictionary()
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)

    @classmethod
    def join(cls, loop: Signals) -> None:
        """Let a loop read the pipe; ValueError in any thread but the main one."""
        pipe = cls() if cls.current is None else cls.current
        try:
            # Each time: somebody may have put a descriptor of his own there.
            before = signal.set_wakeup_fd(pipe._write, warn_on_full_buffer=False)
        except BaseException:
            if cls.current is None:
                pipe._close()
            raise
        cls.current = pipe
        if before != pipe._write:
            pipe._before = before
        if not pipe._count:
            # Of the time when nobody listened, if it was left by another thread.
            pipe._arrived()
        if loop._signal_pipe is None:
            loop.io.listen(pipe._read, pipe._arrived)
            loop._signal_pipe = pipe
            pipe._count += 1

    @classmethod
    def take(cls, loop: Signals, sig: int) -> None:
        """Give `sig` to a loop from now on."""
        assert cls.current is not None
        cls.current._takers[sig] = loop

    @classmethod
    def leave(cls, loop: Signals) -> None:
        """Let a loop read no more; the last one gives the wake-up descriptor back."""
        pipe, loop._signal_pipe = loop._signal_pipe, None
        if pipe is None or pipe is not cls.current:
            # Left behind by a fork.
            return
        pipe._count -= 1
        for sig, taker in list(pipe._takers.items()):
            if taker is loop:
                del pipe._takers[sig]
        interest = loop.io.table.get(pipe._read)
        if interest is not None:
            loop.io.forget(interest)
        if not pipe._count and pipe._give_back():
            cls.current = None
            pipe._close()

    def _arrived(self) -> None:
        """Hand out what has arrived; called when there is something to read."""
        try:
            while numbers := os.read(self._read, READ_SIZE):
                for sig in numbers:
                    loop = self._takers.get(sig)
                    if loop is not None:
                        loop._handle_signal(sig)
        except BlockingIOError:
            pass
        except OSError:
            # The last handler of all was cancelled, and the pipe closed with it.
            if SignalPipe.current is self:
                raise

    def _give_back(self) -> bool:
        """Return whether the interpreter does not write here any more."""
        try:
            now = signal.set_wakeup_fd(-1)
        except ValueError:
            # In another thread than the main one.  The pipe stays for the next loop: closed, its number would be
            # somebody else's descriptor soon.
            return False
        # Somebody may have taken it after us.
        back = self._before if now == self._write else now
        if back != -1:
            try:
                signal.set_wakeup_fd(back)
            except (ValueError, OSError) as exc:
                logger.info("set_wakeup_fd failed: %s", exc)
        return True

    def _close(self) -> None:
        os.close(self._read)
        os.close(self._write)

    @classmethod
    def _leave_in_child(cls) -> None:
        pipe, cls.current = cls.current, None
        if pipe is None:
            return
        pipe._give_back()
        pipe._close()
        for loop in set(pipe._takers.values()):
            loop._signal_handlers.clear()
            loop._signal_pipe = None
        for sig in signal.valid_signals():
            if signal.getsignal(sig) is stand_in:
                signal.signal(sig, default_of(sig))


os.register_at_fork(after_in_child=SignalPipe._leave_in_child)


def stand_in(signum: int, frame: FrameType | None) -> None:
    """Stand as the interpreter's handler: without one it would not write into the pipe."""


def default_of(sig: int) -> SignalHandler:
    """Return the handler that a signal has when a process begins."""
    return signal.default_int_handler if sig == signal.SIGINT else signal.SIG_DFL
