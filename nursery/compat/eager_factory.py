"""The task factory that makes every task an eager one, in the form that libraries know.

Invariant: it is called as asyncio's own of Python 3.14, on every version.

anyio keeps scopes for the tasks of its groups, which must not run before the group knows them.  It recognises asyncio's
eager factory by its code, and has the constructor that the factory closes over make such a task, which then begins a
turn later.  By another factory its tasks would be eager, and fail: all of httpx and Starlette with them.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from types import CellType
from typing import Any

from .eager import construct, start_eagerly
from .loop import EventLoop


class EagerFactory:
    """A task factory whose tasks run their first step at once, made by `constructor`."""

    def __init__(self, constructor: Callable[..., Any]) -> None:
        self.constructor = constructor
        # Asked by a TaskGroup, which then starts such a task in its own nursery.
        self.makes_ours = constructor is asyncio.Task
        if sys.version_info >= (3, 12):
            # What anyio looks at (tests/libraries/test_facade.py).
            self.__code__ = asyncio.eager_task_factory.__code__
            self.__closure__ = (CellType(self.construct),)

    def __call__(self, loop: asyncio.AbstractEventLoop, coro: Any, *, eager_start: bool = True, **options: Any) -> Any:
        if self.makes_ours and isinstance(loop, EventLoop):
            return start_eagerly(loop, coro, **options) if eager_start else loop.start_task(coro, **options)
        return construct(self.constructor, coro, loop, eager_start, options)

    def construct(
        self, coro: Any, *, loop: asyncio.AbstractEventLoop, eager_start: bool = False, **options: Any
    ) -> Any:
        """Make a task, called as the constructor would be."""
        return self(loop, coro, eager_start=eager_start, **options)
