# ruff: noqa: F401  # what is imported here is what the package offers
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
import sys as _sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from . import coroutines as coroutines
    from . import events as events
    from . import futures as futures
    from . import locks as locks
    from . import queues as queues
    from . import runners as runners
    from . import streams as streams
    from . import subprocess as subprocess
    from . import taskgroups as taskgroups
    from . import tasks as tasks
    from . import timeouts as timeouts
    from . import transports as transports
    from .typed import *  # noqa: F403  # every public name
else:
    from asyncio import *  # noqa: F403  # every public name, whichever this version of Python has

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
    from .loop.server import Server
    from .policy import SelectorEventLoop, get_event_loop
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

    if _sys.version_info < (3, 14):
        from .policy import EventLoopPolicy as DefaultEventLoopPolicy

# After asyncio's names, which they replace.
from .loop import EventLoop as EventLoop
from .loop import new_event_loop as new_event_loop
from .opening import open_loop as open_loop
from .policy import install as install
from .runners import Runner as Runner
from .runners import run as run

_OURS = {
    "Barrier",
    "BaseEventLoop",
    "BoundedSemaphore",
    "Condition",
    "Event",
    "EventLoop",
    "FrameCallGraphEntry",
    "FutureCallGraph",
    "LifoQueue",
    "Lock",
    "PriorityQueue",
    "Queue",
    "QueueShutDown",
    "Runner",
    "SelectorEventLoop",
    "Semaphore",
    "Server",
    "StreamReader",
    "StreamReaderProtocol",
    "StreamWriter",
    "TaskGroup",
    "Timeout",
    "as_completed",
    "capture_call_graph",
    "create_eager_task_factory",
    "create_subprocess_exec",
    "create_subprocess_shell",
    "create_task",
    "eager_task_factory",
    "ensure_future",
    "format_call_graph",
    "future_add_to_awaited_by",
    "future_discard_from_awaited_by",
    "gather",
    "get_event_loop",
    "install",
    "new_event_loop",
    "open_connection",
    "open_loop",
    "open_unix_connection",
    "print_call_graph",
    "run",
    "run_coroutine_threadsafe",
    "shield",
    "sleep",
    "start_server",
    "start_unix_server",
    "timeout",
    "timeout_at",
    "wait",
    "wait_for",
}

__all__ = sorted(_OURS.union(_asyncio.__all__))  # noqa: PLE0605  # asyncio's own list, and what we add

# Submodules that have nothing of ours.
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
    _sys.modules[f"{__name__}.{_name}"] = globals()[_name] = _importlib.import_module(f"asyncio.{_name}")

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Find what asyncio has beside its public names, and names that warn."""
        return getattr(_asyncio, name)
