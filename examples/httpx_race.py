"""A native program that calls httpx directly: the first mirror to answer wins, and the others are cancelled.

    python examples/httpx_race.py

Three mirrors run in threads of their own, and two of them take their time. `compat.open_loop()` makes asyncio libraries
at home in a native run: httpx does not know that the tasks calling it are children of a nursery, and its pool is as
good after the race as before.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx

import nursery
from nursery import compat

DELAYS = {"north": 5.0, "south": 0.05, "west": 5.0}


class Mirror(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        name = self.path.strip("/")
        time.sleep(DELAYS.get(name, 0))
        body = f"the file, from {name}".encode()
        try:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except ConnectionError:
            pass  # The client has gone: another mirror was faster.

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def mirrors() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Mirror) as server:
        # Do not wait for those who sleep.
        server.block_on_close = False
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


async def race(client: httpx.AsyncClient, urls: list[str]) -> str:
    """Return the first answer; the other requests are cancelled before this returns."""
    sender, receiver = nursery.open_memory_channel[str](0)

    async def ask(url: str) -> None:
        response = await client.get(url)
        await sender.send(response.text)

    async with nursery.open_nursery() as children:
        for url in urls:
            children.start_soon(ask, url)
        answer = await receiver.receive()
        children.cancel_scope.cancel("another mirror was faster")
    return answer


async def main(base: str) -> None:
    limits = httpx.Limits(max_connections=len(DELAYS))
    async with compat.open_loop(), httpx.AsyncClient(limits=limits, timeout=10) as client:
        print(await race(client, [f"{base}/{name}" for name in DELAYS]))

        # A deadline around a call of the library ...
        with nursery.move_on_after(0.05) as scope:
            await client.get(f"{base}/north")
        print(f"gave up on the north: {scope.cancelled_caught}")

        # ... and every connection of the pool is there for the next ones.
        with nursery.fail_after(5):
            async with nursery.open_nursery() as children:
                for _ in DELAYS:
                    children.start_soon(client.get, f"{base}/anyone")
        print("the pool goes on")


if __name__ == "__main__":
    with mirrors() as base:
        nursery.run(main, base)
