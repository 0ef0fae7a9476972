"""A two-way stream made of two one-way streams."""

from __future__ import annotations

import pytest

from nursery.streams.abstract import HalfCloseableStream, ReceiveStream, SendStream
from nursery.streams.stapled import StapledStream


class Log(SendStream, ReceiveStream):
    """Writes down what it is told to do."""

    def __init__(self, fails_to_close: bool = False) -> None:
        self.log: list[object] = []
        self.fails_to_close = fails_to_close

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        self.log.append(("send_all", bytes(data)))

    async def wait_send_all_might_not_block(self) -> None:
        self.log.append("wait_send_all_might_not_block")

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        self.log.append(("receive_some", max_bytes))
        return b"received"

    async def aclose(self) -> None:
        self.log.append("aclose")
        if self.fails_to_close:
            raise OSError("cannot close")


class HalfCloseableLog(Log, HalfCloseableStream):
    async def send_eof(self) -> None:
        self.log.append("send_eof")


async def test_each_half_gets_its_own_calls() -> None:
    send, receive = Log(), Log()
    stapled = StapledStream(send, receive)
    assert stapled.send_stream is send
    assert stapled.receive_stream is receive
    await stapled.send_all(b"data")
    await stapled.wait_send_all_might_not_block()
    assert await stapled.receive_some() == b"received"
    assert await stapled.receive_some(7) == b"received"
    assert send.log == [("send_all", b"data"), "wait_send_all_might_not_block"]
    assert receive.log == [("receive_some", None), ("receive_some", 7)]


async def test_send_eof_is_passed_on_to_a_half_that_has_it() -> None:
    send, receive = HalfCloseableLog(), Log()
    await StapledStream(send, receive).send_eof()
    assert (send.log, receive.log) == (["send_eof"], [])


async def test_send_eof_closes_a_half_that_has_none() -> None:
    send, receive = Log(), Log()
    await StapledStream(send, receive).send_eof()
    assert (send.log, receive.log) == (["aclose"], [])


async def test_aclose_closes_both_halves_although_the_first_fails() -> None:
    send, receive = Log(fails_to_close=True), Log()
    with pytest.raises(OSError, match="cannot close"):
        await StapledStream(send, receive).aclose()
    assert (send.log, receive.log) == (["aclose"], ["aclose"])
