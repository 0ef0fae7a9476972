"""add_signal_handler: callbacks for signals, in the loop's thread.

Invariant: the interpreter's own handler runs first, in the main thread, and only queues the callback; no signal is
lost between the two.  The bell's descriptor wakes a loop that sleeps, also if another thread of the process got the
signal: it is the interpreter's wake-up descriptor as long as the loop has a handler.
"""

from __future__ import annotations

import errno
import inspect
import signal
import sys
import warnings
import weakref
from asyncio import coroutines
from asyncio.log import logger
from collections.abc import Callable
from types import FrameType
from typing import TypeVarTuple

from ..events import Handle
from .state import LoopState

Ts = TypeVarTuple("Ts")


class Signals(LoopState):
    """add_signal_handler and remove_signal_handler."""

    # What the wake-up descriptor was before ours; None as long as it is not ours.
    _wakeup_fd_before: int | None = None

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
        self._wake_on_signals()
        before = self._signal_handlers.get(sig)
        # First, so that a signal that comes at once finds it.
        self._signal_handlers[sig] = Handle(callback, args, self, None)
        # Weak: the interpreter must not keep a loop that was forgotten.
        arrived = weakref.WeakMethod(self._handle_signal)

        def handler(signum: int, frame: FrameType | None) -> None:
            handle_signal = arrived()
            if handle_signal is not None:
                handle_signal(signum)

        try:
            signal.signal(sig, handler)
            # System calls go on after the signal.
            signal.siginterrupt(sig, False)
        except OSError as exc:
            if before is None:
                del self._signal_handlers[sig]
            else:
                self._signal_handlers[sig] = before
            if not self._signal_handlers:
                self._sleep_through_signals()
            if exc.errno == errno.EINVAL:
                raise RuntimeError(f"sig {sig} cannot be caught") from exc
            raise

    def _handle_signal(self, sig: int) -> None:
        """Queue the callback; called in the main thread, wherever the signal hit it."""
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
        default = signal.default_int_handler if sig == signal.SIGINT else signal.SIG_DFL
        try:
            signal.signal(sig, default)
        except OSError as exc:
            if exc.errno == errno.EINVAL:
                raise RuntimeError(f"sig {sig} cannot be caught") from exc
            raise
        finally:
            if not self._signal_handlers:
                self._sleep_through_signals()
        return True

    def _remove_signal_handlers(self) -> None:
        if not self._signal_handlers:
            return
        if sys.is_finalizing():
            warnings.warn(
                f"Closing the loop {self!r} on interpreter shutdown stage, skipping signal handlers removal",
                ResourceWarning,
                source=self,
                stacklevel=2,
            )
            self._signal_handlers.clear()
            return
        for sig in list(self._signal_handlers):
            self.remove_signal_handler(sig)

    def _wake_on_signals(self) -> None:
        """Let the interpreter ring the bell when a signal arrives, in whichever thread."""
        if self._wakeup_fd_before is not None:
            return
        try:
            self._wakeup_fd_before = signal.set_wakeup_fd(
                self.runner.inbox.bell.write, warn_on_full_buffer=False
            )
        except (ValueError, OSError) as exc:
            raise RuntimeError(f"signal handlers can only be added in the main thread: {exc}") from exc

    def _sleep_through_signals(self) -> None:
        """Give the wake-up descriptor back."""
        before, self._wakeup_fd_before = self._wakeup_fd_before, None
        if before is None:
            return
        try:
            now = signal.set_wakeup_fd(-1)
            if now != self.runner.inbox.bell.write:
                # Somebody else's, who took it after us.
                before = now
            if before != -1:
                signal.set_wakeup_fd(before)
        except (ValueError, OSError) as exc:
            logger.info("set_wakeup_fd failed: %s", exc)

    def _check_signal(self, sig: object) -> None:
        if not isinstance(sig, int):
            raise TypeError(f"sig must be an int, not {sig!r}")
        if sig not in signal.valid_signals():
            raise ValueError(f"invalid signal number {sig}")
