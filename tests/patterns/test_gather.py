"""gather: several results at once."""

from __future__ import annotations

from functools import partial

import pytest

import nursery
from nursery.patterns import gather
from nursery.testing import MockClock, assert_checkpoints


async def after(seconds: float, value: str) -> str:
    await nursery.sleep(seconds)
    return value


async def fail(seconds: float, error: Exception) -> int:
    await nursery.sleep(seconds)
    raise error


async def number() -> int:
    return 7


async def test_results_stand_in_the_order_of_the_functions(autojump_clock: MockClock) -> None:
    results = await gather(partial(after, 3, "a"), partial(after, 1, "b"), partial(after, 2, "c"))
    assert results == ("a", "b", "c")
    assert nursery.current_time() == 3


async def test_results_keep_their_types() -> None:
    text: str
    count: int
    text, count = await gather(lambda: after(0, "x"), number)
    assert (text, count) == ("x", 7)
    many: tuple[int, ...] = await gather(*[number] * 8)
    assert many == (7,) * 8


async def test_nothing_gathers_to_nothing() -> None:
    with assert_checkpoints():
        assert await gather() == ()


async def test_the_first_failure_cancels_the_rest_and_leaves_in_a_group(autojump_clock: MockClock) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        await gather(partial(after, 100, "a"), partial(fail, 1, KeyError("x")), partial(fail, 2, ValueError()))
    assert [type(error) for error in caught.value.exceptions] == [KeyError]
    assert nursery.current_time() == 1


async def test_a_cancelled_gather_cancels_every_call(autojump_clock: MockClock) -> None:
    ended: list[str] = []

    async def sleeper() -> None:
        try:
            await nursery.sleep_forever()
        finally:
            ended.append("ended")

    with nursery.move_on_after(1) as scope:
        await gather(sleeper, sleeper)
    assert scope.cancelled_caught
    assert ended == ["ended"] * 2


async def test_a_coroutine_object_is_refused_before_anything_is_called() -> None:
    called = False

    async def call() -> None:
        nonlocal called
        called = True

    with pytest.raises(TypeError, match="got the coroutine object"):
        await gather(call, number())  # type: ignore[call-overload]  # wrong on purpose
    assert not called
