"""open_service_nursery: tasks that outlive the block."""

from __future__ import annotations

import pytest

import nursery
from nursery.patterns import open_service_nursery
from nursery.testing import MockClock, wait_all_tasks_blocked


class Service:
    """Records how it goes."""

    def __init__(self) -> None:
        self.record: list[str] = []

    async def run(self) -> None:
        try:
            await nursery.sleep_forever()
        finally:
            self.record.append("service stopped")


async def test_services_are_stopped_after_the_block(autojump_clock: MockClock) -> None:
    service = Service()
    async with open_service_nursery() as services:
        services.start_soon(service.run)
        await nursery.sleep(1)
        service.record.append("block done")
    assert service.record == ["block done", "service stopped"]


async def test_a_cancellation_from_outside_reaches_the_block_first(autojump_clock: MockClock) -> None:
    service = Service()
    with nursery.move_on_after(1) as scope:
        async with open_service_nursery() as services:
            services.start_soon(service.run)
            try:
                await nursery.sleep_forever()
            finally:
                with nursery.CancelScope(shield=True):
                    await nursery.sleep(5)
                service.record.append("block cleaned up")
    assert scope.cancelled_caught
    assert service.record == ["block cleaned up", "service stopped"]
    assert nursery.current_time() == 6


async def test_an_error_of_the_block_stops_the_services_and_leaves_in_a_group() -> None:
    service = Service()
    with pytest.raises(ExceptionGroup) as caught:
        async with open_service_nursery() as services:
            services.start_soon(service.run)
            await wait_all_tasks_blocked()
            raise KeyError("block")
    assert [repr(error) for error in caught.value.exceptions] == ["KeyError('block')"]
    assert service.record == ["service stopped"]


async def test_a_service_that_fails_cancels_the_block_and_the_other_services(autojump_clock: MockClock) -> None:
    service = Service()

    async def crash() -> None:
        await nursery.sleep(1)
        raise ValueError("service")

    with pytest.raises(ExceptionGroup) as caught:
        async with open_service_nursery() as services:
            services.start_soon(service.run)
            services.start_soon(crash)
            await nursery.sleep(100)
    # Flat: not a group in a group.
    assert [repr(error) for error in caught.value.exceptions] == ["ValueError('service')"]
    assert service.record == ["service stopped"]
    assert nursery.current_time() == 1


async def test_errors_of_services_and_block_leave_in_one_flat_group() -> None:
    async def fail_at_the_end(error: Exception) -> None:
        try:
            await nursery.sleep_forever()
        finally:
            raise error

    with pytest.raises(ExceptionGroup) as caught:
        async with open_service_nursery() as services:
            services.start_soon(fail_at_the_end, OSError())
            services.start_soon(fail_at_the_end, ValueError())
            await wait_all_tasks_blocked()
            raise KeyError
    assert {type(error) for error in caught.value.exceptions} == {OSError, ValueError, KeyError}


async def test_a_service_that_returns_changes_nothing(autojump_clock: MockClock) -> None:
    async with open_service_nursery() as services:
        handle = services.spawn(nursery.sleep, 1)
        await nursery.sleep(2)
        assert handle.status == "returned"


async def test_services_may_be_started_by_services_and_with_start(autojump_clock: MockClock) -> None:
    service = Service()

    async def begin(task_status: nursery.TaskStatus[str]) -> None:
        services.start_soon(service.run)
        task_status.started("begun")
        await nursery.sleep_forever()

    async with open_service_nursery() as services:
        assert await services.start(begin) == "begun"
        await wait_all_tasks_blocked()
        assert len(services.child_tasks) == 2
    assert service.record == ["service stopped"]
    with pytest.raises(RuntimeError, match="closed to new arrivals"):
        services.start_soon(service.run)


async def test_entering_in_a_cancelled_scope_neither_hangs_nor_raises() -> None:
    service = Service()
    with nursery.CancelScope() as scope:
        scope.cancel()
        async with open_service_nursery() as services:
            services.start_soon(service.run)
            service.record.append("block")
            await nursery.lowlevel.checkpoint()
            service.record.append("never")
    assert scope.cancelled_caught
    assert service.record == ["block", "service stopped"]


async def test_services_can_be_stopped_before_the_block_ends(autojump_clock: MockClock) -> None:
    service = Service()
    async with open_service_nursery() as services:
        services.start_soon(service.run)
        await wait_all_tasks_blocked()
        services.cancel_scope.cancel()
        await nursery.sleep(1)
        service.record.append("block goes on")
    assert service.record == ["service stopped", "block goes on"]


async def test_service_nurseries_nest_and_the_inner_one_stops_first() -> None:
    outer, inner = Service(), Service()
    outer.record = inner.record

    async def run_outer() -> None:
        try:
            await nursery.sleep_forever()
        finally:
            outer.record.append("outer stopped")

    with nursery.CancelScope() as scope:
        async with open_service_nursery() as first, open_service_nursery() as second:
            first.start_soon(run_outer)
            second.start_soon(inner.run)
            await wait_all_tasks_blocked()
            scope.cancel()
            await nursery.sleep_forever()
    assert inner.record == ["service stopped", "outer stopped"]


async def test_connections_can_be_handled_by_services(autojump_clock: MockClock) -> None:
    from nursery.testing.network import Network

    async def echo(stream: nursery.SocketStream) -> None:
        async for data in stream:
            await stream.send_all(data)

    with Network():
        async with open_service_nursery() as services:
            async with nursery.open_nursery() as n:

                async def serve(task_status: nursery.TaskStatus[object]) -> None:
                    await nursery.serve_tcp(echo, 80, handler_nursery=services, task_status=task_status)

                await n.start(serve)
                stream = await nursery.open_tcp_stream("localhost", 80)
                await stream.send_all(b"x")
                assert await stream.receive_some() == b"x"
                n.cancel_scope.cancel()
            # Nobody accepts any more; who was accepted is served on.
            await stream.send_all(b"y")
            assert await stream.receive_some() == b"y"
