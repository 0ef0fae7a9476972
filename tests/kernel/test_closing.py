"""Graceful shutdown: a request, a grace, a cancellation."""

from __future__ import annotations

from math import inf, nan

import pytest

import nursery
from nursery import is_closing, stop_when_closing, until_closing
from nursery.patterns import open_service_nursery
from nursery.testing import MockClock, assert_checkpoints, assert_no_checkpoints, wait_all_tasks_blocked


async def ask_after(seconds: float, scope: nursery.CancelScope, grace: float) -> None:
    await nursery.sleep(seconds)
    scope.shutdown(grace=grace)


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
        scope.shutdown(grace=1, reason="the ship is sinking")
        with pytest.raises(nursery.Cancelled) as caught:
            await nursery.sleep_forever()
        assert caught.value.source == "shutdown"
        assert caught.value.reason == "the ship is sinking"
        assert caught.value.source_task == repr(nursery.lowlevel.current_task())


async def test_code_that_comes_to_its_end_in_time_is_not_cancelled(autojump_clock: MockClock) -> None:
    with nursery.CancelScope() as scope:
        scope.shutdown(grace=10)
        await until_closing()
        await nursery.sleep(9)
    assert not scope.cancelled_caught
    assert not scope.cancel_called
    # Nor later.
    await nursery.sleep(100)
    assert not scope.cancel_called


async def test_a_grace_of_zero_cancels_at_once() -> None:
    with nursery.CancelScope() as scope:
        scope.shutdown(grace=0)
        assert scope.cancel_called
        await nursery.lowlevel.checkpoint()
    assert scope.cancelled_caught


async def test_an_endless_grace_never_cancels(autojump_clock: MockClock) -> None:
    with nursery.CancelScope() as scope:
        scope.shutdown(grace=inf)
        assert is_closing()
        await nursery.sleep(1e6)
    assert not scope.cancel_called


async def test_the_time_that_is_left_can_be_seen(autojump_clock: MockClock) -> None:
    with nursery.CancelScope() as scope:
        scope.shutdown(grace=10)
        assert nursery.current_effective_deadline() == 10
    with nursery.move_on_after(5) as scope:
        # A deadline that comes earlier stays.
        scope.shutdown(grace=10)
        assert nursery.current_effective_deadline() == 5


async def test_asking_again_can_only_shorten_the_grace(autojump_clock: MockClock) -> None:
    for graces, end in (((10, 3), 3), ((3, 10), 3), ((10, 0), 0), ((inf, 4), 4), ((0, 5), 0)):
        start = nursery.current_time()
        with nursery.CancelScope() as scope:
            for grace in graces:
                scope.shutdown(grace=grace)
            await nursery.sleep_forever()
        assert nursery.current_time() - start == end


async def test_a_scope_may_be_asked_before_it_is_entered(autojump_clock: MockClock) -> None:
    scope = nursery.CancelScope()
    scope.shutdown(grace=3)
    with scope:
        assert is_closing()
        await nursery.sleep_forever()
    assert nursery.current_time() == 3
    relative = nursery.move_on_after(100)
    relative.shutdown(grace=3)
    with relative:
        await nursery.sleep_forever()
    assert nursery.current_time() == 6


async def test_a_scope_that_was_left_is_left_alone(autojump_clock: MockClock) -> None:
    with nursery.CancelScope() as scope:
        pass
    scope.shutdown(grace=1)
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
        n.cancel_scope.shutdown(grace=10)
    assert told == ["child"]
    assert nursery.current_time() == 0


@pytest.mark.parametrize("grace", [-1, nan])
async def test_the_grace_is_checked(grace: float) -> None:
    with pytest.raises(ValueError, match="grace"):
        nursery.CancelScope().shutdown(grace=grace)


def test_outside_a_run_nothing_can_be_shut_down() -> None:
    with pytest.raises(RuntimeError):
        nursery.CancelScope().shutdown(grace=1)


async def test_shutdown_is_no_checkpoint_and_until_closing_is_one() -> None:
    with nursery.CancelScope() as scope:
        with assert_no_checkpoints():
            scope.shutdown(grace=1000)
            is_closing()
        with assert_checkpoints():
            await until_closing()


async def test_the_grace_cannot_be_stretched_by_moving_the_deadline(autojump_clock: MockClock) -> None:
    with nursery.CancelScope() as scope:
        scope.shutdown(grace=3)
        scope.deadline = nursery.current_time() + 100
        assert scope.deadline == 3
        await nursery.sleep_forever()
    assert nursery.current_time() == 3


