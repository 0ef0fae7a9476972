"""as_safe_channel: async generators behind a channel."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

import nursery
from nursery import ClosedResourceError, EndOfChannel
from nursery.abc import ReceiveChannel
from nursery.channels.safe import as_safe_channel
from nursery.testing import MockClock, wait_all_tasks_blocked


@as_safe_channel
async def count(to: int, *, start: int = 0) -> AsyncGenerator[int, None]:
    for number in range(start, to):
        yield number


async def test_the_values_come_in_order_and_then_the_end() -> None:
    async with count(5, start=2) as channel:
        assert [value async for value in channel] == [2, 3, 4]
        with pytest.raises(EndOfChannel):
            await channel.receive()


async def test_the_decorated_function_keeps_its_name_and_types() -> None:
    assert count.__name__ == "count"
    maker: Callable[[int], AbstractAsyncContextManager[ReceiveChannel[int]]] = count
    async with maker(1) as channel:
        value: int = await channel.receive()
    assert value == 0


async def test_wrong_arguments_are_refused_on_entry() -> None:
    with pytest.raises(TypeError, match="unexpected keyword"):
        async with count(1, stop=2):  # type: ignore[call-arg]  # wrong on purpose
            pass


async def test_what_is_no_async_generator_function_is_refused_on_entry() -> None:
    async def forgot_to_yield() -> None:
        pass

    def forgot_async() -> Iterator[int]:
        yield 1

    mistakes: list[Any] = [forgot_to_yield, forgot_async]
    for fn in mistakes:
        manager = as_safe_channel(fn)()
        with pytest.raises(TypeError, match="expects an async generator function"):
            await manager.__aenter__()


async def test_the_generator_is_not_touched_before_the_first_receive() -> None:
    begun = False

    @as_safe_channel
    async def generator() -> AsyncGenerator[int, None]:
        nonlocal begun
        begun = True
        yield 1

    async with generator():
        await wait_all_tasks_blocked()
    assert not begun


async def test_the_generator_makes_no_step_that_nobody_asked_for() -> None:
    steps: list[int] = []

    @as_safe_channel
    async def generator() -> AsyncGenerator[int, None]:
        for number in range(10):
            steps.append(number)
            yield number

    async with generator() as channel:
        assert await channel.receive() == 0
        await wait_all_tasks_blocked()
        assert steps == [0]
        assert await channel.receive() == 1
        await wait_all_tasks_blocked()
        assert steps == [0, 1]


async def test_a_value_that_comes_too_late_for_a_cancelled_receive_goes_to_the_next(
    autojump_clock: MockClock,
) -> None:
    steps: list[int] = []

    @as_safe_channel
    async def generator() -> AsyncGenerator[int, None]:
        for number in range(10):
            steps.append(number)
            await nursery.sleep(1)
            yield number

    async with generator() as channel:
        with nursery.move_on_after(0.5) as scope:
            await channel.receive()
        assert scope.cancelled_caught
        await nursery.sleep(10)
        assert steps == [0]
        assert await channel.receive() == 0
        await nursery.sleep(10)
        # The cancelled call's demand was used up by the one after it.
        assert steps == [0]
        assert await channel.receive() == 1


async def test_a_receive_that_is_cancelled_at_once_moves_nothing() -> None:
    begun = False

    @as_safe_channel
    async def generator() -> AsyncGenerator[int, None]:
        nonlocal begun
        begun = True
        yield 1

    async with generator() as channel:
        with nursery.CancelScope() as scope:
            scope.cancel()
            await channel.receive()
        await wait_all_tasks_blocked()
        assert not begun


async def test_the_demand_of_a_cancelled_receiver_passes_to_another_one(autojump_clock: MockClock) -> None:
    @as_safe_channel
    async def generator() -> AsyncGenerator[int, None]:
        for number in range(2):
            await nursery.sleep(1)
            yield number

    got: dict[str, int] = {}

    async def receive(name: str, seconds: float, channel: ReceiveChannel[int]) -> None:
        with nursery.move_on_after(seconds):
            got[name] = await channel.receive()

    async with generator() as channel:
        async with nursery.open_nursery() as n:
            n.start_soon(receive, "impatient", 0.5, channel)
            await wait_all_tasks_blocked()
            n.start_soon(receive, "patient", 100, channel)
        assert got == {"patient": 0}
        assert nursery.current_time() == 1
        assert await channel.receive() == 1


async def test_a_scope_and_a_nursery_may_be_open_across_a_yield(autojump_clock: MockClock) -> None:
    @as_safe_channel
    async def ticks() -> AsyncGenerator[float, None]:
        with nursery.move_on_after(2.5):
            async with nursery.open_nursery() as n:
                n.start_soon(nursery.sleep_forever)
                while True:
                    yield nursery.current_time()
                    await nursery.sleep(1)

    async with ticks() as channel:
        assert [tick async for tick in channel] == [0, 1, 2]
    assert nursery.current_time() == 2.5


async def test_a_timeout_in_the_generator_does_not_cancel_the_consumer(autojump_clock: MockClock) -> None:
    @as_safe_channel
    async def generator() -> AsyncGenerator[int, None]:
        with nursery.move_on_after(1):
            yield 1
            await nursery.sleep_forever()
        yield 2

    async with generator() as channel:
        async for _ in channel:
            await nursery.sleep(5)
    assert nursery.current_time() == 10


async def test_a_shield_in_the_generator_does_not_keep_the_block_from_being_left() -> None:
    events: list[str] = []

    @as_safe_channel
    async def generator() -> AsyncGenerator[int, None]:
        with nursery.CancelScope(shield=True):
            try:
                yield 1
            finally:
                await nursery.lowlevel.checkpoint()
                events.append("cleaned up")

    async with generator() as channel:
        await channel.receive()
    assert events == ["cleaned up"]


async def test_a_crash_in_the_background_of_the_generator_comes_out_of_the_block() -> None:
    async def crash() -> None:
        raise ValueError("background")

    @as_safe_channel
    async def generator() -> AsyncGenerator[int, None]:
        async with nursery.open_nursery() as n:
            n.start_soon(crash)
            while True:
                yield 1
                await nursery.lowlevel.checkpoint()

    steps = 0
    with pytest.raises(ExceptionGroup) as caught:
        async with generator() as channel:
            async for _ in channel:
                # It is noticed at the next step, and does not cut this one off.
                await wait_all_tasks_blocked()
                steps += 1
    assert steps == 1
    assert [str(error) for error in caught.value.exceptions] == ["background"]


async def test_leaving_the_block_closes_the_generator_at_once() -> None:
    events: list[str] = []

    @as_safe_channel
    async def generator() -> AsyncGenerator[int, None]:
        try:
            while True:
                yield 1
        finally:
            events.append("closed")

    async with generator() as channel:
        async for _ in channel:
            break
        events.append("leaving")
    events.append("left")
    assert events == ["leaving", "closed", "left"]


async def test_an_error_of_the_generator_leaves_the_block_as_it_is() -> None:
    cause = KeyError("cause")

    @as_safe_channel
    async def generator() -> AsyncGenerator[int, None]:
        yield 1
        raise ValueError("broken") from cause

    with pytest.raises(ValueError, match="broken") as caught:
        async with generator() as channel:
            async for _ in channel:
                pass
    assert caught.value.__cause__ is cause


async def test_an_error_of_the_block_leaves_it_as_it_is() -> None:
    with pytest.raises(ExceptionGroup, match="mine") as caught:
        async with count(3) as channel:
            await channel.receive()
            raise ExceptionGroup("mine", [KeyError()])
    assert caught.value.message == "mine"


async def test_errors_of_both_leave_in_a_group_with_a_note() -> None:
    @as_safe_channel
    async def generator() -> AsyncGenerator[int, None]:
        try:
            yield 1
        finally:
            raise ValueError("clean-up")

    with pytest.raises(ExceptionGroup) as caught:
        async with generator() as channel:
            await channel.receive()
            raise TypeError("body")
    assert {type(error) for error in caught.value.exceptions} == {TypeError, ValueError}
    assert "unable to unwrap" in caught.value.__notes__[0]


async def test_a_keyboard_interrupt_in_the_block_comes_out_first() -> None:
    @as_safe_channel
    async def generator() -> AsyncGenerator[int, None]:
        try:
            yield 1
        finally:
            raise ValueError("clean-up")

    with pytest.raises(KeyboardInterrupt):
        async with generator() as channel:
            await channel.receive()
            raise KeyboardInterrupt


async def test_a_cancellation_from_outside_reaches_block_and_generator() -> None:
    events: list[str] = []

    @as_safe_channel
    async def generator() -> AsyncGenerator[int, None]:
        try:
            yield 1
        finally:
            try:
                await nursery.lowlevel.checkpoint()
            except nursery.Cancelled:
                events.append("generator")
                raise

    with nursery.CancelScope() as scope:
        async with generator() as channel:
            await channel.receive()
            scope.cancel()
            try:
                await channel.receive()
            except nursery.Cancelled:
                events.append("block")
                raise
    assert scope.cancelled_caught
    assert events == ["block", "generator"]


async def test_the_exit_of_a_nursery_around_the_yield_is_no_error() -> None:
    @as_safe_channel
    async def generator() -> AsyncGenerator[int, None]:
        async with nursery.open_nursery() as n:
            n.start_soon(nursery.sleep_forever)
            yield 1

    async with generator() as channel:
        await channel.receive()


async def test_an_error_in_the_nursery_around_the_yield_is_one() -> None:
    async def fail_when_cancelled(error: type[BaseException]) -> None:
        try:
            await nursery.sleep_forever()
        finally:
            raise error

    @as_safe_channel
    async def generator(error: type[BaseException]) -> AsyncGenerator[int, None]:
        async with nursery.open_nursery() as n:
            n.start_soon(fail_when_cancelled, error)
            yield 1

    with pytest.raises(ExceptionGroup) as caught:
        async with generator(ValueError) as channel:
            await channel.receive()
    assert [type(error) for error in caught.value.exceptions] == [ValueError]
    # A GeneratorExit too many came from somewhere else.
    with pytest.raises(ExceptionGroup) as caught:
        async with generator(GeneratorExit) as channel:
            await channel.receive()
    assert [str(error) for error in caught.value.exceptions] == ["More than one GeneratorExit found."]


async def test_a_closed_channel_gives_nothing_and_asks_for_nothing() -> None:
    steps: list[int] = []

    @as_safe_channel
    async def generator() -> AsyncGenerator[int, None]:
        for number in range(10):
            steps.append(number)
            yield number

    async with generator() as channel:
        assert await channel.receive() == 0
        await channel.aclose()
        for _ in range(2):
            with pytest.raises(ClosedResourceError):
                await channel.receive()
        await wait_all_tasks_blocked()
    assert steps == [0]


async def test_several_tasks_may_receive() -> None:
    got: list[int] = []

    async def receive(channel: ReceiveChannel[int]) -> None:
        got.append(await channel.receive())

    async with count(10) as channel, nursery.open_nursery() as n:
        for _ in range(3):
            n.start_soon(receive, channel)
    assert got == [0, 1, 2]


async def test_channels_nest() -> None:
    pairs = []
    async with count(2) as outer:
        async for i in outer:
            async with count(2) as inner:
                async for j in inner:
                    pairs.append((i, j))
    assert pairs == [(0, 0), (0, 1), (1, 0), (1, 1)]
