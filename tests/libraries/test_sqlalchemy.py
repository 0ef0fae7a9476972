"""SQLAlchemy's asyncio extension: its synchronous core runs in greenlets, which await through the task."""

# mypy: allow-subclassing-any, allow-untyped-decorators
# To the type checker everything of the libraries is Any, installed or not.

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiosqlite
import asyncpg
import greenlet
import pytest
from sqlalchemy import ForeignKey, func, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncAttrs, AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

import nursery
from tests.libraries.on_our_loop import asyncio_test, mixed_test
from tests.libraries.postgresql import PostgreSQL

assert aiosqlite
assert asyncpg
assert greenlet


class Model(AsyncAttrs, DeclarativeBase):
    pass


class Author(Model):
    __tablename__ = "author"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    books: Mapped[list[Book]] = relationship()


class Book(Model):
    __tablename__ = "book"

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    author_id: Mapped[int] = mapped_column(ForeignKey("author.id"))


@asynccontextmanager
async def database(postgresql: PostgreSQL, connections: int = 1) -> AsyncIterator[AsyncEngine]:
    """An engine with empty tables, and a pool of a fixed size."""
    url = postgresql.url.replace("postgresql:", "postgresql+asyncpg:")
    engine = create_async_engine(url, pool_size=connections, max_overflow=0, pool_timeout=5)
    async with engine.begin() as connection:
        await connection.run_sync(Model.metadata.create_all)
    try:
        yield engine
    finally:
        async with engine.begin() as connection:
            await connection.run_sync(Model.metadata.drop_all)
        await engine.dispose()


def checked_out(engine: AsyncEngine) -> int:
    pool: Any = engine.pool
    number: int = pool.checkedout()
    return number


async def count_authors(engine: AsyncEngine) -> int:
    async with AsyncSession(engine) as session:
        number: int = await session.scalar(select(func.count()).select_from(Author))
        return number


@asyncio_test
async def test_objects_are_stored_and_loaded(postgresql: PostgreSQL) -> None:
    async with database(postgresql) as engine:
        sessions = async_sessionmaker(engine)
        async with sessions() as session, session.begin():
            session.add(Author(name="Le Guin", books=[Book(title="The Dispossessed"), Book(title="Lavinia")]))
        async with sessions() as session:
            author = await session.scalar(select(Author))
            # Loaded lazily, by an await in a greenlet.
            books = await author.awaitable_attrs.books
            assert {book.title for book in books} == {"The Dispossessed", "Lavinia"}


@asyncio_test
async def test_an_error_rolls_back_and_the_pool_goes_on(postgresql: PostgreSQL) -> None:
    async with database(postgresql) as engine:
        with pytest.raises(IntegrityError):
            async with AsyncSession(engine) as session, session.begin():
                session.add_all([Author(name="twice"), Author(name="twice")])
        assert await count_authors(engine) == 0


@asyncio_test
async def test_sqlite(tmp_path: object) -> None:
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/db")
    async with engine.begin() as connection:
        await connection.run_sync(Model.metadata.create_all)
    async with AsyncSession(engine) as session, session.begin():
        session.add_all(Author(name=f"author {number}") for number in range(10))
    assert await count_authors(engine) == 10
    await engine.dispose()


@asyncio_test
async def test_cancel_ends_a_query_and_the_pool_goes_on(postgresql: PostgreSQL) -> None:
    async with database(postgresql) as engine:

        async def slow() -> None:
            async with AsyncSession(engine) as session, session.begin():
                session.add(Author(name="never"))
                await session.flush()
                await session.execute(text("SELECT pg_sleep(10)"))

        query = asyncio.create_task(slow())
        await asyncio.sleep(0.1)
        query.cancel()
        with pytest.raises(asyncio.CancelledError):
            await query
        assert checked_out(engine) == 0
        assert await count_authors(engine) == 0


@mixed_test
async def test_a_scope_ends_a_query_and_the_pool_goes_on(postgresql: PostgreSQL) -> None:
    async with database(postgresql) as engine:
        for _ in range(2):
            with nursery.move_on_after(0.05) as scope:
                async with AsyncSession(engine) as session, session.begin():
                    session.add(Author(name="never"))
                    await session.flush()
                    await session.execute(text("SELECT pg_sleep(10)"))
            assert scope.cancelled_caught
            assert checked_out(engine) == 0
            assert await count_authors(engine) == 0


@mixed_test
async def test_native_code_in_a_transaction_is_cut_off_and_the_transaction_rolled_back(postgresql: PostgreSQL) -> None:
    async with database(postgresql) as engine:
        with nursery.move_on_after(0.05) as scope:
            async with AsyncSession(engine) as session, session.begin():
                session.add(Author(name="never"))
                await session.flush()
                await nursery.sleep_forever()
        assert scope.cancelled_caught
        assert checked_out(engine) == 0
        assert await count_authors(engine) == 0


@mixed_test
async def test_a_scope_ends_the_wait_for_a_connection(postgresql: PostgreSQL) -> None:
    async with database(postgresql) as engine:
        async with engine.connect() as connection:
            await connection.execute(text("SELECT 1"))
            with nursery.move_on_after(0.02) as scope:
                await count_authors(engine)
            assert scope.cancelled_caught
        assert await count_authors(engine) == 0
        assert checked_out(engine) == 0


@mixed_test
async def test_children_of_a_nursery_share_an_engine(postgresql: PostgreSQL) -> None:
    async def store(number: int) -> None:
        async with AsyncSession(engine) as session, session.begin():
            session.add(Author(name=f"author {number}"))

    async with database(postgresql, connections=3) as engine:
        async with nursery.open_nursery() as children:
            for number in range(15):
                children.start_soon(store, number)
        assert await count_authors(engine) == 15
        assert checked_out(engine) == 0


@mixed_test
async def test_rows_are_streamed_through_a_native_channel(postgresql: PostgreSQL) -> None:
    sender, receiver = nursery.open_memory_channel[int](0)

    async def produce() -> None:
        async with sender, engine.connect() as connection:
            async for row in await connection.stream(text("SELECT * FROM generate_series(1, 1000000)")):
                await sender.send(row[0])

    received: list[int] = []
    async with database(postgresql) as engine:
        async with nursery.open_nursery() as children:
            children.start_soon(produce)
            async for number in receiver:
                received.append(number)
                if number == 5:
                    children.cancel_scope.cancel()
        assert received == [1, 2, 3, 4, 5]
        assert checked_out(engine) == 0
        assert await count_authors(engine) == 0
