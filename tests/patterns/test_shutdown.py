"""Graceful shutdown: a request, a grace, a cancellation."""

from __future__ import annotations

import gc
from math import inf, nan

import pytest

import nursery
from nursery.patterns import (
    each_until_closing,
    is_closing,
    open_service_nursery,
    shutdown,
    stop_when_closing,
    until_closing,
)
from nursery.testing import MockClock, assert_checkpoints, assert_no_checkpoints, wait_all_tasks_blocked


async def ask_after(seconds: float, scope: nursery.CancelScope, grace: float) -> None:
    await nursery.sleep(seconds)
    shutdown(scope, grace=grace)


# The request and the end


async def test_code_that_does_not_ask_is_cancelled_after_the_grace(autojump_clock: MockClock) -> None:
    async with nursery.open_nursery() as n:
        with nursery.CancelScope() as scope:
            n.start_soon(ask_after, 1, scope, 10)
            try:
                await nursery.sleep_forever()
            except nursery.Cancelled as exc:
                assert exc.source == "shutdown"
                raise
    assert scope.cancelled_caught
    assert nursery.current_time() == 11


async def test_a_reason_travels_with_the_cancellation(autojump_clock: MockClock) -> None:
    with nursery.CancelScope() as scope:
        shutdown(scope, grace=1, reason="the ship is sinking")
        with pytest.raises(nursery.Cancelled) as caught:
            await nursery.sleep_forever()
        assert caught.value.source == "shutdown"
        assert caught.value.reason == "the ship is sinking"
        assert caught.value.source_task == repr(nursery.lowlevel.current_task())


async def test_code_that_comes_to_its_end_in_time_is_not_cancelled(autojump_clock: MockClock) -> None:
    with nursery.CancelScope() as scope:
        shutdown(scope, grace=10)
        await until_closing()
        await nursery.sleep(9)
    assert not scope.cancelled_caught
    assert not scope.cancel_called
    # Nor later.
    await nursery.sleep(100)
    assert not scope.cancel_called


async def test_a_grace_of_zero_cancels_at_once() -> None:
    with nursery.CancelScope() as scope:
        shutdown(scope, grace=0)
        assert scope.cancel_called
        await nursery.lowlevel.checkpoint()
    assert scope.cancelled_caught


async def test_an_endless_grace_never_cancels(autojump_clock: MockClock) -> None:
    with nursery.CancelScope() as scope:
        shutdown(scope, grace=inf)
        assert is_closing()
        await nursery.sleep(1e6)
    assert not scope.cancel_called


async def test_the_time_that_is_left_can_be_seen(autojump_clock: MockClock) -> None:
    with nursery.CancelScope() as scope:
        shutdown(scope, grace=10)
        assert nursery.current_effective_deadline() == 10
    with nursery.move_on_after(5) as scope:
        # A deadline that comes earlier stays.
        shutdown(scope, grace=10)
        assert nursery.current_effective_deadline() == 5


async def test_asking_again_can_only_shorten_the_grace(autojump_clock: MockClock) -> None:
    for graces, end in (((10, 3), 3), ((3, 10), 3), ((10, 0), 0), ((inf, 4), 4), ((0, 5), 0)):
        start = nursery.current_time()
        with nursery.CancelScope() as scope:
            for grace in graces:
                shutdown(scope, grace=grace)
            await nursery.sleep_forever()
        assert nursery.current_time() - start == end


async def test_a_scope_may_be_asked_before_it_is_entered(autojump_clock: MockClock) -> None:
    scope = nursery.CancelScope()
    shutdown(scope, grace=3)
    with scope:
        assert is_closing()
        await nursery.sleep_forever()
    assert nursery.current_time() == 3
    relative = nursery.move_on_after(100)
    shutdown(relative, grace=3)
    with relative:
        await nursery.sleep_forever()
    assert nursery.current_time() == 6


async def test_a_scope_that_was_left_is_left_alone(autojump_clock: MockClock) -> None:
    with nursery.CancelScope() as scope:
        pass
    shutdown(scope, grace=1)
    await nursery.sleep(2)
    assert not scope.cancel_called


