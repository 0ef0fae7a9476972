"""Ctrl-C while the loop runs: kept from tearing the kernel in two.

Invariant: SIGINT's handler, be it Python's own or that of an asyncio.Runner, is called where it may raise: at once if
the signal hits a user's code, as the next callback of the loop if it hits the kernel or the loop.  Raised in the middle
of a step of the kernel a KeyboardInterrupt would lose the task that is being stepped, and whoever waits for that one,
as a Runner does at its end, would wait for ever (on asyncio's own loop a busy program hangs so after one in three
second Ctrl-Cs).  It is never lost: what was kept when the loop stops is called then.

The handlers that others have installed are left alone.
"""

from __future__ import annotations

import asyncio
import functools
import signal
import threading
from types import FrameType
from typing import TYPE_CHECKING, Any

from ...kernel.interrupts import _PACKAGE, _TRANSPARENT

if TYPE_CHECKING:
    from .state import LoopState


class InterruptGuard:
    """Stands in the place of SIGINT's handler while the loop runs."""

    __slots__ = ("_handler", "_kept", "_loop", "_original")

    def __init__(self, loop: LoopState, original: Any) -> None:
        self._loop = loop
        self._original = original
        self._kept = 0
        self._handler = self._arrived
        signal.signal(signal.SIGINT, self._handler)

    def _arrived(self, signum: int, frame: FrameType | None) -> None:
        if hits_user_code(frame):
            self._original(signum, frame)
        else:
            self._kept += 1
            self._loop.call_soon_threadsafe(self._call)

    def _call(self) -> None:
        if self._kept:
            self._kept -= 1
            self._original(signal.SIGINT, None)

    def withdraw(self) -> None:
        """Put the handler back, and call it if the loop came to no callback any more; raises what it raises."""
        if signal.getsignal(signal.SIGINT) == self._handler:
            signal.signal(signal.SIGINT, self._original)
        while self._kept:
            self._call()
        # It holds this guard, which would be garbage for the collector (tests/compat/test_loop.py).
        del self._handler


def guard_interrupts(loop: LoopState) -> InterruptGuard | None:
    """Guard the loop that begins to run in this thread, if it is the main one and SIGINT's handler is a known one."""
    if threading.current_thread() is not threading.main_thread():
        return None
    handler = signal.getsignal(signal.SIGINT)
    if handler is not signal.default_int_handler:
        # What asyncio.Runner installs: a partial of its own method.
        of = getattr(handler.func, "__self__", None) if isinstance(handler, functools.partial) else None
        if not isinstance(of, asyncio.Runner):
            return None
    try:
        return InterruptGuard(loop, handler)
    except ValueError:
        # Some embedding programs let nobody set handlers.
        return None


def hits_user_code(frame: FrameType | None) -> bool:
    """Return whether a signal hit code that is neither the kernel's nor called by it."""
    while frame is not None:
        top = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if top == _PACKAGE:
            return False
        if top not in _TRANSPARENT:
            return True
        frame = frame.f_back
    return False
