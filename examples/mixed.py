"""Both dialects in one function: asyncio's streams under nursery's cancel scopes and nurseries.

    python examples/mixed.py
"""

import asyncio

import nursery
from nursery import compat

answered = asyncio.Event()


async def answer_slowly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer the first line at once, and the second one never."""
    writer.write(b"first: " + await reader.readline())
    await reader.read()
    writer.close()
    await writer.wait_closed()
    answered.set()


async def ask(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(b"are you there?\n")
        print((await reader.readline()).decode().rstrip())

        # A native deadline around an asyncio await ...
        with nursery.move_on_after(0.05) as scope:
            await reader.readline()
        print(f"gave up on the second answer: {scope.cancelled_caught}")

        # ... and an asyncio deadline around a native one.
        try:
            async with asyncio.timeout(0.05):
                await nursery.sleep_forever()
        except TimeoutError:
            print("asyncio.timeout() ended a native sleep")
    finally:
        # Clean-up by asyncio's rule: it may await, also in a scope that was cancelled.
        writer.close()
        await writer.wait_closed()
        print("connection closed")


async def main() -> None:
    server = await asyncio.start_server(answer_slowly, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        # Children of a nursery are asyncio tasks, too.
        async with nursery.open_nursery() as children:
            children.start_soon(ask, port)
            children.start_soon(nursery.sleep, 0.01)
        await answered.wait()
    print("done")


if __name__ == "__main__":
    compat.run(main())
