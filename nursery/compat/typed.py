"""What a type checker is told of the names of compat; never imported.

Invariant: a name has typeshed's type, whatever stands behind it at run time; so what a program makes here fits where a
library asks for asyncio's.  Names that the asyncio of an older Python lacks extend its classes.  Not here are the
doors, `run` and its kin, which take more than asyncio's.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from asyncio import (
        ALL_COMPLETED as ALL_COMPLETED,
    )
    from asyncio import (
        FIRST_COMPLETED as FIRST_COMPLETED,
    )
    from asyncio import (
        FIRST_EXCEPTION as FIRST_EXCEPTION,
    )
    from asyncio import (
        AbstractEventLoop as AbstractEventLoop,
    )
    from asyncio import (
        AbstractServer as AbstractServer,
    )
    from asyncio import (
        Barrier as Barrier,
    )
    from asyncio import (
        BaseEventLoop as BaseEventLoop,
    )
    from asyncio import (
        BaseProtocol as BaseProtocol,
    )
    from asyncio import (
        BaseTransport as BaseTransport,
    )
    from asyncio import (
        BoundedSemaphore as BoundedSemaphore,
    )
    from asyncio import (
        BrokenBarrierError as BrokenBarrierError,
    )
    from asyncio import (
        BufferedProtocol as BufferedProtocol,
    )
    from asyncio import (
        CancelledError as CancelledError,
    )
    from asyncio import (
        Condition as Condition,
    )
    from asyncio import (
        DatagramProtocol as DatagramProtocol,
    )
    from asyncio import (
        DatagramTransport as DatagramTransport,
    )
    from asyncio import (
        Event as Event,
    )
    from asyncio import (
        Future as Future,
    )
    from asyncio import (
        Handle as Handle,
    )
    from asyncio import (
        IncompleteReadError as IncompleteReadError,
    )
    from asyncio import (
        InvalidStateError as InvalidStateError,
    )
    from asyncio import (
        LimitOverrunError as LimitOverrunError,
    )
    from asyncio import (
        Lock as Lock,
    )
    from asyncio import (
        Protocol as Protocol,
    )
    from asyncio import (
        QueueEmpty as QueueEmpty,
    )
    from asyncio import (
        QueueFull as QueueFull,
    )
    from asyncio import (
        ReadTransport as ReadTransport,
    )
    from asyncio import (
        SelectorEventLoop as SelectorEventLoop,
    )
    from asyncio import (
        Semaphore as Semaphore,
    )
    from asyncio import (
        SendfileNotAvailableError as SendfileNotAvailableError,
    )
    from asyncio import (
        Server as Server,
    )
    from asyncio import (
        StreamReader as StreamReader,
    )
    from asyncio import (
        StreamReaderProtocol as StreamReaderProtocol,
    )
    from asyncio import (
        StreamWriter as StreamWriter,
    )
    from asyncio import (
        SubprocessProtocol as SubprocessProtocol,
    )
    from asyncio import (
        SubprocessTransport as SubprocessTransport,
    )
    from asyncio import (
        Task as Task,
    )
    from asyncio import (
        Timeout as Timeout,
    )
    from asyncio import (
        TimeoutError as TimeoutError,
    )
    from asyncio import (
        TimerHandle as TimerHandle,
    )
    from asyncio import (
        Transport as Transport,
    )
    from asyncio import (
        WriteTransport as WriteTransport,
    )
    from asyncio import (
        _enter_task as _enter_task,
    )
    from asyncio import (
        _get_running_loop as _get_running_loop,
    )
    from asyncio import (
        _leave_task as _leave_task,
    )
    from asyncio import (
        _register_task as _register_task,
    )
    from asyncio import (
        _set_running_loop as _set_running_loop,
    )
    from asyncio import (
        _unregister_task as _unregister_task,
    )
    from asyncio import (
        all_tasks as all_tasks,
    )
    from asyncio import (
        as_completed as as_completed,
    )
    from asyncio import base_events as base_events
    from asyncio import base_futures as base_futures
    from asyncio import base_subprocess as base_subprocess
    from asyncio import base_tasks as base_tasks
    from asyncio import constants as constants
    from asyncio import (
        create_subprocess_exec as create_subprocess_exec,
    )
    from asyncio import (
        create_subprocess_shell as create_subprocess_shell,
    )
    from asyncio import (
        current_task as current_task,
    )
    from asyncio import (
        ensure_future as ensure_future,
    )
    from asyncio import exceptions as exceptions
    from asyncio import format_helpers as format_helpers
    from asyncio import (
        gather as gather,
    )
    from asyncio import (
        get_event_loop as get_event_loop,
    )
    from asyncio import (
        get_running_loop as get_running_loop,
    )
    from asyncio import (
        iscoroutine as iscoroutine,
    )
    from asyncio import (
        iscoroutinefunction as iscoroutinefunction,
    )
    from asyncio import (
        isfuture as isfuture,
    )
    from asyncio import log as log
    from asyncio import mixins as mixins
    from asyncio import (
        open_connection as open_connection,
    )
    from asyncio import (
        open_unix_connection as open_unix_connection,
    )
    from asyncio import protocols as protocols
    from asyncio import (
        run_coroutine_threadsafe as run_coroutine_threadsafe,
    )
    from asyncio import selector_events as selector_events
    from asyncio import (
        set_event_loop as set_event_loop,
    )
    from asyncio import (
        shield as shield,
    )
    from asyncio import (
        sleep as sleep,
    )
    from asyncio import sslproto as sslproto
    from asyncio import staggered as staggered
    from asyncio import (
        start_server as start_server,
    )
    from asyncio import (
        start_unix_server as start_unix_server,
    )
    from asyncio import threads as threads
    from asyncio import (
        timeout as timeout,
    )
    from asyncio import (
        timeout_at as timeout_at,
    )
    from asyncio import (
        to_thread as to_thread,
    )
    from asyncio import trsock as trsock
    from asyncio import unix_events as unix_events
    from asyncio import (
        wait as wait,
    )
    from asyncio import (
        wait_for as wait_for,
    )
    from asyncio import (
        wrap_future as wrap_future,
    )
    from collections.abc import Callable, Coroutine, Generator
    from contextvars import Context
    from typing import Any, TypeVar

    from .graph import (
        FrameCallGraphEntry as FrameCallGraphEntry,
    )
    from .graph import (
        FutureCallGraph as FutureCallGraph,
    )
    from .graph import (
        capture_call_graph as capture_call_graph,
    )
    from .graph import (
        format_call_graph as format_call_graph,
    )
    from .graph import (
        future_add_to_awaited_by as future_add_to_awaited_by,
    )
    from .graph import (
        future_discard_from_awaited_by as future_discard_from_awaited_by,
    )
    from .graph import (
        print_call_graph as print_call_graph,
    )

    T = TypeVar("T")
    # What typeshed asks of the items of a PriorityQueue has no public name.
    ItemT = TypeVar("ItemT", bound=Any)

    if sys.version_info < (3, 14):
        from asyncio import (
            AbstractChildWatcher as AbstractChildWatcher,
        )
        from asyncio import (
            AbstractEventLoopPolicy as AbstractEventLoopPolicy,
        )
        from asyncio import (
            DefaultEventLoopPolicy as DefaultEventLoopPolicy,
        )
        from asyncio import (
            FastChildWatcher as FastChildWatcher,
        )
        from asyncio import (
            MultiLoopChildWatcher as MultiLoopChildWatcher,
        )
        from asyncio import (
            PidfdChildWatcher as PidfdChildWatcher,
        )
        from asyncio import (
            SafeChildWatcher as SafeChildWatcher,
        )
        from asyncio import (
            ThreadedChildWatcher as ThreadedChildWatcher,
        )
        from asyncio import get_child_watcher as get_child_watcher  # type: ignore[deprecated]  # it is there, so it is here
        from asyncio import get_event_loop_policy as get_event_loop_policy  # type: ignore[deprecated]  # it is there, so it is here
        from asyncio import set_child_watcher as set_child_watcher  # type: ignore[deprecated]  # it is there, so it is here
        from asyncio import set_event_loop_policy as set_event_loop_policy  # type: ignore[deprecated]  # it is there, so it is here

    if sys.version_info >= (3, 13):
        from asyncio import (
            LifoQueue as LifoQueue,
        )
        from asyncio import (
            PriorityQueue as PriorityQueue,
        )
        from asyncio import (
            Queue as Queue,
        )
        from asyncio import (
            QueueShutDown as QueueShutDown,
        )
    else:

        class QueueShutDown(Exception):
            """Raised by a queue that was shut down."""

        class Queue(asyncio.Queue[T]):
            def shutdown(self, immediate: bool = False) -> None: ...

        class PriorityQueue(asyncio.PriorityQueue[ItemT]):
            def shutdown(self, immediate: bool = False) -> None: ...

        class LifoQueue(asyncio.LifoQueue[T]):
            def shutdown(self, immediate: bool = False) -> None: ...

    if sys.version_info >= (3, 12):
        from asyncio import (
            create_eager_task_factory as create_eager_task_factory,
        )
        from asyncio import (
            eager_task_factory as eager_task_factory,
        )
    else:

        def create_eager_task_factory(custom_task_constructor: Callable[..., Any]) -> Callable[..., Any]: ...

        def eager_task_factory(
            loop: asyncio.AbstractEventLoop,
            coro: Coroutine[Any, Any, T],
            *,
            name: str | None = None,
            context: Context | None = None,
        ) -> asyncio.Task[T]: ...

    # What 3.14 and 3.15 have added.

    def create_task(
        coro: Generator[Any, None, T] | Coroutine[Any, Any, T],
        *,
        name: str | None = None,
        context: Context | None = None,
        eager_start: bool | None = None,
        **options: Any,
    ) -> asyncio.Task[T]: ...

    class TaskGroup(asyncio.TaskGroup):
        def create_task(
            self,
            coro: Generator[Any, None, T] | Coroutine[Any, Any, T],
            *,
            name: str | None = None,
            context: Context | None = None,
            **options: Any,
        ) -> asyncio.Task[T]: ...

        def cancel(self, msg: object = None) -> None: ...
