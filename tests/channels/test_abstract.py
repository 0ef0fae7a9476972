"""The interfaces of channels."""

from __future__ import annotations

import pytest

import nursery
from nursery.channels import Channel, MemoryReceiveChannel, MemorySendChannel, ReceiveChannel, SendChannel
from nursery.resource import AsyncResource


class Countdown(Channel[int]):
    def __init__(self, start: int) -> None:
        self.left = start
        self.closed = False

    async def send(self, value: int) -> None:
        self.left += value

    async def receive(self) -> int:
        await nursery.lowlevel.checkpoint()
        if self.left == 0:
            raise nursery.EndOfChannel
        self.left -= 1
        return self.left

    async def aclose(self) -> None:
        self.closed = True
        await nursery.lowlevel.checkpoint()


async def test_iteration_receives_until_the_end() -> None:
    channel = Countdown(3)
    assert [value async for value in channel] == [2, 1, 0]
    await channel.send(1)
    assert [value async for value in channel] == [0]


async def test_the_end_of_an_iteration_has_no_context() -> None:
    with pytest.raises(StopAsyncIteration) as caught:
        await Countdown(0).__anext__()
    assert caught.value.__suppress_context__


async def test_a_block_closes_the_channel() -> None:
    async with Countdown(3) as channel:
        assert not channel.closed
    assert channel.closed


def test_the_interfaces_are_related() -> None:
    assert issubclass(Channel, SendChannel)
    assert issubclass(Channel, ReceiveChannel)
    assert issubclass(SendChannel, AsyncResource)
    assert issubclass(ReceiveChannel, AsyncResource)
    assert issubclass(MemorySendChannel, SendChannel)
    assert issubclass(MemoryReceiveChannel, ReceiveChannel)


@pytest.mark.parametrize("interface", [Channel, SendChannel, ReceiveChannel])
def test_the_interfaces_are_abstract(interface: type[object]) -> None:
    with pytest.raises(TypeError, match="abstract"):
        interface()
