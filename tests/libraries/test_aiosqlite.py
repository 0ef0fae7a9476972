"""aiosqlite: a thread of its own behind each connection, answering through call_soon_threadsafe."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import aiosqlite
import pytest

import nursery
from tests.libraries.on_our_loop import asyncio_test, mixed_test

# Counts to a billion: no test waits for its end.
ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000000) SELECT max(i) FROM n"


async def numbers(database: aiosqlite.Connection) -> list[int]:
    async with database.execute("SELECT number FROM t ORDER BY number") as cursor:
        return [row[0] async for row in cursor]


@asyncio_test
async def test_rows_come_back(tmp_path: Path) -> None:
    async with aiosqlite.connect(tmp_path / "db") as database:
        await database.execute("CREATE TABLE t (number INTEGER)")
        await database.executemany("INSERT INTO t VALUES (?)", [(number,) for number in range(100)])
        await database.commit()
    async with aiosqlite.connect(tmp_path / "db") as database:
        assert await numbers(database) == list(range(100))


@asyncio_test
async def test_an_error_of_the_thread_is_raised_at_the_await() -> None:
    async with aiosqlite.connect(":memory:") as database:
        with pytest.raises(sqlite3.OperationalError, match="no such table"):
            await database.execute("SELECT * FROM nowhere")


@asyncio_test
async def test_cancel_ends_a_query_and_the_connection_goes_on() -> None:
    async with aiosqlite.connect(":memory:") as database:
        query = asyncio.create_task(database.execute_fetchall(ENDLESS))
        await asyncio.sleep(0.02)
        query.cancel()
        with pytest.raises(asyncio.CancelledError):
            await query
        await database.interrupt()
        assert await database.execute_fetchall("SELECT 1") == [(1,)]


@mixed_test
async def test_a_scope_ends_a_query_and_the_connection_goes_on() -> None:
    async with aiosqlite.connect(":memory:") as database:
        with nursery.move_on_after(0.02) as scope:
            await database.execute_fetchall(ENDLESS)
        assert scope.cancelled_caught
        await database.interrupt()
        assert await database.execute_fetchall("SELECT 1") == [(1,)]


@mixed_test
async def test_a_transaction_in_a_cancelled_scope_is_rolled_back() -> None:
    async with aiosqlite.connect(":memory:") as database:
        await database.execute("CREATE TABLE t (number INTEGER)")
        with nursery.move_on_after(0.02) as scope:
            await database.execute("INSERT INTO t VALUES (1)")
            try:
                await nursery.sleep_forever()
            finally:
                # asyncio code in a scope that was cancelled: it was interrupted already, now it may clean up.
                await database.rollback()
        assert scope.cancelled_caught
        assert await numbers(database) == []


@mixed_test
async def test_children_of_a_nursery_share_a_connection() -> None:
    async with aiosqlite.connect(":memory:") as database:
        await database.execute("CREATE TABLE t (number INTEGER)")

        async def insert(number: int) -> None:
            await database.execute("INSERT INTO t VALUES (?)", (number,))

        async with nursery.open_nursery() as children:
            for number in range(20):
                children.start_soon(insert, number)
        assert await numbers(database) == list(range(20))


@mixed_test
async def test_rows_go_through_a_native_channel() -> None:
    sender, receiver = nursery.open_memory_channel[int](0)

    async def produce() -> None:
        async with sender, aiosqlite.connect(":memory:") as database:
            async with database.execute(f"{ENDLESS.replace('max(i)', 'i')}") as cursor:
                async for row in cursor:
                    await sender.send(row[0])

    received: list[int] = []
    async with nursery.open_nursery() as children:
        children.start_soon(produce)
        async for number in receiver:
            received.append(number)
            if number == 5:
                children.cancel_scope.cancel()
    assert received == [1, 2, 3, 4, 5]
