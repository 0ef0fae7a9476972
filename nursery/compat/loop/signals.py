"""add_signal_handler: callbacks for signals, in the loop's thread.

Invariant: a callback is called for each signal that arrives while it is the loop's handler for it, also if somebody has
replaced the interpreter's handler meanwhile, as uvicorn does for the time that it serves: the loop learns of signals
through the interpreter's wake-up descriptor (signal_pipe.py), not through that handler.
"""

from __future__ import annotations

import errno
import inspect
import signal
import sys
import threading
import warnings
from asyncio import coroutines
from collections.abc import Callable
from typing import TypeVarTuple

from ..handles import Handle
from .signal_pipe import SignalPipe, default_of, stand_in
from .state import LoopState

Ts = TypeVarTuple("Ts")


class Signals(LoopState):
    """add_signal_handler and remove_signal_handler."""

    # What signals are read from, as long as there are handlers.
    _signal_pipe: SignalPipe | None = None

    def add_signal_handler(self, sig: int, callback: Callable[[*Ts], object], *args: *Ts) -> None:
        """Call `callback(*args)` in the loop whenever `sig` arrives.

        Raises TypeError for a coroutine and what is no number of a signal, ValueError for a number that no signal has,
        RuntimeError if the signal cannot be caught, in any thread but the main one, and on a closed loop.

        Source: asyncio's documentation, `loop.add_signal_handler`.
        """
        given: object = callback
        if coroutines.iscoroutine(given) or inspect.iscoroutinefunction(given):
            raise TypeError("coroutines cannot be used with add_signal_handler()")
        self._check_signal(sig)
        self._check_closed()
        try:
            SignalPipe.join(self)
        except ValueError as exc:
            raise RuntimeError(f"signal handlers can only be added in the main thread: {exc}") from exc
        except OSError as exc:
            raise RuntimeError(f"signals cannot be listened for: {exc}") from exc
        before = self._signal_handlers.get(sig)
        # First, so that a signal that comes at once finds it.
        self._signal_handlers[sig] = Handle(callback, args, self, None)
        SignalPipe.take(self, sig)
        try:
            signal.signal(sig, stand_in)
            # System calls go on after the signal.
            signal.siginterrupt(sig, False)
        except OSError as exc:
            if before is None:
                del self._signal_handlers[sig]
            else:
                self._signal_handlers[sig] = before
            if not self._signal_handlers:
                SignalPipe.leave(self)
            if exc.errno == errno.EINVAL:
                raise RuntimeError(f"sig {sig} cannot be caught") from exc
            raise

    def _handle_signal(self, sig: int) -> None:
        """Queue the callback; called by the loop that has read of the signal, which may run in another thread."""
        handle = self._signal_handlers.get(sig)
        if handle is None:
            return
        if handle.cancelled():
            self.remove_signal_handler(sig)
        else:
            self.runner.queue.append(handle)
            self.runner.inbox.bell.ring()

    def remove_signal_handler(self, sig: int) -> bool:
        """Give `sig` back to the interpreter's default; return whether there was a handler.

        Source: asyncio's documentation, `loop.remove_signal_handler`.
        """
        self._check_signal(sig)
        if self._signal_handlers.pop(sig, None) is None:
            return False
        try:
            signal.signal(sig, default_of(sig))
        except OSError as exc:
            if exc.errno == errno.EINVAL:
                raise RuntimeError(f"sig {sig} cannot be caught") from exc
            raise
        finally:
            if not self._signal_handlers:
                SignalPipe.leave(self)
        return True

    def _remove_signal_handlers(self) -> None:
        if not self._signal_handlers:
            return
        why = None
        if sys.is_finalizing():
            why = "on interpreter shutdown stage"
        elif threading.current_thread() is not threading.main_thread():
            # The collector may have found it there.
            why = "in another thread than the main one"
        if why is not None:
            warnings.warn(
                f"Closing the loop {self!r} {why}, skipping signal handlers removal",
                ResourceWarning,
                source=self,
                stacklevel=2,
            )
            self._signal_handlers.clear()
            SignalPipe.leave(self)
            return
        for sig in list(self._signal_handlers):
            self.remove_signal_handler(sig)

    def _check_signal(self, sig: object) -> None:
        if not isinstance(sig, int):
            raise TypeError(f"sig must be an int, not {sig!r}")
        if sig not in signal.valid_signals():
            raise ValueError(f"invalid signal number {sig}")
