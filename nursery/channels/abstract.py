"""The interfaces of channels: objects travel through them, as bytes travel through streams.

Invariant: a channel carries whole objects, in order, each to one receiver.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Generic, Self, TypeVar

from ..kernel.errors import EndOfChannel
from ..resource import AsyncResource

T = TypeVar("T")
SendType = TypeVar("SendType", contravariant=True)
ReceiveType = TypeVar("ReceiveType", covariant=True)


class SendChannel(AsyncResource, Generic[SendType]):
    """Something that objects can be sent into.

    Source: trio's documentation, `trio.abc.SendChannel`.
    """

    __slots__ = ()

    @abstractmethod
    async def send(self, value: SendType) -> None:
        """Send one object, waiting for room if need be.

        A cancel point.  Raises BrokenResourceError if nobody can receive it any more, ClosedResourceError if this
        handle is closed, BusyResourceError if two tasks send at once and the channel does not allow it.
        """


class ReceiveChannel(AsyncResource, Generic[ReceiveType]):
    """Something that objects can be received from; `async for` receives until the end.

    Source: trio's documentation, `trio.abc.ReceiveChannel`.
    """

    __slots__ = ()

    @abstractmethod
    async def receive(self) -> ReceiveType:
        """Receive one object, waiting for it if need be.

        A cancel point; a cancelled call has received nothing.  Raises EndOfChannel if no more will come,
        ClosedResourceError if this handle is closed, BrokenResourceError if something went wrong on the way,
        BusyResourceError if two tasks receive at once and the channel does not allow it.
        """

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ReceiveType:
        try:
            return await self.receive()
        except EndOfChannel:
            raise StopAsyncIteration from None


class Channel(SendChannel[T], ReceiveChannel[T]):
    """Something that objects travel through in both directions.

    Source: trio's documentation, `trio.abc.Channel`.
    """

    __slots__ = ()


__all__ = ["Channel", "ReceiveChannel", "SendChannel"]
