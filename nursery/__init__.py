"""nursery: trio's semantics, asyncio's ecosystem, uvloop's speed, in typed, pure Python.

This is the native API, under trio's names; the asyncio dialect is in `nursery.compat`.
"""

from . import abc, lowlevel
from .kernel.entry import run
from .kernel.errors import (
    BrokenResourceError,
    BusyResourceError,
    Cancelled,
    ClosedResourceError,
    EndOfChannel,
    InternalError,
    NeedHandshakeError,
    NurseryDeprecationWarning,
    RunFinishedError,
    TooSlowError,
    WouldBlock,
)
from .kernel.nursery import TASK_STATUS_IGNORED, Nursery, TaskStatus, open_nursery
from .kernel.scope import CancelScope, current_effective_deadline, current_time
from .timeouts import fail_after, fail_at, move_on_after, move_on_at, sleep, sleep_forever, sleep_until

__all__ = [
    "TASK_STATUS_IGNORED",
    "BrokenResourceError",
    "BusyResourceError",
    "CancelScope",
    "Cancelled",
    "ClosedResourceError",
    "EndOfChannel",
    "InternalError",
    "NeedHandshakeError",
    "Nursery",
    "NurseryDeprecationWarning",
    "RunFinishedError",
    "TaskStatus",
    "TooSlowError",
    "WouldBlock",
    "abc",
    "current_effective_deadline",
    "current_time",
    "fail_after",
    "fail_at",
    "lowlevel",
    "move_on_after",
    "move_on_at",
    "open_nursery",
    "run",
    "sleep",
    "sleep_forever",
    "sleep_until",
]
