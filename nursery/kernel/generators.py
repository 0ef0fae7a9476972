"""Async generators that are abandoned, or alive when the run ends.

Invariant: a generator that was first iterated in a task of this run is finalised in this run: closed by a system task
inside a cancelled scope when it is garbage-collected, or after the main task, before the run ends.  Those of a
host or of a foreign dialect go to the hooks that were there before.
"""

from __future__ import annotations

import logging
import sys
import warnings
import weakref
from collections.abc import Callable
from types import AsyncGeneratorType
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from .current import current
from .errors import RunFinishedError
from .scope import CancelScope
from .traps import cancel_shielded_checkpoint

if TYPE_CHECKING:
    from .runner import Runner

_logger = logging.getLogger("nursery.async_generator_errors")

Agen: TypeAlias = AsyncGeneratorType[Any, Any]
_FOREIGN: Final = "@nursery foreign async generator"


class AsyncGenerators:
    """The async generators of one run, and the interpreter's hooks that tell of them."""

    __slots__ = ("_alive", "_closing", "_previous", "_runner", "_trailing")

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        # Weak until the end begins: being abandoned is what the finaliser hook is for.
        self._alive: weakref.WeakSet[Agen] = weakref.WeakSet()
        self._trailing: set[Agen] = set()
        self._closing = False
        self._previous: Any = None

    def install_hooks(self) -> None:
        """Take the interpreter's hooks over; what was there before is kept and called for foreign generators."""
        self._previous = sys.get_asyncgen_hooks()
        hooks: Any = (self._first_iterated, self._abandoned)
        sys.set_asyncgen_hooks(*hooks)

    def close(self) -> None:
        """Put the hooks back."""
        sys.set_asyncgen_hooks(*self._previous)

    def forget_run(self) -> None:
        """Drop the way back to the run, which is over."""
        del self._runner

    def _first_iterated(self, agen: Agen) -> None:
        runner = current.runner
        if runner is self._runner and runner.current is not None:
            if self._closing:
                self._trailing.add(agen)
            else:
                self._alive.add(agen)
        else:
            # Marked in its frame: weak references are gone by the time the finaliser hook runs.
            frame: Any = agen.ag_frame
            frame.f_locals[_FOREIGN] = True
            if self._previous.firstiter is not None:
                self._previous.firstiter(agen)

    def _abandoned(self, agen: Agen) -> None:
        # The hook runs in whichever thread collects the garbage, and must not raise.
        frame = agen.ag_frame
        if frame is not None and _FOREIGN in frame.f_locals:
            if self._previous.finalizer is not None:
                self._previous.finalizer(agen)
            else:
                _close_at_once(agen)
            return
        name = agen.__qualname__
        # Known to nobody from now on; the finalising task below holds it.
        self._alive.discard(agen)
        if self._closing:
            self._trailing.add(agen)
        else:
            try:
                self._runner.inbox.put(self._finalise_soon, (agen, name), False)
            except RunFinishedError:
                self._trailing.add(agen)
        warnings.warn(
            f"Async generator {name!r} was garbage collected before it had been exhausted. Surround its use in "
            "'async with aclosing(...):' to raise ResourceWarnings to errors in the task that uses it",
            ResourceWarning,
            stacklevel=2,
            source=agen,
        )

    def _finalise_soon(self, agen: Agen, name: str) -> None:
        nursery = self._runner.system_nursery
        if nursery is None or nursery._closed:
            # The run is ending, but has not yet come to `finalise_remaining`.
            self._trailing.add(agen)
        else:
            self._runner.spawn_system(self._finalise, (agen, name), f"close asyncgen {name} (abandoned)")

    async def finalise_remaining(self) -> None:
        """Close what is alive when the main task has ended, until nothing new appears."""
        self._closing = True
        # From now on a finaliser hook would come too late: hold them all.
        self._trailing.update(self._alive)
        # Let generators that were abandoned a moment ago reach us.
        await cancel_shielded_checkpoint()
        while self._trailing:
            batch, self._trailing = self._trailing, set()
            for agen in batch:
                await self._finalise(agen, agen.__qualname__)

    async def _finalise(self, agen: Agen, name: str) -> None:
        try:
            # A cancelled scope: clean-up may run, but nothing in it may wait.
            with CancelScope(shield=True) as scope:
                scope.cancel("async generator finalised")
                await agen.aclose()
        except BaseException:
            _logger.exception(
                "Exception ignored during finalization of async generator %r -- surround your use of the "
                "generator in 'async with aclosing(...):' to raise exceptions like this in the context where they're "
                "generated",
                name,
            )


def _close_at_once(agen: Agen) -> None:
    """Do what Python does without a hook: throw GeneratorExit in, and complain if it awaits."""
    closer = agen.aclose()
    step: Callable[[None], object] = closer.send
    try:
        step(None)
    except StopIteration:
        pass
    else:
        raise RuntimeError(f"Non-Nursery async generator {agen.__qualname__!r} awaited something during finalization")
