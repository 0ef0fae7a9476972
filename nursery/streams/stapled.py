"""Two one-way streams, used as one two-way stream.

Invariant: it does nothing but pass on; the halves keep their own rules.
"""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar, final

from .abstract import HalfCloseableStream, ReceiveStream, SendStream

SendStreamT = TypeVar("SendStreamT", bound=SendStream)
ReceiveStreamT = TypeVar("ReceiveStreamT", bound=ReceiveStream)


class _EndsSending(Protocol):
    async def send_eof(self) -> None: ...


@final
class StapledStream(HalfCloseableStream, Generic[SendStreamT, ReceiveStreamT]):
    """A two-way stream made of a stream to send to and a stream to receive from.

    Attributes: `send_stream` and `receive_stream`, both closed by `aclose`.

    Example::

        left, right = nursery.testing.memory_stream_pair()

    Source: trio's documentation, `trio.StapledStream`.
    """

    __slots__ = ("__weakref__", "receive_stream", "send_stream")

    def __init__(self, send_stream: SendStreamT, receive_stream: ReceiveStreamT) -> None:
        self.send_stream = send_stream
        self.receive_stream = receive_stream

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of `data` to the sending half."""
        await self.send_stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """Wait for the sending half."""
        await self.send_stream.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        """End the sending half: by its own `send_eof` if it has one, else by closing it."""
        stream: SendStream | _EndsSending = self.send_stream
        if hasattr(stream, "send_eof"):
            await stream.send_eof()
        else:
            await self.send_stream.aclose()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """Receive from the receiving half."""
        return await self.receive_stream.receive_some(max_bytes)

    async def aclose(self) -> None:
        """Close both halves, the second also if closing the first fails or is cancelled."""
        try:
            await self.send_stream.aclose()
        finally:
            await self.receive_stream.aclose()

    def __repr__(self) -> str:
        return f"<StapledStream of {self.send_stream!r} and {self.receive_stream!r}>"


__all__ = ["StapledStream"]
