"""Ctrl-C: raised at once where that is safe, kept for a checkpoint of the main task where it is not.

Invariant: an interrupt is either raised in the frame it hit, or `runner.ki_pending` is set until the main task (or,
after its end, `run` itself) raises it.  It is never lost.

Whether a frame is safe follows its code object, generators included: walking outwards from the interrupted frame,
the first code object that is marked decides; where the walk reaches the frame of a task, the task decides.  The code
of the kernel and of the primitives counts as marked "protected".  So does all other code of this package, as long as
it has not called a user's function: a half-done receive must not be torn, but a handler that computes for ever, called
from a server of this package, must be stoppable.  Nothing is stored or checked while no interrupt comes.
"""

from __future__ import annotations

import signal
import sys
import threading
import types
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar

from .current import current

if TYPE_CHECKING:
    from .runner import Runner

# By identity: code objects compare by value, and each closure made by one `def` has an equal one.
_marked: dict[int, tuple[weakref.ref[types.CodeType], bool]] = {}

_PACKAGE: Final = __name__.partition(".")[0]
# Modules whose every function has to run to its end once begun: half a hand-over is a deadlock.
_PROTECTED: Final = tuple(f"{_PACKAGE}.{part}" for part in ("kernel.", "timeouts", "sync.", "channels.", "compat."))
# Code that is not the user's.
_TRANSPARENT: Final = sys.stdlib_module_names | {_PACKAGE, "outcome", "sortedcontainers"}


CallableT = TypeVar("CallableT", bound=Callable[..., Any])


def is_protected(frame: types.FrameType | None) -> bool:
    """Return whether an interrupt that hits `frame` has to wait."""
    runner = current.runner
    task = None if runner is None else runner.current
    # What the loop is stepping may be a callback, which has no coroutine.
    task_frame = getattr(getattr(task, "coro", None), "cr_frame", None)
    users_code_seen = False
    while frame is not None:
        marked = _marked.get(id(frame.f_code))
        if marked is not None:
            return marked[1]
        module = str(frame.f_globals.get("__name__", ""))
        top = module.partition(".")[0]
        if top == _PACKAGE and not users_code_seen:
            return True
        users_code_seen = users_code_seen or top not in _TRANSPARENT
        if frame.f_code.co_name == "__del__":
            # An exception raised in a finaliser is printed and dropped: the interrupt would be lost.
            return True
        if frame is task_frame and task is not None:
            return task.ki_protected
        if module.startswith(_PROTECTED):
            return True
        frame = frame.f_back
    return True


def currently_ki_protected() -> bool:
    """Return whether a Ctrl-C that arrived now would have to wait for a checkpoint of the main task.

    Source: trio's documentation, `trio.lowlevel.currently_ki_protected`.
    """
    return is_protected(sys._getframe(1))


def enable_ki_protection(f: CallableT, /) -> CallableT:
    """Mark a function, also an async or a generator function, as one that Ctrl-C must not interrupt.

    Source: trio's documentation, `trio.lowlevel.enable_ki_protection`.
    """
    return _mark(f, True)


def disable_ki_protection(f: CallableT, /) -> CallableT:
    """Mark a function as one that Ctrl-C may interrupt at once, whoever calls it.

    Source: trio's documentation, `trio.lowlevel.disable_ki_protection`.
    """
    return _mark(f, False)


def _mark(f: CallableT, protected: bool) -> CallableT:
    inner: Any = f
    while hasattr(inner, "__wrapped__"):
        inner = inner.__wrapped__
    if not hasattr(inner, "__code__"):
        raise TypeError(f"expected a function written in Python, got {f!r}")
    # A code object of its own: closures made by one `def` share theirs.
    code = inner.__code__ = inner.__code__.replace()
    key = id(code)

    def forget(reference: object) -> None:
        del _marked[key]

    _marked[key] = (weakref.ref(code, forget), protected)
    return f


class InterruptHandler:
    """The SIGINT handler of one run; installed only over Python's own, and only in the main thread."""

    __slots__ = ("_handler",)

    def __init__(self) -> None:
        self._handler: Callable[[int, types.FrameType | None], None] | None = None

    def install(self, runner: Runner, only_at_checkpoints: bool) -> None:
        """Take SIGINT over, if nobody else has."""
        if (
            threading.get_ident() != threading.main_thread().ident
            or signal.getsignal(signal.SIGINT) is not signal.default_int_handler
        ):
            return

        def handler(signum: int, frame: types.FrameType | None) -> None:
            if only_at_checkpoints or is_protected(frame):
                runner.keyboard_interrupt_arrived()
            else:
                raise KeyboardInterrupt

        self._handler = handler
        signal.signal(signal.SIGINT, handler)

    def close(self) -> None:
        """Put Python's own handler back, unless the user replaced ours meanwhile."""
        if self._handler is not None:
            if signal.getsignal(signal.SIGINT) is self._handler:
                signal.signal(signal.SIGINT, signal.default_int_handler)
            self._handler = None
