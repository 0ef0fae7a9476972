"""add_reader, add_writer and the sock_* functions."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Iterator
from typing import Any

import pytest

import nursery
from nursery import compat
from tests.compat.two_loops import LoopFactory, on_both, run_on


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    left, right = socket.socketpair()
    left.setblocking(False)
    right.setblocking(False)
    with left, right:
        yield left, right


def test_a_reader_is_called_as_long_as_there_is_something_to_read(pair: tuple[socket.socket, socket.socket]) -> None:
    left, right = pair
    got: list[bytes] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        done = loop.create_future()

        def read() -> None:
            got.append(left.recv(1))
            if len(got) == 3:
                loop.remove_reader(left)
                done.set_result(None)

        loop.add_reader(left, read)
        right.send(b"abc")
        await done

    compat.run(main())
    assert got == [b"a", b"b", b"c"]


def test_remove_tells_whether_there_was_a_callback(pair: tuple[socket.socket, socket.socket]) -> None:
    left, _ = pair

    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert loop.remove_reader(left) is False
        loop.add_reader(left, print)
        loop.add_writer(left, lambda: None)
        assert loop.remove_reader(left) is True
        assert loop.remove_reader(left) is False
        assert loop.remove_writer(left) is True
        assert loop.remove_writer(left) is False

    compat.run(main())


def set_once(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def test_a_second_reader_takes_the_place_of_the_first(pair: tuple[socket.socket, socket.socket]) -> None:
    left, right = pair

    async def main() -> None:
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        loop.add_reader(left, pytest.fail, "the first reader was called")
        loop.add_reader(left, set_once, done)
        right.send(b"x")
        await done
        loop.remove_reader(left)

    compat.run(main())


def test_a_writer_is_called_while_the_socket_takes_data(pair: tuple[socket.socket, socket.socket]) -> None:
    left, _ = pair
    calls: list[int] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        done = loop.create_future()

        def write() -> None:
            calls.append(1)
            if len(calls) == 2:
                loop.remove_writer(left)
                done.set_result(None)

        loop.add_writer(left, write)
        await done

    compat.run(main())
    assert calls == [1, 1]


def test_the_descriptor_of_a_transport_cannot_be_watched() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0)
        transport, _ = await loop.create_connection(asyncio.Protocol, *server.sockets[0].getsockname())
        fd = transport.get_extra_info("socket").fileno()
        with pytest.raises(RuntimeError, match="is used by transport"):
            loop.add_reader(fd, print)
        transport.abort()
        server.close()
        await asyncio.sleep(0.002)

    compat.run(main())


def test_a_pipe_can_be_watched() -> None:
    async def main() -> None:
        read, write = os.pipe()
        loop = asyncio.get_running_loop()
        got = loop.create_future()

        def readable() -> None:
            loop.remove_reader(read)
            got.set_result(os.read(read, 10))

        loop.add_reader(read, readable)
        os.write(write, b"pipe")
        assert await got == b"pipe"
        os.close(read)
        os.close(write)

    compat.run(main())


def test_sock_functions_send_and_receive(pair: tuple[socket.socket, socket.socket]) -> None:
    left, right = pair
    big = os.urandom(1_000_000)

    async def receive() -> bytes:
        loop = asyncio.get_running_loop()
        data = b""
        while len(data) < len(big):
            data += await loop.sock_recv(right, 65536)
        return data

    async def main() -> None:
        loop = asyncio.get_running_loop()
        receiving = asyncio.create_task(receive())
        await loop.sock_sendall(left, big)
        assert await receiving == big
        buffer = bytearray(10)
        waiting = asyncio.create_task(loop.sock_recv_into(right, buffer))
        await asyncio.sleep(0)
        await loop.sock_sendall(left, b"into")
        assert await waiting == 4
        assert buffer[:4] == b"into"

    compat.run(main())


def test_sock_accept_and_connect_meet() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as client:
            listener.setblocking(False)
            client.setblocking(False)
            accepting = asyncio.create_task(loop.sock_accept(listener))
            await loop.sock_connect(client, listener.getsockname())
            connection, address = await accepting
            with connection:
                assert address == client.getsockname()
                assert connection.gettimeout() == 0

    compat.run(main())


def test_sock_connect_raises_what_the_peer_says() -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            address = listener.getsockname()
        with socket.socket() as client:
            client.setblocking(False)
            with pytest.raises(ConnectionRefusedError):
                await asyncio.get_running_loop().sock_connect(client, address)

    compat.run(main())


def test_a_cancelled_sock_recv_stops_watching(pair: tuple[socket.socket, socket.socket]) -> None:
    left, right = pair

    async def main() -> None:
        loop = asyncio.get_running_loop()
        with nursery.move_on_after(0.001) as scope:
            await loop.sock_recv(left, 10)
        assert scope.cancelled_caught
        assert loop.remove_reader(left) is False
        right.send(b"later")
        assert await loop.sock_recv(left, 10) == b"later"

    compat.run(main())


@pytest.mark.parametrize("direction", ["reader", "writer"])
def test_a_socket_that_was_closed_meanwhile_can_still_be_removed(
    pair: tuple[socket.socket, socket.socket], direction: str
) -> None:
    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        add, remove = getattr(loop, f"add_{direction}"), getattr(loop, f"remove_{direction}")
        calls: list[int] = []
        for sock in pair:
            add(sock, calls.append, 1)
        left, right = pair
        left.close()
        assert remove(left) is True
        with pytest.raises(ValueError, match="Invalid file descriptor: -1"):
            remove(left)
        assert remove(right) is True
        assert remove(right) is False

    compat.run(main())


def test_what_is_no_file_is_refused() -> None:
    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        with pytest.raises(ValueError, match="Invalid file object"):
            loop.add_reader(object(), print)
        with pytest.raises(ValueError, match="Invalid file object"):
            loop.remove_writer(object())

    compat.run(main())


def test_a_signal_handler_is_called_in_the_loop() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        arrived = loop.create_future()
        loop.add_signal_handler(signal.SIGUSR1, arrived.set_result, "usr1")
        os.kill(os.getpid(), signal.SIGUSR1)
        assert await arrived == "usr1"
        assert loop.remove_signal_handler(signal.SIGUSR1)
        assert not loop.remove_signal_handler(signal.SIGUSR1)
        assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL

    compat.run(main())


def test_a_signal_wakes_a_sleeping_loop() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        arrived = asyncio.Event()
        loop.add_signal_handler(signal.SIGALRM, arrived.set)
        signal.setitimer(signal.ITIMER_REAL, 0.005)
        await asyncio.wait_for(arrived.wait(), 1)

    compat.run(main())
    assert signal.getsignal(signal.SIGALRM) is signal.SIG_DFL


def test_ctrl_c_cancels_the_main_task_and_becomes_keyboard_interrupt() -> None:
    cancelled: list[int] = []

    async def main() -> None:
        asyncio.get_running_loop().call_later(0.002, os.kill, os.getpid(), signal.SIGINT)
        try:
            await nursery.sleep(1)
        except asyncio.CancelledError:
            cancelled.append(1)
            raise

    with pytest.raises(KeyboardInterrupt):
        compat.run(main())
    assert cancelled == [1]


@on_both
def test_events_are_collected_while_callbacks_go_on(loop_factory: LoopFactory) -> None:
    left, right = socket.socketpair()
    near, far = socket.socketpair()
    order = []

    def go_on(turns: int) -> None:
        if turns:
            asyncio.get_running_loop().call_soon(go_on, turns - 1)
        else:
            order.append("went on")

    def readable() -> None:
        left.recv(1)
        near.send(b"x")
        go_on(4)

    def arrived() -> None:
        far.recv(1)
        order.append("arrived")

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.add_reader(left, readable)
        loop.add_reader(far, arrived)
        right.send(b"x")
        while len(order) < 2:
            await asyncio.sleep(0)
        for sock in (left, far):
            loop.remove_reader(sock)

    with left, right, near, far:
        run_on(loop_factory, main())
    assert order == ["arrived", "went on"]
