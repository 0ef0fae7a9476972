"""From a function and its arguments to a coroutine, and what is said when they do not lead there.

Invariant: a caller's mistake (a coroutine object, a plain function, an async generator, a future where an async
function belongs) is a TypeError at the call that made it, and names the remedy.
"""

from __future__ import annotations

import types
from inspect import CO_ITERABLE_COROUTINE
from types import CoroutineType
from typing import Any


def as_coroutine(async_fn: object, returned: object) -> Any:
    """Return `returned` in a form that can be stepped, or raise a TypeError that says what the mistake was."""
    if isinstance(returned, types.GeneratorType) and returned.gi_code.co_flags & CO_ITERABLE_COROUTINE:
        # A generator marked by types.coroutine: it is awaitable and steps like a coroutine.
        return returned
    if hasattr(returned, "cr_frame") or (
        hasattr(returned, "__await__") and hasattr(returned, "send") and hasattr(returned, "throw")
    ):
        # A coroutine of another make, compiled by Cython for one.
        return _drive(returned)
    if hasattr(returned, "_asyncio_future_blocking"):
        raise TypeError(
            f"expected an async function, but {async_fn!r} returned {returned!r}, an asyncio future: start an async "
            "function that awaits it, inside a run that has an asyncio loop open"
        )
    if hasattr(returned, "asend"):
        raise TypeError(
            f"expected an async function, but {async_fn!r} is an async generator: start an async function that "
            "iterates over it with 'async for'"
        )
    raise TypeError(
        f"expected an async function, but {async_fn!r} returned {returned!r}, which cannot be awaited as a task; is "
        "it a plain function?"
    )


async def _drive(awaitable: Any) -> object:
    return await awaitable


def explain_uncallable(async_fn: object) -> None:
    """Raise a TypeError that names the usual mistake, if `async_fn` cannot be called at all."""
    if isinstance(async_fn, CoroutineType):
        async_fn.close()
        raise TypeError(
            f"expected an async function, got the coroutine object {async_fn!r}: pass the function and its "
            "arguments, start_soon(fn, arg), not start_soon(fn(arg))"
        ) from None
    elif not callable(async_fn):
        raise TypeError(f"expected an async function, got {async_fn!r}") from None
