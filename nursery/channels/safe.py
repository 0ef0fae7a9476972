"""Async generators as channels, so that scopes and nurseries inside them are left by the task that entered them.

Invariant: a task of its own iterates the generator from its first step to its end, and closes it; the consumer meets
nothing but a channel.  The generator advances only for a `receive` that is waiting: one step for each demand.  A
demand that is withdrawn (its `receive` was cancelled) when the step is under way already leaves that step's value to
the next `receive`, which then makes no demand of its own.

While the generator sleeps at a `yield`, its task waits outside the scopes that the generator has open: a timeout in
the generator takes effect when it goes on, not in the wait, from where it would cancel the consumer; and a shield in
the generator does not keep the task from being told that the consumer has left.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import wraps
from types import TracebackType
from typing import Final, Generic, NoReturn, ParamSpec, Self, TypeVar, final

from ..kernel.current import current_task
from ..kernel.errors import BrokenResourceError, Cancelled, WouldBlock
from ..kernel.nursery import TASK_STATUS_IGNORED, TaskStatus, open_nursery
from ..kernel.scope import CancelScope
from ..kernel.task import Task
from ..kernel.traps import checkpoint_if_cancelled
from ..sync.semaphore import Semaphore
from .abstract import ReceiveChannel
from .memory import MemoryReceiveChannel, MemorySendChannel, open_memory_channel

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
P = ParamSpec("P")

# trio's words, which programs may look for.
_NOTE: Final = (
    "Encountered exception during cleanup of generator object, as well as exception in the contextmanager body - "
    "unable to unwrap."
)


@final
class GeneratorChannel(ReceiveChannel[T_co], Generic[T_co]):
    """The receiving end that `as_safe_channel` gives out."""

    __slots__ = ("__weakref__", "_ahead", "_demand", "_values")

    def __init__(self, values: MemoryReceiveChannel[T_co], demand: Semaphore) -> None:
        self._values = values
        self._demand = demand
        # Steps that were made for a demand that was withdrawn too late.
        self._ahead = 0

    async def receive(self) -> T_co:
        """Let the generator make one step, and return what it yields.

        A cancel point; a value that comes too late for a cancelled call is kept for the next one.  Raises
        EndOfChannel when the generator is done, ClosedResourceError if the channel was closed.
        """
        await checkpoint_if_cancelled()
        if self._ahead:
            self._ahead -= 1
        else:
            self._demand.release()
        try:
            return await self._values.receive()
        except BaseException:
            try:
                self._demand.acquire_nowait()
            except WouldBlock:
                self._ahead += 1
            raise

    def close(self) -> None:
        """Close the channel: the generator makes no further step.  Not a cancel point."""
        self._values.close()

    async def aclose(self) -> None:
        """Close the channel as `close` does, and be a checkpoint."""
        await self._values.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()


def as_safe_channel(
    fn: Callable[P, AsyncGenerator[T, None]],
) -> Callable[P, AbstractAsyncContextManager[ReceiveChannel[T]]]:
    """Decorate an async generator function so that it can be used without danger; calling it gives a channel.

    A plain async generator must not yield inside a cancel scope or a nursery, and is closed late, or never, unless
    each user thinks of `aclosing`.  Decorated, it may, and it is closed when the `async with` block is left.

    Entering is a checkpoint, leaving waits for the generator's clean-up.  An error of the generator, or of the block,
    leaves the block as it is; if there are both they leave it in a group.  Entering raises TypeError if the function
    made no async generator.

    Example::

        @nursery.as_safe_channel
        async def lines(host: str):
            async with await nursery.open_tcp_stream(host, 79) as stream:
                with nursery.move_on_after(60):
                    async for piece in stream:
                        yield piece

        async with lines("example.org") as channel:
            async for piece in channel:
                print(piece)

    Source: trio's documentation, `trio.as_safe_channel`.
    """

    @asynccontextmanager
    @wraps(fn)
    async def channel_manager(*args: P.args, **kwargs: P.kwargs) -> AsyncGenerator[ReceiveChannel[T], None]:
        agen: object = fn(*args, **kwargs)
        if not isinstance(agen, AsyncGenerator):
            if isinstance(agen, Coroutine):
                agen.close()
            raise TypeError(
                f"as_safe_channel expects an async generator function (with 'async def' and 'yield'), but {fn!r} "
                f"returned {agen!r}"
            )
        send, receive = open_memory_channel[T](0)
        demand = Semaphore(0)
        try:
            async with open_nursery() as n:
                # `start`: from here on there is somebody who closes the generator and the channel.
                await n.start(_iterate, agen, send, demand)
                with GeneratorChannel(receive, demand) as channel:
                    yield channel
                n.cancel_scope.cancel("the block of an as_safe_channel channel was left")
        except BaseExceptionGroup as group:
            _raise_what_it_is_about(group)

    return channel_manager


async def _iterate(
    agen: AsyncGenerator[T, None],
    send: MemorySendChannel[T],
    demand: Semaphore,
    *,
    task_status: TaskStatus[None] = TASK_STATUS_IGNORED,
) -> None:
    """Advance the generator on demand, and close it."""
    # Not `async with`: the checkpoint in its end could replace an error of the generator by Cancelled.
    with send:
        try:
            task_status.started()
            task = current_task()
            outside = task.scope
            while True:
                with _InScope(task, outside):
                    await demand.acquire()
                if not send.statistics().open_receive_channels:
                    # Nobody could receive the value: do not make the generator work for it.
                    return
                try:
                    value = await agen.__anext__()
                except StopAsyncIteration:
                    return
                try:
                    with _InScope(task, outside):
                        await send.send(value)
                except BrokenResourceError:
                    return
        finally:
            await _close(agen)


class _InScope:
    """A context manager inside which a task is where it was before the generator entered scopes."""

    __slots__ = ("_inside", "_outside", "_task")

    def __init__(self, task: Task, outside: CancelScope | None) -> None:
        self._task = task
        self._outside = outside

    def __enter__(self) -> None:
        self._inside = self._task.scope
        self._go(self._outside)

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._go(self._inside)

    def _go(self, scope: CancelScope | None) -> None:
        if self._task.scope is not scope:
            self._task.scope = scope
            self._task.refresh()


async def _close(agen: AsyncGenerator[T, None]) -> None:
    """Close the generator, also if its GeneratorExit comes back in a group: from a nursery that it yielded inside."""
    try:
        await agen.aclose()
    except BaseExceptionGroup as group:
        exits, rest = group.split(GeneratorExit)
        if _count(exits) > 1:
            # One was thrown in; where does the other come from?
            problem = AssertionError("More than one GeneratorExit found.")
            rest = group.derive([problem] if rest is None else [*rest.exceptions, problem])
        if rest is not None:
            raise rest from None


def _count(error: BaseException | None) -> int:
    """Return how many errors, not counting groups, there are in `error`."""
    if isinstance(error, BaseExceptionGroup):
        return sum(map(_count, error.exceptions))
    return 0 if error is None else 1


def _raise_what_it_is_about(group: BaseExceptionGroup[BaseException]) -> NoReturn:
    """Raise the one error of a nursery's group, cancellations aside, with the context of its own; else the group."""
    errors = [error for error in group.exceptions if not isinstance(error, Cancelled)]
    urgent = [error for error in errors if isinstance(error, KeyboardInterrupt | SystemExit)]
    if urgent:
        raise type(urgent[0])(*urgent[0].args) from group
    if len(errors) > 1:
        group.add_note(_NOTE)
        raise group from None
    single = errors[0] if errors else group.exceptions[0]
    context = single.__context__
    try:
        raise single
    finally:
        single.__context__ = context
        # The error's traceback holds this frame.
        del single, errors, urgent, context, group


__all__ = ["GeneratorChannel", "as_safe_channel"]
