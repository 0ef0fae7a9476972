"""What a type checker is told of the names of compat; never imported.

Invariant: a name has typeshed's type, whatever stands behind it at run time; so what a program makes here fits where a
library asks for asyncio's, and what a library has made fits here.  What the asyncio of an older Python lacks is added
for it: as a name, or in a class that extends asyncio's.  Two classes stay as that Python has them, since asyncio itself
returns them everywhere: Task and Server.

The doors, `run` and `Runner`, are not here: they take more than asyncio's.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    import ssl
    from asyncio import (
        ALL_COMPLETED,
        FIRST_COMPLETED,
        FIRST_EXCEPTION,
        AbstractEventLoop,
        AbstractServer,
        Barrier,
        BaseEventLoop,
        BaseProtocol,
        BaseTransport,
        BoundedSemaphore,
        BrokenBarrierError,
        BufferedProtocol,
        CancelledError,
        Condition,
        DatagramProtocol,
        DatagramTransport,
        Event,
        Future,
        Handle,
        IncompleteReadError,
        InvalidStateError,
        LimitOverrunError,
        Lock,
        Protocol,
        QueueEmpty,
        QueueFull,
        ReadTransport,
        SelectorEventLoop,
        Semaphore,
        SendfileNotAvailableError,
        Server,
        SubprocessProtocol,
        SubprocessTransport,
        Task,
        Timeout,
        TimeoutError,
        TimerHandle,
        Transport,
        WriteTransport,
        _enter_task,
        _get_running_loop,
        _leave_task,
        _register_task,
        _set_running_loop,
        _unregister_task,
        all_tasks,
        current_task,
        ensure_future,
        gather,
        get_event_loop,
        get_running_loop,
        iscoroutine,
        iscoroutinefunction,
        isfuture,
        run_coroutine_threadsafe,
        set_event_loop,
        shield,
        sleep,
        timeout,
        timeout_at,
        to_thread,
        wait,
        wait_for,
        wrap_future,
    )
    from collections.abc import (
        AsyncIterator,
        Awaitable,
        Callable,
        Coroutine,
        Generator,
        Iterable,
        Iterator,
        Sequence,
        Sized,
    )
    from contextvars import Context
    from os import PathLike
    from typing import Any, TypeAlias, TypeVar
    from typing import Protocol as StructuralType

    from _typeshed import ReadableBuffer, SupportsRichComparisonT

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
        "iscoroutine",
        "iscoroutinefunction",
        "isfuture",
        "new_event_loop",
        "open_connection",
        "open_unix_connection",
        "print_call_graph",
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

    T = TypeVar("T")
    AnyTask = TypeVar("AnyTask", bound=asyncio.Task[Any], covariant=True)

    if sys.version_info >= (3, 12):
        TaskCoroutine: TypeAlias = Coroutine[Any, Any, T]
    else:
        TaskCoroutine: TypeAlias = Generator[Any, None, T] | Coroutine[Any, Any, T]

    if sys.version_info < (3, 14):
        from asyncio import (  # type: ignore[deprecated, unused-ignore]  # they are there, so they are here
            AbstractChildWatcher,
            AbstractEventLoopPolicy,
            DefaultEventLoopPolicy,
            FastChildWatcher,
            MultiLoopChildWatcher,
            PidfdChildWatcher,
            SafeChildWatcher,
            ThreadedChildWatcher,
        )

        __all__ += [
            "AbstractChildWatcher",
            "AbstractEventLoopPolicy",
            "DefaultEventLoopPolicy",
            "FastChildWatcher",
            "MultiLoopChildWatcher",
            "PidfdChildWatcher",
            "SafeChildWatcher",
            "ThreadedChildWatcher",
        ]

        from asyncio import (  # type: ignore[deprecated, unused-ignore]  # they are there, so they are here
            get_child_watcher,
            set_child_watcher,
        )

        __all__ += ["get_child_watcher", "set_child_watcher"]

    if sys.version_info < (3, 16):
        from asyncio import (  # type: ignore[deprecated, unused-ignore]  # they are there, so they are here
            get_event_loop_policy,
            set_event_loop_policy,
        )

        __all__ += ["get_event_loop_policy", "set_event_loop_policy"]

    # Loops

    def new_event_loop(*, insist: float | None = None) -> asyncio.AbstractEventLoop: ...

    # Tasks: eager factories since 3.12, as_completed for `async for` since 3.13, eager_start since 3.14.

    if sys.version_info >= (3, 12):
        from asyncio import create_eager_task_factory
    else:

        class TaskConstructor(StructuralType[AnyTask]):
            def __call__(
                self,
                coro: TaskCoroutine[Any],
                /,
                *,
                loop: asyncio.AbstractEventLoop,
                name: str | None,
                context: Context | None,
            ) -> AnyTask: ...

        class EagerTaskFactory(StructuralType[AnyTask]):
            def __call__(
                self,
                loop: asyncio.AbstractEventLoop,
                coro: TaskCoroutine[Any],
                *,
                name: str | None = None,
                context: Context | None = None,
            ) -> AnyTask: ...

        def create_eager_task_factory(
            custom_task_constructor: TaskConstructor[AnyTask],
        ) -> EagerTaskFactory[AnyTask]: ...

    if sys.version_info >= (3, 13):
        from asyncio import as_completed
    else:

        class AsCompleted(Iterator[asyncio.Future[T]], AsyncIterator[asyncio.Future[T]], StructuralType[T]): ...

        def as_completed(
            fs: Iterable[asyncio.Future[T] | Generator[Any, None, T] | Awaitable[T]], *, timeout: float | None = None
        ) -> AsCompleted[T]: ...

    if sys.version_info >= (3, 14):
        from asyncio import create_task, eager_task_factory
    else:

        def create_task(
            coro: TaskCoroutine[T],
            *,
            name: str | None = None,
            context: Context | None = None,
            eager_start: bool | None = None,
        ) -> asyncio.Task[T]: ...

        def eager_task_factory(
            loop: asyncio.AbstractEventLoop | None,
            coro: TaskCoroutine[T],
            *,
            name: str | None = None,
            context: Context | None = None,
            eager_start: bool = True,
        ) -> asyncio.Task[T]: ...

    # Call graphs: since 3.14.

    if sys.version_info >= (3, 14):
        from asyncio import (
            FrameCallGraphEntry,
            FutureCallGraph,
            capture_call_graph,
            format_call_graph,
            future_add_to_awaited_by,
            future_discard_from_awaited_by,
            print_call_graph,
        )
    else:
        from .graph import (
            FrameCallGraphEntry,
            FutureCallGraph,
            capture_call_graph,
            format_call_graph,
            future_add_to_awaited_by,
            future_discard_from_awaited_by,
            print_call_graph,
        )

    # Groups: eager_start since 3.14, cancel since 3.15.

    if sys.version_info >= (3, 15):
        from asyncio import TaskGroup
    else:

        class TaskGroup(asyncio.TaskGroup):
            def create_task(
                self,
                coro: TaskCoroutine[T],
                *,
                name: str | None = None,
                context: Context | None = None,
                eager_start: bool | None = None,
            ) -> asyncio.Task[T]: ...

            def cancel(self) -> None: ...

    # Queues: shutdown since 3.13.

    if sys.version_info >= (3, 13):
        from asyncio import LifoQueue, PriorityQueue, Queue, QueueShutDown
    else:

        class QueueShutDown(Exception): ...

        class Queue(asyncio.Queue[T]):
            def shutdown(self, immediate: bool = False) -> None: ...

        class PriorityQueue(Queue[SupportsRichComparisonT], asyncio.PriorityQueue[SupportsRichComparisonT]): ...

        class LifoQueue(Queue[T], asyncio.LifoQueue[T]): ...

    # Streams: ssl_shutdown_timeout since 3.12, several separators since 3.13.

    if sys.version_info >= (3, 13):
        from asyncio import (
            StreamReader,
            StreamReaderProtocol,
            StreamWriter,
            create_subprocess_exec,
            create_subprocess_shell,
            open_connection,
            open_unix_connection,
            start_server,
            start_unix_server,
        )
        from asyncio.subprocess import Process as Process
    else:
        from .subprocess import create_subprocess_exec, create_subprocess_shell

        class Separator(ReadableBuffer, Sized, StructuralType): ...

        class StreamReader(asyncio.StreamReader):
            async def readuntil(self, separator: Separator | tuple[Separator, ...] = b"\n") -> bytes: ...

        class StreamWriter(asyncio.StreamWriter):
            async def start_tls(
                self,
                sslcontext: ssl.SSLContext,
                *,
                server_hostname: str | None = None,
                ssl_handshake_timeout: float | None = None,
                ssl_shutdown_timeout: float | None = None,
            ) -> None: ...

        class StreamReaderProtocol(asyncio.StreamReaderProtocol):
            def __init__(
                self,
                stream_reader: asyncio.StreamReader,
                client_connected_cb: ClientConnected | None = None,
                loop: asyncio.AbstractEventLoop | None = None,
            ) -> None: ...

        class Process(asyncio.subprocess.Process):
            stdin: StreamWriter | None
            stdout: StreamReader | None
            stderr: StreamReader | None

        async def open_connection(
            host: str | None = None,
            port: int | str | None = None,
            *,
            limit: int = 65536,
            ssl_handshake_timeout: float | None = None,
            **kwds: Any,
        ) -> tuple[StreamReader, StreamWriter]: ...
        async def start_server(
            client_connected_cb: ClientConnected,
            host: str | Sequence[str] | None = None,
            port: int | str | None = None,
            *,
            limit: int = 65536,
            ssl_handshake_timeout: float | None = None,
            **kwds: Any,
        ) -> asyncio.Server: ...
        async def open_unix_connection(
            path: str | PathLike[str] | None = None, *, limit: int = 65536, **kwds: Any
        ) -> tuple[StreamReader, StreamWriter]: ...
        async def start_unix_server(
            client_connected_cb: ClientConnected,
            path: str | PathLike[str] | None = None,
            *,
            limit: int = 65536,
            **kwds: Any,
        ) -> asyncio.Server: ...

    ClientConnected: TypeAlias = Callable[[StreamReader, StreamWriter], Awaitable[None] | None]
