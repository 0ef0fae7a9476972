"""anyio on its asyncio backend: its scopes and ours in one task, its task groups, streams, threads and processes."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import anyio
import anyio.abc
import anyio.from_thread
import anyio.lowlevel
import anyio.streams.buffered
import anyio.streams.text
import anyio.streams.tls
import anyio.to_thread
import pytest
import sniffio

import nursery
from nursery import compat
from tests.libraries.certificates import Certificates
from tests.libraries.on_our_loop import OTHER_LOOP, asyncio_test, mixed_test, new_event_loop


def test_anyio_run_takes_our_loop() -> None:
    async def main() -> tuple[str, str]:
        await anyio.sleep(0)
        return sniffio.current_async_library(), type(asyncio.get_running_loop()).__name__

    found = anyio.run(main, backend="asyncio", backend_options={"loop_factory": compat.new_event_loop})
    assert found == ("asyncio", "EventLoop")


@asyncio_test
async def test_a_task_group_waits_and_collects() -> None:
    done: list[int] = []

    async def child(number: int, *, task_status: anyio.abc.TaskStatus[int] = anyio.TASK_STATUS_IGNORED) -> None:
        task_status.started(number)
        await anyio.sleep(0.001)
        done.append(number)

    async with anyio.create_task_group() as group:
        assert await group.start(child, 0) == 0
        for number in range(1, 5):
            group.start_soon(child, number)
    assert sorted(done) == [0, 1, 2, 3, 4]

    async def fails() -> None:
        raise ValueError("a child failed")

    with pytest.RaisesGroup(ValueError):
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.sleep_forever)
            group.start_soon(fails)


@asyncio_test
async def test_a_scope_of_anyios_cancels_level_by_level() -> None:
    raised = 0
    with anyio.move_on_after(0.01) as scope:
        try:
            await anyio.sleep_forever()
        except asyncio.CancelledError:
            for _ in range(3):
                try:
                    await anyio.sleep(0)
                except asyncio.CancelledError:
                    raised += 1
            raise
    assert scope.cancelled_caught
    assert raised == 3
    with pytest.raises(TimeoutError):
        with anyio.fail_after(0.01):
            await anyio.sleep_forever()
    with anyio.move_on_after(0.01) as outer:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(0.02)
        await anyio.sleep_forever()
    assert outer.cancelled_caught


@mixed_test
async def test_our_scope_around_theirs_and_theirs_around_ours() -> None:
    with nursery.move_on_after(0.01) as ours:
        with anyio.move_on_after(10) as theirs:
            await anyio.sleep_forever()
    assert (ours.cancelled_caught, theirs.cancelled_caught) == (True, False)

    with anyio.move_on_after(0.01) as theirs:
        with nursery.move_on_after(10) as ours:
            await nursery.sleep_forever()
    assert (ours.cancelled_caught, theirs.cancelled_caught) == (False, True)

    with anyio.move_on_after(10) as theirs:
        with nursery.move_on_after(0.01) as ours:
            await anyio.sleep_forever()
    assert (ours.cancelled_caught, theirs.cancelled_caught) == (True, False)

    with nursery.move_on_after(10) as ours:
        with anyio.move_on_after(0.01) as theirs:
            await nursery.sleep_forever()
    assert (ours.cancelled_caught, theirs.cancelled_caught) == (False, True)
    # No request to cancel is left behind.
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    await asyncio.sleep(0)
    await nursery.lowlevel.checkpoint()


@mixed_test
async def test_a_task_group_in_a_nursery_and_a_nursery_in_a_task_group() -> None:
    done: list[str] = []

    async def leaf(name: str) -> None:
        await anyio.sleep(0.001)
        await nursery.sleep(0.001)
        done.append(name)

    async def in_task_group() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(leaf, "task group in nursery")

    async def in_nursery() -> None:
        async with nursery.open_nursery() as children:
            children.start_soon(leaf, "nursery in task group")

    async with nursery.open_nursery() as children:
        children.start_soon(in_task_group)
    async with anyio.create_task_group() as group:
        group.start_soon(in_nursery)
    assert done == ["task group in nursery", "nursery in task group"]


@mixed_test
async def test_a_native_scope_ends_a_task_group_with_its_children() -> None:
    ended: list[int] = []

    async def child(number: int) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            ended.append(number)

    with nursery.move_on_after(0.01) as scope:
        async with anyio.create_task_group() as group:
            for number in range(3):
                group.start_soon(child, number)
            await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert sorted(ended) == [0, 1, 2]


@mixed_test
async def test_a_scope_of_anyios_ends_a_nursery_with_its_children() -> None:
    ended: list[int] = []

    async def child(number: int) -> None:
        try:
            await nursery.sleep_forever()
        finally:
            ended.append(number)

    with anyio.move_on_after(0.01) as scope:
        async with nursery.open_nursery() as children:
            for number in range(3):
                children.start_soon(child, number)
            await nursery.sleep_forever()
    assert scope.cancelled_caught
    assert sorted(ended) == [0, 1, 2]


@mixed_test
async def test_waiting_in_a_cancelled_scope_of_anyios_behind_a_native_shield_ends() -> None:
    with anyio.move_on_after(0.005) as scope:
        with nursery.CancelScope(shield=True):
            await nursery.sleep(0.05)
        await anyio.sleep_forever()
    assert scope.cancelled_caught


@mixed_test
async def test_a_native_scope_costs_no_time_while_asyncio_code_cleans_up() -> None:
    # anyio's own cancellation asks again in each turn of the loop, which keeps a processor busy; ours is told once.
    with nursery.move_on_after(0.001) as scope:
        try:
            await asyncio.sleep(10)
        finally:
            used = time.process_time()
            await asyncio.sleep(0.1)
            used = time.process_time() - used
    assert scope.cancelled_caught
    assert used < 0.05


@asyncio_test
async def test_memory_streams_locks_and_limiters() -> None:
    sender, receiver = anyio.create_memory_object_stream[int](0)
    limiter = anyio.CapacityLimiter(2)
    most = 0

    async def produce(number: int) -> None:
        nonlocal most
        async with limiter:
            most = max(most, int(limiter.borrowed_tokens))
            await sender.send(number)

    async with receiver, sender, anyio.create_task_group() as group:
        for number in range(10):
            group.start_soon(produce, number)
        received = [await receiver.receive() for _ in range(10)]
    assert sorted(received) == list(range(10))
    assert most == 2


@mixed_test
async def test_children_of_a_nursery_use_anyios_streams_and_locks() -> None:
    sender, receiver = anyio.create_memory_object_stream[int](0)
    lock = anyio.Lock()

    async def produce(number: int) -> None:
        async with lock:
            await sender.send(number)

    async with receiver, sender:
        async with nursery.open_nursery() as children:
            for number in range(10):
                children.start_soon(produce, number)
            received = [await receiver.receive() for _ in range(10)]
    assert received == list(range(10))


@asyncio_test
async def test_tcp_listener_and_stream() -> None:
    async def shout(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            async for chunk in stream:
                await stream.send(chunk.upper())

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, shout)
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            await stream.send(b"hello")
            assert await stream.receive() == b"HELLO"
            await stream.send_eof()
            with pytest.raises(anyio.EndOfStream):
                await stream.receive()
        group.cancel_scope.cancel()


@asyncio_test
async def test_tls_over_a_tcp_stream(certificates: Certificates) -> None:
    async def shout(stream: anyio.abc.ByteStream) -> None:
        async with stream:
            async for chunk in stream:
                await stream.send(chunk.upper())

    tcp = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with anyio.streams.tls.TLSListener(tcp, certificates.server) as listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, shout)
        port = tcp.extra(anyio.abc.SocketAttribute.local_port)
        async with await anyio.connect_tcp("127.0.0.1", port, ssl_context=certificates.client) as stream:
            await stream.send(b"hello")
            assert await stream.receive() == b"HELLO"
        group.cancel_scope.cancel()


@asyncio_test
async def test_unix_sockets_and_datagrams(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    async with await anyio.create_unix_listener(path) as listener, anyio.create_task_group() as group:

        async def serve_one() -> None:
            async with await listener.accept() as stream:
                await stream.send((await stream.receive()).upper())

        group.start_soon(serve_one)
        async with await anyio.connect_unix(path) as client:
            await client.send(b"hello")
            assert await client.receive() == b"HELLO"
    async with await anyio.create_udp_socket(local_host="127.0.0.1") as one:
        port = one.extra(anyio.abc.SocketAttribute.local_port)
        async with await anyio.create_connected_udp_socket("127.0.0.1", port) as two:
            await two.send(b"ping")
            packet, address = await one.receive()
            assert packet == b"ping"
            await one.sendto(b"pong", *address)
            assert await two.receive() == b"pong"


@asyncio_test
async def test_threads_call_back() -> None:
    def in_thread() -> int:
        anyio.from_thread.run(anyio.sleep, 0)
        number: int = anyio.from_thread.run_sync(int, "7")
        return number

    assert await anyio.to_thread.run_sync(in_thread) == 7
    with anyio.move_on_after(0.01) as scope:
        await anyio.to_thread.run_sync(time.sleep, 0.05, abandon_on_cancel=True)
    assert scope.cancelled_caught


@mixed_test
async def test_the_thread_of_a_call_that_a_scope_ends_runs_on() -> None:
    proceed, finished = threading.Event(), threading.Event()

    def in_thread() -> None:
        proceed.wait(10)
        finished.set()

    # anyio shields the wait by a scope of its own, which means nothing to ours, as it means nothing to Task.cancel().
    with nursery.move_on_after(0.01) as scope:
        await anyio.to_thread.run_sync(in_thread)
    assert scope.cancelled_caught
    proceed.set()
    assert await asyncio.to_thread(finished.wait, 10)


def test_a_blocking_portal_has_our_loop() -> None:
    with anyio.from_thread.start_blocking_portal("asyncio", {"loop_factory": new_event_loop}) as portal:
        assert portal.call(anyio.sleep, 0) is None
        futures = [portal.start_task_soon(anyio.to_thread.run_sync, abs, -number) for number in range(5)]
        assert [future.result(5) for future in futures] == [0, 1, 2, 3, 4]
        forever = portal.start_task_soon(anyio.sleep_forever)
        assert forever.cancel()


@asyncio_test
async def test_processes() -> None:
    done = await anyio.run_process([sys.executable, "-c", "print(input().upper())"], input=b"hello\n")
    assert done.stdout == b"HELLO\n"
    with pytest.raises(subprocess.CalledProcessError):
        await anyio.run_process([sys.executable, "-c", "raise SystemExit(3)"])
    async with await anyio.open_process([sys.executable, "-c", "print('one'); print('two')"]) as process:
        assert process.stdout is not None
        text = anyio.streams.text.TextReceiveStream(process.stdout)
        assert "".join([part async for part in text]) == "one\ntwo\n"
    assert process.returncode == 0


@asyncio_test
async def test_signals_are_received() -> None:
    with anyio.open_signal_receiver(signal.SIGUSR1) as signals:
        os.kill(os.getpid(), signal.SIGUSR1)
        async for received in signals:
            assert received is signal.SIGUSR1
            break


@asyncio_test
async def test_task_info_and_waiting_until_all_block() -> None:
    event = anyio.Event()

    async def waiter() -> None:
        await event.wait()

    async with anyio.create_task_group() as group:
        group.start_soon(waiter, name="the waiter")
        await anyio.wait_all_tasks_blocked()
        infos = {info.name: info for info in anyio.get_running_tasks()}
        assert "the waiter" in infos
        me = anyio.get_current_task()
        assert infos["the waiter"].parent_id == me.id
        event.set()


@asyncio_test
async def test_effective_deadlines() -> None:
    assert anyio.current_effective_deadline() == math.inf
    with anyio.move_on_after(10) as scope:
        assert anyio.current_effective_deadline() == scope.deadline
        scope.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await anyio.lowlevel.checkpoint_if_cancelled()
        assert anyio.current_effective_deadline() == -math.inf


# The pytest plugin

PLUGIN_TEST = """
import asyncio
import anyio
import pytest
import nursery
from nursery import compat

@pytest.fixture
def anyio_backend():
    return "asyncio", {"loop_factory": compat.new_event_loop}

@pytest.fixture
async def number(anyio_backend):
    async with anyio.create_task_group() as group:
        yield 7

pytestmark = pytest.mark.anyio

async def test_their_way(number):
    await anyio.sleep(0.001)
    assert number == 7

async def test_our_way():
    assert type(asyncio.get_running_loop()) is compat.EventLoop
    with nursery.move_on_after(0.001):
        async with nursery.open_nursery() as children:
            children.start_soon(nursery.sleep_forever)
"""


@pytest.mark.skipif(OTHER_LOOP is not None, reason="about our loop")
def test_the_pytest_plugin_takes_our_loop(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(PLUGIN_TEST)
    result = pytester.runpytest_subprocess("-p", "no:asyncio", "-p", "no:cacheprovider", "-W", "error")
    result.assert_outcomes(passed=2)
