"""grpc.aio: its poller is a thread that writes to a socket, which the loop watches by add_reader."""

# mypy: allow-subclassing-any, allow-untyped-decorators
# To the type checker everything of the libraries is Any, installed or not.

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import grpc
import grpc.aio
import pytest

import nursery
from tests.libraries.on_our_loop import asyncio_test, mixed_test


class Echo(grpc.GenericRpcHandler):  # no generated code: messages are bytes
    """/echo/Once sends a message back, /echo/Never does not, /echo/Each sends each, /echo/Count counts forever."""

    def __init__(self) -> None:
        self.cancelled = asyncio.Event()

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        name = details.method.rpartition("/")[2]
        return {
            "Once": grpc.unary_unary_rpc_method_handler(self.once),
            "Never": grpc.unary_unary_rpc_method_handler(self.never),
            "Each": grpc.stream_stream_rpc_method_handler(self.each),
            "Count": grpc.unary_stream_rpc_method_handler(self.count),
        }.get(name)

    async def once(self, request: bytes, context: object) -> bytes:
        return request

    async def never(self, request: bytes, context: object) -> bytes:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        raise AssertionError

    async def each(self, requests: AsyncIterator[bytes], context: object) -> AsyncIterator[bytes]:
        async for request in requests:
            yield request.upper()

    async def count(self, request: bytes, context: object) -> AsyncIterator[bytes]:
        number = 0
        while True:
            yield b"%d" % number
            number += 1
            await asyncio.sleep(0.001)


