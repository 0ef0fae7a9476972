"""Receiving signals as values, in a task.

Invariant: a signal that arrived while the block was open is either handed out by the receiver or, when the block is
left, delivered again to the handler that was there before; none is lost, and none stays on the way, for the handler
itself writes down what arrived and uses the run's inbox only to wake a sleeper.

Signals that arrive again before they were handed out are one, as they are for the system.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from types import FrameType
from typing import TypeAlias

from .kernel.errors import BusyResourceError
from .kernel.inbox import current_run_token
from .kernel.interrupts import enable_ki_protection
from .kernel.parking import ParkingLot
from .kernel.traps import checkpoint

Handler: TypeAlias = "Callable[[int, FrameType | None], object] | int | signal.Handlers"


class SignalReceiver:
    """Iterates over the signals that arrive; made by `open_signal_receiver`."""

    __slots__ = ("_busy", "_closed", "_lot", "_pending")

    def __init__(self) -> None:
        # In order of arrival.
        self._pending: dict[int, None] = {}
        self._lot = ParkingLot()
        self._busy = False
        self._closed = False

    def arrived(self, signum: int) -> None:
        """Write down a signal; called in its handler, at any moment."""
        self._pending[signum] = None

    def wake(self) -> None:
        """Wake the task that waits; called in the run."""
        self._lot.unpark()

    def __aiter__(self) -> AsyncIterator[int]:
        return self

    async def __anext__(self) -> int:
        """Wait for a signal and return its number.  A cancel point; a cancelled call takes none."""
        self._check_open()
        if self._busy:
            raise BusyResourceError("another task is already iterating over this signal receiver")
        self._busy = True
        try:
            if self._pending:
                await checkpoint()
            while not self._pending:
                await self._lot.park()
                self._check_open()
        finally:
            self._busy = False
        return self._pop()

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError("the open_signal_receiver block was already exited: this receiver gets nothing any more")

    def _pop(self) -> int:
        signum = next(iter(self._pending))
        del self._pending[signum]
        return signum

    def close(self) -> None:
        """Give back to the former handlers what was not handed out; call each, also if one raises."""
        self._closed = True
        self._lot.unpark_all()
        self._deliver_again()

    def _deliver_again(self) -> None:
        # Recursive, so that the errors of several handlers become each other's context.
        if self._pending:
            try:
                signal.raise_signal(self._pop())
            finally:
                self._deliver_again()


def open_signal_receiver(*signals: signal.Signals | int) -> AbstractContextManager[AsyncIterator[int]]:
    """Catch signals in a `with` block, which is given an async iterator over the numbers of those that arrive.

    Arguments: signals are the signals to catch, at least one.

    The same signal arriving several times before it is handed out is handed out once.  When the block is left, the
    handlers that were there before are put back, and signals that were not handed out are delivered to them.

    Raises TypeError without a signal, ValueError for a number that is no signal, OSError for one that cannot be caught,
    RuntimeError outside a run, in another thread than the main thread (Python allows it nowhere else), or for a signal
    whose handler was not installed by Python, so that it could not be put back.  BusyResourceError if two tasks iterate
    at once.  The iterator is a cancel point.

    Example::

        with nursery.open_signal_receiver(signal.SIGHUP) as hangups:
            async for _ in hangups:
                reload_configuration()

    Source: trio's documentation, `trio.open_signal_receiver`.
    """
    if not signals:
        raise TypeError("No signals were provided: open_signal_receiver needs at least one")
    if threading.get_ident() != threading.main_thread().ident:
        raise RuntimeError("open_signal_receiver works only in the main thread: Python handles signals nowhere else")
    return _receiving(signals)


# Protected: with half of the handlers exchanged a Ctrl-C would lose the other half.
@contextmanager
@enable_ki_protection
def _receiving(signals: tuple[signal.Signals | int, ...]) -> Generator[AsyncIterator[int], None, None]:
    token = current_run_token()
    receiver = SignalReceiver()

    def handler(signum: int, frame: FrameType | None) -> None:
        receiver.arrived(signum)
        token.run_sync_soon(receiver.wake, idempotent=True)

    former: dict[int, Handler] = {}
    try:
        for signum in dict.fromkeys(signals):
            before = signal.getsignal(signum)
            if before is None:
                raise RuntimeError(f"signal {signum} has a handler that Python did not install and cannot put back")
            signal.signal(signum, handler)
            former[signum] = before
        yield receiver
    finally:
        try:
            for signum, before in former.items():
                signal.signal(signum, before)
        finally:
            receiver.close()


__all__ = ["open_signal_receiver"]
