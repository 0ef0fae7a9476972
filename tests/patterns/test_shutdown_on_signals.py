"""shutdown_on_signals: from SIGTERM to a graceful shutdown."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from types import FrameType

import pytest

import nursery
from nursery import is_closing, shutdown_on_signals, until_closing
from nursery.testing import MockClock, wait_all_tasks_blocked


@pytest.fixture(autouse=True)
def _handlers_are_put_back() -> Iterator[None]:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1)]
    yield
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1)] == before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_asks_the_block_to_close(number: int) -> None:
    with shutdown_on_signals(grace=1000) as scope:
        assert not is_closing()
        signal.raise_signal(number)
        await until_closing()
        assert is_closing()
    assert not scope.cancelled_caught


async def test_the_block_is_cancelled_after_the_grace(autojump_clock: MockClock) -> None:
    with shutdown_on_signals(grace=7) as scope:
        signal.raise_signal(signal.SIGTERM)
        await until_closing()
        with pytest.raises(nursery.Cancelled, match="received SIGTERM"):
            await nursery.sleep_forever()
        await nursery.sleep_forever()
    assert scope.cancelled_caught
    assert nursery.current_time() == 7


async def test_a_second_signal_cancels_at_once(autojump_clock: MockClock) -> None:
    with shutdown_on_signals(grace=7) as scope:
        signal.raise_signal(signal.SIGTERM)
        await until_closing()
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(nursery.Cancelled, match="received a second signal, SIGINT"):
            await nursery.sleep_forever()
    assert scope.cancel_called
    assert nursery.current_time() == 0


async def test_the_signals_can_be_chosen() -> None:
    heard: list[int] = []

    def handler(number: int, frame: FrameType | None) -> None:
        heard.append(number)

    before = signal.signal(signal.SIGTERM, handler)
    try:
        with shutdown_on_signals(signal.SIGUSR1, grace=1000):
            signal.raise_signal(signal.SIGTERM)
            await wait_all_tasks_blocked()
            assert not is_closing()
            signal.raise_signal(signal.SIGUSR1)
            await until_closing()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert heard == [signal.SIGTERM]


async def test_a_signal_without_a_name_does_as_well() -> None:
    with shutdown_on_signals(signal.SIGRTMIN + 1, grace=1000):
        signal.raise_signal(signal.SIGRTMIN + 1)
        await until_closing()


async def test_a_signal_that_comes_too_late_is_raised_again_for_the_handler_from_before() -> None:
    heard: list[int] = []

    def handler(number: int, frame: FrameType | None) -> None:
        heard.append(number)

    before = signal.signal(signal.SIGTERM, handler)
    try:
        with shutdown_on_signals(grace=1000):
            # The block is left before the run could act on it.
            signal.raise_signal(signal.SIGTERM)
        assert heard == [signal.SIGTERM]
        await wait_all_tasks_blocked()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert heard == [signal.SIGTERM]


async def test_an_interrupt_that_comes_too_late_is_a_keyboard_interrupt() -> None:
    with pytest.raises(KeyboardInterrupt):
        with shutdown_on_signals(grace=1000):
            signal.raise_signal(signal.SIGINT)
        await nursery.lowlevel.checkpoint()
    # The scope was left in order.
    await nursery.lowlevel.checkpoint()


async def test_children_of_the_block_are_asked_too() -> None:
    async with nursery.open_nursery() as outer:
        with shutdown_on_signals(grace=1000):
            async with nursery.open_nursery() as n:
                n.start_soon(until_closing)
                await wait_all_tasks_blocked()
                signal.raise_signal(signal.SIGTERM)
        assert not outer.cancel_scope.cancel_called


async def test_misuse_is_refused_before_anything_is_changed() -> None:
    handlers = signal.getsignal(signal.SIGTERM)
    with pytest.raises(ValueError, match="grace"), shutdown_on_signals(grace=-1):
        pass
    assert signal.getsignal(signal.SIGTERM) is handlers
    with pytest.raises((ValueError, OSError)), shutdown_on_signals(signal.SIGTERM, signal.SIGKILL, grace=1):
        pass
    assert signal.getsignal(signal.SIGTERM) is handlers
    errors: list[BaseException] = []

    def elsewhere() -> None:
        async def main() -> None:
            with shutdown_on_signals(grace=1):
                pass

        try:
            nursery.run(main)
        except RuntimeError as exc:
            errors.append(exc)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert "main thread" in str(errors[0])
