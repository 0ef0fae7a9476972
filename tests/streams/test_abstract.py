"""The stream interfaces: what they give to those who implement them."""

from __future__ import annotations

import pytest

from nursery.streams.abstract import HalfCloseableStream, Listener, ReceiveStream, SendStream, Stream


class Pieces(ReceiveStream):
    """Hands out the given pieces, and remembers being closed."""

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = list(pieces)
        self.closed = False
        self.asked_for: list[int | None] = []

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        self.asked_for.append(max_bytes)
        return self.pieces.pop(0)

    async def aclose(self) -> None:
        self.closed = True


async def test_async_for_yields_the_pieces_up_to_the_end() -> None:
    stream = Pieces(b"one", b"two", b"", b"never")
    assert [piece async for piece in stream] == [b"one", b"two"]
    assert stream.pieces == [b"never"]


async def test_async_for_lets_the_stream_choose_the_size() -> None:
    stream = Pieces(b"one", b"")
    async for _ in stream:
        pass
    assert stream.asked_for == [None, None]


async def test_async_with_closes_the_stream() -> None:
    async with Pieces() as stream:
        assert not stream.closed
    assert stream.closed


async def test_async_with_closes_the_stream_when_the_body_fails() -> None:
    stream = Pieces()
    with pytest.raises(ValueError):
        async with stream:
            raise ValueError
    assert stream.closed


@pytest.mark.parametrize("interface", [SendStream, ReceiveStream, Stream, HalfCloseableStream, Listener])
def test_an_interface_cannot_be_instantiated(interface: type[object]) -> None:
    with pytest.raises(TypeError, match="abstract"):
        interface()


def test_the_interfaces_build_on_each_other() -> None:
    assert issubclass(Stream, SendStream)
    assert issubclass(Stream, ReceiveStream)
    assert issubclass(HalfCloseableStream, Stream)
