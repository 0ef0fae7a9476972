"""HTTP peers that know nothing of any event loop: the standard library's server in threads, and its client."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


class Pages(BaseHTTPRequestHandler):
    """/hello answers; /slow waits until its client has gone or it is released; a POST is sent back."""

    protocol_version = "HTTP/1.1"
    server: Server

    def setup(self) -> None:
        super().setup()
        self.server.accepted += 1

    def do_GET(self) -> None:
        if self.path == "/slow":
            self.server.slow_requests.release()
            self.server.released.wait(20)
        self.answer(f"hello from {self.path}".encode())

    def do_POST(self) -> None:
        self.answer(self.rfile.read(int(self.headers["Content-Length"])))

    def answer(self, body: bytes) -> None:
        try:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except ConnectionError:
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Pages)
        self.accepted = 0
        self.slow_requests = threading.Semaphore(0)
        self.released = threading.Event()

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: clients that go away are what the tests are about."""


@dataclass
class ForeignServer:
    """The server, seen from the test."""

    server: Server = field(repr=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    @property
    def accepted(self) -> int:
        """How many connections were accepted so far."""
        return self.server.accepted


@pytest.fixture
def foreign_server() -> Iterator[ForeignServer]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield ForeignServer(server)
        server.released.set()
        server.shutdown()
        thread.join()


def fetch(port: int, path: str) -> bytes:
    """Get a page by the standard library's client, which blocks: for threads."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        return connection.getresponse().read()
    finally:
        connection.close()
