"""The systems under measurement: what each one needs, and how it runs a program."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from functools import partial
from importlib import import_module
from typing import Any, cast

from benchmarks.dialect import Dialect
from benchmarks.meter import Meter

Program = Callable[[Meter], None]
DialectBody = Callable[[Dialect, Meter], Awaitable[None]]
AsyncioBody = Callable[[Meter], Coroutine[Any, Any, None]]

# Every system stands on one object of one module: the function that runs it, or makes its loop.
# The order is that of the columns.
ENTRY_POINTS = {
    "nursery": "nursery:run",
    "nursery-facade": "nursery.compat:run",
    "nursery-compat": "nursery.compat:new_event_loop",
    "asyncio": "asyncio:new_event_loop",
    "uvloop": "uvloop:new_event_loop",
    "trio": "trio:run",
    "nursery-compat-protocol": "nursery.compat:new_event_loop",
    "asyncio-protocol": "asyncio:new_event_loop",
    "uvloop-protocol": "uvloop:new_event_loop",
    "epoll": "select:epoll",
}
DIALECTS = ("nursery", "trio")
FACADE = "nursery-facade"
LOOPS = ("asyncio", "uvloop")
LOOPS_AND_COMPAT = ("nursery-compat", "asyncio", "uvloop")
PROTOCOL_LOOPS = ("nursery-compat-protocol", "asyncio-protocol", "uvloop-protocol")


def imported(name: str) -> Any:
    """Import the object named "module:attribute"."""
    module, _, attribute = name.partition(":")
    return getattr(import_module(module), attribute)


def why_missing(name: str) -> str | None:
    """Why the object named "module:attribute" is not to be had here; None when it is."""
    try:
        imported(name)
    except Exception as error:  # a library that is broken is as absent as one not installed
        return f"{type(error).__name__}: {error}"
    return None


def on_dialects(body: DialectBody) -> dict[str, Program]:
    """One body in trio's vocabulary, as a program for each library that speaks it."""
    return {system: partial(_run_dialect, system, body) for system in DIALECTS}


def on_loops(body: AsyncioBody, systems: Iterable[str] = LOOPS) -> dict[str, Program]:
    """One asyncio body, as a program for each of these event loops."""
    return {system: partial(_run_loop, system, body) for system in systems}


def _run_dialect(system: str, body: DialectBody, meter: Meter) -> None:
    lib = cast(Dialect, import_module(system))
    lib.run(body, lib, meter)


def in_facade(body: AsyncioBody) -> dict[str, Program]:
    """One asyncio body, as a program for the facade: `from nursery import compat as asyncio`."""
    return {FACADE: partial(_run_facade, body)}


def _run_facade(body: AsyncioBody, meter: Meter) -> None:
    compat = import_module("nursery.compat")
    # What that import does to a program.  The process is this run's own, so nobody else sees it.
    vars(sys.modules[body.__module__])["asyncio"] = compat
    compat.run(body(meter))


def _run_loop(system: str, body: AsyncioBody, meter: Meter) -> None:
    # What asyncio.run(..., loop_factory=...) does; on Python 3.11 it has no such argument yet.
    with asyncio.Runner(loop_factory=imported(ENTRY_POINTS[system])) as runner:
        runner.run(body(meter))
