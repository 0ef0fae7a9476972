"""Entry points: run, Runner, loops made by hand, policies."""

# mypy: disable-error-code="unused-awaitable"

import asyncio
import contextvars
import sys
from collections.abc import Coroutine
from typing import Any, TypeVar, assert_type

T = TypeVar("T")


async def answer() -> int:
    return 42


async def nothing() -> None:
    return None


def simply() -> None:
    assert_type(asyncio.run(answer()), int)
    assert_type(asyncio.run(answer(), debug=True), int)
    asyncio.run(nothing())


def with_runner() -> None:
    with asyncio.Runner() as runner:
        assert_type(runner, asyncio.Runner)
        assert_type(runner.run(answer()), int)
        runner.run(nothing(), context=contextvars.copy_context())
        assert_type(runner.get_loop(), asyncio.AbstractEventLoop)
    with asyncio.Runner(debug=True, loop_factory=asyncio.new_event_loop) as runner:
        runner.run(nothing())


class Harness:
    """What tests of libraries do."""

    runner: asyncio.Runner | None

    def __init__(self) -> None:
        self.runner = asyncio.Runner()

    def call(self, coro: Coroutine[Any, Any, T]) -> T:
        if self.runner is None:
            raise RuntimeError
        return self.runner.run(coro)

    def close(self) -> None:
        if self.runner is not None:
            self.runner.close()
            self.runner = None


def by_hand() -> int:
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        result = loop.run_until_complete(answer())
        assert_type(result, int)
        pending = asyncio.all_tasks(loop)
        for task in pending:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*pending, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
        return result
    finally:
        asyncio.set_event_loop(None)
        loop.close()


def named_class() -> None:
    loop: asyncio.AbstractEventLoop = asyncio.SelectorEventLoop()
    base: asyncio.BaseEventLoop = asyncio.SelectorEventLoop()
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.close()
    base.close()


if sys.version_info < (3, 14):

    class Policy(asyncio.DefaultEventLoopPolicy):
        def new_event_loop(self) -> asyncio.AbstractEventLoop:
            loop = super().new_event_loop()
            loop.set_debug(True)
            return loop


async def inside() -> None:
    assert_type(asyncio.get_running_loop(), asyncio.AbstractEventLoop)
    assert_type(asyncio.current_task(), asyncio.Task[Any] | None)
    assert_type(asyncio.all_tasks(), set[asyncio.Task[Any]])
    assert_type(asyncio.get_event_loop(), asyncio.AbstractEventLoop)
    task = asyncio.current_task()
    assert task is not None
    task.set_name("main")
    assert_type(task.get_name(), str)
    assert_type(task.cancelling(), int)
    assert_type(task.uncancel(), int)
    assert_type(task.get_loop(), asyncio.AbstractEventLoop)


def wrong() -> None:
    asyncio.run(answer)  # type: ignore[arg-type]  # a function, not what it returns
    asyncio.run(5)  # type: ignore[arg-type]  # no coroutine
    asyncio.run(answer(), debug="yes")  # type: ignore[arg-type]  # a bool
    asyncio.run(answer(), True)  # type: ignore[call-arg]  # by keyword only
    text: str = asyncio.run(answer())  # type: ignore[assignment]  # it is an int
    print(text)


if __name__ == "__main__":
    asyncio.run(nothing())
