"""Graceful shutdown: loops that end between two values.

The request itself is `scope.shutdown(grace=)`; who asks about it directly is in kernel/closing.py.

Invariant: a loop ends where it would wait for the next value, or before it; the work on a value is never cut short, and
no value is lost.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator
from typing import Self, TypeVar, final

from ..kernel.closing import stop_when_closing

T = TypeVar("T")


def each_until_closing(source: AsyncIterable[T]) -> AsyncIterator[T]:
    """Iterate over a source until it ends, or a scope around the consumer is asked to shut down.

    Arguments: source is a receiving channel, a stream, or whatever `async for` takes.

    Only the wait for the next value is cut short, never the work on the one before; a channel loses no value by it.
    Each step is a cancel point.

    Example::

        async for order in nursery.each_until_closing(orders):
            await fill(order)
    """
    return _UntilClosing(source)


@final
class _UntilClosing(AsyncIterator[T]):
    """The iterator behind `each_until_closing`."""

    __slots__ = ("_source",)

    def __init__(self, source: AsyncIterable[T]) -> None:
        self._source = aiter(source)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        with stop_when_closing():
            return await anext(self._source)
        raise StopAsyncIteration


__all__ = ["each_until_closing"]
