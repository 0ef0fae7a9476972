"""asyncio's queues, on lots; with `shutdown`, which asyncio has since 3.13, on every version.

Invariant: there are never more than `maxsize` items.  A task waits in `get` only while the queue is empty and in `put`
only while it is full; who is woken looks again, since another task may have come first.  If a woken task is
interrupted, the next one is woken in its place.
"""

from __future__ import annotations

import asyncio
import heapq
import sys
from collections import deque
from types import GenericAlias
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from .lock import _LoopBound
from .waiting import Lot

T = TypeVar("T")

QueueEmpty = asyncio.QueueEmpty
QueueFull = asyncio.QueueFull
if TYPE_CHECKING or sys.version_info < (3, 13):

    class QueueShutDown(Exception):
        """Raised by a queue that was shut down."""

else:
    QueueShutDown = asyncio.QueueShutDown

__all__ = ("LifoQueue", "PriorityQueue", "Queue", "QueueEmpty", "QueueFull", "QueueShutDown")


class Queue(_LoopBound, Generic[T]):
    """A queue between tasks, first in, first out.

    Arguments: maxsize is how many items it holds; 0 or less, and it has no limit.

    Example::

        queue: asyncio.Queue[str] = asyncio.Queue(10)
        await queue.put("job")

    Source: asyncio's documentation, `asyncio.Queue`.
    """

    # What the forms in line below may take for granted: what empty and full mean; and that the queue is a deque.
    _flat: ClassVar[bool] = True
    _fifo: ClassVar[bool] = True

    def __init__(self, maxsize: int = 0) -> None:
        self._maxsize = maxsize
        self._getters = Lot()
        self._putters = Lot()
        self._joiners = Lot()
        self._unfinished_tasks = 0
        self._is_shutdown = False
        self._init(maxsize)

    # What subclasses define: the order of the items.

    def _init(self, maxsize: int) -> None:
        self._queue: Any = deque()

    def _get(self) -> T:
        return self._queue.popleft()  # type: ignore[no-any-return]  # what was put in

    def _put(self, item: T) -> None:
        self._queue.append(item)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} at {id(self):#x} {self._format()}>"

    def __str__(self) -> str:
        return f"<{type(self).__name__} {self._format()}>"

    if not TYPE_CHECKING:
        __class_getitem__ = classmethod(GenericAlias)

    def _format(self) -> str:
        result = f"maxsize={self._maxsize!r}"
        if getattr(self, "_queue", None):
            result += f" _queue={list(self._queue)!r}"
        if self._getters:
            result += f" _getters[{len(self._getters)}]"
        if self._putters:
            result += f" _putters[{len(self._putters)}]"
        if self._unfinished_tasks:
            result += f" tasks={self._unfinished_tasks}"
        if self._is_shutdown:
            result += " shutdown"
        return result

    def qsize(self) -> int:
        """Return how many items are in the queue."""
        return len(self._queue)

    @property
    def maxsize(self) -> int:
        """How many items the queue holds."""
        return self._maxsize

    def empty(self) -> bool:
        """Return whether there is no item."""
        return not self._queue

    def full(self) -> bool:
        """Return whether there are `maxsize` items."""
        return self._maxsize > 0 and self.qsize() >= self._maxsize

    def __init_subclass__(cls) -> None:
        if cls.__dict__.keys() & {"empty", "full", "qsize", "get_nowait", "put_nowait"}:
            cls._flat = False
        if cls.__dict__.keys() & {"_init", "_get", "_put"}:
            cls._fifo = False
        super().__init_subclass__()

    # flat: once for every item
    async def put(self, item: T) -> None:
        """Put an item in, waiting for room if the queue is full.

        A cancel point if it waits; if cancelled, the item was not put in.
        Raises QueueShutDown if the queue was shut down.
        """
        if not self._flat or self._is_shutdown or 0 < self._maxsize <= len(self._queue):
            while self.full():
                if self._is_shutdown:
                    raise QueueShutDown
                if self._loop is None or self._loop is not asyncio._get_running_loop():
                    self._get_loop()
                await self._putters.wait(self._wake_putter)
            self.put_nowait(item)
            return
        if self._fifo:
            self._queue.append(item)
        else:
            self._put(item)
        self._unfinished_tasks += 1
        if self._getters.waiters:
            self._getters.wake_one()

    def _wake_putter(self) -> None:
        if not self.full():
            self._putters.wake_one()

    # flat: once for every item
    def put_nowait(self, item: T) -> None:
        """Put an item in; QueueFull if there is no room, QueueShutDown if the queue was shut down."""
        if self._is_shutdown:
            raise QueueShutDown
        if self._maxsize > 0 and self.full():
            raise QueueFull
        self._put(item)
        self._unfinished_tasks += 1
        if self._getters.waiters:
            self._getters.wake_one()

    # flat: once for every item
    async def get(self) -> T:
        """Take the next item, waiting for one if the queue is empty.

        A cancel point if it waits; if cancelled, nothing was taken.
        Raises QueueShutDown if the queue was shut down and is empty.
        """
        if not self._flat or not self._queue:
            while self.empty():
                if self._is_shutdown:
                    raise QueueShutDown
                if self._loop is None or self._loop is not asyncio._get_running_loop():
                    self._get_loop()
                await self._getters.wait(self._wake_getter)
            return self.get_nowait()
        item: T = self._queue.popleft() if self._fifo else self._get()
        if self._putters.waiters:
            self._putters.wake_one()
        return item

    def _wake_getter(self) -> None:
        if not self.empty():
            self._getters.wake_one()

    # flat: once for every item
    def get_nowait(self) -> T:
        """Take the next item; QueueEmpty if there is none, QueueShutDown if the queue was shut down as well."""
        if self.empty():
            if self._is_shutdown:
                raise QueueShutDown
            raise QueueEmpty
        item = self._get()
        if self._putters.waiters:
            self._putters.wake_one()
        return item

    def task_done(self) -> None:
        """Say that the work on one item is done; ValueError if that was said of all items already."""
        if self._unfinished_tasks <= 0:
            raise ValueError("task_done() called too many times")
        self._unfinished_tasks -= 1
        if self._unfinished_tasks == 0:
            self._joiners.wake_all()

    async def join(self) -> None:
        """Wait until the work on every item is done.  A cancel point if it waits."""
        if self._unfinished_tasks > 0:
            if self._loop is None or self._loop is not asyncio._get_running_loop():
                self._get_loop()
            await self._joiners.wait()

    def shutdown(self, immediate: bool = False) -> None:
        """Take no more items: `put` raises QueueShutDown, and so does `get` once the queue is empty.

        Arguments: immediate=True empties the queue now, and counts its items as done.
        """
        self._is_shutdown = True
        if immediate:
            while not self.empty():
                self._get()
                if self._unfinished_tasks > 0:
                    self._unfinished_tasks -= 1
            if self._unfinished_tasks == 0:
                self._joiners.wake_all()
        self._getters.wake_all()
        self._putters.wake_all()


class PriorityQueue(Queue[T]):
    """A queue that gives the lowest item first, typically tuples (priority, data).

    Source: asyncio's documentation, `asyncio.PriorityQueue`.
    """

    def _init(self, maxsize: int) -> None:
        self._queue = []

    def _put(self, item: T) -> None:
        heapq.heappush(self._queue, item)

    def _get(self) -> T:
        return heapq.heappop(self._queue)  # type: ignore[no-any-return]  # what was put in


class LifoQueue(Queue[T]):
    """A queue that gives the latest item first.

    Source: asyncio's documentation, `asyncio.LifoQueue`.
    """

    def _init(self, maxsize: int) -> None:
        self._queue = []

    def _put(self, item: T) -> None:
        self._queue.append(item)

    def _get(self) -> T:
        return self._queue.pop()  # type: ignore[no-any-return]  # what was put in
