"""When one machine is too small: native tasks hold the work, a Dask cluster does it.

    dask scheduler --host 127.0.0.1 --port 8786 &
    dask worker tcp://127.0.0.1:8786 &
    python examples/dask_client.py tcp://127.0.0.1:8786

The children of a nursery wait for the cluster's results and send them on, as they come, through a native channel; a
deadline around all of it gives up what is not there in time.
"""

import sys
import time

from distributed import Client

import nursery
from nursery import compat


def count_primes(first: int, last: int) -> int:
    """What the cluster is for: it runs in a worker's process."""
    return sum(all(number % divisor for divisor in range(2, int(number**0.5) + 1)) for number in range(first, last))


async def main(address: str) -> None:
    async with compat.open_loop(), Client(address, asynchronous=True) as cluster:
        sender, receiver = nursery.open_memory_channel[int](0)

        async def ask(first: int, results: nursery.MemorySendChannel[int]) -> None:
            async with results:
                await results.send(await cluster.submit(count_primes, first, first + 1000))

        total = 0
        with nursery.fail_after(30):
            async with nursery.open_nursery() as children:
                async with sender:
                    for first in range(2, 10_000, 1000):
                        children.start_soon(ask, first, sender.clone())
                async for primes in receiver:
                    total += primes
        print(f"{total} primes below 10002")

        with nursery.move_on_after(0.1) as scope:
            await cluster.submit(time.sleep, 1)
        print(f"gave up on the rest: {scope.cancelled_caught}")


if __name__ == "__main__":
    nursery.run(main, sys.argv[1])
