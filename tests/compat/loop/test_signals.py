"""Signal handlers of the loop."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import threading
import time
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from nursery import compat

from ..two_loops import LoopFactory, on_both, run, run_on


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    yield
    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    before = signal.set_wakeup_fd(-1)
    assert before == -1


@on_both
def test_each_signal_calls_the_handler_once_with_its_arguments(loop_factory: LoopFactory) -> None:
    calls: list[int] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGUSR1, calls.append, 1)
        for expected in range(1, 4):
            signal.raise_signal(signal.SIGUSR1)
            while len(calls) < expected:
                await asyncio.sleep(0)
        loop.add_signal_handler(signal.SIGUSR1, calls.append, 2)
        signal.raise_signal(signal.SIGUSR1)
        await asyncio.sleep(0.002)

    run_on(loop_factory, main())
    assert calls == [1, 1, 1, 2]


@on_both
def test_libraries_find_the_handlers_by_their_signals(loop_factory: LoopFactory) -> None:
    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        assert loop._signal_handlers == {}
        loop.add_signal_handler(signal.SIGUSR1, int)
        handle = loop._signal_handlers[signal.SIGUSR1]
        assert isinstance(handle, asyncio.Handle)
        assert handle._callback is int  # type: ignore[attr-defined]  # not in typeshed
        assert loop.remove_signal_handler(signal.SIGUSR1) is True
        assert loop._signal_handlers == {}
        assert loop.remove_signal_handler(signal.SIGUSR1) is False

    run_on(loop_factory, main())


@on_both
def test_closing_the_loop_removes_its_handlers(loop_factory: LoopFactory) -> None:
    loop = loop_factory()
    loop.add_signal_handler(signal.SIGUSR1, int)
    loop.add_signal_handler(signal.SIGINT, int)
    assert signal.getsignal(signal.SIGUSR1) is not signal.SIG_DFL
    loop.close()


@on_both
def test_what_cannot_be_a_handler_or_a_signal_is_refused(loop_factory: LoopFactory) -> None:
    async def coroutine_function() -> None:
        pass

    loop: Any = loop_factory()
    coro = coroutine_function()
    for no_callback in (coroutine_function, coro):
        with pytest.raises(TypeError, match="coroutines cannot be used with add_signal_handler"):
            loop.add_signal_handler(signal.SIGUSR1, no_callback)
    coro.close()
    for method, *more in ((loop.add_signal_handler, int), (loop.remove_signal_handler,)):
        with pytest.raises(TypeError, match="sig must be an int, not 'SIGUSR1'"):
            method("SIGUSR1", *more)
        with pytest.raises(ValueError, match="invalid signal number 5000"):
            method(5000, *more)
    with pytest.raises(RuntimeError, match=f"sig {signal.SIGKILL:d} cannot be caught|sig .*SIGKILL.* cannot be caught"):
        loop.add_signal_handler(signal.SIGKILL, int)
    assert loop._signal_handlers == {}
    loop.close()
    with pytest.raises(RuntimeError, match="Event loop is closed"):
        loop.add_signal_handler(signal.SIGUSR1, int)


@on_both
def test_handlers_can_only_be_added_in_the_main_thread(loop_factory: LoopFactory) -> None:
    errors: list[BaseException] = []

    def other_thread() -> None:
        loop = loop_factory()
        try:
            loop.add_signal_handler(signal.SIGUSR1, int)
        except RuntimeError as exc:
            errors.append(exc)
        loop.close()

    thread = threading.Thread(target=other_thread)
    thread.start()
    thread.join()
    assert "main thread" in str(errors[0])


def test_a_cancelled_handle_gives_its_signal_back() -> None:
    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGUSR1, int)
        loop._signal_handlers[signal.SIGUSR1].cancel()
        # Not the default yet, which would kill the process.
        signal.raise_signal(signal.SIGUSR1)
        await asyncio.sleep(0.002)
        assert loop._signal_handlers == {}
        assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL

    compat.run(main())


def test_a_signal_that_another_thread_gets_wakes_the_loop() -> None:
    async def main() -> None:
        arrived = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, arrived.set)
        go = threading.Event()

        def other_thread() -> None:
            go.wait(5)
            signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)

        thread = threading.Thread(target=other_thread)
        thread.start()
        go.set()
        await asyncio.wait_for(arrived.wait(), 5)
        thread.join()

    compat.run(main())


def test_the_wake_up_descriptor_of_before_is_given_back() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing)
    try:
        loop = compat.new_event_loop()
        loop.add_signal_handler(signal.SIGUSR1, int)
        loop.add_signal_handler(signal.SIGUSR2, int)
        assert loop.remove_signal_handler(signal.SIGUSR1)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            loop.close()
    finally:
        assert signal.set_wakeup_fd(-1) == writing
        os.close(reading)
        os.close(writing)


@on_both
def test_a_callback_is_called_though_the_interpreters_handler_was_replaced(loop_factory: LoopFactory) -> None:
    calls: list[int] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGUSR1, calls.append, 1)
        ours = signal.signal(signal.SIGUSR1, lambda signum, frame: calls.append(2))
        signal.raise_signal(signal.SIGUSR1)
        await asyncio.sleep(0.002)
        signal.signal(signal.SIGUSR1, ours)
        signal.raise_signal(signal.SIGUSR1)
        await asyncio.sleep(0.002)

    run_on(loop_factory, main())
    assert sorted(calls) == [1, 1, 2]


@on_both
def test_signals_of_the_time_between_two_runs_are_not_lost(loop_factory: LoopFactory) -> None:
    calls: list[int] = []
    loop = loop_factory()
    loop.add_signal_handler(signal.SIGUSR1, calls.append, 1)
    for _ in range(3):
        signal.raise_signal(signal.SIGUSR1)
    assert calls == []
    loop.run_until_complete(asyncio.sleep(0.002))
    assert calls == [1, 1, 1]
    loop.close()


def test_a_wake_up_descriptor_that_somebody_takes_is_taken_back_by_the_next_handler() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        calls: list[int] = []
        loop.add_signal_handler(signal.SIGUSR1, calls.append, 1)
        left, right = socket.socketpair()
        with left, right:
            right.setblocking(False)
            ours = signal.set_wakeup_fd(right.fileno())
            loop.add_signal_handler(signal.SIGUSR2, calls.append, 2)
            signal.raise_signal(signal.SIGUSR1)
            signal.raise_signal(signal.SIGUSR2)
            await asyncio.sleep(0.002)
            assert calls == [1, 2]
            loop.remove_signal_handler(signal.SIGUSR1)
            loop.remove_signal_handler(signal.SIGUSR2)
            assert signal.set_wakeup_fd(-1) == right.fileno()
            assert ours != -1

    run(main())


def test_a_forked_child_has_the_default_effect_of_signals_and_its_parent_hears_of_none() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        calls: list[int] = []
        loop.add_signal_handler(signal.SIGTERM, calls.append, 1)
        with warnings.catch_warnings():
            # Of other threads, which there are none that matter.
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if not child:
            signal.raise_signal(signal.SIGTERM)
            os._exit(1)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == -signal.SIGTERM
        await asyncio.sleep(0.002)
        assert calls == []
        signal.raise_signal(signal.SIGTERM)
        await asyncio.sleep(0.002)
        assert calls == [1]

    run(main())


def test_a_loop_with_handlers_may_be_closed_in_another_thread_and_the_next_loop_hears_of_signals() -> None:
    loop = compat.new_event_loop()
    loop.add_signal_handler(signal.SIGUSR1, int)

    def close() -> None:
        with pytest.warns(ResourceWarning, match="in another thread than the main one, skipping signal handlers"):
            loop.close()

    thread = threading.Thread(target=close)
    thread.start()
    thread.join()
    assert loop.is_closed()
    # Nobody hears of it, and nobody is hurt.
    signal.raise_signal(signal.SIGUSR1)
    calls: list[int] = []

    async def main() -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, calls.append, 1)
        signal.raise_signal(signal.SIGUSR1)
        await asyncio.sleep(0.002)

    run(main())
    assert calls == [1]


def test_a_storm_of_signals_calls_back_for_each_and_then_the_loop_sleeps() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        calls: list[int] = []
        loop.add_signal_handler(signal.SIGUSR1, calls.append, 1)
        for _ in range(5000):
            signal.raise_signal(signal.SIGUSR1)
        await asyncio.sleep(0.002)
        while len(calls) < 5000:
            await asyncio.sleep(0.002)
        began = time.process_time()
        await asyncio.sleep(0.05)
        assert time.process_time() - began < 0.03
        assert len(calls) == 5000

    run(main())


def test_two_loops_may_have_handlers_at_once() -> None:
    first, second = compat.new_event_loop(), compat.new_event_loop()
    calls: list[str] = []
    first.add_signal_handler(signal.SIGUSR1, calls.append, "first")
    second.add_signal_handler(signal.SIGUSR2, calls.append, "second")
    signal.raise_signal(signal.SIGUSR1)
    signal.raise_signal(signal.SIGUSR2)
    second.run_until_complete(asyncio.sleep(0))
    assert calls == ["second"]
    first.run_until_complete(asyncio.sleep(0))
    assert calls == ["second", "first"]
    first.close()
    second.close()


def forget(loops: list[Any]) -> None:
    loops.clear()
    # The handle of a signal's handler refers to its loop.
    gc.collect()


def test_a_forgotten_loop_with_a_handler_is_noticed_and_gives_its_signal_back() -> None:
    loops: list[Any] = [compat.new_event_loop()]
    loops[0].add_signal_handler(signal.SIGUSR1, int)
    with pytest.warns(ResourceWarning, match="unclosed event loop"):
        forget(loops)
