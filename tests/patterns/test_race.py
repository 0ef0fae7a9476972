"""race: the first result."""

from __future__ import annotations

from functools import partial

import pytest

import nursery
from nursery.patterns import race
from nursery.testing import MockClock


async def after(seconds: float, value: str) -> str:
    await nursery.sleep(seconds)
    return value


async def fail(seconds: float, error: BaseException) -> str:
    await nursery.sleep(seconds)
    raise error


async def number() -> int:
    await nursery.sleep(9)
    return 7


async def test_the_first_success_wins_and_the_others_are_cancelled(autojump_clock: MockClock) -> None:
    cancelled: list[str] = []

    async def loser() -> str:
        try:
            await nursery.sleep(100)
        except nursery.Cancelled as exc:
            cancelled.append(str(exc.reason))
            raise
        return "never"

    assert await race(loser, partial(after, 2, "b"), partial(after, 3, "c")) == "b"
    assert nursery.current_time() == 2
    assert cancelled == ["another function won the race"]


async def test_a_result_may_be_none_or_of_any_of_the_types(autojump_clock: MockClock) -> None:
    async def nothing() -> None:
        pass

    result: int | None = await race(nothing, number)
    assert result is None
    either: str | int = await race(partial(after, 1, "x"), number)
    assert either == "x"


async def test_who_fails_has_merely_lost(autojump_clock: MockClock) -> None:
    assert await race(partial(fail, 1, OSError()), partial(after, 2, "b")) == "b"


async def test_if_all_fail_their_errors_are_raised_in_the_order_in_which_they_came(
    autojump_clock: MockClock,
) -> None:
    with pytest.raises(ExceptionGroup, match="every function in the race failed") as caught:
        await race(partial(fail, 2, KeyError()), partial(fail, 1, OSError()))
    assert [type(error) for error in caught.value.exceptions] == [OSError, KeyError]


async def test_of_two_results_in_one_turn_the_first_counts() -> None:
    assert await race(partial(after, 0, "a"), partial(after, 0, "b")) == "a"


async def test_an_error_that_comes_after_the_race_was_won_is_logged(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def bad_loser() -> str:
        try:
            await nursery.sleep_forever()
        finally:
            raise RuntimeError("clean-up failed")

    async def bad_loser_with_children() -> str:
        async with nursery.open_nursery() as n:
            n.start_soon(nursery.sleep_forever)
            n.start_soon(bad_loser)
        return "never"

    assert await race(partial(after, 1, "a"), bad_loser, bad_loser_with_children) == "a"
    assert [record.name for record in caplog.records] == ["nursery.race"] * 2
    assert all("lost a race" in record.message for record in caplog.records)


async def test_a_keyboard_interrupt_is_no_failure_to_be_overlooked(autojump_clock: MockClock) -> None:
    with pytest.raises(BaseExceptionGroup) as caught:
        await race(partial(fail, 1, KeyboardInterrupt()), partial(after, 2, "b"))
    assert [type(error) for error in caught.value.exceptions] == [KeyboardInterrupt]


async def test_a_cancelled_race_has_no_result(autojump_clock: MockClock) -> None:
    with nursery.move_on_after(1) as scope:
        await race(number, number)
    assert scope.cancelled_caught


async def test_a_race_needs_functions() -> None:
    with pytest.raises(ValueError, match="at least one"):
        await race()
    with pytest.raises(TypeError, match="got the coroutine object"):
        await race(number())  # type: ignore[call-overload]  # wrong on purpose
