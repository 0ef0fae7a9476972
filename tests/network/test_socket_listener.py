"""Listening sockets as a source of streams."""

from __future__ import annotations

import errno
import socket as stdlib_socket

import pytest

import nursery
from nursery.network.listener import SocketListener
from nursery.network.listeners import open_tcp_listeners
from nursery.network.socket_type import SocketType
from nursery.network.sockets import from_stdlib_socket, socket, socketpair
from nursery.network.stream import SocketStream
from nursery.testing import assert_checkpoints, wait_all_tasks_blocked


async def open_listener() -> SocketListener:
    [listener] = await open_tcp_listeners(0, host="127.0.0.1")
    return listener


def connected_to(listener: SocketListener) -> stdlib_socket.socket:
    return stdlib_socket.create_connection(listener.socket.getsockname())


async def test_accept_returns_a_stream_for_each_connection() -> None:
    async with await open_listener() as listener:
        with connected_to(listener) as one, connected_to(listener) as two:
            for near in (one, two):
                with assert_checkpoints():
                    stream = await listener.accept()
                assert isinstance(stream, SocketStream)
                assert stream.socket.getpeername() == near.getsockname()
                await stream.aclose()


async def test_accept_waits_and_a_cancelled_accept_loses_no_connection() -> None:
    async with await open_listener() as listener:
        with nursery.move_on_after(0.001) as scope:
            await listener.accept()
        assert scope.cancelled_caught
        with connected_to(listener):
            with nursery.CancelScope() as scope:
                scope.cancel()
                await listener.accept()
            assert scope.cancelled_caught
            await (await listener.accept()).aclose()


async def test_a_second_task_that_accepts_gets_busy_and_the_first_its_connection() -> None:
    async with await open_listener() as listener:

        async def accept() -> None:
            await (await listener.accept()).aclose()

        async with nursery.open_nursery() as n:
            n.start_soon(accept)
            await wait_all_tasks_blocked()
            with pytest.raises(nursery.BusyResourceError):
                await listener.accept()
            connected_to(listener).close()


async def test_closing_wakes_the_task_that_accepts() -> None:
    listener = await open_listener()

    async def accept() -> None:
        with pytest.raises(nursery.ClosedResourceError):
            await listener.accept()

    async with nursery.open_nursery() as n:
        n.start_soon(accept)
        await wait_all_tasks_blocked()
        with assert_checkpoints():
            await listener.aclose()
    with pytest.raises(nursery.ClosedResourceError):
        await listener.accept()
    await listener.aclose()


class Failing(SocketType):
    """A listening socket whose accept() says what it is told to."""

    type = stdlib_socket.SOCK_STREAM

    def __init__(self, *errors: int) -> None:
        super().__init__()
        self.errors = list(errors)

    def getsockopt(self, level: int, optname: int, buflen: int | None = None) -> int:  # type: ignore[override]  # no bytes here
        return 1

    async def accept(self) -> tuple[SocketType, object]:
        await nursery.lowlevel.checkpoint()
        if self.errors:
            raise OSError(self.errors.pop(0), "failed")
        near, far = socketpair()
        near.close()
        return far, None


async def test_connections_that_died_in_the_queue_are_skipped() -> None:
    sock = Failing(errno.ECONNABORTED, errno.EPERM, errno.EPROTO, errno.ETIMEDOUT)
    await (await SocketListener(sock).accept()).aclose()
    assert sock.errors == []


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EFAULT])
async def test_other_errors_are_raised(number: int) -> None:
    with pytest.raises(OSError) as info:
        await SocketListener(Failing(number)).accept()
    assert info.value.errno == number


async def test_a_listener_needs_a_listening_stream_socket_of_ours() -> None:
    with stdlib_socket.socket() as plain:
        with pytest.raises(TypeError, match="nursery socket"):
            SocketListener(plain)  # type: ignore[arg-type]  # the mistake under test
    with socket(type=stdlib_socket.SOCK_DGRAM) as datagrams, pytest.raises(ValueError, match="SOCK_STREAM"):
        SocketListener(datagrams)
    with socket() as deaf, pytest.raises(ValueError, match="listening"):
        SocketListener(deaf)


async def test_a_socket_whose_system_cannot_tell_is_trusted() -> None:
    class CannotTell(Failing):
        def getsockopt(self, level: int, optname: int, buflen: int | None = None) -> int:  # type: ignore[override]  # no bytes here
            raise OSError(errno.ENOPROTOOPT, "cannot tell")

    sock = CannotTell()
    assert SocketListener(sock).socket is sock


async def test_the_repr_shows_the_address() -> None:
    sock = stdlib_socket.create_server(("127.0.0.1", 0))
    async with SocketListener(from_stdlib_socket(sock)) as listener:
        assert "127.0.0.1" in repr(listener)
