"""Every exception that the native API raises, and nothing else.

Invariant: a class here carries only data.  Whether a cancellation is absorbed is decided by the scope
(scope.py), never by the exception.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NoReturn, TypeAlias

CancelSource: TypeAlias = Literal["KeyboardInterrupt", "deadline", "explicit", "nursery", "shutdown", "unknown"]


@dataclass(frozen=True, slots=True)
class CancelReason:
    """Why a scope was cancelled: who asked (`source`), in which words (`reason`), from where (`source_task`)."""

    source: CancelSource
    reason: str | None = None
    source_task: str | None = None


UNKNOWN_REASON = CancelReason("unknown")
MISNESTING_REASON = CancelReason("unknown", "misnesting")


class Cancelled(BaseException):
    """Raised by a cancel point inside a cancelled scope; the scope that was cancelled absorbs it.

    Attributes: `source` is one of "KeyboardInterrupt", "deadline", "explicit", "nursery", "shutdown" and
    "unknown"; `reason` is text or None; `source_task` is the repr of the task that asked, or None.

    It derives from BaseException so that `except Exception` lets it pass.  Never swallow it: the scope does.
    It has no public constructor: to cancel something, cancel its scope.

    Source: trio's documentation, `trio.Cancelled`.
    """

    source: CancelSource
    reason: str | None
    source_task: str | None

    def __init__(self, *args: object) -> None:
        raise TypeError(
            f"{type(self).__name__} has no public constructor: cancel a scope with CancelScope.cancel() instead"
        )

    @classmethod
    def _create(cls, why: CancelReason) -> Cancelled:
        self = cls.__new__(cls)
        self.source, self.reason, self.source_task = why.source, why.reason, why.source_task
        return self

    def __init_subclass__(cls, _kernel: bool = False, **options: object) -> None:
        if not _kernel:
            raise TypeError("Cancelled cannot be subclassed: a scope would not know whether to absorb it")
        super().__init_subclass__(**options)

    def __str__(self) -> str:
        text = f"cancelled due to {self.source}"
        if self.reason is not None:
            text += f" with reason {self.reason!r}"
        if self.source_task is not None:
            text += f" from task {self.source_task}"
        return text

    def __reduce__(self) -> tuple[object, ...]:
        return (_recreate, (type(self), CancelReason(self.source, self.reason, self.source_task)))


def _recreate(cls: type[Cancelled], why: CancelReason) -> Cancelled:
    """Unpickle a Cancelled (an error that crosses a process border carries its reason along)."""
    return cls._create(why)


class InternalError(Exception):
    """The kernel found one of its own invariants broken, or a hook broke its contract; the run cannot go on.

    Raised by `run`.  The text carries a dump of the run's state.
    Source: trio's documentation, `trio.TrioInternalError`.
    """


class RunFinishedError(RuntimeError):
    """A call from outside came too late: the run it was meant for is over (trio's `RunFinishedError`)."""


class WouldBlock(Exception):
    """A `*_nowait` call would have had to wait (trio's `WouldBlock`)."""


class TooSlowError(Exception):
    """The body of `fail_after` or `fail_at` did not finish in time (trio's `TooSlowError`)."""


class BusyResourceError(Exception):
    """Another task is already doing what only one task at a time may do with this resource."""


class ClosedResourceError(Exception):
    """The resource was closed on this side, before or during the call."""


class BrokenResourceError(Exception):
    """The resource cannot be used any more for a reason outside this task: the peer is gone, an owner died."""


class EndOfChannel(Exception):
    """Nothing more will ever arrive: every sender of the channel is closed and its buffer is drained."""


class NeedHandshakeError(Exception):
    """A TLS detail was asked for before the handshake was done (trio's `NeedHandshakeError`)."""


class NurseryDeprecationWarning(FutureWarning):
    """A name of this library is on its way out; shown by default, as it is for the author of the calling code."""


def not_in_a_run() -> NoReturn:
    """Say, in one place, what every call that needs a running task says when there is none."""
    raise RuntimeError("must be called from async context: there is no nursery run in this thread")


class TaskFailedError(RuntimeError):
    """The task behind an awaited handle has failed, so there is no value.

    The failure itself is raised by the task's nursery; here it is only named, in the text and as `failure`.
    """

    def __init__(self, text: str, failure: BaseException | None = None) -> None:
        super().__init__(text)
        self.failure = failure


class TaskCancelledError(TaskFailedError):
    """The task behind an awaited handle was cancelled, so there is no value."""


def holds_cancellation(error: BaseException) -> bool:
    """Return whether an error is a Cancelled, or a group in which there is one."""
    if isinstance(error, BaseExceptionGroup):
        return error.split(Cancelled)[0] is not None
    return isinstance(error, Cancelled)


def is_cancellation(error: BaseException) -> bool:
    """Return whether an error is nothing but a Cancelled, or a group of them."""
    if isinstance(error, BaseExceptionGroup):
        return error.split(Cancelled)[1] is None
    return isinstance(error, Cancelled)
