"""Locks and queues."""

# mypy: disable-error-code="unused-awaitable"

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Generic, Literal, TypeVar, assert_type

T = TypeVar("T")


async def locks() -> None:
    lock = asyncio.Lock()
    async with lock:
        assert_type(lock.locked(), bool)
    async with lock as entered:
        assert_type(entered, None)
    assert_type(await lock.acquire(), Literal[True])
    lock.release()
    event = asyncio.Event()
    event.set()
    event.clear()
    assert_type(event.is_set(), bool)
    assert_type(await event.wait(), Literal[True])
    condition = asyncio.Condition(lock)
    async with condition:
        assert_type(await condition.wait(), Literal[True])
        assert_type(await condition.wait_for(lambda: 5), int)
        condition.notify(2)
        condition.notify_all()
    semaphore = asyncio.Semaphore(5)
    async with semaphore:
        assert_type(await semaphore.acquire(), Literal[True])
        assert_type(semaphore.locked(), bool)
    bounded: asyncio.Semaphore = asyncio.BoundedSemaphore(value=3)
    bounded.release()
    barrier = asyncio.Barrier(3)
    assert_type(await barrier.wait(), int)
    assert_type(barrier.parties, int)
    assert_type(barrier.n_waiting, int)
    assert_type(barrier.broken, bool)
    async with barrier:
        await barrier.reset()
        await barrier.abort()


async def queues() -> None:
    queue: asyncio.Queue[int] = asyncio.Queue(maxsize=10)
    await queue.put(5)
    queue.put_nowait(6)
    assert_type(await queue.get(), int)
    assert_type(queue.get_nowait(), int)
    assert_type(queue.qsize(), int)
    assert_type(queue.empty() or queue.full(), bool)
    queue.task_done()
    await queue.join()
    last = asyncio.LifoQueue[str]()
    assert_type(await last.get(), str)
    first: asyncio.PriorityQueue[tuple[int, str]] = asyncio.PriorityQueue()
    assert_type(await first.get(), tuple[int, str])
    parent: asyncio.Queue[tuple[int, str]] = first
    try:
        parent.get_nowait()
    except asyncio.QueueEmpty:
        pass
    except asyncio.QueueFull:
        pass


@dataclass(order=True)
class Job:
    priority: int
    name: str = field(compare=False)


class Workers:
    """The textbook's worker pool."""

    def __init__(self, size: int) -> None:
        self.jobs: asyncio.PriorityQueue[Job] = asyncio.PriorityQueue()
        self.results: asyncio.Queue[str | None] = asyncio.Queue()
        self.tasks = [asyncio.create_task(self.work(f"worker {n}")) for n in range(size)]

    async def work(self, name: str) -> None:
        while True:
            job = await self.jobs.get()
            try:
                await self.results.put(f"{name}: {job.name}")
            finally:
                self.jobs.task_done()

    async def stop(self) -> None:
        await self.jobs.join()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.results.put(None)


class Channel(asyncio.Queue[T], Generic[T]):
    """A queue that iterates."""

    def _init(self, maxsize: int) -> None:
        super()._init(maxsize)

    def __aiter__(self) -> AsyncIterator[T]:
        return self._iterate()

    async def _iterate(self) -> AsyncIterator[T]:
        while True:
            yield await self.get()


class Pool(Generic[T]):
    def __init__(self, items: list[T]) -> None:
        self._free = items
        self._changed = asyncio.Condition()
        self._limit = asyncio.BoundedSemaphore(len(items))

    @asynccontextmanager
    async def take(self) -> AsyncIterator[T]:
        async with self._limit:
            async with self._changed:
                await self._changed.wait_for(lambda: bool(self._free))
                item = self._free.pop()
            try:
                yield item
            finally:
                async with self._changed:
                    self._free.append(item)
                    self._changed.notify()


async def wrong(queue: asyncio.Queue[int]) -> None:
    await queue.put("x")  # type: ignore[arg-type]  # of ints
    queue.put_nowait(None)  # type: ignore[arg-type]  # of ints
    text: str = await queue.get()  # type: ignore[assignment]  # of ints
    with asyncio.Lock():  # type: ignore[attr-defined]  # it takes async with
        pass
    asyncio.Semaphore("3")  # type: ignore[arg-type]  # a number
    asyncio.Queue[int]("3")  # type: ignore[arg-type]  # a number
    asyncio.Condition(asyncio.Event())  # type: ignore[arg-type]  # an event is no lock
    asyncio.Barrier()  # type: ignore[call-arg]  # of how many
    asyncio.PriorityQueue[object]()  # type: ignore[type-var]  # an object has no order
    print(text)
