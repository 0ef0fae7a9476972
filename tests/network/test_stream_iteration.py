"""`async for` over a SocketStream: it waits on a path of its own, which must behave as `receive_some` does."""

from __future__ import annotations

import socket as stdlib_socket
import struct

import pytest

import nursery
from nursery.network.stream import SocketStream
from nursery.testing import assert_checkpoints, wait_all_tasks_blocked
from tests.network.loopback import Counting, raw, tcp_pair


async def pieces(stream: SocketStream, into: list[bytes]) -> None:
    async for piece in stream:
        into.append(piece)


async def settle(far: SocketStream, near: SocketStream) -> None:
    """Let a first message pass, after which the next `async for` waits without a system call."""
    await near.send_all(b"first")
    assert await anext(far) == b"first"


async def test_messages_arrive_one_by_one_and_the_end_ends_the_loop() -> None:
    received: list[bytes] = []
    async with tcp_pair() as (near, far):
        async with nursery.open_nursery() as n:
            n.start_soon(pieces, far, received)
            for message in (b"one", b"two", b"three"):
                await wait_all_tasks_blocked()
                await near.send_all(message)
            await wait_all_tasks_blocked()
            await near.send_eof()
    assert received == [b"one", b"two", b"three"]


async def test_data_and_end_that_came_while_the_loop_slept_are_both_seen() -> None:
    received: list[bytes] = []
    async with tcp_pair() as (near, far):
        await settle(far, near)
        with nursery.fail_after(1):
            async with nursery.open_nursery() as n:
                n.start_soon(pieces, far, received)
                await wait_all_tasks_blocked()
                raw(near).send(b"last")
                raw(near).shutdown(stdlib_socket.SHUT_WR)
    assert received == [b"last"]


async def test_a_message_costs_one_recv() -> None:
    received: list[bytes] = []
    async with tcp_pair() as (near, far):
        await settle(far, near)
        far._recv = counting = Counting(far._recv)  # type: ignore[assignment]  # counts what passes
        async with nursery.open_nursery() as n:
            n.start_soon(pieces, far, received)
            for number in range(5):
                await wait_all_tasks_blocked()
                assert counting.calls == number
                await near.send_all(b"x")
            await wait_all_tasks_blocked()
            n.cancel_scope.cancel()
    assert received == [b"x"] * 5


async def test_a_loop_cancelled_in_its_sleep_has_taken_nothing_and_can_go_on() -> None:
    async with tcp_pair() as (near, far):
        await settle(far, near)
        with nursery.move_on_after(0.001) as scope:
            await anext(far)
        assert scope.cancelled_caught
        await near.send_all(b"data")
        assert await anext(far) == b"data"


async def test_a_loop_in_a_cancelled_scope_takes_nothing() -> None:
    async with tcp_pair() as (near, far):
        await settle(far, near)
        await near.send_all(b"data")
        with nursery.CancelScope() as scope:
            scope.cancel()
            await anext(far)
        assert scope.cancelled_caught
        assert await anext(far) == b"data"


async def test_a_loop_beside_another_receiver_gets_busy() -> None:
    async with tcp_pair() as (near, far):
        await settle(far, near)
        async with nursery.open_nursery() as n:
            n.start_soon(far.receive_some)
            await wait_all_tasks_blocked()
            with pytest.raises(nursery.BusyResourceError, match="receiving"):
                await anext(far)
            n.cancel_scope.cancel()


async def test_a_receiver_beside_a_loop_gets_busy() -> None:
    async with tcp_pair() as (near, far):
        await settle(far, near)
        async with nursery.open_nursery() as n:
            n.start_soon(pieces, far, [])
            await wait_all_tasks_blocked()
            with pytest.raises(nursery.BusyResourceError, match="receiving"):
                await far.receive_some()
            n.cancel_scope.cancel()


async def test_a_loop_sleeps_on_if_somebody_else_took_the_data() -> None:
    received: list[bytes] = []
    async with tcp_pair() as (near, far):
        await settle(far, near)
        with nursery.fail_after(1):
            async with nursery.open_nursery() as n:
                n.start_soon(pieces, far, received)
                await wait_all_tasks_blocked()
                await near.send_all(b"stolen")
                assert raw(far).recv(100) == b"stolen"
                await wait_all_tasks_blocked()
                await near.send_all(b"kept")
                await near.send_eof()
    assert received == [b"kept"]


async def test_closing_ends_a_sleeping_loop_with_closed() -> None:
    async with tcp_pair() as (near, far):
        await settle(far, near)

        async def loop() -> None:
            with pytest.raises(nursery.ClosedResourceError):
                await pieces(far, [])

        async with nursery.open_nursery() as n:
            n.start_soon(loop)
            await wait_all_tasks_blocked()
            await far.aclose()


async def test_a_loop_over_a_closed_stream_raises_closed() -> None:
    async with tcp_pair() as (near, far):
        await settle(far, near)
        await far.aclose()
        with pytest.raises(nursery.ClosedResourceError):
            await anext(far)


async def test_a_reset_ends_a_sleeping_loop_with_broken() -> None:
    async with tcp_pair() as (near, far):
        await settle(far, near)

        async def loop() -> None:
            with pytest.raises(nursery.BrokenResourceError) as info:
                await pieces(far, [])
            assert isinstance(info.value.__cause__, ConnectionResetError)

        async with nursery.open_nursery() as n:
            n.start_soon(loop)
            await wait_all_tasks_blocked()
            near.setsockopt(stdlib_socket.SOL_SOCKET, stdlib_socket.SO_LINGER, struct.pack("ii", 1, 0))
            await near.aclose()


async def test_each_turn_is_a_checkpoint() -> None:
    async with tcp_pair() as (near, far):
        await settle(far, near)
        await near.send_all(b"data")
        await wait_all_tasks_blocked()
        with assert_checkpoints():
            assert await anext(far) == b"data"
