"""Tasks and futures, and waiting for several."""

# mypy: disable-error-code="unused-awaitable"

import asyncio
import concurrent.futures
import contextvars
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextlib import suppress
from typing import Any, TypeVar, assert_type

T = TypeVar("T")


async def number() -> int:
    return 1


async def text(of: int = 0) -> str:
    await asyncio.sleep(0.1)
    return str(of)


async def nothing() -> None: ...


class Deferred:
    def __await__(self) -> Generator[Any, None, bytes]:
        yield
        return b""


async def starting() -> None:
    task = asyncio.create_task(text(), name="text")
    assert_type(task, asyncio.Task[str])
    assert_type(await task, str)
    assert_type(task.result(), str)
    assert_type(task.exception(), BaseException | None)
    asyncio.create_task(number(), context=contextvars.copy_context())
    task.add_done_callback(lambda done: print(done.result().upper()))
    task.cancel("enough")
    with suppress(asyncio.CancelledError):
        await task
    background: set[asyncio.Task[Any]] = set()
    kept = asyncio.create_task(nothing())
    background.add(kept)
    kept.add_done_callback(background.discard)
    mixed: list[asyncio.Task[int] | asyncio.Task[str]] = [asyncio.create_task(number()), asyncio.create_task(text())]
    wider: asyncio.Task[object] = asyncio.create_task(number())
    print(mixed, wider)
    assert_type(asyncio.ensure_future(number()), asyncio.Task[int])
    assert_type(asyncio.ensure_future(Deferred()), asyncio.Task[bytes])
    assert_type(asyncio.ensure_future(task), asyncio.Task[str])


async def gathering() -> None:
    one, two = await asyncio.gather(number(), text())
    assert_type(one, int)
    assert_type(two, str)
    either = await asyncio.gather(number(), text(), return_exceptions=True)
    assert_type(either, tuple[int | BaseException, str | BaseException])
    assert_type(await asyncio.gather(number()), tuple[int])
    assert_type(await asyncio.gather(*[text(of) for of in range(3)]), list[str])
    assert_type(await asyncio.gather(*(text(of) for of in range(3)), return_exceptions=True), list[str | BaseException])
    assert_type(
        await asyncio.gather(number(), text(), Deferred(), number(), text(), number()),
        tuple[int, str, bytes, int, str, int],
    )
    future: asyncio.Future[tuple[int, str]] = asyncio.gather(number(), text())
    future.cancel()
    results = await asyncio.gather(*[number() for _ in range(10)], return_exceptions=True)
    good = [result for result in results if not isinstance(result, BaseException)]
    assert_type(good, list[int])


async def waiting() -> None:
    tasks = {asyncio.create_task(number()) for _ in range(3)}
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED, timeout=1.5)
    assert_type(done, set[asyncio.Task[int]])
    assert_type(pending, set[asyncio.Task[int]])
    for task in pending:
        task.cancel()
    futures: list[asyncio.Future[str]] = [asyncio.get_running_loop().create_future()]
    assert_type(await asyncio.wait(futures), tuple[set[asyncio.Future[str]], set[asyncio.Future[str]]])
    for earliest in asyncio.as_completed([text(), text()], timeout=5):
        assert_type(await earliest, str)
    assert_type(await asyncio.wait_for(text(), 3), str)
    assert_type(await asyncio.wait_for(Deferred(), timeout=None), bytes)
    assert_type(await asyncio.shield(text()), str)
    outer: asyncio.Future[str] = asyncio.shield(asyncio.create_task(text()))
    await outer
    assert_type(await asyncio.sleep(1, "x"), str)
    await asyncio.sleep(0)


async def a_future() -> None:
    loop = asyncio.get_running_loop()
    future: asyncio.Future[int] = loop.create_future()
    another = asyncio.Future[str]()
    assert_type(another, asyncio.Future[str])
    future.set_result(5)
    another.set_exception(ValueError("x"))
    assert_type(await future, int)
    assert_type(future.done(), bool)
    assert_type(future.get_loop(), asyncio.AbstractEventLoop)

    def on_done(done: asyncio.Future[int]) -> None:
        print(done.result() + 1)

    future.add_done_callback(on_done, context=contextvars.copy_context())
    assert_type(future.remove_done_callback(on_done), int)
    if asyncio.isfuture(future):
        future.cancel()
    with concurrent.futures.ThreadPoolExecutor() as pool:
        assert_type(asyncio.wrap_future(pool.submit(len, "x")), asyncio.Future[int])


def from_a_thread(loop: asyncio.AbstractEventLoop) -> int:
    future = asyncio.run_coroutine_threadsafe(number(), loop)
    assert_type(future, concurrent.futures.Future[int])
    return future.result(5)


def sync(first: str, *, times: int = 1) -> bytes:
    return first.encode() * times


async def threads() -> None:
    assert_type(await asyncio.to_thread(sync, "x", times=3), bytes)
    assert_type(await asyncio.get_running_loop().run_in_executor(None, sync, "x"), bytes)
    with concurrent.futures.ThreadPoolExecutor(max_workers=2) as pool:
        assert_type(await asyncio.get_running_loop().run_in_executor(pool, len, "x"), int)


async def eventually(call: Callable[[], T] | Callable[[], Awaitable[T]] | Coroutine[Any, Any, T]) -> None:
    if asyncio.iscoroutine(call):
        await call


async def call_either(function: Callable[[int], str] | Callable[[int], Awaitable[str]]) -> str:
    result = function(3)
    if isinstance(result, str):
        return result
    return await result


class Cache:
    """A cache that lets one task compute what several ask for."""

    def __init__(self) -> None:
        self._running: dict[str, asyncio.Future[bytes]] = {}
        self._refresher: asyncio.Task[None] | None = None

    async def get(self, key: str) -> bytes:
        if (running := self._running.get(key)) is not None:
            return await asyncio.shield(running)
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._running[key] = future
        try:
            future.set_result(await asyncio.to_thread(sync, key))
        except Exception as exc:
            future.set_exception(exc)
        return future.result()

    def start(self) -> None:
        self._refresher = asyncio.create_task(self._refresh())

    async def _refresh(self) -> None:
        while True:
            await asyncio.sleep(60)
            self._running.clear()

    async def stop(self) -> None:
        if self._refresher is not None and not self._refresher.done():
            self._refresher.cancel()
            try:
                await self._refresher
            except asyncio.CancelledError:
                pass


async def wrong() -> None:
    asyncio.create_task(number)  # type: ignore[arg-type]  # a function
    asyncio.create_task(sync("x"))  # type: ignore[arg-type]  # not async
    task: asyncio.Task[str] = asyncio.create_task(number())  # type: ignore[arg-type]  # it gives an int
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    future.set_result("x")  # type: ignore[arg-type]  # an int is promised
    await asyncio.wait_for(text())  # type: ignore[call-arg]  # the time limit is missing
    await asyncio.wait([text()])  # type: ignore[type-var]  # a coroutine is no future
    await asyncio.sleep("1")  # type: ignore[call-overload]  # text is no duration
    await asyncio.to_thread(sync, 5)  # type: ignore[arg-type]  # text is wanted
    asyncio.run_coroutine_threadsafe(sync("x"), asyncio.get_running_loop())  # type: ignore[arg-type]  # not async
    await asyncio.wait_for(text(), "3")  # type: ignore[arg-type]  # text is no duration
    one, two = await asyncio.gather(number())  # type: ignore[misc]  # there is one result
    asyncio.shield(5)  # type: ignore[arg-type]  # not awaitable
    print(task, one, two)
