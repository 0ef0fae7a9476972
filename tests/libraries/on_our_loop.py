"""How a test of the matrix runs: an async function on our loop, with an end, and with nothing reported behind its back.

Invariant: a test fails if the loop's exception handler was called in it and the test did not expect that.

NURSERY_LIBRARIES_LOOP=asyncio (or uvloop) runs the tests on that loop instead, as far as they are pure asyncio: so one
sees whether it is our loop or the library that is at fault.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import os
from collections.abc import Callable, Coroutine
from typing import Any, Final, ParamSpec

import pytest

import nursery
from nursery import compat

P = ParamSpec("P")

OTHER_LOOP: Final = os.environ.get("NURSERY_LIBRARIES_LOOP")

# Seconds after which a test is taken for hanging; far more than any needs.
PATIENCE: Final = 20


def new_event_loop() -> asyncio.AbstractEventLoop:
    if OTHER_LOOP is None:
        return compat.new_event_loop()
    if OTHER_LOOP == "uvloop":
        import uvloop

        loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
        return loop
    return asyncio.new_event_loop()


class Reports:
    """What the loop's exception handler is told during a test."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.heard.append(f"{context['message']}: {context.get('exception')!r}")
        loop.default_exception_handler(context)

    def check(self) -> None:
        assert not self.heard, "the loop's exception handler was told"


async def settle() -> None:
    """Give the loop the turns in which it notices that peers have closed their ends; what is left then is a leak."""
    transports = getattr(asyncio.get_running_loop(), "_transports", ())
    for _ in range(100):
        if not transports:
            break
        await asyncio.sleep(0.001)


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run an async function on the loop under test."""
    reports = Reports()

    async def guarded() -> None:
        asyncio.get_running_loop().set_exception_handler(reports)
        async with asyncio.timeout(PATIENCE):
            await main()
            await settle()

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(guarded())
    reports.check()


def run_natively(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run an async function in a native run that opens a loop."""
    reports = Reports()

    async def guarded() -> None:
        async with compat.open_loop() as loop:
            loop.set_exception_handler(reports)
            with nursery.fail_after(PATIENCE):
                await main()
                await settle()

    nursery.run(guarded)
    reports.check()


def asyncio_test(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """A test in the asyncio dialect alone."""

    @functools.wraps(test)
    def running(*args: P.args, **kwargs: P.kwargs) -> None:
        run(functools.partial(test, *args, **kwargs))

    return running


def mixed_test(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """A test in both dialects: it runs in a loop of ours, and once more in a native run that opens one."""

    @functools.wraps(test)
    def running(*args: Any, door: str, **kwargs: Any) -> None:
        if OTHER_LOOP is not None:
            pytest.skip(f"native code does not run on {OTHER_LOOP}")
        main = functools.partial(test, *args, **kwargs)
        if door == "loop":
            run(main)
        else:
            run_natively(main)

    signature = inspect.signature(test)
    door = inspect.Parameter("door", inspect.Parameter.KEYWORD_ONLY)
    vars(running)["__signature__"] = signature.replace(parameters=[*signature.parameters.values(), door])
    both_doors: Callable[..., None] = pytest.mark.parametrize("door", ["loop", "native run"])(running)
    return both_doors
