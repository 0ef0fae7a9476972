"""nursery: trio's semantics, asyncio's ecosystem, uvloop's speed, in typed, pure Python.

This is the native API, under trio's names; the asyncio dialect is in `nursery.compat`.
"""

from . import abc, from_thread, lowlevel, socket, to_thread
from .channels.memory import (
    MemoryChannelStatistics,
    MemoryReceiveChannel,
    MemorySendChannel,
    open_memory_channel,
)
from .files.opening import open_file
from .files.path import Path, PosixPath
from .files.wrapper import wrap_file
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
from .network.connect import open_tcp_stream
from .network.listener import SocketListener
from .network.listeners import open_tcp_listeners
from .network.serve import serve_listeners, serve_tcp
from .network.stream import SocketStream
from .network.unix import open_unix_socket
from .processes.process import Process
from .processes.running import run_process
from .resource import aclose_forcefully
from .signals import open_signal_receiver
from .streams.stapled import StapledStream
from .sync import (
    CapacityLimiter,
    CapacityLimiterStatistics,
    Condition,
    ConditionStatistics,
    Event,
    EventStatistics,
    Lock,
    LockStatistics,
    Semaphore,
    StrictFIFOLock,
)
from .timeouts import fail_after, fail_at, move_on_after, move_on_at, sleep, sleep_forever, sleep_until

__all__ = [
    "TASK_STATUS_IGNORED",
    "BrokenResourceError",
    "BusyResourceError",
    "CancelScope",
    "Cancelled",
    "CapacityLimiter",
    "CapacityLimiterStatistics",
    "ClosedResourceError",
    "Condition",
    "ConditionStatistics",
    "EndOfChannel",
    "Event",
    "EventStatistics",
    "InternalError",
    "Lock",
    "LockStatistics",
    "MemoryChannelStatistics",
    "MemoryReceiveChannel",
    "MemorySendChannel",
    "NeedHandshakeError",
    "Nursery",
    "NurseryDeprecationWarning",
    "Path",
    "PosixPath",
    "Process",
    "RunFinishedError",
    "Semaphore",
    "SocketListener",
    "SocketStream",
    "StapledStream",
    "StrictFIFOLock",
    "TaskStatus",
    "TooSlowError",
    "WouldBlock",
    "abc",
    "aclose_forcefully",
    "current_effective_deadline",
    "current_time",
    "fail_after",
    "fail_at",
    "from_thread",
    "lowlevel",
    "move_on_after",
    "move_on_at",
    "open_file",
    "open_memory_channel",
    "open_nursery",
    "open_signal_receiver",
    "open_tcp_listeners",
    "open_tcp_stream",
    "open_unix_socket",
    "run",
    "run_process",
    "serve_listeners",
    "serve_tcp",
    "sleep",
    "sleep_forever",
    "sleep_until",
    "socket",
    "to_thread",
    "wrap_file",
]

# Tracebacks, reprs and pickles show the public name: nursery.Cancelled, wherever the file lies.
for _name in __all__:
    _public = globals()[_name]
    if isinstance(_public, type) and _public.__module__.startswith(__name__):
        _public.__module__ = __name__
del _name, _public
