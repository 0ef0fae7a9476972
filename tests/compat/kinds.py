"""The kinds of task in which a facade object may be used: ours, and those of asyncio's own class."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias, TypeVar

import pytest

T = TypeVar("T")
Spawn: TypeAlias = Callable[[Coroutine[Any, Any, Any]], "asyncio.Task[Any]"]


def ours(coro: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Start a task of ours."""
    return asyncio.get_running_loop().create_task(coro)


def asyncios(coro: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Start a task of asyncio's own class, as libraries do by hand."""
    return asyncio.Task(coro, loop=asyncio.get_running_loop())


in_both_kinds = pytest.mark.parametrize("spawn", [ours, asyncios])


async def turns(count: int) -> None:
    """Let everything run for some turns."""
    for _ in range(count):
        await asyncio.sleep(0)
