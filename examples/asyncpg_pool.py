"""Native tasks and an asyncpg pool: a queue of jobs in PostgreSQL, worked off by the children of a nursery.

    python examples/asyncpg_pool.py postgresql://user@127.0.0.1/database

Each worker takes a job in a transaction. The first job that fails cancels the other workers: the server is told to end
their queries, their transactions are rolled back, and the pool has all its connections back.
"""

import sys

import asyncpg

import nursery
from nursery import compat

TAKE = """
    DELETE FROM job WHERE id = (SELECT min(id) FROM (SELECT id FROM job ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED) j)
    RETURNING id, statement
"""


async def work(pool: asyncpg.Pool, done: list[int]) -> None:
    """Take jobs and do them, until there are none."""
    async with pool.acquire() as connection:
        while True:
            async with connection.transaction():
                job = await connection.fetchrow(TAKE)
                if job is None:
                    return
                await connection.execute(job["statement"])
            done.append(job["id"])


async def work_off(pool: asyncpg.Pool, statements: list[str]) -> list[int]:
    """Do the jobs with three workers; return which ones were done."""
    await pool.executemany("INSERT INTO job (statement) VALUES ($1)", [(statement,) for statement in statements])
    done: list[int] = []
    try:
        async with nursery.open_nursery() as workers:
            for _ in range(3):
                workers.start_soon(work, pool, done)
    except* asyncpg.PostgresError as failures:
        print(f"failed: {failures.exceptions[0]}")
    return sorted(done)


async def main(url: str) -> None:
    async with asyncpg.create_pool(url, min_size=4, max_size=4) as pool:
        await pool.execute("DROP TABLE IF EXISTS job")
        await pool.execute("CREATE TABLE job (id serial PRIMARY KEY, statement text)")
        print(f"done: {await work_off(pool, ['SELECT pg_sleep(0.001)'] * 6)}")
        print(f"done: {await work_off(pool, ['SELECT pg_sleep(60)', 'SELECT pg_sleep(60)', 'SELECT 1/0'])}")
        print(f"left: {[row['id'] for row in await pool.fetch('SELECT id FROM job ORDER BY id')]}")
        print(f"idle connections: {pool.get_idle_size()} of {pool.get_size()}")
        await pool.execute("DROP TABLE job")


if __name__ == "__main__":
    compat.run(main(sys.argv[1]))
