"""redis-py's asyncio client, with a real Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import redis.asyncio
import redis.asyncio.lock
import redis.exceptions

import nursery
from tests.libraries.on_our_loop import asyncio_test, mixed_test
from tests.libraries.redis_server import Redis


@asynccontextmanager
async def client(server: Redis, connections: int = 1) -> AsyncIterator[redis.asyncio.Redis]:
    """A client of an empty database; whoever finds its pool empty waits."""
    pool = redis.asyncio.BlockingConnectionPool(
        host="127.0.0.1", port=server.port, max_connections=connections, timeout=5, decode_responses=True
    )
    async with redis.asyncio.Redis(connection_pool=pool) as made:
        await made.flushdb()
        yield made
    await pool.disconnect()


@asyncio_test
async def test_values_lists_and_pipelines(redis_server: Redis) -> None:
    async with client(redis_server) as r:
        await r.set("key", "value")
        assert await r.get("key") == "value"
        async with r.pipeline(transaction=True) as pipe:
            for number in range(100):
                pipe.rpush("list", number)
            assert (await pipe.execute())[-1] == 100
        assert await r.lrange("list", 0, -1) == [str(number) for number in range(100)]
        with pytest.raises(redis.exceptions.ResponseError):
            await r.incr("key")


@asyncio_test
async def test_a_large_value_comes_back_whole(redis_server: Redis) -> None:
    value = "0123456789" * 300_000
    async with client(redis_server) as r:
        await r.set("key", value)
        assert await r.get("key") == value


@asyncio_test
async def test_a_unix_socket(redis_server: Redis) -> None:
    async with redis.asyncio.Redis(unix_socket_path=str(redis_server.unix_socket)) as r:
        assert await r.ping()


@asyncio_test
async def test_a_subscriber_hears(redis_server: Redis) -> None:
    async with client(redis_server, connections=2) as r, r.pubsub(ignore_subscribe_messages=True) as subscriber:
        await subscriber.subscribe("news")
        # The subscription itself.
        assert await subscriber.get_message(timeout=1) is None
        await r.publish("news", "hello")
        message = await subscriber.get_message(timeout=1)
        assert message is not None
        assert message["data"] == "hello"
        assert await subscriber.get_message(timeout=0.01) is None


@asyncio_test
async def test_a_lock_excludes(redis_server: Redis) -> None:
    inside = 0

    async def enter() -> None:
        nonlocal inside
        async with r.lock("lock", timeout=5, sleep=0.001):
            inside += 1
            assert inside == 1
            await asyncio.sleep(0.001)
            inside -= 1

    async with client(redis_server, connections=3) as r:
        await asyncio.gather(*(enter() for _ in range(5)))


@asyncio_test
async def test_cancel_ends_a_blocking_command_and_the_pool_goes_on(redis_server: Redis) -> None:
    async with client(redis_server) as r:
        waiting = asyncio.create_task(r.blpop("nothing", timeout=10))
        await asyncio.sleep(0.02)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await r.set("key", "value")
        assert await r.get("key") == "value"


@mixed_test
async def test_a_scope_ends_a_blocking_command_and_the_pool_goes_on(redis_server: Redis) -> None:
    async with client(redis_server) as r:
        for number in range(3):
            with nursery.move_on_after(0.02) as scope:
                await r.blpop("nothing", timeout=10)
            assert scope.cancelled_caught
            await r.set("key", number)
            assert await r.get("key") == str(number)


@mixed_test
async def test_a_command_cut_off_at_any_point_never_hands_its_answer_to_the_next_one(redis_server: Redis) -> None:
    async def cancel_later(scope: nursery.CancelScope, turns: int) -> None:
        for _ in range(turns):
            await asyncio.sleep(0)
        scope.cancel()

    async with client(redis_server) as r:
        await r.set("old", "old")
        for turns in [*range(15), 30, 60, 120]:
            async with nursery.open_nursery() as children:
                with nursery.CancelScope() as scope:
                    children.start_soon(cancel_later, scope, turns)
                    await r.get("old")
            with nursery.fail_after(5):
                assert await r.echo(f"turn {turns}") == f"turn {turns}"


@mixed_test
async def test_a_scope_ends_the_wait_for_a_connection(redis_server: Redis) -> None:
    async with client(redis_server, connections=1) as r:
        async with nursery.open_nursery() as children:
            children.start_soon(r.blpop, "list", 10)
            await nursery.sleep(0.02)
            with nursery.move_on_after(0.02) as scope:
                await r.ping()
            assert scope.cancelled_caught
            children.cancel_scope.cancel()
        assert await r.ping()


@mixed_test
async def test_children_of_a_nursery_share_a_pool(redis_server: Redis) -> None:
    async def add() -> None:
        for _ in range(10):
            await r.incr("counter")

    async with client(redis_server, connections=3) as r:
        async with nursery.open_nursery() as children:
            for _ in range(10):
                children.start_soon(add)
        assert await r.get("counter") == "100"


@mixed_test
async def test_a_lock_is_released_in_a_cancelled_scope(redis_server: Redis) -> None:
    async with client(redis_server, connections=2) as r:
        with nursery.move_on_after(0.02) as scope:
            async with r.lock("lock", timeout=10):
                await nursery.sleep_forever()
        assert scope.cancelled_caught
        assert await r.exists("lock") == 0


@mixed_test
async def test_a_subscription_feeds_a_native_channel(redis_server: Redis) -> None:
    sender, receiver = nursery.open_memory_channel[str](0)

    async def listen(task_status: nursery.TaskStatus[None] = nursery.TASK_STATUS_IGNORED) -> None:
        async with sender, r.pubsub() as subscriber:
            await subscriber.subscribe("events")
            async for message in subscriber.listen():
                if message["type"] == "subscribe":
                    task_status.started()
                else:
                    await sender.send(message["data"])

    async with client(redis_server, connections=2) as r:
        with nursery.fail_after(5):
            async with nursery.open_nursery() as children:
                await children.start(listen)
                for number in range(5):
                    await r.publish("events", f"event {number}")
                heard = [await receiver.receive() for _ in range(5)]
                children.cancel_scope.cancel()
        assert await r.ping()
    assert heard == [f"event {number}" for number in range(5)]
