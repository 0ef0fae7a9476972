"""The loops that one and the same program runs on: asyncio's own is the measure."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias, TypeVar

import pytest

from nursery import compat

T = TypeVar("T")
LoopFactory: TypeAlias = Callable[[], asyncio.AbstractEventLoop]

# For tests of what is the same on both.
on_both = pytest.mark.parametrize(
    "loop_factory", [asyncio.SelectorEventLoop, compat.new_event_loop], ids=["asyncio", "nursery"]
)


def run_on(loop_factory: LoopFactory, main: Coroutine[Any, Any, T], *, seconds: float = 5, debug: bool = False) -> T:
    """Run a program on a loop; TimeoutError if it hangs."""

    async def bounded() -> T:
        return await asyncio.wait_for(main, seconds)

    with asyncio.Runner(loop_factory=loop_factory, debug=debug) as runner:
        return runner.run(bounded())


def run(main: Coroutine[Any, Any, T], *, seconds: float = 5, debug: bool = False) -> T:
    """Run a program on our loop; TimeoutError if it hangs."""
    return run_on(compat.new_event_loop, main, seconds=seconds, debug=debug)
