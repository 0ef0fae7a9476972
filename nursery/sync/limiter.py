"""A limit on how many may do something at once, that knows who they are.

Invariant: `_borrowers` are those who hold a token, each one; `_waiting` maps the tasks that sleep in `acquire` to those
on whose behalf they do.  A token is free only if everyone who waits is waiting for a borrower that holds one already:
so a newcomer who finds a free token may take it without overtaking anybody.

`total_tokens` may be set below what is borrowed; then nobody gets a token until enough have come back.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from math import inf
from types import TracebackType
from typing import TYPE_CHECKING, final

from ..kernel.current import current_task
from ..kernel.errors import WouldBlock
from ..kernel.traps import Abort, RaiseCancel, cancel_shielded_checkpoint, checkpoint_if_cancelled, park

if TYPE_CHECKING:
    from ..kernel.task import Task


@dataclass(frozen=True, slots=True)
class CapacityLimiterStatistics:
    """A snapshot of a limiter.

    `borrowed_tokens`: how many are in use; `total_tokens`: how many there are; `borrowers`: who holds them;
    `tasks_waiting`: how many tasks sleep in `acquire` or `acquire_on_behalf_of`.
    """

    borrowed_tokens: int
    total_tokens: int | float
    borrowers: list[Task | object]
    tasks_waiting: int


def _abort_acquire(task: Task, raise_cancel: RaiseCancel) -> Abort:
    del task.custom_sleep_data._waiting[task]
    return Abort.SUCCEEDED


@final
class CapacityLimiter:
    """A number of tokens, of which each borrower may hold one.

    Unlike a semaphore it knows who holds what, refuses a second token to the same borrower, and its size may change.

    Arguments: total_tokens is an int, or math.inf for no limit; it may be set at any time.
    Raises TypeError if it is neither, ValueError if it is negative.

    Example::

        limiter = nursery.CapacityLimiter(10)
        async with limiter:
            await fetch()

    Source: trio's documentation, `trio.CapacityLimiter`.
    """

    __slots__ = ("__weakref__", "_borrowers", "_total_tokens", "_waiting")

    def __init__(self, total_tokens: int | float) -> None:
        # Dicts, not sets: in the order of arrival.
        self._borrowers: dict[object, None] = {}
        self._waiting: OrderedDict[Task, object] = OrderedDict()
        self._total_tokens = _valid(total_tokens)

    @property
    def total_tokens(self) -> int | float:
        """How many tokens there are, free and borrowed; more wakes those who wait at once."""
        return self._total_tokens

    @total_tokens.setter
    def total_tokens(self, new_total_tokens: int | float) -> None:
        self._total_tokens = _valid(new_total_tokens)
        if self._waiting:
            self._hand_out()

    @property
    def borrowed_tokens(self) -> int:
        """How many tokens are in use."""
        return len(self._borrowers)

    @property
    def available_tokens(self) -> int | float:
        """How many tokens are free; negative if `total_tokens` was set below what is in use."""
        return self._total_tokens - len(self._borrowers)

    def acquire_nowait(self) -> None:
        """Borrow a token for the current task if one is free.

        Raises WouldBlock if none is, RuntimeError if the task holds one already.  Not a cancel point.
        Source: trio's documentation, `trio.CapacityLimiter.acquire_nowait`.
        """
        self.acquire_on_behalf_of_nowait(current_task())

    def acquire_on_behalf_of_nowait(self, borrower: Task | object) -> None:
        """Borrow a token for `borrower`, any hashable object, if one is free.

        Raises WouldBlock if none is, RuntimeError if the borrower holds one already.  Not a cancel point.
        Source: trio's documentation, `trio.CapacityLimiter.acquire_on_behalf_of_nowait`.
        """
        borrowers = self._borrowers
        if borrower in borrowers:
            raise RuntimeError(
                f"this borrower is already holding one of this CapacityLimiter's tokens: {borrower!r} must release it "
                "before it takes another"
            )
        if len(borrowers) >= self._total_tokens:
            raise WouldBlock
        borrowers[borrower] = None

    async def acquire(self) -> None:
        """Borrow a token for the current task, waiting for one if none is free.

        A cancel point; a cancelled call has borrowed nothing.  Raises RuntimeError if the task holds one already.
        Source: trio's documentation, `trio.CapacityLimiter.acquire`.
        """
        await self.acquire_on_behalf_of(current_task())

    async def acquire_on_behalf_of(self, borrower: Task | object) -> None:
        """Borrow a token for `borrower`, any hashable object, waiting for one if none is free.

        A cancel point; a cancelled call has borrowed nothing.  Raises RuntimeError if the borrower holds one already.
        Source: trio's documentation, `trio.CapacityLimiter.acquire_on_behalf_of`.
        """
        task = current_task()
        if task.alert:
            await checkpoint_if_cancelled()
        try:
            self.acquire_on_behalf_of_nowait(borrower)
        except WouldBlock:
            pass
        else:
            await cancel_shielded_checkpoint()
            return
        self._waiting[task] = borrower
        task.custom_sleep_data = self
        await park(task, _abort_acquire)

    def release(self) -> None:
        """Give the current task's token back.

        Raises RuntimeError if it holds none.  Not a cancel point.
        Source: trio's documentation, `trio.CapacityLimiter.release`.
        """
        self.release_on_behalf_of(current_task())

    def release_on_behalf_of(self, borrower: Task | object) -> None:
        """Give the token of `borrower` back.

        Raises RuntimeError if it holds none.  Not a cancel point.
        Source: trio's documentation, `trio.CapacityLimiter.release_on_behalf_of`.
        """
        if borrower not in self._borrowers:
            raise RuntimeError(
                f"this borrower isn't holding any of this CapacityLimiter's tokens: {borrower!r} must be what was "
                "passed to acquire_on_behalf_of, or the task that called acquire"
            )
        del self._borrowers[borrower]
        if self._waiting:
            self._hand_out()

    def _hand_out(self) -> None:
        """Give free tokens to those who wait, in the order in which they came."""
        waiting, borrowers = self._waiting, self._borrowers
        held_back: list[tuple[Task, object]] = []
        while waiting and len(borrowers) < self._total_tokens:
            task, borrower = waiting.popitem(last=False)
            if borrower in borrowers:
                # Somebody else waited for the same borrower and came first.
                held_back.append((task, borrower))
            else:
                borrowers[borrower] = None
                task.wake()
        for task, borrower in reversed(held_back):
            waiting[task] = borrower
            waiting.move_to_end(task, last=False)

    async def __aenter__(self) -> None:
        await self.acquire_on_behalf_of(current_task())

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.release_on_behalf_of(current_task())

    def statistics(self) -> CapacityLimiterStatistics:
        """Return a snapshot for debugging."""
        return CapacityLimiterStatistics(
            borrowed_tokens=len(self._borrowers),
            total_tokens=self._total_tokens,
            borrowers=list(self._borrowers),
            tasks_waiting=len(self._waiting),
        )

    def __repr__(self) -> str:
        return (
            f"<nursery.CapacityLimiter at {id(self):#x}, {len(self._borrowers)}/{self._total_tokens} with "
            f"{len(self._waiting)} waiting>"
        )


def _valid(total_tokens: int | float) -> int | float:
    if not isinstance(total_tokens, int) and total_tokens != inf:
        raise TypeError(f"total_tokens must be an int or math.inf, not {total_tokens!r}")
    if total_tokens < 0:
        raise ValueError(f"total_tokens must be >= 0, not {total_tokens}")
    return total_tokens


__all__ = ["CapacityLimiter", "CapacityLimiterStatistics"]
