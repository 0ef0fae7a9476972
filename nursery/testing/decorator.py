"""An async test function made synchronous, for test runners that know nothing of nursery.

Invariant: each call is one run of its own.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import ParamSpec, TypeVar

from ..kernel.clock import Clock
from ..kernel.entry import run
from ..kernel.instruments import Instrument

P = ParamSpec("P")
T = TypeVar("T")


def nursery_test(fn: Callable[P, Awaitable[T]]) -> Callable[P, T]:
    """Return a synchronous function that calls the async function `fn` in a run of its own.

    Keyword arguments that are clocks or instruments are given to the run as well as to the function: that is how a
    fixture takes part.  Raises ValueError for more than one clock, and whatever the function raises.  With the
    pytest plugin of this package it is not needed: there async tests run as they are.

    Example::

        @nursery.testing.nursery_test
        async def test_sleeping() -> None:
            await nursery.sleep(0)

    Source: trio's documentation, `trio.testing.trio_test`.
    """

    @functools.wraps(fn)
    def run_it(*args: P.args, **kwargs: P.kwargs) -> T:
        __tracebackhide__ = True
        clocks = [value for value in kwargs.values() if isinstance(value, Clock)]
        if len(clocks) > 1:
            raise ValueError(f"too many clocks, a run has one: {clocks}")
        return run(
            functools.partial(fn, *args, **kwargs),
            clock=clocks[0] if clocks else None,
            instruments=[value for value in kwargs.values() if isinstance(value, Instrument)],
        )

    return run_it


__all__ = ["nursery_test"]