async def test_a_nursery_can_be_shut_down_by_its_scope(autojump_clock: MockClock) -> None:
    told: list[str] = []

    async def child() -> None:
        await until_closing()
        told.append("child")

    async with nursery.open_nursery() as n:
        n.start_soon(child)
        await wait_all_tasks_blocked()
        shutdown(n.cancel_scope, grace=10)
    assert told == ["child"]
    assert nursery.current_time() == 0


@pytest.mark.parametrize("grace", [-1, nan])
async def test_the_grace_is_checked(grace: float) -> None:
    with pytest.raises(ValueError, match="grace"):
        shutdown(nursery.CancelScope(), grace=grace)


def test_outside_a_run_nothing_can_be_shut_down() -> None:
    with pytest.raises(RuntimeError):
        shutdown(nursery.CancelScope(), grace=1)


async def test_shutdown_is_no_checkpoint_and_until_closing_is_one() -> None:
    with nursery.CancelScope() as scope:
        with assert_no_checkpoints():
            shutdown(scope, grace=1000)
            is_closing()
        with assert_checkpoints():
            await until_closing()


async def test_a_closing_scope_is_forgotten_with_its_block() -> None:
    import importlib

    module = importlib.import_module("nursery.patterns.shutdown")
    gc.collect()
    before = len(module._endings)
    with nursery.CancelScope() as scope:
        shutdown(scope, grace=1000)
    del scope
    gc.collect()
    assert len(module._endings) == before


# until_closing


async def test_until_closing_wakes_who_is_inside_the_scope_and_nobody_else() -> None:
    told: list[str] = []

    async def wait(name: str) -> None:
        await until_closing()
        told.append(name)

    async with nursery.open_nursery() as n:
        n.start_soon(wait, "outside")
        async with nursery.open_nursery() as inner:
            inner.start_soon(wait, "inside")

            async def deeper() -> None:
                with nursery.CancelScope():
                    async with nursery.open_nursery() as deep:
                        deep.start_soon(wait, "deep inside")

            inner.start_soon(deeper)
            await wait_all_tasks_blocked()
            assert not is_closing()
            shutdown(inner.cancel_scope, grace=10)
            assert is_closing()
        assert sorted(told) == ["deep inside", "inside"]
        assert not is_closing()
        n.cancel_scope.cancel()


async def test_a_shield_holds_the_request_back_as_it_does_a_cancellation() -> None:
    with nursery.CancelScope() as scope:
        shutdown(scope, grace=1000)
        with nursery.CancelScope(shield=True):
            assert not is_closing()
            with nursery.move_on_after(0.001) as waiting:
                await until_closing()
            assert waiting.cancelled_caught
        with nursery.CancelScope(shield=True) as shielded:
            # But a scope inside the shield, or the shielded one itself, is heard.
            shutdown(shielded, grace=1000)
            assert is_closing()


async def test_a_cancelled_wait_for_the_request_leaves_nothing_behind() -> None:
    with nursery.CancelScope() as scope:
        with nursery.move_on_after(0.001) as waiting:
            await until_closing()
        assert waiting.cancelled_caught
        shutdown(scope, grace=1000)
        with nursery.CancelScope() as cancelled:
            cancelled.cancel()
            await until_closing()
        assert cancelled.cancelled_caught


async def test_services_are_not_asked_before_the_block_is_done() -> None:
    heard: list[bool] = []

    async def service() -> None:
        heard.append(is_closing())

    with nursery.CancelScope() as scope:
        async with open_service_nursery() as services:
            shutdown(scope, grace=1000)
            services.start_soon(service)
            await wait_all_tasks_blocked()
            assert is_closing()
    assert heard == [False]


# stop_when_closing


async def test_a_block_that_opted_in_is_stopped_at_once(autojump_clock: MockClock) -> None:
    async with nursery.open_nursery() as n:
        n.start_soon(ask_after, 1, n.cancel_scope, 10)
        with stop_when_closing() as stopped:
            try:
                await nursery.sleep_forever()
            except nursery.Cancelled as exc:
                assert exc.source == "shutdown"
                raise
        assert stopped.cancelled_caught
        assert nursery.current_time() == 1
        # What comes after the block has the grace.
        await nursery.sleep(5)
    assert not n.cancel_scope.cancelled_caught


