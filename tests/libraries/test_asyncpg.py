"""asyncpg, with a real PostgreSQL."""

from __future__ import annotations

import asyncio
import random

import asyncpg
import pytest

import nursery
from tests.libraries.on_our_loop import asyncio_test, mixed_test
from tests.libraries.postgresql import PostgreSQL


def one_connection(postgresql: PostgreSQL) -> asyncpg.Pool:
    """A pool with one connection: one that is not given back is missed at once."""
    return asyncpg.create_pool(postgresql.url, min_size=1, max_size=1)


async def backend(pool: asyncpg.Pool) -> int:
    """The process that serves the pool's connection."""
    number: int = await pool.fetchval("SELECT pg_backend_pid()")
    return number


@asyncio_test
async def test_rows_come_back(postgresql: PostgreSQL) -> None:
    connection = await asyncpg.connect(postgresql.url)
    rows = await connection.fetch("SELECT n, 'row ' || n AS text FROM generate_series(1, $1) AS n", 1000)
    assert [tuple(row) for row in rows] == [(number, f"row {number}") for number in range(1, 1001)]
    await connection.close()


@asyncio_test
async def test_a_unix_socket(postgresql: PostgreSQL) -> None:
    connection = await asyncpg.connect(
        host=str(postgresql.folder), port=postgresql.port, user=postgresql.user, database=postgresql.database
    )
    assert await connection.fetchval("SELECT inet_client_addr()") is None
    await connection.close()


@asyncio_test
async def test_rows_are_copied_in_and_a_cursor_walks_over_them(postgresql: PostgreSQL) -> None:
    connection = await asyncpg.connect(postgresql.url)
    await connection.execute("CREATE TEMPORARY TABLE t (number integer, text text)")
    records = [(number, "x" * 100) for number in range(20_000)]
    await connection.copy_records_to_table("t", records=records)
    async with connection.transaction():
        seen = [row["number"] async for row in connection.cursor("SELECT number FROM t ORDER BY number")]
    assert seen == list(range(20_000))
    await connection.close()


@asyncio_test
async def test_a_time_limit_of_the_library_frees_the_connection(postgresql: PostgreSQL) -> None:
    async with one_connection(postgresql) as pool:
        with pytest.raises(TimeoutError):
            await pool.fetchval("SELECT pg_sleep(10)", timeout=0.05)
        assert await pool.fetchval("SELECT 1") == 1


@asyncio_test
async def test_notifications_arrive(postgresql: PostgreSQL) -> None:
    heard: asyncio.Queue[str] = asyncio.Queue()

    def listener(connection: object, pid: int, channel: str, payload: object) -> None:
        heard.put_nowait(str(payload))

    async with asyncpg.create_pool(postgresql.url, min_size=2, max_size=2) as pool:
        async with pool.acquire() as connection:
            await connection.add_listener("news", listener)
            for number in range(3):
                await pool.execute(f"NOTIFY news, '{number}'")
            assert [await heard.get() for _ in range(3)] == ["0", "1", "2"]
            await connection.remove_listener("news", listener)


@asyncio_test
async def test_cancel_ends_a_query_and_its_connection_goes_on(postgresql: PostgreSQL) -> None:
    async with one_connection(postgresql) as pool:
        before = await backend(pool)
        query = asyncio.create_task(pool.fetchval("SELECT pg_sleep(10)"))
        await asyncio.sleep(0.03)
        query.cancel()
        with pytest.raises(asyncio.CancelledError):
            await query
        # The very same: the library asked the server to cancel, and waited for it.
        assert await backend(pool) == before


@mixed_test
async def test_a_scope_ends_a_query_and_its_connection_goes_on(postgresql: PostgreSQL) -> None:
    async with one_connection(postgresql) as pool:
        before = await backend(pool)
        for _ in range(3):
            with nursery.move_on_after(0.02) as scope:
                await pool.fetchval("SELECT pg_sleep(10)")
            assert scope.cancelled_caught
            assert await backend(pool) == before


