"""Streams, servers and subprocesses."""

# mypy: disable-error-code="unused-awaitable"

import asyncio
import asyncio.subprocess
import signal
import socket
import ssl
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, assert_type

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    peer: tuple[str, int] = writer.get_extra_info("peername")
    try:
        while line := await reader.readline():
            assert_type(line, bytes)
            writer.write(line)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionResetError) as exc:
        print(peer, exc)
    finally:
        writer.close()
        await writer.wait_closed()


def handle_at_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"bye")
    writer.close()
    reader.feed_eof()


class Chat:
    def __init__(self) -> None:
        self.writers: set[asyncio.StreamWriter] = set()
        self.server: asyncio.Server | None = None

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.add(writer)
        async for line in reader:
            for each in self.writers:
                each.writelines([line, b"\n"])
        self.writers.discard(writer)

    async def serve(self, handler: Handler | None = None) -> None:
        self.server = await asyncio.start_server(handler or self, host="localhost", port=0, limit=2**12)
        async with self.server as server:
            assert_type(server, asyncio.Server)
            address = server.sockets[0].getsockname()
            print(address)
            await server.serve_forever()


async def server() -> None:
    listening = await asyncio.start_server(handle, "127.0.0.1", 8888, backlog=5, ssl=ssl.create_default_context())
    assert_type(listening, asyncio.Server)
    assert_type(listening.is_serving(), bool)
    assert_type(listening.get_loop(), asyncio.AbstractEventLoop)
    abstract: asyncio.AbstractServer = listening
    abstract.close()
    await listening.start_serving()
    listening.close()
    await listening.wait_closed()
    assert_type(await asyncio.start_server(handle_at_once, None, 0), asyncio.Server)
    if sys.platform != "win32":
        assert_type(await asyncio.start_unix_server(handle, path=Path("/tmp/x")), asyncio.Server)


async def client() -> bytes:
    reader, writer = await asyncio.open_connection("localhost", 80, limit=2**20)
    assert_type(reader, asyncio.StreamReader)
    assert_type(writer, asyncio.StreamWriter)
    writer.write(b"GET / HTTP/1.0\r\n\r\n")
    if writer.can_write_eof():
        writer.write_eof()
    await writer.drain()
    assert_type(await reader.read(), bytes)
    assert_type(await reader.read(100), bytes)
    assert_type(await reader.readexactly(4), bytes)
    try:
        assert_type(await reader.readuntil(b"\r\n"), bytes)
    except asyncio.LimitOverrunError as exc:
        assert_type(exc.consumed, int)
    except asyncio.IncompleteReadError as exc:
        assert_type(exc.partial, bytes)
        assert_type(exc.expected, int | None)
    assert_type(reader.at_eof(), bool)
    assert_type(writer.transport, asyncio.WriteTransport)
    assert_type(writer.is_closing(), bool)
    await writer.start_tls(ssl.create_default_context(), server_hostname="localhost", ssl_handshake_timeout=3)
    certificate: dict[str, Any] | None = writer.get_extra_info("peercert", default=None)
    print(certificate)
    sock = socket.create_connection(("localhost", 80))
    reader, writer = await asyncio.open_connection(sock=sock)
    if sys.platform != "win32":
        reader, writer = await asyncio.open_unix_connection("/tmp/x")
    return await reader.read(-1)


class Connection:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def open(self, host: str, port: int) -> None:
        self.reader, self.writer = await asyncio.wait_for(asyncio.open_connection(host, port), 5)


async def many(ports: list[int]) -> list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    return await asyncio.gather(*[asyncio.open_connection("localhost", port) for port in ports])


async def by_hand() -> asyncio.StreamWriter:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=100, loop=loop)
    protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
    transport, _ = await loop.connect_read_pipe(lambda: protocol, sys.stdin)
    assert_type(transport, asyncio.ReadTransport)
    connection, same = await loop.create_connection(lambda: protocol, "localhost", 80)
    assert_type(connection, asyncio.Transport)
    assert_type(same, asyncio.StreamReaderProtocol)
    return asyncio.StreamWriter(connection, protocol, reader, loop)


async def processes() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "print(1)",
        Path("x"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=Path(),
        env={"A": "b"},
        limit=2**16,
        start_new_session=True,
    )
    assert_type(process, asyncio.subprocess.Process)
    annotated: asyncio.subprocess.Process = process
    out, err = await process.communicate(b"input")
    assert_type(out, bytes)
    assert_type(err, bytes)
    assert_type(await annotated.wait(), int)
    assert_type(process.returncode, int | None)
    assert_type(process.pid, int)
    process.send_signal(signal.SIGINT)
    process.terminate()
    process.kill()
    assert_type(process.stdin, asyncio.StreamWriter | None)
    assert_type(process.stdout, asyncio.StreamReader | None)
    assert process.stdout is not None
    async for line in process.stdout:
        assert_type(line, bytes)
    shell = await asyncio.create_subprocess_shell("ls | wc", stdout=asyncio.subprocess.DEVNULL, stderr=None)
    assert_type(shell, asyncio.subprocess.Process)


async def wrong() -> None:
    await asyncio.start_server(lambda reader: None, "localhost", 80)  # type: ignore[arg-type, misc]  # reader and writer
    reader, writer = await asyncio.open_connection("localhost", 80)
    writer.write("text")  # type: ignore[arg-type]  # bytes
    await reader.read("5")  # type: ignore[arg-type]  # a number
    text: str = await reader.readline()  # type: ignore[assignment]  # bytes
    await asyncio.open_connection(80, "localhost")  # type: ignore[arg-type]  # swapped
    await asyncio.create_subprocess_exec("ls", text=True)  # type: ignore[arg-type]  # bytes only
    await asyncio.create_subprocess_exec(5)  # type: ignore[arg-type]  # no program
    process = await asyncio.create_subprocess_shell("ls", shell=False)  # type: ignore[arg-type]  # it is a shell
    await process.communicate("text")  # type: ignore[arg-type]  # bytes
    process.stdout.read()  # type: ignore[union-attr]  # perhaps None
    print(text)