async def test_a_deadline_that_comes_before_the_end_of_the_grace_says_so(autojump_clock: MockClock) -> None:
    with nursery.move_on_after(1) as scope:
        scope.shutdown(grace=3)
        with pytest.raises(nursery.Cancelled) as caught:
            await nursery.sleep_forever()
        assert caught.value.source == "deadline"


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
            inner.cancel_scope.shutdown(grace=10)
            assert is_closing()
        assert sorted(told) == ["deep inside", "inside"]
        assert not is_closing()
        n.cancel_scope.cancel()


async def test_a_shield_holds_the_request_back_as_it_does_a_cancellation() -> None:
    with nursery.CancelScope() as scope:
        scope.shutdown(grace=1000)
        with nursery.CancelScope(shield=True):
            assert not is_closing()
            with nursery.move_on_after(0.001) as waiting:
                await until_closing()
            assert waiting.cancelled_caught
        with nursery.CancelScope(shield=True) as shielded:
            # But a scope inside the shield, or the shielded one itself, is heard.
            shielded.shutdown(grace=1000)
            assert is_closing()


async def test_a_cancelled_wait_for_the_request_leaves_nothing_behind() -> None:
    with nursery.CancelScope() as scope:
        with nursery.move_on_after(0.001) as waiting:
            await until_closing()
        assert waiting.cancelled_caught
        scope.shutdown(grace=1000)
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
            scope.shutdown(grace=1000)
            services.start_soon(service)
            await wait_all_tasks_blocked()
            assert is_closing()
    assert heard == [False]


async def test_a_shield_that_is_dropped_lets_the_request_through() -> None:
    with nursery.CancelScope() as scope, nursery.CancelScope(shield=True) as shielded:
        scope.shutdown(grace=1000)

        async def drop() -> None:
            await wait_all_tasks_blocked()
            shielded.shield = False

        async with nursery.open_nursery() as n:
            n.start_soon(drop)
            await until_closing()


async def test_a_task_that_moves_into_a_closing_nursery_is_told() -> None:
    told: list[str] = []

    async def service(task_status: nursery.TaskStatus[None]) -> None:
        async def wait() -> None:
            await until_closing()
            told.append("inside")

        async with nursery.open_nursery() as inner:
            inner.start_soon(wait)
            await wait_all_tasks_blocked()
            task_status.started()
            await until_closing()
            told.append("itself")

    async with nursery.open_nursery() as n:
        with nursery.CancelScope(shield=True):
            n.cancel_scope.shutdown(grace=1000)
            await n.start(service)
    assert sorted(told) == ["inside", "itself"]


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
        scope.shutdown(grace=1000)
        with stop_when_closing() as stopped:
            await nursery.lowlevel.checkpoint()
        assert stopped.cancelled_caught


async def test_a_block_that_was_left_is_not_stopped() -> None:
    with nursery.CancelScope() as scope:
        with stop_when_closing() as stopped:
            pass
        scope.shutdown(grace=1000)
        assert not stopped.cancel_called


async def test_a_block_inside_a_shield_is_not_stopped() -> None:
    with nursery.CancelScope() as scope, nursery.CancelScope(shield=True), stop_when_closing() as stopped:
        scope.shutdown(grace=1000)
        await nursery.lowlevel.checkpoint()
        assert not stopped.cancel_called


async def test_serve_tcp_stops_listening_by_itself_and_serves_its_clients_to_the_end(autojump_clock: MockClock) -> None:
    from nursery.testing.network import Network

    async def slow_echo(stream: nursery.SocketStream) -> None:
        data = await stream.receive_some()
        await nursery.sleep(5)
        await stream.send_all(data)

    async def server(scope: nursery.CancelScope, task_status: nursery.TaskStatus[object]) -> None:
        with scope:
            await nursery.serve_tcp(slow_echo, 80, task_status=task_status)

    with Network():
        scope = nursery.CancelScope()
        async with nursery.open_nursery() as n:
            await n.start(server, scope)
            stream = await nursery.open_tcp_stream("localhost", 80)
            await stream.send_all(b"x")
            await nursery.sleep(1)
            scope.shutdown(grace=10)
            await wait_all_tasks_blocked()
            with pytest.raises(OSError, match="all attempts"):
                await nursery.open_tcp_stream("localhost", 80)
            assert await stream.receive_some() == b"x"
        assert nursery.current_time() == 5
        assert not scope.cancelled_caught


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
            scope.shutdown(grace=10)
            await wait_all_tasks_blocked()
            with pytest.raises(OSError, match="all attempts"):
                await nursery.open_tcp_stream("localhost", 80)
            assert await stream.receive_some() == b"x"
        assert nursery.current_time() == 5
        assert not scope.cancelled_caught
