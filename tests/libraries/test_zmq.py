"""pyzmq: its descriptor is edge-triggered by nature, and tells of "something" rather than of "readable"."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from zmq.asyncio import Context, Socket
from zmq.constants import SocketOption, SocketType

import nursery
from tests.libraries.on_our_loop import asyncio_test, mixed_test


@contextmanager
def pair(binds: SocketType, connects: SocketType) -> Iterator[tuple[Socket, Socket]]:
    """Two connected sockets of these kinds."""
    with Context() as context, context.socket(binds) as one, context.socket(connects) as other:
        other.connect(f"tcp://127.0.0.1:{one.bind_to_random_port('tcp://127.0.0.1')}")
        yield one, other
        one.setsockopt(SocketOption.LINGER, 0)
        other.setsockopt(SocketOption.LINGER, 0)


@asyncio_test
async def test_questions_are_answered() -> None:
    with pair(SocketType.REP, SocketType.REQ) as (server, client):

        async def serve() -> None:
            while True:
                await server.send((await server.recv()).upper())

        serving = asyncio.create_task(serve())
        for number in range(100):
            await client.send(b"question %d" % number)
            assert await client.recv() == b"QUESTION %d" % number
        serving.cancel()


@asyncio_test
async def test_a_burst_is_received_to_its_last_message() -> None:
    with pair(SocketType.PULL, SocketType.PUSH) as (receiver, sender):
        for number in range(1000):
            await sender.send(b"%d" % number)
        assert [int(await receiver.recv()) for _ in range(1000)] == list(range(1000))


@asyncio_test
async def test_cancel_ends_a_recv_and_the_socket_goes_on() -> None:
    with pair(SocketType.PULL, SocketType.PUSH) as (receiver, sender):

        async def receive() -> bytes:
            message: bytes = await receiver.recv()
            return message

        receiving = asyncio.create_task(receive())
        await asyncio.sleep(0.01)
        receiving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await receiving
        await sender.send(b"next")
        assert await receive() == b"next"


@mixed_test
async def test_a_scope_ends_a_recv_and_no_message_is_lost() -> None:
    with pair(SocketType.PULL, SocketType.PUSH) as (receiver, sender):
        for number in range(3):
            with nursery.move_on_after(0.01) as scope:
                await receiver.recv()
            assert scope.cancelled_caught
            await sender.send(b"%d" % number)
            with nursery.fail_after(5):
                assert await receiver.recv() == b"%d" % number


@mixed_test
async def test_native_children_publish_and_subscribe() -> None:
    with pair(SocketType.PUB, SocketType.SUB) as (publisher, subscriber):
        subscriber.subscribe(b"news")
        sender, receiver = nursery.open_memory_channel[bytes](0)

        async def publish() -> None:
            while True:
                await publisher.send(b"news of the day")
                await nursery.sleep(0.001)

        async def listen() -> None:
            async with sender:
                for _ in range(3):
                    await sender.send(await subscriber.recv())

        with nursery.fail_after(5):
            async with nursery.open_nursery() as children:
                children.start_soon(publish)
                children.start_soon(listen)
                heard = [message async for message in receiver]
                children.cancel_scope.cancel()
        assert heard == [b"news of the day"] * 3
