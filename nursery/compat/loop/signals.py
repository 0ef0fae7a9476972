"""add_signal_handler: callbacks for signals, in the loop's thread.

Invariant: the interpreter's own handler runs first, in the main thread, and only queues the callback; the bell's
descriptor wakes a loop that sleeps, also if another thread of the process got the signal.
"""

from __future__ import annotations

import inspect
import signal
import threading
from asyncio import coroutines
from collections.abc import Callable
from typing import TypeVarTuple

from ..events import Handle
from .state import LoopState

Ts = TypeVarTuple("Ts")


class Signals(LoopState):
    """add_signal_handler and remove_signal_handler."""

    _bell_rings_on_signals = False

    def add_signal_handler(self, sig: int, callback: Callable[[*Ts], object], *args: *Ts) -> None:
        """Call `callback(*args)` in the loop whenever `sig` arrives.  Main thread only.

        Source: asyncio's documentation, `loop.add_signal_handler`.
        """
        given: object = callback
        if coroutines.iscoroutine(given) or inspect.iscoroutinefunction(given):
            raise TypeError("coroutines cannot be used with add_signal_handler()")
        _check_signal(sig)
        self._check_closed()
        if threading.current_thread() is not threading.main_thread():
            raise ValueError("signal handlers can only be set in the main thread")
        try:
            signal.signal(sig, self._signal_arrived)
            # System calls go on after the signal.
            signal.siginterrupt(sig, False)
        except OSError as exc:
            raise RuntimeError(f"sig {sig} cannot be caught") from exc
        if not self._bell_rings_on_signals:
            self.runner.inbox.bell.ring_on_signals()
            self._bell_rings_on_signals = True
        self._signal_handlers[sig] = Handle(callback, args, self, None)

    def _signal_arrived(self, sig: int, frame: object) -> None:
        handle = self._signal_handlers.get(sig)
        if handle is not None and not handle._cancelled:
            self.runner.queue.append(handle)
            self.runner.inbox.bell.ring()

    def remove_signal_handler(self, sig: int) -> bool:
        """Give `sig` back to the interpreter's default; return whether there was a handler."""
        _check_signal(sig)
        if self._signal_handlers.pop(sig, None) is None:
            return False
        default = signal.default_int_handler if sig == signal.SIGINT else signal.SIG_DFL
        signal.signal(sig, default)
        return True

    def _remove_signal_handlers(self) -> None:
        for sig in list(self._signal_handlers):
            self.remove_signal_handler(sig)


def _check_signal(sig: object) -> None:
    if not isinstance(sig, int):
        raise TypeError(f"sig must be an int, not {sig!r}")
    if sig not in signal.valid_signals():
        raise ValueError(f"invalid signal number {sig}")
