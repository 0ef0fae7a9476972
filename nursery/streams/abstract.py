"""What a byte stream promises, whatever carries the bytes.

Invariant: one task at a time sends, one at a time receives, and the two may be the same or different tasks.  A stream
has no message borders: what was sent in one piece may arrive in many.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Generic, Self, TypeVar

from ..resource import AsyncResource

ResourceT_co = TypeVar("ResourceT_co", bound=AsyncResource, covariant=True)


class SendStream(AsyncResource):
    """Something that bytes can be sent to.

    Source: trio's documentation, `trio.abc.SendStream`.
    """

    __slots__ = ()

    @abstractmethod
    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of `data`, waiting as long as it takes.

        A cancel point.  If it raises, cancelled or not, there is no telling how much was sent: the stream is then
        good for nothing but closing.  Raises BusyResourceError if another task is sending, BrokenResourceError if the
        other side is gone, ClosedResourceError if this side was closed, before or meanwhile.
        """

    @abstractmethod
    async def wait_send_all_might_not_block(self) -> None:
        """Wait until `send_all` has a chance not to wait; for data that is best made at the last moment.

        It may return too early, never too late.  A cancel point; nothing is sent.  Raises as `send_all` does.
        """


class ReceiveStream(AsyncResource):
    """Something that bytes can be received from; `async for` yields them as they arrive, up to the end.

    Source: trio's documentation, `trio.abc.ReceiveStream`.
    """

    __slots__ = ()

    @abstractmethod
    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """Wait for at least one byte and return what is there; empty means that the sender has ended the stream.

        Arguments: max_bytes is the most to return, at least 1; by default the stream picks a sensible number.

        A cancel point; if cancelled, nothing was taken from the stream.  Raises BusyResourceError if another task is
        receiving, BrokenResourceError if the connection broke, ClosedResourceError if this side was closed, before or
        meanwhile.
        """

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes | bytearray:
        data = await self.receive_some()
        if not data:
            raise StopAsyncIteration
        return data


class Stream(SendStream, ReceiveStream):
    """A stream in both directions, which do not hinder each other.

    Source: trio's documentation, `trio.abc.Stream`.
    """

    __slots__ = ()


class HalfCloseableStream(Stream):
    """A two-way stream whose sending half can be ended on its own.

    Source: trio's documentation, `trio.abc.HalfCloseableStream`.
    """

    __slots__ = ()

    @abstractmethod
    async def send_eof(self) -> None:
        """Tell the other side that nothing more will be sent; receiving goes on; idempotent.

        A later `send_all` raises ClosedResourceError.  A cancel point.  Raises as `send_all` does.
        """


class Listener(AsyncResource, Generic[ResourceT_co]):
    """Something that waits for others to connect, and hands out a resource for each that did.

    Source: trio's documentation, `trio.abc.Listener`.
    """

    __slots__ = ()

    @abstractmethod
    async def accept(self) -> ResourceT_co:
        """Wait for the next connection and return it.

        A cancel point; if cancelled, no connection is lost.  Raises BusyResourceError if another task is accepting,
        ClosedResourceError if the listener was closed, before or meanwhile.
        """


__all__ = ["HalfCloseableStream", "Listener", "ReceiveStream", "SendStream", "Stream"]
