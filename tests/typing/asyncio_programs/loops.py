"""The loop's own methods, protocols and transports."""

# mypy: disable-error-code="unused-awaitable"

import asyncio
import contextvars
import functools
import signal
import socket
import ssl
from collections.abc import Callable, Coroutine
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any, assert_type


class Echo(asyncio.Protocol):
    transport: asyncio.Transport

    def __init__(self, gone: asyncio.Future[None] | None = None) -> None:
        self._gone = gone
        self._resumed = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.set_write_buffer_limits(high=2**16)

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)

    def eof_received(self) -> bool | None:
        return False

    def pause_writing(self) -> None:
        self._resumed.clear()

    def resume_writing(self) -> None:
        self._resumed.set()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._gone is not None:
            self._gone.set_result(None)


class Buffered(asyncio.BufferedProtocol):
    def __init__(self) -> None:
        self._buffer = bytearray(100)

    def get_buffer(self, sizehint: int) -> bytearray:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        print(self._buffer[:nbytes])


class Datagrams(asyncio.DatagramProtocol):
    transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.DatagramTransport)
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        if self.transport is not None:
            self.transport.sendto(data, addr)

    def error_received(self, exc: Exception) -> None:
        print(exc)


class Child(asyncio.SubprocessProtocol):
    def pipe_data_received(self, fd: int, data: bytes) -> None:
        print(fd, data)

    def process_exited(self) -> None: ...


class Wire(asyncio.Transport):
    """A transport of one's own."""

    def __init__(self) -> None:
        super().__init__(extra={"peername": None})
        self.sent = bytearray()

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        self.sent += data

    def close(self) -> None: ...


async def connections() -> None:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_connection(Echo, "localhost", 80, ssl=ssl.create_default_context())
    assert_type(transport, asyncio.Transport)
    assert_type(protocol, Echo)
    protocol.transport.pause_reading()
    server = await loop.create_server(lambda: Echo(), "localhost", 0, reuse_port=True, backlog=10)
    assert_type(server, asyncio.Server)
    as_named: asyncio.Server = server
    as_named.close()
    await loop.create_server(Buffered, sock=socket.socket())
    datagrams, listener = await loop.create_datagram_endpoint(Datagrams, local_addr=("127.0.0.1", 0))
    assert_type(datagrams, asyncio.DatagramTransport)
    assert_type(listener, Datagrams)
    upgraded = await loop.start_tls(transport, protocol, ssl.create_default_context(), server_hostname="localhost")
    assert_type(upgraded, asyncio.Transport | None)
    unix, _ = await loop.create_unix_connection(Echo, "/tmp/x")
    assert_type(unix, asyncio.Transport)
    assert_type(await loop.create_unix_server(Echo, "/tmp/x"), asyncio.Server)
    process, child = await loop.subprocess_exec(Child, "ls", "-l", stdin=None)
    assert_type(process, asyncio.SubprocessTransport)
    assert_type(child, Child)
    assert_type(process.get_pid(), int)
    assert_type(process.get_returncode(), int | None)


async def sockets(sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    await loop.sock_connect(sock, ("localhost", 80))
    await loop.sock_sendall(sock, b"x")
    assert_type(await loop.sock_recv(sock, 100), bytes)
    assert_type(await loop.sock_recv_into(sock, bytearray(10)), int)
    connection, _ = await loop.sock_accept(sock)
    assert_type(connection, socket.socket)
    found = await loop.getaddrinfo("localhost", 80, type=socket.SOCK_STREAM)
    for family, kind, proto, _, address in found:
        print(family, kind, proto, address)
    assert_type(await loop.getnameinfo(("127.0.0.1", 80)), tuple[str, str])


def callbacks(loop: asyncio.AbstractEventLoop) -> None:
    handle = loop.call_soon(print, "x", context=contextvars.copy_context())
    assert_type(handle, asyncio.Handle)
    timer = loop.call_later(5, print, "x", "y")
    assert_type(timer, asyncio.TimerHandle)
    at: asyncio.TimerHandle | None = loop.call_at(loop.time() + 1, functools.partial(print, "x"))
    assert_type(timer.when(), float)
    if at is not None:
        at.cancel()
    handle.cancel()
    assert_type(handle.cancelled(), bool)
    assert_type(loop.call_soon_threadsafe(loop.stop), asyncio.Handle)
    loop.add_signal_handler(signal.SIGTERM, loop.stop)
    assert_type(loop.remove_signal_handler(signal.SIGTERM), bool)
    loop.add_reader(0, print, "readable")
    assert_type(loop.remove_reader(0), bool)
    loop.add_writer(socket.socket(), print)
    loop.remove_writer(socket.socket())
    loop.set_debug(True)
    loop.slow_callback_duration = 0.5
    assert_type(loop.get_debug() or loop.is_running() or loop.is_closed(), bool)
    assert_type(loop.time(), float)
    loop.set_default_executor(ThreadPoolExecutor())


def on_error(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    exc: BaseException | None = context.get("exception")
    if exc is not None:
        loop.default_exception_handler(context)
    loop.call_exception_handler({"message": "again"})


def install_handlers(loop: asyncio.AbstractEventLoop) -> None:
    loop.set_exception_handler(on_error)
    loop.set_exception_handler(None)
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop, number)


def stop(number: signal.Signals) -> None:
    stopping = asyncio.create_task(shut_down(number))
    stopping.add_done_callback(lambda done: print(done.exception()))


async def shut_down(number: signal.Signals) -> None:
    tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in tasks:
        task.cancel(f"signal {number.name}")
    await asyncio.gather(*tasks, return_exceptions=True)


async def work() -> int:
    return 1


async def on_the_loop() -> None:
    loop = asyncio.get_running_loop()
    assert_type(loop.create_task(work(), name="x"), asyncio.Task[int])
    assert_type(loop.create_future(), asyncio.Future[Any])
    with ProcessPoolExecutor() as pool:
        assert_type(await loop.run_in_executor(pool, abs, -5), int)


class Ticker:
    """Calls back again and again."""

    def __init__(self, interval: float, callback: Callable[[], object]) -> None:
        self._loop = asyncio.get_running_loop()
        self._interval, self._callback = interval, callback
        self._handle: asyncio.TimerHandle | None = None

    def start(self) -> None:
        self._handle = self._loop.call_later(self._interval, self._tick)

    def _tick(self) -> None:
        self._callback()
        self.start()

    def stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None


def spawn(coro: Coroutine[Any, Any, None], loop: asyncio.AbstractEventLoop | None = None) -> asyncio.Task[None]:
    return asyncio.ensure_future(coro, loop=loop)


async def wrong(loop: asyncio.AbstractEventLoop) -> None:
    loop.call_soon(on_error, loop)  # type: ignore[arg-type]  # an argument is missing
    loop.call_later("5", print)  # type: ignore[arg-type]  # text is no duration
    loop.call_soon(5)  # type: ignore[arg-type]  # not callable
    await loop.create_connection(5, "localhost", 80)  # type: ignore[call-overload]  # no factory
    await loop.run_in_executor(None, len, 5)  # type: ignore[arg-type]  # an int has no length
    loop.add_signal_handler(signal.SIGTERM)  # type: ignore[call-arg]  # with which callback
    loop.set_exception_handler(print)
    loop.set_exception_handler(work)  # type: ignore[arg-type]  # it takes no arguments
    loop.create_task(work)  # type: ignore[arg-type]  # a function
