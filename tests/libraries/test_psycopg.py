"""psycopg, with a real PostgreSQL: it waits by add_reader and add_writer, for one event at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
import psycopg.errors
import psycopg_pool
import pytest

import nursery
from tests.libraries.on_our_loop import asyncio_test, mixed_test
from tests.libraries.postgresql import PostgreSQL


@asynccontextmanager
async def pool_of(postgresql: PostgreSQL, connections: int = 1) -> AsyncIterator[psycopg_pool.AsyncConnectionPool]:
    """A pool of a fixed size: a connection that is not given back is missed at once."""
    async with psycopg_pool.AsyncConnectionPool(
        postgresql.url, min_size=connections, max_size=connections, open=False, timeout=5
    ) as pool:
        yield pool


async def value(pool: psycopg_pool.AsyncConnectionPool, query: str, *parameters: object) -> object:
    async with pool.connection() as connection:
        cursor = await connection.execute(query, parameters)
        row = await cursor.fetchone()
        result: object = row[0]
        return result


@asyncio_test
async def test_rows_come_back_and_are_copied_out(postgresql: PostgreSQL) -> None:
    async with pool_of(postgresql) as pool, pool.connection() as connection:
        cursor = await connection.execute("SELECT * FROM generate_series(1, 1000)")
        assert [row[0] async for row in cursor] == list(range(1, 1001))
        async with cursor.copy("COPY (SELECT * FROM generate_series(1, 50000)) TO STDOUT") as copy:
            assert len([row async for row in copy.rows()]) == 50_000


@asyncio_test
async def test_notifications_arrive(postgresql: PostgreSQL) -> None:
    async with await psycopg.AsyncConnection.connect(postgresql.url, autocommit=True) as connection:
        await connection.execute("LISTEN news")
        async with await psycopg.AsyncConnection.connect(postgresql.url, autocommit=True) as other:
            for number in range(3):
                await other.execute(f"NOTIFY news, '{number}'")
        heard = [notify.payload async for notify in connection.notifies(timeout=5, stop_after=3)]
    assert heard == ["0", "1", "2"]


@asyncio_test
async def test_cancel_ends_a_query_and_the_pool_goes_on(postgresql: PostgreSQL) -> None:
    async with pool_of(postgresql) as pool:
        query = asyncio.create_task(value(pool, "SELECT pg_sleep(10)"))
        await asyncio.sleep(0.05)
        query.cancel()
        with pytest.raises(asyncio.CancelledError):
            await query
        assert await value(pool, "SELECT 1") == 1


@mixed_test
async def test_a_scope_ends_a_query_and_the_pool_goes_on(postgresql: PostgreSQL) -> None:
    async with pool_of(postgresql) as pool:
        for number in range(3):
            with nursery.move_on_after(0.03) as scope:
                await value(pool, "SELECT pg_sleep(10)")
            assert scope.cancelled_caught
            assert await value(pool, "SELECT %s::int", number) == number


@mixed_test
async def test_a_transaction_in_a_cancelled_scope_is_rolled_back(postgresql: PostgreSQL) -> None:
    async with await psycopg.AsyncConnection.connect(postgresql.url, autocommit=True) as connection:
        await connection.execute("CREATE TEMPORARY TABLE t (number integer)")
        with nursery.move_on_after(0.03) as scope:
            async with connection.transaction():
                await connection.execute("INSERT INTO t VALUES (1)")
                await nursery.sleep_forever()
        assert scope.cancelled_caught
        cursor = await connection.execute("SELECT count(*) FROM t")
        assert await cursor.fetchone() == (0,)


@mixed_test
async def test_children_of_a_nursery_share_a_pool(postgresql: PostgreSQL) -> None:
    answers: list[object] = []

    async def child(number: int) -> None:
        answers.append(await value(pool, "SELECT %s::int * 2", number))

    async with pool_of(postgresql, connections=3) as pool:
        async with nursery.open_nursery() as children:
            for number in range(20):
                children.start_soon(child, number)
        assert await value(pool, "SELECT 1") == 1
    assert sorted(map(str, answers)) == sorted(str(2 * number) for number in range(20))
