"""Waiting for descriptors, on both drivers: level semantics, one waiter a direction, closing and reuse of numbers."""

from __future__ import annotations

import errno
import os
import select
import socket
from collections.abc import Awaitable, Callable, Iterator

import pytest

import nursery
from nursery import BusyResourceError, CancelScope, ClosedResourceError
from nursery.kernel.current import current_runner
from nursery.kernel.idle import wait_all_tasks_blocked
from nursery.kernel.io.interest import Interest
from nursery.lowlevel import (
    cancel_shielded_checkpoint,
    checkpoint,
    current_statistics,
    notify_closing,
    wait_readable,
    wait_writable,
)

from .in_run import in_a_run

Pair = tuple[socket.socket, socket.socket]
Wait = Callable[[int | socket.socket], Awaitable[None]]


@pytest.fixture(
    autouse=True,
    params=[
        pytest.param("epoll", marks=pytest.mark.skipif(not hasattr(select, "epoll"), reason="no epoll here")),
        "selectors",
    ],
)
def driver(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run each test once on each driver."""
    monkeypatch.setenv("NURSERY_IO", request.param)
    return str(request.param)


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Two connected sockets that do not block."""
    here, there = socket.socketpair()
    with here, there:
        here.setblocking(False)
        there.setblocking(False)
        yield here, there


def fill(sock: socket.socket) -> None:
    """Send until nothing more fits."""
    with pytest.raises(BlockingIOError):
        while True:
            sock.send(b"x" * 65536)


def drain(sock: socket.socket) -> None:
    """Receive until nothing is left."""
    with pytest.raises(BlockingIOError):
        while sock.recv(65536):
            pass


async def note(wait: Wait, sock: int | socket.socket, log: list[str], name: str = "ready") -> None:
    """Wait, and note how it ended."""
    try:
        await wait(sock)
    except (ClosedResourceError, BusyResourceError) as exc:
        log.append(type(exc).__name__)
    else:
        log.append(name)


def test_the_driver_is_the_one_that_the_environment_names(driver: str) -> None:
    async def main() -> str:
        return current_statistics().io_statistics.backend

    assert nursery.run(main) == driver


# Readiness


@in_a_run
async def test_what_is_ready_is_reported_soon(pair: Pair) -> None:
    here, there = pair
    there.send(b"x")
    with nursery.fail_after(1):
        await wait_readable(here)
        await wait_writable(here)
        await wait_readable(here.fileno())
        await wait_writable(here.fileno())


@in_a_run
async def test_what_is_not_ready_waits_until_it_is(pair: Pair) -> None:
    here, there = pair
    log: list[str] = []
    async with nursery.open_nursery() as n:
        n.start_soon(note, wait_readable, here, log)
        await wait_all_tasks_blocked()
        assert log == []
        there.send(b"x")
    assert log == ["ready"]


@in_a_run
async def test_a_full_socket_becomes_writable_when_the_peer_has_read(pair: Pair) -> None:
    here, there = pair
    fill(here)
    log: list[str] = []
    async with nursery.open_nursery() as n:
        n.start_soon(note, wait_writable, here, log)
        await wait_all_tasks_blocked()
        assert log == []
        drain(there)
    assert log == ["ready"]


@in_a_run
async def test_what_is_left_unread_stays_readable(pair: Pair) -> None:
    here, there = pair
    there.send(b"xyz")
    with nursery.fail_after(1):
        for _ in range(3):
            await wait_readable(here)
            assert here.recv(1)


@in_a_run
async def test_what_has_been_read_is_no_longer_readable(pair: Pair) -> None:
    here, there = pair
    there.send(b"x")
    await wait_readable(here)
    here.recv(1)
    with nursery.move_on_after(0.003) as scope:
        await wait_readable(here)
    assert scope.cancelled_caught


@in_a_run
async def test_readiness_that_came_and_went_while_nobody_waited_is_not_reported(pair: Pair) -> None:
    here, there = pair
    with nursery.move_on_after(0):
        await wait_readable(here)
    there.send(b"x")
    await nursery.sleep(0.001)
    here.recv(1)
    with nursery.move_on_after(0.003) as scope:
        await wait_readable(here)
    assert scope.cancelled_caught


@in_a_run
async def test_data_that_came_while_nobody_waited_is_reported(pair: Pair) -> None:
    here, there = pair
    with nursery.move_on_after(0):
        await wait_readable(here)
    there.send(b"x")
    await nursery.sleep(0.001)
    with nursery.fail_after(1):
        await wait_readable(here)


@in_a_run
async def test_a_hang_up_is_readable(pair: Pair) -> None:
    here, there = pair
    there.close()
    with nursery.fail_after(1):
        await wait_readable(here)
    assert here.recv(1) == b""


@in_a_run
async def test_data_and_hang_up_together_are_both_reported(pair: Pair) -> None:
    here, there = pair
    log: list[bytes] = []

    async def reader() -> None:
        while True:
            await wait_readable(here)
            got = here.recv(2)
            log.append(got)
            if not got:
                break

    async with nursery.open_nursery() as n:
        n.start_soon(reader)
        await wait_all_tasks_blocked()
        there.send(b"abc")
        there.close()
    assert log == [b"ab", b"c", b""]


@in_a_run
async def test_reader_and_writer_may_wait_for_one_descriptor(pair: Pair) -> None:
    here, there = pair
    fill(here)
    log: list[str] = []
    async with nursery.open_nursery() as n:
        n.start_soon(note, wait_readable, here, log, "readable")
        n.start_soon(note, wait_writable, here, log, "writable")
        await wait_all_tasks_blocked()
        drain(there)
        await wait_all_tasks_blocked()
        assert log == ["writable"]
        there.send(b"x")
    assert log == ["writable", "readable"]


@in_a_run
async def test_pipes_can_be_waited_for() -> None:
    read, write = os.pipe()
    try:
        log: list[str] = []
        async with nursery.open_nursery() as n:
            n.start_soon(note, wait_readable, read, log)
            await wait_writable(write)
            os.write(write, b"x")
        assert log == ["ready"]
    finally:
        os.close(read)
        os.close(write)


@in_a_run
async def test_a_ready_descriptor_that_nobody_reads_does_not_spin_the_loop(pair: Pair) -> None:
    here, there = pair
    there.send(b"never read")
    await wait_readable(here)
    polls = 0
    io = current_runner().io
    for name in ("fetch", "poll"):
        question = getattr(io, name)

        def counting(timeout: float, question: Callable[[float], object] = question) -> object:
            nonlocal polls
            polls += 1
            return question(timeout)

        setattr(io, name, counting)
    await nursery.sleep(0.01)
    assert polls < 15


@in_a_run
async def test_two_tasks_stream_through_two_sockets_in_both_directions(pair: Pair) -> None:
    total = 300_000

    async def send(sock: socket.socket) -> None:
        left = total
        while left:
            try:
                left -= sock.send(b"x" * min(left, 50_000))
            except BlockingIOError:
                await wait_writable(sock)
            else:
                await checkpoint()

    async def receive(sock: socket.socket) -> None:
        got = 0
        while got < total:
            await wait_readable(sock)
            got += len(sock.recv(7_000))
        received.append(got)

    received: list[int] = []
    async with nursery.open_nursery() as n:
        for sock in pair:
            n.start_soon(send, sock)
            n.start_soon(receive, sock)
    assert received == [total, total]


# One waiter a direction, cancellation


@pytest.mark.parametrize("wait", [wait_readable, wait_writable])
def test_a_second_waiter_in_one_direction_is_refused(pair: Pair, wait: Wait) -> None:
    async def main() -> None:
        here, _there = pair
        if wait is wait_writable:
            fill(here)
        log: list[str] = []
        async with nursery.open_nursery() as n:
            n.start_soon(note, wait, here, log)
            await wait_all_tasks_blocked()
            with pytest.raises(BusyResourceError):
                await wait(here)
            assert log == []
            n.cancel_scope.cancel()

    nursery.run(main)


@pytest.mark.parametrize("wait", [wait_readable, wait_writable])
def test_a_cancelled_waiter_makes_room_for_the_next(pair: Pair, wait: Wait) -> None:
    async def main() -> None:
        here, there = pair
        fill(here)
        with CancelScope() as scope:
            scope.cancel()
            await wait(here)
        assert scope.cancelled_caught
        there.send(b"x")
        drain(there)
        with nursery.fail_after(1):
            await wait(here)

    nursery.run(main)


@in_a_run
async def test_waiting_in_a_cancelled_scope_raises_also_if_the_descriptor_is_ready(pair: Pair) -> None:
    here, there = pair
    there.send(b"x")
    with CancelScope() as scope:
        scope.cancel()
        await wait_readable(here)
        pytest.fail("no cancel point")
    assert scope.cancelled_caught


@in_a_run
async def test_cancelling_the_reader_leaves_the_writer_waiting(pair: Pair) -> None:
    here, there = pair
    fill(here)
    log: list[str] = []
    async with nursery.open_nursery() as n:
        n.start_soon(note, wait_writable, here, log)
        with nursery.move_on_after(0.001):
            await wait_readable(here)
        await cancel_shielded_checkpoint()
        assert log == []
        drain(there)
    assert log == ["ready"]


# Closing


@in_a_run
async def test_notify_closing_wakes_reader_and_writer_with_an_error(pair: Pair) -> None:
    here, _there = pair
    fill(here)
    log: list[str] = []
    async with nursery.open_nursery() as n:
        n.start_soon(note, wait_readable, here, log)
        n.start_soon(note, wait_writable, here, log)
        await wait_all_tasks_blocked()
        notify_closing(here)
        here.close()
    assert log == ["ClosedResourceError"] * 2


@in_a_run
async def test_notify_closing_without_waiters_does_nothing(pair: Pair) -> None:
    here, there = pair
    notify_closing(here)
    there.send(b"x")
    await wait_readable(here)
    notify_closing(here)
    notify_closing(here)
    await wait_readable(here)


def test_events_already_fetched_do_not_outlive_notify_closing(pair: Pair) -> None:
    async def main() -> None:
        here, there = pair
        log: list[str] = []
        async with nursery.open_nursery() as n:
            n.start_soon(note, wait_readable, here, log)
            await wait_all_tasks_blocked()
            there.send(b"x")
            io = current_runner().io
            events = io.fetch(0.05)
            assert any(interest.fd == here.fileno() for interest, _mask in events)
            notify_closing(here)
            io.dispatch(events)
        assert log == ["ClosedResourceError"]

    nursery.run(main)


def test_a_fetched_event_is_not_given_to_the_next_user_of_the_number(pair: Pair) -> None:
    async def main() -> None:
        here, there = pair
        log: list[str] = []
        async with nursery.open_nursery() as n:
            n.start_soon(note, wait_readable, here, log)
            await wait_all_tasks_blocked()
            there.send(b"x")
            io = current_runner().io
            events = io.fetch(0.05)
            number = here.fileno()
            notify_closing(here)
            other, other_peer = socket.socketpair()
            with other, other_peer:
                here.close()
                reused = os.dup2(other.fileno(), number)
                try:
                    n.start_soon(note, wait_readable, reused, log, "the new one")
                    await checkpoint()
                    await checkpoint()
                    io.dispatch(events)
                    await checkpoint()
                    assert log == ["ClosedResourceError"]
                    other_peer.send(b"y")
                    await wait_all_tasks_blocked()
                    assert log == ["ClosedResourceError", "the new one"]
                finally:
                    notify_closing(reused)
                    os.close(reused)

    nursery.run(main)


@in_a_run
async def test_a_number_closed_with_notice_can_be_used_again_at_once(pair: Pair) -> None:
    here, _there = pair
    for _ in range(3):
        read, write = os.pipe()
        try:
            with nursery.move_on_after(0):
                await wait_readable(read)
            os.write(write, b"x")
            with nursery.fail_after(1):
                await wait_readable(read)
        finally:
            notify_closing(read)
            notify_closing(write)
            os.close(read)
            os.close(write)
    assert here.fileno() != -1


@in_a_run
async def test_a_number_closed_without_a_word_can_be_used_again() -> None:
    with nursery.fail_after(1):
        for _ in range(3):
            read, write = os.pipe()
            try:
                os.write(write, b"x")
                await wait_readable(read)
                await wait_writable(write)
            finally:
                os.close(read)
                os.close(write)


@in_a_run
async def test_a_waiter_on_a_number_closed_without_a_word_does_not_stop_the_run() -> None:
    here, there = socket.socketpair()
    with there:
        log: list[str] = []
        async with nursery.open_nursery() as n:
            n.start_soon(note, wait_readable, here, log)
            await wait_all_tasks_blocked()
            here.close()
            await nursery.sleep(0.001)
            n.cancel_scope.cancel()
        assert log == []


@in_a_run
async def test_a_duplicate_of_a_descriptor_is_a_descriptor_of_its_own(pair: Pair) -> None:
    here, there = pair
    duplicate = os.dup(here.fileno())
    log: list[str] = []
    try:
        async with nursery.open_nursery() as n:
            n.start_soon(note, wait_readable, here, log, "original")
            n.start_soon(note, wait_readable, duplicate, log, "duplicate")
            await wait_all_tasks_blocked()
            there.send(b"x")
        assert sorted(log) == ["duplicate", "original"]
        notify_closing(here)
        here.close()
        with nursery.fail_after(1):
            await wait_readable(duplicate)
    finally:
        notify_closing(duplicate)
        os.close(duplicate)


@in_a_run
async def test_closing_the_original_with_notice_leaves_waiters_on_the_duplicate_alone(pair: Pair) -> None:
    here, there = pair
    duplicate = os.dup(here.fileno())
    log: list[str] = []
    try:
        async with nursery.open_nursery() as n:
            n.start_soon(note, wait_readable, duplicate, log, "duplicate")
            with nursery.move_on_after(0.001):
                await wait_readable(here)
            notify_closing(here)
            here.close()
            await cancel_shielded_checkpoint()
            assert log == []
            there.send(b"x")
        assert log == ["duplicate"]
    finally:
        notify_closing(duplicate)
        os.close(duplicate)


# Misuse


@pytest.mark.parametrize("wait", [wait_readable, wait_writable])
def test_waiting_for_a_closed_descriptor_is_an_error_and_leaves_nothing(wait: Wait) -> None:
    async def main() -> None:
        sock = socket.socket()
        number = sock.fileno()
        sock.close()
        with pytest.raises((OSError, ValueError)) as caught:
            await wait(number)
        if isinstance(caught.value, OSError):
            assert caught.value.errno == errno.EBADF
        with pytest.raises((OSError, ValueError)):
            await wait(sock)
        assert all(interest.listener for interest in current_runner().io.table.values())

    nursery.run(main)


@in_a_run
async def test_what_is_no_descriptor_is_refused() -> None:
    class Nothing:
        pass

    for call in (wait_readable, wait_writable):
        with pytest.raises((TypeError, AttributeError)):
            await call(Nothing())  # type: ignore[arg-type]  # the misuse under test
    with pytest.raises((TypeError, AttributeError)):
        notify_closing(Nothing())  # type: ignore[arg-type]  # the misuse under test


def test_outside_a_run_nothing_can_be_announced_or_awaited() -> None:
    with pytest.raises(RuntimeError):
        notify_closing(0)
    with pytest.raises(RuntimeError):
        wait_readable(0).send(None)


# Statistics


@in_a_run
async def test_the_statistics_count_waiters_by_direction(pair: Pair) -> None:
    here, there = pair
    fill(here)
    fill(there)
    before = current_statistics().io_statistics
    async with nursery.open_nursery() as n:
        n.start_soon(wait_writable, here)
        n.start_soon(wait_writable, there)
        await wait_all_tasks_blocked()
        with nursery.move_on_after(0.001):
            pass
        during = current_statistics().io_statistics
        n.cancel_scope.cancel()
    await checkpoint()
    after = current_statistics().io_statistics
    assert during.tasks_waiting_write == before.tasks_waiting_write + 2
    assert during.tasks_waiting_read == before.tasks_waiting_read
    assert after == before


# The interests that streams use


@in_a_run
async def test_an_interest_caches_readiness_and_waits_only_when_told_that_it_is_gone(pair: Pair) -> None:
    here, there = pair
    io = current_runner().io
    interest = io.open(here.fileno())
    assert interest.readable
    with pytest.raises(BlockingIOError):
        here.recv(1)
    interest.readable = False
    there.send(b"x")
    with nursery.fail_after(1):
        await interest.until_readable()
    assert interest.readable
    assert here.recv(1) == b"x"
    io.forget(interest)
    assert interest.closed


@in_a_run
async def test_a_stream_of_short_reads_sees_data_and_end_without_a_further_edge(pair: Pair) -> None:
    here, there = pair
    io = current_runner().io
    interest = io.open(here.fileno())
    got: list[bytes] = []

    async def receive() -> bytes:
        while True:
            if interest.readable:
                try:
                    data = here.recv(100)
                except BlockingIOError:
                    interest.readable = False
                else:
                    if len(data) < 100 and not interest.hangup:
                        interest.readable = False
                    return data
            await interest.until_readable()

    async def reader() -> None:
        while not got or got[-1]:
            got.append(await receive())

    with nursery.fail_after(1):
        async with nursery.open_nursery() as n:
            n.start_soon(reader)
            await wait_all_tasks_blocked()
            there.send(b"data")
            there.close()
    assert b"".join(got) == b"data"
    io.forget(interest)


@in_a_run
async def test_forgetting_an_interest_wakes_both_its_waiters_and_is_idempotent(pair: Pair) -> None:
    here, _there = pair
    io = current_runner().io
    interest = io.open(here.fileno())
    log: list[str] = []

    async def wait(direction: Callable[[], Awaitable[None]]) -> None:
        try:
            await direction()
        except ClosedResourceError:
            log.append("closed")

    fill(here)
    async with nursery.open_nursery() as n:
        with nursery.move_on_after(0.002):
            # Whatever was ready at the time of registration has been reported by now.
            await interest.until_writable()
        n.start_soon(wait, interest.until_readable)
        n.start_soon(wait, interest.until_writable)
        await wait_all_tasks_blocked()
        io.forget(interest)
        io.forget(interest)
    assert log == ["closed", "closed"]


@in_a_run
async def test_opening_a_number_again_ends_the_interest_that_had_it(pair: Pair) -> None:
    here, _there = pair
    io = current_runner().io
    first = io.open(here.fileno())
    second = io.open(here.fileno())
    assert first.closed
    assert not second.closed
    assert io.table[here.fileno()] is second
    io.forget(first)
    assert io.table[here.fileno()] is second
    io.forget(second)
    assert here.fileno() not in io.table


@in_a_run
async def test_a_second_waiter_on_an_interest_is_refused(pair: Pair) -> None:
    here, _there = pair
    fill(here)
    io = current_runner().io
    interest: Interest = io.open(here.fileno())
    async with nursery.open_nursery() as n:
        n.start_soon(interest.until_readable)
        await wait_all_tasks_blocked()
        with pytest.raises(BusyResourceError):
            await interest.until_readable()
        n.cancel_scope.cancel()
    io.forget(interest)


@in_a_run
async def test_the_self_check_finds_a_waiter_that_is_not_parked(pair: Pair) -> None:
    here, _there = pair
    io = current_runner().io
    interest = io.open(here.fileno())
    io.check()
    interest.reader = nursery.lowlevel.current_task()
    with pytest.raises(AssertionError):
        io.check()
    interest.reader = None
    io.forget(interest)
