"""An asyncio program with one line changed: its imports.

    python examples/facade.py

Everything below is asyncio as documented, down to the queue that is shut down (Python 3.13; here on 3.11 as well). What
it gets is structure: with `strict=True` a background task that fails and that nobody awaits ends the run with its
error, and does not only say so on the way out; every other task is cancelled first, and cleans up.
"""

from nursery import compat as asyncio


async def price(name: str) -> int:
    """Look something up, by blocking code."""
    await asyncio.sleep(0.001)
    return await asyncio.to_thread(len, name)


async def clerk(orders: asyncio.Queue[str], total: dict[str, int]) -> None:
    try:
        while True:
            name = await orders.get()
            async with asyncio.timeout(1):
                total[name] = await price(name)
    except asyncio.QueueShutDown:
        pass


async def shop() -> dict[str, int]:
    """Two clerks work off the orders; leaving the group waits for both."""
    orders: asyncio.Queue[str] = asyncio.Queue(2)
    total: dict[str, int] = {}
    async with asyncio.TaskGroup() as group:
        for _ in range(2):
            group.create_task(clerk(orders, total))
        for name in ("tea", "bread", "cheese"):
            await orders.put(name)
        orders.shutdown()
    return total


async def audit() -> None:
    await asyncio.sleep(0.01)
    raise ValueError("the books do not balance")


async def lamp() -> None:
    try:
        await asyncio.sleep(3600)
    finally:
        print("the light is switched off")


async def main() -> None:
    print(sorted((await shop()).items()))
    background = [asyncio.create_task(audit()), asyncio.create_task(lamp())]
    # Nobody looks at them again ...
    del background
    await asyncio.sleep(3600)


if __name__ == "__main__":
    try:
        asyncio.run(main(), strict=True)
    except* ValueError as failures:
        # ... and still nothing is lost, and nobody waits for an hour.
        print(f"ended by: {failures.exceptions[0]}")
