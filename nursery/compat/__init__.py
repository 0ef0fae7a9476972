# ruff: noqa: F405  # names that are asyncio's own come from it with a star
"""The asyncio dialect: every name of asyncio, on the kernel of nursery.

    from nursery import compat as asyncio

gives asyncio's API on the kernel's own primitives.  `install()` puts our loop behind asyncio's own names, and
`python -m nursery.compat script.py` runs an unmodified script so.

Names that are not defined here are asyncio's own, which work on our loop: futures and exceptions among them, so that
`isinstance` and `except` mean the same in a library and in the program that uses it.  To a type checker every name has
typeshed's type, so that a program may hand what it made here to a library that knows asyncio alone.
"""

from __future__ import annotations

import asyncio as _asyncio
import importlib as _importlib
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from . import base_events as base_events
    from . import base_futures as base_futures
    from . import base_subprocess as base_subprocess
    from . import base_tasks as base_tasks
    from . import constants as constants
    from . import coroutines as coroutines
    from . import events as events
    from . import exceptions as exceptions
    from . import format_helpers as format_helpers
    from . import futures as futures
    from . import graph as graph
    from . import locks as locks
    from . import log as log
    from . import mixins as mixins
    from . import protocols as protocols
    from . import queues as queues
    from . import runners as runners
    from . import selector_events as selector_events
    from . import sslproto as sslproto
    from . import staggered as staggered
    from . import streams as streams
    from . import subprocess as subprocess
    from . import taskgroups as taskgroups
    from . import tasks as tasks
    from . import threads as threads
    from . import timeouts as timeouts
    from . import transports as transports
    from . import trsock as trsock
    from . import unix_events as unix_events
    from .typed import *  # noqa: F403  # every public name
else:
    from asyncio import *  # noqa: F403  # every public name, whichever this version of Python has

    from .coroutines import iscoroutine
    from .events import get_event_loop, new_event_loop
    from .graph import (
        FrameCallGraphEntry,
        FutureCallGraph,
        capture_call_graph,
        format_call_graph,
        future_add_to_awaited_by,
        future_discard_from_awaited_by,
        print_call_graph,
    )
    from .locks import Barrier, BoundedSemaphore, Condition, Event, Lock, Semaphore
    from .loop import EventLoop as BaseEventLoop
    from .policy import SelectorEventLoop
    from .queues import LifoQueue, PriorityQueue, Queue, QueueShutDown
    from .streams import (
        StreamReader,
        StreamReaderProtocol,
        StreamWriter,
        open_connection,
        open_unix_connection,
        start_server,
        start_unix_server,
    )
    from .subprocess import create_subprocess_exec, create_subprocess_shell
    from .taskgroups import TaskGroup
    from .tasks import (
        as_completed,
        create_eager_task_factory,
        create_task,
        eager_task_factory,
        ensure_future,
        gather,
        run_coroutine_threadsafe,
        shield,
        sleep,
        wait,
        wait_for,
    )
    from .timeouts import Timeout, timeout, timeout_at

    if sys.version_info < (3, 14):
        from .policy import EventLoopPolicy as DefaultEventLoopPolicy

# After asyncio's names, which they replace.
from .loop import EventLoop as EventLoop
from .opening import open_loop as open_loop
from .policy import install as install
from .runners import Runner as Runner
from .runners import run as run

__all__ = [
    "ALL_COMPLETED",
    "FIRST_COMPLETED",
    "FIRST_EXCEPTION",
    "AbstractEventLoop",
    "AbstractServer",
    "Barrier",
    "BaseEventLoop",
    "BaseProtocol",
    "BaseTransport",
    "BoundedSemaphore",
    "BrokenBarrierError",
    "BufferedProtocol",
    "CancelledError",
    "Condition",
    "DatagramProtocol",
    "DatagramTransport",
    "Event",
    "EventLoop",
    "FrameCallGraphEntry",
    "Future",
    "FutureCallGraph",
    "Handle",
    "IncompleteReadError",
    "InvalidStateError",
    "LifoQueue",
    "LimitOverrunError",
    "Lock",
    "PriorityQueue",
    "Protocol",
    "Queue",
    "QueueEmpty",
    "QueueFull",
    "QueueShutDown",
    "ReadTransport",
    "Runner",
    "SelectorEventLoop",
    "Semaphore",
    "SendfileNotAvailableError",
    "Server",
    "StreamReader",
    "StreamReaderProtocol",
    "StreamWriter",
    "SubprocessProtocol",
    "SubprocessTransport",
    "Task",
    "TaskGroup",
    "Timeout",
    "TimeoutError",
    "TimerHandle",
    "Transport",
    "WriteTransport",
    "_enter_task",
    "_get_running_loop",
    "_leave_task",
    "_register_task",
    "_set_running_loop",
    "_unregister_task",
    "all_tasks",
    "as_completed",
    "capture_call_graph",
    "create_eager_task_factory",
    "create_subprocess_exec",
    "create_subprocess_shell",
    "create_task",
    "current_task",
    "eager_task_factory",
    "ensure_future",
    "format_call_graph",
    "future_add_to_awaited_by",
    "future_discard_from_awaited_by",
    "gather",
    "get_event_loop",
    "get_running_loop",
    "install",
    "iscoroutine",
    "iscoroutinefunction",
    "isfuture",
    "new_event_loop",
    "open_connection",
    "open_loop",
    "open_unix_connection",
    "print_call_graph",
    "run",
    "run_coroutine_threadsafe",
    "set_event_loop",
    "shield",
    "sleep",
    "start_server",
    "start_unix_server",
    "timeout",
    "timeout_at",
    "to_thread",
    "wait",
    "wait_for",
    "wrap_future",
]
if sys.version_info < (3, 14):
    __all__ += [
        "AbstractChildWatcher",
        "AbstractEventLoopPolicy",
        "DefaultEventLoopPolicy",
        "FastChildWatcher",
        "MultiLoopChildWatcher",
        "PidfdChildWatcher",
        "SafeChildWatcher",
        "ThreadedChildWatcher",
        "get_child_watcher",
        "set_child_watcher",
    ]
if sys.version_info < (3, 16):
    __all__ += [
        "get_event_loop_policy",
        "set_event_loop_policy",
    ]
if not TYPE_CHECKING:
    # And what is newer than this list.
    __all__ += [name for name in _asyncio.__all__ if name not in __all__]

# Submodules that have nothing of ours; to a type checker the file of the same name, .pyi.
for _name in (
    "base_events",
    "base_futures",
    "base_subprocess",
    "base_tasks",
    "constants",
    "exceptions",
    "format_helpers",
    "log",
    "mixins",
    "protocols",
    "selector_events",
    "sslproto",
    "staggered",
    "threads",
    "trsock",
    "unix_events",
):
    sys.modules[f"{__name__}.{_name}"] = globals()[_name] = _importlib.import_module(f"asyncio.{_name}")

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Find what asyncio has beside its public names, and names that warn."""
        return getattr(_asyncio, name)