@mixed_test
async def test_a_query_cut_off_at_any_point_gives_its_connection_back(postgresql: PostgreSQL) -> None:
    async def cancel_later(scope: nursery.CancelScope, turns: int) -> None:
        for _ in range(turns):
            await asyncio.sleep(0)
        scope.cancel()

    async with one_connection(postgresql) as pool:
        for turns in [*range(15), 30, 60, 120, random.randrange(500)]:
            async with nursery.open_nursery() as children:
                with nursery.CancelScope() as scope:
                    children.start_soon(cancel_later, scope, turns)
                    async with pool.acquire() as connection, connection.transaction():
                        await connection.fetch("SELECT n FROM generate_series(1, 100) AS n")
            with nursery.fail_after(5):
                assert await pool.fetchval("SELECT 1") == 1
                # And no transaction was left open in it: time would stand still there.
                assert await pool.fetchval("SELECT now()") < await pool.fetchval("SELECT now()")


@mixed_test
async def test_a_scope_ends_the_wait_for_a_connection(postgresql: PostgreSQL) -> None:
    async with one_connection(postgresql) as pool:
        async with pool.acquire():
            with nursery.move_on_after(0.02) as scope:
                await pool.fetchval("SELECT 1")
            assert scope.cancelled_caught
        assert pool.get_idle_size() == 1
        assert await pool.fetchval("SELECT 1") == 1


@mixed_test
async def test_a_transaction_in_a_cancelled_scope_is_rolled_back(postgresql: PostgreSQL) -> None:
    async with one_connection(postgresql) as pool, pool.acquire() as connection:
        await connection.execute("CREATE TEMPORARY TABLE t (number integer)")
        with nursery.move_on_after(0.02) as native:
            async with connection.transaction():
                await connection.execute("INSERT INTO t VALUES (1)")
                await nursery.sleep_forever()
        assert native.cancelled_caught
        with nursery.move_on_after(0.02) as foreign:
            async with connection.transaction():
                await connection.execute("INSERT INTO t VALUES (2)")
                await connection.execute("SELECT pg_sleep(10)")
        assert foreign.cancelled_caught
        assert await connection.fetchval("SELECT count(*) FROM t") == 0


@mixed_test
async def test_children_of_a_nursery_share_a_pool(postgresql: PostgreSQL) -> None:
    answers: list[int] = []

    async def child(number: int) -> None:
        async with pool.acquire() as connection, connection.transaction():
            answers.append(await connection.fetchval("SELECT $1::int * 2", number))

    async with asyncpg.create_pool(postgresql.url, min_size=1, max_size=3) as pool:
        async with nursery.open_nursery() as children:
            for number in range(30):
                children.start_soon(child, number)
        assert sorted(answers) == [2 * number for number in range(30)]
        assert pool.get_idle_size() == pool.get_size()


@mixed_test
async def test_a_childs_failure_ends_the_queries_of_the_others(postgresql: PostgreSQL) -> None:
    async with asyncpg.create_pool(postgresql.url, min_size=4, max_size=4) as pool:
        with pytest.RaisesGroup(asyncpg.DivisionByZeroError):
            async with nursery.open_nursery() as children:
                for _ in range(3):
                    children.start_soon(pool.fetchval, "SELECT pg_sleep(10)")
                await nursery.sleep(0.02)
                children.start_soon(pool.fetchval, "SELECT 1/0")
        # The server was told: nobody sleeps there any more.
        asleep = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query = 'SELECT pg_sleep(10)'"
        assert await pool.fetchval(asleep) == 0
        assert pool.get_idle_size() == 4


@mixed_test
async def test_rows_and_notifications_go_through_native_channels(postgresql: PostgreSQL) -> None:
    sender, receiver = nursery.open_memory_channel[str](100)

    def listener(connection: object, pid: int, channel: str, payload: object) -> None:
        # A callback of the loop, no task: the channel's synchronous half will do.
        sender.send_nowait(str(payload))

    async def publish() -> None:
        for number in range(5):
            await pool.execute("SELECT pg_notify('events', $1)", f"event {number}")

    async with asyncpg.create_pool(postgresql.url, min_size=2, max_size=2) as pool:
        async with pool.acquire() as connection:
            await connection.add_listener("events", listener)
            with nursery.fail_after(5):
                async with nursery.open_nursery() as children:
                    children.start_soon(publish)
                    heard = [await receiver.receive() for _ in range(5)]
            await connection.remove_listener("events", listener)
    assert heard == [f"event {number}" for number in range(5)]
