"""An asyncio echo server and its clients: nothing here knows of nursery.

    python examples/echo_asyncio.py                     # asyncio's own loop
    python -m nursery.compat examples/echo_asyncio.py   # nursery's loop
"""

import asyncio

MESSAGES = (b"hello", b"how are you", b"goodbye")


served = asyncio.Semaphore(0)


async def serve_client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send every line back."""
    async for line in reader:
        writer.write(line)
        await writer.drain()
    writer.close()
    await writer.wait_closed()
    served.release()


async def talk(name: str, host: str, port: int) -> int:
    """Say each message and wait for its echo; return how many came back."""
    reader, writer = await asyncio.open_connection(host, port)
    echoed = 0
    try:
        for message in MESSAGES:
            writer.write(message + b"\n")
            answer = await asyncio.wait_for(reader.readline(), timeout=5)
            print(f"{name}: {message.decode()} -> {answer.decode().rstrip()}")
            echoed += answer == message + b"\n"
    finally:
        writer.close()
        await writer.wait_closed()
    return echoed


async def main() -> None:
    server = await asyncio.start_server(serve_client, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    async with server:
        async with asyncio.TaskGroup() as group:
            clients = [group.create_task(talk(name, host, port)) for name in ("first", "second")]
        for _ in clients:
            await served.acquire()
    echoed = sum(client.result() for client in clients)
    print(f"{echoed} messages echoed by {type(asyncio.get_running_loop()).__module__}")


if __name__ == "__main__":
    asyncio.run(main())
