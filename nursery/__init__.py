"""nursery: trio's semantics, asyncio's ecosystem, uvloop's speed, in typed, pure Python.

This is the native API, under trio's names; the asyncio dialect is in `nursery.compat`.
"""

from typing import TYPE_CHECKING

from . import abc, from_thread, lowlevel, socket, to_thread
from .channels.broadcast import (
    BroadcastChannelStatistics,
    BroadcastReceiveChannel,
    BroadcastSendChannel,
    open_broadcast_channel,
)
from .channels.memory import (
    MemoryChannelStatistics,
    MemoryReceiveChannel,
    MemorySendChannel,
    open_memory_channel,
)
from .channels.safe import as_safe_channel
from .channels.select import select
from .files.opening import open_file
from .files.path import Path, PosixPath, WindowsPath
from .files.wrapper import wrap_file
from .kernel.closing import is_closing, stop_when_closing, until_closing
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
    TaskCancelledError,
    TaskFailedError,
    TooSlowError,
    WouldBlock,
)
from .kernel.handle import Handle
from .kernel.nursery import TASK_STATUS_IGNORED, Nursery, TaskStatus, open_nursery
from .kernel.scope import CancelScope, current_effective_deadline, current_time
from .network.connect import open_tcp_stream
from .network.listener import SocketListener
from .network.listeners import open_tcp_listeners
from .network.serve import serve_listeners, serve_tcp
from .network.stream import SocketStream
from .network.unix import open_unix_socket
from .patterns import (
    each_until_closing,
    gather,
    map_bounded,
    open_bounded_map,
    open_service_nursery,
    race,
    shutdown_on_signals,
)
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

if TYPE_CHECKING:
    from .tls.connect import open_ssl_over_tcp_stream
    from .tls.listener import SSLListener
    from .tls.serve import open_ssl_over_tcp_listeners, serve_ssl_over_tcp
    from .tls.stream import SSLStream

__all__ = [
    "TASK_STATUS_IGNORED",
    "BroadcastChannelStatistics",
    "BroadcastReceiveChannel",
    "BroadcastSendChannel",
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
    "Handle",
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
    "SSLListener",
    "SSLStream",
    "Semaphore",
    "SocketListener",
    "SocketStream",
    "StapledStream",
    "StrictFIFOLock",
    "TaskCancelledError",
    "TaskFailedError",
    "TaskStatus",
    "TooSlowError",
    "WindowsPath",
    "WouldBlock",
    "abc",
    "aclose_forcefully",
    "as_safe_channel",
    "current_effective_deadline",
    "current_time",
    "each_until_closing",
    "fail_after",
    "fail_at",
    "from_thread",
    "gather",
    "is_closing",
    "lowlevel",
    "map_bounded",
    "move_on_after",
    "move_on_at",
    "open_bounded_map",
    "open_broadcast_channel",
    "open_file",
    "open_memory_channel",
    "open_nursery",
    "open_service_nursery",
    "open_signal_receiver",
    "open_ssl_over_tcp_listeners",
    "open_ssl_over_tcp_stream",
    "open_tcp_listeners",
    "open_tcp_stream",
    "open_unix_socket",
    "race",
    "run",
    "run_process",
    "select",
    "serve_listeners",
    "serve_ssl_over_tcp",
    "serve_tcp",
    "shutdown_on_signals",
    "sleep",
    "sleep_forever",
    "sleep_until",
    "socket",
    "stop_when_closing",
    "to_thread",
    "until_closing",
    "wrap_file",
]

# TLS loads ssl, which a program without TLS need not wait for: found when first asked for.
_LATE = ("SSLListener", "SSLStream", "open_ssl_over_tcp_listeners", "open_ssl_over_tcp_stream", "serve_ssl_over_tcp")


def _show_as_public(thing: object) -> None:
    """Let tracebacks, reprs and pickles show the public name: nursery.Cancelled, wherever the file lies."""
    if isinstance(thing, type) and thing.__module__.startswith(f"{__name__}."):
        thing.__module__ = __name__


def __getattr__(name: str) -> object:
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import tls

    for late in _LATE:
        globals()[late] = thing = getattr(tls, late)
        _show_as_public(thing)
    return globals()[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATE})


for _name in __all__:
    if _name not in _LATE:
        _show_as_public(globals()[_name])
del _name
