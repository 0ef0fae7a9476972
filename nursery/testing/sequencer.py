"""Blocks of code in different tasks, forced into one order.

Invariant: block N runs only after block N-1 was left.  If a task is cancelled while it waits for its turn the order
can no longer be kept, and everyone is told.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import final

from ..kernel.errors import Cancelled
from ..sync.event import Event


@final
class Sequencer:
    """Makes blocks of code in different tasks run in the order of their numbers.

    Call it with a position and enter what it returns: block 0 runs at once, each other one after the block before
    it was left.  Entering is a cancel point.  Raises RuntimeError if a position is used twice, or if a task was
    cancelled while it waited for its turn: then in that task, and in each that waits or comes later.

    Example::

        async def first(seq: Sequencer) -> None:
            async with seq(0):
                print("one")
            async with seq(2):
                print("three")

        async def second(seq: Sequencer) -> None:
            async with seq(1):
                print("two")

    Source: trio's documentation, `trio.testing.Sequencer`.
    """

    __slots__ = ("__weakref__", "_broken", "_claimed", "_turns")

    def __init__(self) -> None:
        self._turns: dict[int, Event] = {}
        self._claimed: set[int] = set()
        self._broken = False

    def __call__(self, position: int) -> AbstractAsyncContextManager[None]:
        """Return the async context manager around the block that is `position` in the order."""
        return _Turn(self, position)

    def __repr__(self) -> str:
        return f"<Sequencer, {'broken' if self._broken else f'positions {sorted(self._claimed)} used'}>"

    def _turn(self, position: int) -> Event:
        return self._turns.setdefault(position, Event())

    async def _wait_for(self, position: int) -> None:
        if position in self._claimed:
            raise RuntimeError(f"Attempted to reuse sequence point {position}: each position is for one block")
        self._check()
        self._claimed.add(position)
        if position != 0:
            try:
                await self._turn(position).wait()
            except Cancelled:
                self._broken = True
                for event in self._turns.values():
                    event.set()
                raise RuntimeError(
                    f"Sequencer wait cancelled -- sequence broken: position {position} will never be run"
                ) from None
            self._check()

    def _check(self) -> None:
        if self._broken:
            raise RuntimeError("sequence broken! A task was cancelled while it waited for its turn")


class _Turn:
    """One block of a sequence."""

    __slots__ = ("_position", "_sequencer")

    def __init__(self, sequencer: Sequencer, position: int) -> None:
        self._sequencer = sequencer
        self._position = position

    async def __aenter__(self) -> None:
        await self._sequencer._wait_for(self._position)

    async def __aexit__(
        self, etype: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._sequencer._turn(self._position + 1).set()


__all__ = ["Sequencer"]
