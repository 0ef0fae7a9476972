"""Signals, received as values."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Generator
from types import FrameType
from typing import NoReturn, TypeAlias

import pytest

import nursery
from nursery.signals import SignalReceiver, open_signal_receiver
from nursery.testing import assert_checkpoints, wait_all_tasks_blocked

ONE = signal.SIGUSR1
TWO = signal.SIGUSR2

Handler: TypeAlias = "Callable[[int, FrameType | None], object] | signal.Handlers"


@contextlib.contextmanager
def handled(handler: Handler) -> Generator[None, None, None]:
    """Let `handler` handle both signals, and look whether it still does at the end."""
    former = {signum: signal.signal(signum, handler) for signum in (ONE, TWO)}
    try:
        yield
        assert signal.getsignal(ONE) is handler
        assert signal.getsignal(TWO) is handler
    finally:
        for signum, before in former.items():
            signal.signal(signum, before)


class Record:
    """A handler that remembers what it was called with."""

    def __init__(self) -> None:
        self.signals: list[int] = []

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        self.signals.append(signum)


async def next_of(receiver: object) -> int:
    assert isinstance(receiver, SignalReceiver)
    return await anext(receiver)


async def test_a_signal_that_arrives_is_handed_out() -> None:
    with open_signal_receiver(ONE) as receiver:
        signal.raise_signal(ONE)
        async for signum in receiver:
            assert signum == ONE
            break


async def test_a_task_that_waits_is_woken_by_a_signal() -> None:
    received: list[int] = []
    with open_signal_receiver(ONE) as receiver:

        async def receive() -> None:
            received.append(await next_of(receiver))

        async with nursery.open_nursery() as n:
            n.start_soon(receive)
            await wait_all_tasks_blocked()
            assert received == []
            signal.raise_signal(ONE)
    assert received == [ONE]


async def test_a_signal_wakes_a_run_that_has_nothing_else_to_do() -> None:
    with open_signal_receiver(signal.SIGALRM) as receiver:
        signal.setitimer(signal.ITIMER_REAL, 0.005)
        assert await next_of(receiver) == signal.SIGALRM


async def test_the_same_signal_is_handed_out_once_however_often_it_arrived() -> None:
    with open_signal_receiver(ONE) as receiver:
        for _ in range(3):
            signal.raise_signal(ONE)
            await wait_all_tasks_blocked()
        assert await next_of(receiver) == ONE
        with nursery.move_on_after(0.001) as scope:
            await next_of(receiver)
        assert scope.cancelled_caught


async def test_after_it_was_handed_out_it_may_arrive_again() -> None:
    with open_signal_receiver(ONE) as receiver:
        for _ in range(3):
            signal.raise_signal(ONE)
            assert await next_of(receiver) == ONE


async def test_a_wake_up_that_came_too_late_hands_out_nothing() -> None:
    # A signal may be taken without waiting; its wake-up then finds the task asleep, waiting for the next one.
    received: list[int] = []
    with open_signal_receiver(ONE) as receiver:
        assert isinstance(receiver, SignalReceiver)

        async def receive() -> None:
            received.append(await next_of(receiver))

        async with nursery.open_nursery() as n:
            n.start_soon(receive)
            await wait_all_tasks_blocked()
            receiver.wake()
            await wait_all_tasks_blocked()
            assert received == []
            signal.raise_signal(ONE)
    assert received == [ONE]


async def test_signals_are_handed_out_in_the_order_of_their_arrival() -> None:
    with open_signal_receiver(ONE, TWO) as receiver:
        signal.raise_signal(TWO)
        signal.raise_signal(ONE)
        assert [await next_of(receiver), await next_of(receiver)] == [TWO, ONE]


async def test_two_signals_that_keep_arriving_take_turns() -> None:
    with handled(signal.SIG_IGN), open_signal_receiver(ONE, TWO) as receiver:
        received = []
        for _ in range(6):
            signal.raise_signal(ONE)
            signal.raise_signal(TWO)
            received.append(await next_of(receiver))
        assert received == [ONE, TWO] * 3


async def test_a_cancelled_wait_takes_no_signal() -> None:
    with open_signal_receiver(ONE) as receiver:
        with nursery.move_on_after(0.001) as scope:
            await next_of(receiver)
        assert scope.cancelled_caught
        signal.raise_signal(ONE)
        with nursery.CancelScope() as scope:
            scope.cancel()
            await next_of(receiver)
        assert scope.cancelled_caught
        assert await next_of(receiver) == ONE


async def test_iterating_is_a_checkpoint() -> None:
    with open_signal_receiver(ONE) as receiver:
        signal.raise_signal(ONE)
        with assert_checkpoints():
            await next_of(receiver)


# Leaving the block


async def test_the_former_handlers_are_put_back() -> None:
    with handled(Record()):
        with open_signal_receiver(ONE, TWO, ONE):
            pass


async def test_the_former_handlers_are_put_back_after_an_error() -> None:
    with handled(Record()):
        with pytest.raises(ValueError, match="from the block"):
            with open_signal_receiver(ONE, TWO):
                raise ValueError("from the block")


@pytest.mark.parametrize("notices", [False, True])
async def test_signals_that_were_not_handed_out_go_to_the_former_handlers(notices: bool) -> None:
    record = Record()
    with handled(record):
        with open_signal_receiver(ONE, TWO):
            signal.raise_signal(ONE)
            signal.raise_signal(TWO)
            if notices:
                # The run has taken note of them.
                await wait_all_tasks_blocked()
            assert record.signals == []
        assert record.signals == [ONE, TWO]
        await wait_all_tasks_blocked()
        assert record.signals == [ONE, TWO]


async def test_signals_that_were_handed_out_do_not_come_again() -> None:
    record = Record()
    with handled(record):
        with open_signal_receiver(ONE) as receiver:
            signal.raise_signal(ONE)
            await next_of(receiver)
    assert record.signals == []


async def test_signals_that_were_ignored_before_are_ignored_then() -> None:
    with handled(signal.SIG_IGN):
        with open_signal_receiver(ONE):
            signal.raise_signal(ONE)


async def test_each_former_handler_is_called_though_all_of_them_raise() -> None:
    def fail(signum: int, frame: FrameType | None) -> NoReturn:
        raise RuntimeError(signum)

    with handled(fail):
        with pytest.raises(RuntimeError) as caught:
            with open_signal_receiver(ONE, TWO):
                signal.raise_signal(ONE)
                signal.raise_signal(TWO)
    assert caught.value.args == (TWO,)
    assert isinstance(caught.value.__context__, RuntimeError)
    assert caught.value.__context__.args == (ONE,)


async def test_blocks_may_be_nested() -> None:
    with open_signal_receiver(ONE) as outer:
        with open_signal_receiver(ONE) as inner:
            signal.raise_signal(ONE)
            assert await next_of(inner) == ONE
            signal.raise_signal(ONE)
        # What the inner one left is the outer one's.
        assert await next_of(outer) == ONE


async def test_the_receiver_of_a_block_that_was_left_is_an_error() -> None:
    with open_signal_receiver(ONE) as receiver:
        pass
    with pytest.raises(RuntimeError, match="already exited"):
        await next_of(receiver)


async def test_a_task_that_waits_when_the_block_is_left_is_told() -> None:
    async def receive(receiver: object) -> None:
        with pytest.raises(RuntimeError, match="already exited"):
            await next_of(receiver)

    async with nursery.open_nursery() as n:
        with open_signal_receiver(ONE) as receiver:
            n.start_soon(receive, receiver)
            await wait_all_tasks_blocked()


async def test_ctrl_c_may_be_received_as_a_value() -> None:
    former = signal.getsignal(signal.SIGINT)
    with open_signal_receiver(signal.SIGINT) as receiver:
        signal.raise_signal(signal.SIGINT)
        assert await next_of(receiver) == signal.SIGINT
    assert signal.getsignal(signal.SIGINT) is former


def test_a_ctrl_c_that_nobody_received_is_a_keyboard_interrupt_after_the_block() -> None:
    left = False

    async def main() -> None:
        nonlocal left
        with open_signal_receiver(signal.SIGINT):
            signal.raise_signal(signal.SIGINT)
            left = True
        await nursery.sleep_forever()

    with pytest.raises(KeyboardInterrupt):
        nursery.run(main)
    assert left


# Misuse


async def test_two_tasks_cannot_iterate_at_once() -> None:
    with open_signal_receiver(ONE) as receiver:
        async with nursery.open_nursery() as n:
            n.start_soon(next_of, receiver)
            await wait_all_tasks_blocked()
            with pytest.raises(nursery.BusyResourceError):
                await next_of(receiver)
            signal.raise_signal(ONE)


async def test_no_signals_at_all_are_an_error() -> None:
    with pytest.raises(TypeError, match="No signals were provided"):
        open_signal_receiver()


async def test_one_number_that_is_no_signal_leaves_the_others_as_they_were() -> None:
    with handled(Record()):
        with pytest.raises(ValueError, match=r"signal number out of range|invalid signal value"):
            with open_signal_receiver(ONE, 1234567):
                pytest.fail("the block was entered")


async def test_a_signal_that_cannot_be_caught_leaves_the_others_as_they_were() -> None:
    with handled(Record()):
        with pytest.raises(OSError, match="Invalid argument"):
            with open_signal_receiver(ONE, signal.SIGKILL):
                pytest.fail("the block was entered")


async def test_a_handler_that_cannot_be_put_back_is_not_taken_away(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(signal, "getsignal", lambda signum: None)
        with pytest.raises(RuntimeError, match="cannot put back"):
            with open_signal_receiver(ONE):
                pytest.fail("the block was entered")
    assert signal.getsignal(ONE) is signal.SIG_DFL


def test_another_thread_cannot_receive_signals() -> None:
    errors: list[BaseException] = []

    async def main() -> None:
        open_signal_receiver(ONE)

    def in_thread() -> None:
        try:
            nursery.run(main)
        except RuntimeError as exc:
            errors.append(exc)

    thread = threading.Thread(target=in_thread)
    thread.start()
    thread.join()
    assert "main thread" in str(errors[0])


def test_outside_a_run_there_is_nobody_to_receive_them() -> None:
    with pytest.raises(RuntimeError, match="async context"):
        with open_signal_receiver(ONE):
            pytest.fail("the block was entered")
