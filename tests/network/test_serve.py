"""A task for each connection."""

from __future__ import annotations

import contextlib
import errno
import functools
import logging
import os
import resource
import socket as stdlib_socket

import pytest

import nursery
from nursery.network.connect import open_tcp_stream
from nursery.network.listener import SocketListener
from nursery.network.serve import serve_listeners, serve_tcp
from nursery.network.stream import SocketStream
from nursery.resource import AsyncResource
from nursery.streams.abstract import Listener
from nursery.testing import MockClock, wait_all_tasks_blocked


class Connection(AsyncResource):
    """What the fake listener hands out."""

    def __init__(self) -> None:
        self.closed = 0

    async def aclose(self) -> None:
        self.closed += 1
        await nursery.lowlevel.checkpoint()


class Door(Listener[Connection]):
    """A listener to which connections come when a test says so."""

    def __init__(self) -> None:
        self.errors: list[OSError] = []
        self.coming: list[Connection] = []
        self.closed = False
        self.asked_at: list[float] = []

    async def accept(self) -> Connection:
        self.asked_at.append(nursery.current_time())
        await nursery.lowlevel.checkpoint()
        if self.errors:
            raise self.errors.pop(0)
        if not self.coming:
            await nursery.sleep_forever()
        return self.coming.pop(0)

    async def aclose(self) -> None:
        self.closed = True
        await nursery.lowlevel.checkpoint()


async def echo(stream: SocketStream) -> None:
    async for data in stream:
        await stream.send_all(data)


async def test_serve_tcp_serves_many_connections_at_once() -> None:
    async with nursery.open_nursery() as n:
        listeners: list[SocketListener] = await n.start(serve_tcp, echo, 0)
        assert all(isinstance(listener, SocketListener) for listener in listeners)
        port = listeners[0].socket.getsockname()[1]
        streams = [await open_tcp_stream("127.0.0.1", port) for _ in range(10)]
        for number, stream in enumerate(streams):
            await stream.send_all(b"%d" % number)
        for number, stream in enumerate(streams):
            assert await stream.receive_some() == b"%d" % number
        for stream in streams:
            await stream.aclose()
        n.cancel_scope.cancel()
    assert all(listener.socket.fileno() == -1 for listener in listeners)


async def test_host_and_backlog_are_passed_on() -> None:
    async with nursery.open_nursery() as n:

        async def serve(task_status: nursery.TaskStatus[list[SocketListener]]) -> None:
            await serve_tcp(echo, 0, host="127.0.0.1", backlog=5, task_status=task_status)

        [listener] = await n.start(serve)
        assert listener.socket.getsockname()[0] == "127.0.0.1"
        n.cancel_scope.cancel()


async def test_a_stream_is_closed_when_its_handler_returns() -> None:
    async with nursery.open_nursery() as n:

        async def hang_up(stream: SocketStream) -> None:
            await stream.send_all(b"bye")

        listeners: list[SocketListener] = await n.start(serve_tcp, hang_up, 0)
        async with await open_tcp_stream("127.0.0.1", listeners[0].socket.getsockname()[1]) as stream:
            assert b"".join([piece async for piece in stream]) == b"bye"
        n.cancel_scope.cancel()


async def test_the_listeners_are_reported_and_closed_in_the_end() -> None:
    doors = [Door(), Door()]
    async with nursery.open_nursery() as n:
        reported: list[Door] = await n.start(serve_listeners, never_called, doors)
        assert reported is doors
        n.cancel_scope.cancel()
    assert [door.closed for door in doors] == [True, True]


async def never_called(connection: Connection) -> None:
    raise AssertionError("no connection was made")


async def test_a_failing_handler_ends_serving_and_closes_everything() -> None:
    door, other = Door(), Door()
    connection = Connection()
    door.coming.append(connection)

    async def fail(connection: Connection) -> None:
        raise ValueError("a handler failed")

    with pytest.raises(ExceptionGroup) as info:
        await serve_listeners(fail, [door, other])
    assert isinstance(info.value.exceptions[0], ValueError)
    assert connection.closed == 1
    assert (door.closed, other.closed) == (True, True)


async def test_handlers_in_a_nursery_of_the_caller_outlive_serving() -> None:
    door = Door()
    connections = [Connection(), Connection()]
    door.coming += connections
    async with nursery.open_nursery() as handlers:

        async def stay(connection: Connection) -> None:
            await nursery.sleep_forever()

        with nursery.CancelScope() as serving:
            async with nursery.open_nursery() as n:

                async def serve() -> None:
                    await serve_listeners(stay, [door], handler_nursery=handlers)

                n.start_soon(serve)
                await wait_all_tasks_blocked()
                serving.cancel()
        assert len(handlers.child_tasks) == 2
        assert [connection.closed for connection in connections] == [0, 0]
        handlers.cancel_scope.cancel()
    assert [connection.closed for connection in connections] == [1, 1]


async def test_a_connection_for_which_there_is_no_nursery_is_closed() -> None:
    door = Door()
    connection = Connection()
    door.coming.append(connection)
    async with nursery.open_nursery() as handlers:
        pass
    with pytest.raises(ExceptionGroup) as info:
        await serve_listeners(never_called, [door], handler_nursery=handlers)
    assert info.group_contains(RuntimeError, match="closed")
    assert connection.closed == 1
    assert door.closed


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS])
async def test_when_something_runs_out_it_is_logged_and_tried_again(
    number: int, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    door = Door()
    door.errors += [OSError(number, "out"), OSError(number, "out")]
    connection = Connection()
    door.coming.append(connection)
    served = nursery.CancelScope()

    async def handler(stream: Connection) -> None:
        served.cancel()

    with caplog.at_level(logging.ERROR), served:
        await serve_listeners(handler, [door])
    assert connection.closed == 1
    assert len(caplog.records) == 2
    for record in caplog.records:
        assert record.name == "nursery.serve_listeners"
        assert errno.errorcode[number] in record.getMessage()
        assert record.exc_info is not None
    first, second, third, *_ = door.asked_at
    assert second - first == pytest.approx(0.1)
    assert third - second == pytest.approx(0.1)


async def test_a_server_without_descriptors_serves_on_when_it_has_some_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken: list[int] = []
    async with nursery.open_nursery() as n:
        [listener] = await n.start(functools.partial(serve_tcp, echo, 0, host="127.0.0.1"))
        with stdlib_socket.socket() as peer:
            try:
                resource.setrlimit(resource.RLIMIT_NOFILE, (peer.fileno() + 10, limits[1]))
                with contextlib.suppress(OSError):
                    while True:
                        taken.append(os.open(os.devnull, os.O_RDONLY))
                peer.connect(listener.socket.getsockname())
                with nursery.fail_after(1):
                    while not caplog.records:
                        await nursery.sleep(0.001)
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, limits)
                for fd in taken:
                    os.close(fd)
            peer.sendall(b"ping")
            with nursery.fail_after(1):
                await nursery.lowlevel.wait_readable(peer)
            assert peer.recv(10) == b"ping"
        n.cancel_scope.cancel()
    assert "EMFILE" in caplog.records[0].getMessage()


async def test_any_other_error_of_accept_ends_serving() -> None:
    door = Door()
    door.errors.append(OSError(errno.EFAULT, "bad"))
    with pytest.raises(ExceptionGroup) as info:
        await serve_listeners(never_called, [door])
    assert isinstance(info.value.exceptions[0], OSError)
    assert door.closed


async def test_serving_without_listeners_is_a_mistake() -> None:
    no_doors: list[Door] = []
    with pytest.raises(AssertionError, match="no listeners"):
        await serve_listeners(never_called, no_doors)
