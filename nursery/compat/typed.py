"""What a type checker is told of names that the asyncio of an older Python lacks; never imported.

Invariant: each class extends typeshed's of the same name, so that what is made here fits where a library asks for
asyncio's.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Coroutine
    from contextvars import Context
    from typing import Any, TypeVar

    T = TypeVar("T")
    # What typeshed asks of the items of a PriorityQueue has no public name.
    ItemT = TypeVar("ItemT", bound=Any)

    if sys.version_info < (3, 13):
        from .loop import EventLoop as EventLoop

        class QueueShutDown(Exception):
            """Raised by a queue that was shut down."""

        class Queue(asyncio.Queue[T]):
            def shutdown(self, immediate: bool = False) -> None: ...

        class PriorityQueue(asyncio.PriorityQueue[ItemT]):
            def shutdown(self, immediate: bool = False) -> None: ...

        class LifoQueue(asyncio.LifoQueue[T]):
            def shutdown(self, immediate: bool = False) -> None: ...

    if sys.version_info < (3, 12):

        def create_eager_task_factory(custom_task_constructor: Callable[..., Any]) -> Callable[..., Any]: ...

        def eager_task_factory(
            loop: asyncio.AbstractEventLoop,
            coro: Coroutine[Any, Any, T],
            *,
            name: str | None = None,
            context: Context | None = None,
        ) -> asyncio.Task[T]: ...
