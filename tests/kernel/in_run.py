"""How the async tests of the kernel run: each in a run of its own, through `nursery.run` alone.

Invariant: no plugin and no other part of the package stands between a kernel test and the kernel.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import ParamSpec

import nursery

from .jumping_clock import JumpingClock

P = ParamSpec("P")


def in_a_run(test: Callable[P, Awaitable[None]]) -> Callable[P, None]:
    """Make an async test a plain one that runs it on the system's clock."""

    @functools.wraps(test)
    def run_it(*args: P.args, **kwargs: P.kwargs) -> None:
        nursery.run(functools.partial(test, *args, **kwargs))

    return run_it


def in_virtual_time(test: Callable[P, Awaitable[None]]) -> Callable[P, None]:
    """Make an async test a plain one that runs it on a clock which jumps instead of waiting."""

    @functools.wraps(test)
    def run_it(*args: P.args, **kwargs: P.kwargs) -> None:
        nursery.run(functools.partial(test, *args, **kwargs), clock=JumpingClock())

    return run_it