@asynccontextmanager
async def serving(handler: grpc.GenericRpcHandler) -> AsyncIterator[str]:
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((handler,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(0)


@contextmanager
def foreign_server() -> Iterator[str]:
    """A server that runs in threads."""

    class Handler(grpc.GenericRpcHandler):
        def service(self, details: grpc.HandlerCallDetails) -> Any:
            return grpc.unary_unary_rpc_method_handler(lambda request, context: request[::-1])

    with ThreadPoolExecutor(2) as threads:
        server = grpc.server(threads)
        server.add_generic_rpc_handlers((Handler(),))
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            yield f"127.0.0.1:{port}"
        finally:
            server.stop(None).wait()


async def once(channel: grpc.aio.Channel, message: bytes) -> bytes:
    answer: bytes = await channel.unary_unary("/echo/Once")(message)
    return answer


@asyncio_test
async def test_calls_one_by_one_and_at_once() -> None:
    async with serving(Echo()) as address, grpc.aio.insecure_channel(address) as channel:
        assert await once(channel, b"hello") == b"hello"
        answers = await asyncio.gather(*(once(channel, b"%d" % number) for number in range(50)))
    assert answers == [b"%d" % number for number in range(50)]


@asyncio_test
async def test_a_client_talks_to_a_foreign_server() -> None:
    with foreign_server() as address:
        async with grpc.aio.insecure_channel(address) as channel:
            assert await channel.unary_unary("/any/thing")(b"hello") == b"olleh"


@asyncio_test
async def test_a_foreign_client_is_served() -> None:
    def call(address: str) -> object:
        with grpc.insecure_channel(address) as channel:
            return channel.unary_unary("/echo/Once")(b"hello", timeout=10)

    async with serving(Echo()) as address:
        assert await asyncio.to_thread(call, address) == b"hello"


@asyncio_test
async def test_streams_both_ways() -> None:
    async def words() -> AsyncIterator[bytes]:
        for word in (b"one", b"two", b"three"):
            await asyncio.sleep(0.001)
            yield word

    async with serving(Echo()) as address, grpc.aio.insecure_channel(address) as channel:
        call = channel.stream_stream("/echo/Each")(words())
        assert [word async for word in call] == [b"ONE", b"TWO", b"THREE"]


@asyncio_test
async def test_a_time_limit_of_the_call_ends_it() -> None:
    async with serving(Echo()) as address, grpc.aio.insecure_channel(address) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.unary_unary("/echo/Never")(b"", timeout=0.05)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert await once(channel, b"next") == b"next"


@asyncio_test
async def test_cancel_ends_a_call_on_both_sides_and_the_channel_goes_on() -> None:
    handler = Echo()
    async with serving(handler) as address, grpc.aio.insecure_channel(address) as channel:

        async def call() -> object:
            return await channel.unary_unary("/echo/Never")(b"")

        calling = asyncio.create_task(call())
        await asyncio.sleep(0.05)
        calling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calling
        await handler.cancelled.wait()
        assert await once(channel, b"next") == b"next"


@mixed_test
async def test_a_scope_ends_a_call_on_both_sides_and_the_channel_goes_on() -> None:
    handler = Echo()
    async with serving(handler) as address, grpc.aio.insecure_channel(address) as channel:
        with nursery.move_on_after(0.05) as scope:
            await channel.unary_unary("/echo/Never")(b"")
        assert scope.cancelled_caught
        with nursery.fail_after(5):
            await handler.cancelled.wait()
        assert await once(channel, b"next") == b"next"


@mixed_test
async def test_a_scope_ends_a_stream_and_the_channel_goes_on() -> None:
    received: list[bytes] = []
    async with serving(Echo()) as address, grpc.aio.insecure_channel(address) as channel:
        with nursery.CancelScope() as scope:
            async for message in channel.unary_stream("/echo/Count")(b""):
                received.append(message)
                if len(received) == 3:
                    scope.cancel()
        assert scope.cancelled_caught
        assert received == [b"0", b"1", b"2"]
        assert await once(channel, b"next") == b"next"


@mixed_test
async def test_a_handler_opens_a_nursery() -> None:
    class Squares(grpc.GenericRpcHandler):
        def service(self, details: grpc.HandlerCallDetails) -> Any:
            return grpc.unary_stream_rpc_method_handler(self.squares)

        async def squares(self, request: bytes, context: grpc.aio.ServicerContext) -> None:
            sender, receiver = nursery.open_memory_channel[int](0)

            async def work(number: int, results: nursery.MemorySendChannel[int]) -> None:
                async with results:
                    await nursery.sleep(0.001 * number)
                    await results.send(number * number)

            async with nursery.open_nursery() as workers:
                async with sender:
                    for number in range(int(request)):
                        workers.start_soon(work, number, sender.clone())
                async for square in receiver:
                    await context.write(b"%d" % square)
            with nursery.move_on_after(0.01) as scope:
                await asyncio.sleep(10)
            assert scope.cancelled_caught

    async with serving(Squares()) as address, grpc.aio.insecure_channel(address) as channel:
        received = [int(message) async for message in channel.unary_stream("/any/Squares")(b"5")]
    assert sorted(received) == [0, 1, 4, 9, 16]


@mixed_test
async def test_children_of_a_nursery_share_a_channel() -> None:
    answers: list[bytes] = []

    async def child(number: int) -> None:
        answers.append(await once(channel, b"%d" % number))

    async with serving(Echo()) as address, grpc.aio.insecure_channel(address) as channel:
        async with nursery.open_nursery() as children:
            for number in range(20):
                children.start_soon(child, number)
        assert await once(channel, b"next") == b"next"
    assert sorted(answers, key=int) == [b"%d" % number for number in range(20)]


@mixed_test
async def test_a_native_channel_feeds_a_stream() -> None:
    sender, receiver = nursery.open_memory_channel[bytes](0)

    async def produce() -> None:
        async with sender:
            for word in (b"one", b"two", b"three"):
                await nursery.sleep(0.001)
                await sender.send(word)

    async def requests() -> AsyncIterator[bytes]:
        async for word in receiver:
            yield word

    async with serving(Echo()) as address, grpc.aio.insecure_channel(address) as channel:
        async with nursery.open_nursery() as children:
            children.start_soon(produce)
            call = channel.stream_stream("/echo/Each")(requests())
            assert [word async for word in call] == [b"ONE", b"TWO", b"THREE"]
