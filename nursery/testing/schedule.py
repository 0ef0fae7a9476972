"""Other orders than first in, first out: a seed that permutes each batch, to shake out what depends on luck.

Invariant: the order of steps follows from the seed and the program alone.  A batch with fewer than two tasks draws no
random number, so rounds in which the loop merely looked at the clock do not change what comes later.

Callbacks of a foreign dialect keep their places in the queue: their order is a promise (`call_soon` is a FIFO), that
of tasks is not.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from itertools import islice
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVarTuple, final

from ..kernel.current import current_runner
from ..kernel.entry import run
from ..kernel.loop import POLL_EVERY
from ..kernel.runner import END_OF_BATCH
from ..kernel.task import Task
from .clock import MockClock

if TYPE_CHECKING:
    from ..kernel.foreign import Runnable
    from ..kernel.runner import Runner

Ts = TypeVarTuple("Ts")


@final
class SeededSchedule:
    """A context manager inside which the current run steps runnable tasks in an order drawn from `seed`.

    Without it a run steps tasks first in, first out.  The same seed gives the same order each time, as far as the
    program itself is deterministic: what real time, threads or the network decide no seed can repeat.

    Arguments: seed is any int.  Raises RuntimeError outside a run, or if it is entered while it is in use.  It holds
    for the whole run, other tasks included, until the block is left; not a cancel point.

    Example::

        async def main() -> None:
            with nursery.testing.SeededSchedule(42):
                await program()

    This is what trio does to every run, at random; here it is asked for and can be repeated.
    """

    __slots__ = ("_previous", "_random", "_runner", "seed")

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._random = random.Random(seed)
        self._runner: Runner | None = None
        self._previous: Callable[[deque[Runnable]], None] | None = None

    def __repr__(self) -> str:
        return f"<SeededSchedule, seed={self.seed}>"

    def __enter__(self) -> Self:
        if self._runner is not None:
            raise RuntimeError(f"{self!r} is in use already: make a new one for each block")
        self._runner = runner = current_runner()
        # Each block begins from the seed, so that an object used for many runs gives the same order in each.
        self._random.seed(self.seed)
        self._previous = runner.permute
        runner.permute = self._permute
        # The plain loop goes on while there is something to step: end its batch, so that the next one is permuted.
        runner.queue.appendleft(END_OF_BATCH)
        return self

    def __exit__(
        self, etype: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        runner, self._runner = self._runner, None
        assert runner is not None
        runner.permute, self._previous = self._previous, None

    def _permute(self, queue: deque[Runnable]) -> None:
        """Reorder the tasks of the coming batch in place."""
        if len(queue) < 2:
            return
        # Not further than the batch reaches: what stands behind it must not be overtaken again and again.
        places = [place for place, item in enumerate(islice(queue, POLL_EVERY)) if isinstance(item, Task)]
        if len(places) < 2:
            return
        tasks = [queue[place] for place in places]
        self._random.shuffle(tasks)
        for place, task in zip(places, tasks, strict=True):
            queue[place] = task


def explore_schedules(
    async_fn: Callable[[*Ts], Awaitable[object]], *args: *Ts, seeds: Iterable[int] = range(100)
) -> None:
    """Call `async_fn(*args)` in one run for each seed, so that each run steps its tasks in another order.

    Arguments: seeds are ints, a hundred of them if not given.  Each run has a `MockClock` of its own with
    autojump_threshold=0: sleeping takes no time, and a `fail_after` around the body turns a deadlock into
    TooSlowError at once.

    Raises what the first failing run raises, with a note that names its seed.

    Example::

        async def transfer_is_atomic() -> None:
            with nursery.fail_after(1):
                async with nursery.open_nursery() as n:
                    n.start_soon(move_money)
                    n.start_soon(check_the_sum)

        nursery.testing.explore_schedules(transfer_is_atomic)
    """

    async def permuted(seed: int) -> None:
        with SeededSchedule(seed):
            await async_fn(*args)

    for seed in seeds:
        try:
            run(permuted, seed, clock=MockClock(autojump_threshold=0))
        except BaseException as exc:
            exc.add_note(f"with SeededSchedule({seed})")
            raise


__all__ = ["SeededSchedule", "explore_schedules"]