async def test_a_block_that_begins_when_closing_stops_at_its_first_checkpoint() -> None:
    with nursery.CancelScope() as scope:
        shutdown(scope, grace=1000)
        with stop_when_closing() as stopped:
            await nursery.lowlevel.checkpoint()
        assert stopped.cancelled_caught


async def test_a_block_that_was_left_is_not_stopped() -> None:
    with nursery.CancelScope() as scope:
        with stop_when_closing() as stopped:
            pass
        shutdown(scope, grace=1000)
        assert not stopped.cancel_called


async def test_a_block_inside_a_shield_is_not_stopped() -> None:
    with nursery.CancelScope() as scope, nursery.CancelScope(shield=True), stop_when_closing() as stopped:
        shutdown(scope, grace=1000)
        await nursery.lowlevel.checkpoint()
        assert not stopped.cancel_called


async def test_a_server_stops_listening_and_serves_its_clients_to_the_end(autojump_clock: MockClock) -> None:
    from nursery.testing.network import Network

    async def slow_echo(stream: nursery.SocketStream) -> None:
        data = await stream.receive_some()
        await nursery.sleep(5)
        await stream.send_all(data)

    async def server(scope: nursery.CancelScope, task_status: nursery.TaskStatus[None]) -> None:
        with scope:
            async with nursery.open_nursery() as handlers:
                with stop_when_closing():
                    async with nursery.open_nursery() as listening:

                        async def serve(task_status: nursery.TaskStatus[object]) -> None:
                            await nursery.serve_tcp(
                                slow_echo, 80, handler_nursery=handlers, task_status=task_status
                            )

                        await listening.start(serve)
                        task_status.started()

    with Network():
        scope = nursery.CancelScope()
        async with nursery.open_nursery() as n:
            await n.start(server, scope)
            stream = await nursery.open_tcp_stream("localhost", 80)
            await stream.send_all(b"x")
            await nursery.sleep(1)
            shutdown(scope, grace=10)
            await wait_all_tasks_blocked()
            with pytest.raises(OSError, match="all attempts"):
                await nursery.open_tcp_stream("localhost", 80)
            assert await stream.receive_some() == b"x"
        assert nursery.current_time() == 5
        assert not scope.cancelled_caught


# each_until_closing


async def test_a_loop_ends_when_its_source_does() -> None:
    send, receive = nursery.open_memory_channel[int](3)
    for number in range(3):
        send.send_nowait(number)
    send.close()
    assert [number async for number in each_until_closing(receive)] == [0, 1, 2]


async def test_a_loop_ends_between_two_values_and_loses_none(autojump_clock: MockClock) -> None:
    send, receive = nursery.open_memory_channel[int](10)
    done: list[int] = []

    async def work() -> None:
        async for number in each_until_closing(receive):
            await nursery.sleep(1)
            done.append(number)

    async with nursery.open_nursery() as n:
        n.start_soon(work)
        for number in range(5):
            send.send_nowait(number)
        await nursery.sleep(1.5)
        shutdown(n.cancel_scope, grace=10)
    # The one under way was finished; the rest is still there.
    assert done == [0, 1]
    assert nursery.current_time() == 2
    assert receive.receive_nowait() == 2


async def test_a_loop_that_waits_for_a_value_is_ended() -> None:
    _send, receive = nursery.open_memory_channel[int](0)

    async def work() -> None:
        async for _ in each_until_closing(receive):
            pass

    async with nursery.open_nursery() as n:
        n.start_soon(work)
        await wait_all_tasks_blocked()
        shutdown(n.cancel_scope, grace=1000)
    assert not n.cancel_scope.cancelled_caught


async def test_a_cancellation_from_elsewhere_still_cancels_the_loop() -> None:
    _send, receive = nursery.open_memory_channel[int](0)
    with nursery.move_on_after(0.001) as scope:
        async for _ in each_until_closing(receive):
            pass
    assert scope.cancelled_caught
