"""Task groups, timeouts, and their errors."""

# mypy: disable-error-code="unused-awaitable"

import asyncio
import contextvars
from typing import assert_type


async def fetch(url: str) -> bytes:
    async with asyncio.timeout(10):
        await asyncio.sleep(1)
    return url.encode()


async def all_of(urls: list[str]) -> list[bytes]:
    async with asyncio.TaskGroup() as group:
        assert_type(group, asyncio.TaskGroup)
        tasks = [group.create_task(fetch(url), name=url) for url in urls]
        assert_type(tasks, list[asyncio.Task[bytes]])
        group.create_task(fetch("x"), context=contextvars.copy_context())
    return [task.result() for task in tasks]


async def errors() -> None:
    try:
        await all_of(["a", "b"])
    except* TimeoutError as group:
        assert_type(group, ExceptionGroup[TimeoutError])
    except* asyncio.CancelledError:
        raise


async def limits() -> None:
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(None) as limit:
            assert_type(limit, asyncio.Timeout)
            limit.reschedule(loop.time() + 5)
            assert_type(limit.when(), float | None)
            await fetch("x")
    except asyncio.TimeoutError:  # noqa: UP041  # as people write it
        assert_type(limit.expired(), bool)
    async with asyncio.timeout_at(loop.time() + 1):
        pass
    deadline: asyncio.Timeout = asyncio.timeout(3)
    async with deadline, asyncio.TaskGroup() as group:
        group.create_task(fetch("y"))


class Service:
    """Something that has a task of its own in the group of its maker."""

    def __init__(self, group: asyncio.TaskGroup) -> None:
        self._task: asyncio.Task[None] = group.create_task(self._serve())
        self._stopped = asyncio.Event()

    async def _serve(self) -> None:
        await self._stopped.wait()

    def stop(self) -> None:
        self._stopped.set()


async def retry(times: int) -> bytes:
    for _ in range(times):
        try:
            return await asyncio.wait_for(fetch("x"), timeout=0.5)
        except (asyncio.TimeoutError, ConnectionError):  # noqa: UP041  # as people write it
            continue
    raise asyncio.TimeoutError  # noqa: UP041  # as people write it


async def wrong() -> None:
    with asyncio.TaskGroup():  # type: ignore[attr-defined]  # it takes async with
        pass
    async with asyncio.TaskGroup() as group:
        group.create_task(fetch)  # type: ignore[arg-type]  # a function
        group.start_soon(fetch, "x")  # type: ignore[attr-defined]  # that is a nursery's
    async with asyncio.timeout("5"):  # type: ignore[arg-type]  # text is no duration
        pass
    with asyncio.timeout(5):  # type: ignore[attr-defined]  # it takes async with
        pass
    asyncio.timeout()  # type: ignore[call-arg]  # the time limit is missing
