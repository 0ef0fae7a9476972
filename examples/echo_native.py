"""A native echo server and its clients, in one program: `python examples/echo_native.py`.

The server lives exactly as long as the nursery around it; when the clients are done the scope is cancelled, and with it
every connection is closed.
"""

from __future__ import annotations

import nursery


async def echo(stream: nursery.SocketStream) -> None:
    async for chunk in stream:
        await stream.send_all(chunk)


async def client(number: int, port: int, replies: nursery.MemorySendChannel[str]) -> None:
    async with replies, await nursery.open_tcp_stream("127.0.0.1", port) as stream:
        for word in ("hello", "nursery", "goodbye"):
            message = f"{number}: {word}".encode()
            await stream.send_all(message)
            received = b""
            while len(received) < len(message):
                received += await stream.receive_some()
            await replies.send(received.decode())


async def main() -> None:
    with nursery.fail_after(10):
        async with nursery.open_nursery() as server:
            listeners = await server.start(nursery.serve_tcp, echo, 0)
            port = listeners[0].socket.getsockname()[1]
            sender, receiver = nursery.open_memory_channel[str](0)
            async with nursery.open_nursery() as clients:
                async with sender:
                    for number in range(3):
                        clients.start_soon(client, number, port, sender.clone())
                echoed = [reply async for reply in receiver]
            server.cancel_scope.cancel("the clients are done")
    assert len(echoed) == 9, echoed
    for reply in sorted(echoed):
        print(reply)
    print(f"{len(echoed)} messages came back")


if __name__ == "__main__":
    nursery.run(main)
