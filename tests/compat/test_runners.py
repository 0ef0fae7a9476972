"""run and Runner: 3.13's rules on every Python, and strictness."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import os
import signal
import sys
import threading
from collections.abc import AsyncGenerator, Generator
from typing import Any

import pytest

import nursery
from nursery import compat

var: contextvars.ContextVar[int] = contextvars.ContextVar("var", default=0)


async def answer() -> int:
    return 42


async def fail(error: BaseException) -> None:
    raise error


def test_run_returns_what_main_returns_and_raises_what_it_raises() -> None:
    assert compat.run(answer()) == 42
    with pytest.raises(ValueError, match="spam"):
        compat.run(fail(ValueError("spam")))


def test_run_takes_a_loop_factory_on_every_python() -> None:
    loops: list[asyncio.AbstractEventLoop] = []

    def factory() -> asyncio.AbstractEventLoop:
        loops.append(asyncio.SelectorEventLoop())
        return loops[0]

    async def main() -> object:
        return asyncio.get_running_loop()

    assert compat.run(main(), loop_factory=factory) is loops[0]
    assert loops[0].is_closed()


def test_run_turns_debug_mode_on_and_off() -> None:
    async def main() -> bool:
        return asyncio.get_running_loop().get_debug()

    assert compat.run(main(), debug=True) is True
    assert compat.run(main(), debug=False) is False


def test_run_closes_its_loop_and_forgets_it() -> None:
    async def main() -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    assert compat.run(main()).is_closed()
    # As asyncio's: there is no current loop afterwards, and none is made by itself.
    with pytest.raises(RuntimeError, match="There is no current event loop"):
        if sys.version_info < (3, 14):
            asyncio.get_event_loop_policy().get_event_loop()  # type: ignore[deprecated]  # as long as there is one
        else:
            asyncio.get_event_loop()


def test_what_is_no_awaitable_is_refused_and_an_awaitable_is_awaited() -> None:
    class Ready:
        def __await__(self) -> Generator[Any, None, str]:
            yield from asyncio.sleep(0).__await__()
            return "ready"

    assert compat.run(Ready()) == "ready"
    for no_coroutine in (answer, 5, None):
        wrong: Any = no_coroutine
        with pytest.raises((TypeError, ValueError), match="a coroutine was expected"):
            compat.run(wrong)


def test_run_inside_a_running_loop_or_a_native_run_is_refused() -> None:
    runner = compat.Runner()

    async def inside() -> None:
        for run in (compat.run, runner.run):
            coro = answer()
            with pytest.raises(RuntimeError, match="cannot be called from a running event loop"):
                run(coro)
            coro.close()

    async def native() -> None:
        for run in (compat.run, runner.run):
            coro = answer()
            with pytest.raises(RuntimeError, match="inside a native run: await the coroutine there"):
                run(coro)
            coro.close()

    compat.run(inside())
    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as other:
        other.run(inside())
    nursery.run(native)


def test_one_runner_runs_several_coroutines_in_one_loop_and_one_context() -> None:
    async def set_and_get(value: int) -> tuple[int, object]:
        before = var.get()
        var.set(value)
        return before, asyncio.get_running_loop()

    with compat.Runner() as runner:
        assert runner.run(set_and_get(1)) == (0, runner.get_loop())
        assert runner.run(set_and_get(2)) == (1, runner.get_loop())
        context = contextvars.copy_context()
        context.run(var.set, 7)
        assert runner.run(set_and_get(8), context=context)[0] == 7
        assert context[var] == 8
    assert var.get() == 0


def test_the_loop_is_made_at_the_first_need_and_closed_at_the_end() -> None:
    made: list[compat.EventLoop] = []

    def factory() -> compat.EventLoop:
        made.append(compat.EventLoop())
        return made[-1]

    runner = compat.Runner(loop_factory=factory)
    assert made == []
    runner.close()
    assert made == []
    runner = compat.Runner(loop_factory=factory)
    with runner:
        assert len(made) == 1
        assert runner.get_loop() is made[0]
        assert runner.run(answer()) == 42
    assert made[0].is_closed()
    runner.close()
    coro = answer()
    with pytest.raises(RuntimeError, match="Runner is closed"):
        runner.run(coro)
    coro.close()
    with pytest.raises(RuntimeError, match="Runner is closed"):
        runner.get_loop()
    with pytest.raises(RuntimeError, match="Runner is closed"), runner:
        pass


def test_a_loop_of_the_default_factory_is_the_current_one() -> None:
    with compat.Runner() as runner:
        if sys.version_info < (3, 14):
            policy = asyncio.get_event_loop_policy()  # type: ignore[deprecated]  # as long as there is one
            assert policy.get_event_loop() is runner.get_loop()
        else:
            assert asyncio.get_event_loop() is runner.get_loop()


def test_a_runner_is_one_of_asyncios() -> None:
    assert isinstance(compat.Runner(), asyncio.Runner)


def test_the_end_cancels_what_is_left_and_reports_what_fails_then(caplog: pytest.LogCaptureFixture) -> None:
    ended: list[str] = []

    async def background(name: str, error: Exception | None) -> None:
        try:
            await asyncio.sleep(5)
        finally:
            await asyncio.sleep(0.001)
            ended.append(name)
            if error is not None:
                raise error

    async def main() -> None:
        tasks.append(asyncio.create_task(background("good", None)))
        tasks.append(asyncio.create_task(background("bad", ValueError("at the end"))))
        await asyncio.sleep(0)

    tasks: list[asyncio.Task[None]] = []
    compat.run(main())
    assert ended == ["good", "bad"]
    assert tasks[0].cancelled()
    assert "unhandled exception during asyncio.run() shutdown" in caplog.text
    assert "at the end" in caplog.text


def test_the_end_closes_async_generators_and_waits_for_the_thread_pool() -> None:
    events: list[str] = []

    async def numbers() -> AsyncGenerator[int, None]:
        try:
            yield 1
        finally:
            await asyncio.sleep(0)
            events.append("generator")

    async def main() -> None:
        kept.append(numbers())
        await anext(kept[0])
        go = threading.Event()
        def work() -> None:
            go.wait(5)
            events.append("thread")

        working = asyncio.get_running_loop().run_in_executor(None, work)
        asyncio.get_running_loop().call_later(0.002, go.set)
        await asyncio.sleep(0.004)
        assert working.done()

    kept: list[AsyncGenerator[int, None]] = []
    compat.run(main())
    assert sorted(events) == ["generator", "thread"]


# Ctrl-C


def test_ctrl_c_is_uncancelled_by_a_main_task_that_swallows_it() -> None:
    async def main() -> str:
        try:
            signal.raise_signal(signal.SIGINT)
            await asyncio.sleep(5)
        except asyncio.CancelledError:
            pass
        return "went on"

    assert compat.run(main()) == "went on"


def test_a_cancellation_that_coincides_with_ctrl_c_stays_one() -> None:
    async def main() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        signal.raise_signal(signal.SIGINT)
        await asyncio.sleep(5)

    with pytest.raises(asyncio.CancelledError):
        compat.run(main())


def test_each_run_of_a_runner_counts_its_own_ctrl_c() -> None:
    async def interrupted() -> None:
        signal.raise_signal(signal.SIGINT)
        await asyncio.sleep(5)

    with compat.Runner() as runner:
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                runner.run(interrupted())
        assert runner.run(answer()) == 42
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_in_another_thread_run_leaves_sigint_alone() -> None:
    results: list[object] = []
    thread = threading.Thread(target=lambda: results.append(compat.run(answer())))
    thread.start()
    thread.join()
    assert results == [42]


# Strictness


def test_strict_ends_the_run_at_the_first_failure_that_nobody_retrieves() -> None:
    events: list[str] = []

    async def main() -> None:
        _ = asyncio.create_task(fail(ValueError("unseen")))
        del _
        try:
            await asyncio.sleep(5)
        finally:
            await asyncio.sleep(0.001)
            events.append("cleaned up")

    with pytest.raises(ExceptionGroup, match="failures that nobody retrieved") as info:
        compat.run(main(), strict=True)
    (error,) = info.value.exceptions
    assert isinstance(error, ValueError)
    assert events == ["cleaned up"]


def test_strict_counts_what_is_still_held_when_the_run_ends() -> None:
    async def main() -> int:
        held.append(asyncio.create_task(fail(ValueError("unseen"))))
        await asyncio.sleep(0.001)
        return 5

    held: list[asyncio.Task[None]] = []
    with pytest.raises(ExceptionGroup) as info:
        compat.run(main(), strict=True)
    assert [type(error) for error in info.value.exceptions] == [ValueError]
    # It was told: nobody tells it again.
    held.clear()
    gc.collect()


def test_strict_does_not_mind_a_failure_that_was_retrieved(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> str:
        task = asyncio.create_task(fail(ValueError("seen")))
        await asyncio.wait([task])
        with pytest.raises(ValueError, match="seen"):
            task.result()
        results = await asyncio.gather(fail(KeyError(1)), answer(), return_exceptions=True)
        return type(results[0]).__name__

    assert compat.run(main(), strict=True) == "KeyError"
    assert caplog.text == ""


def test_strict_counts_callbacks_and_failures_during_the_end() -> None:
    async def stubborn() -> None:
        try:
            await asyncio.sleep(5)
        finally:
            raise LookupError("at the end")

    async def main() -> None:
        held.append(asyncio.create_task(stubborn()))
        asyncio.get_running_loop().call_soon(int, "x")
        await asyncio.sleep(5)

    held: list[object] = []
    with pytest.raises(ExceptionGroup) as first:
        compat.run(main(), strict=True)
    assert [type(error) for error in first.value.exceptions] == [LookupError]
    assert isinstance(first.value.__context__, ExceptionGroup)
    assert [type(error) for error in first.value.__context__.exceptions] == [ValueError]


def test_strict_puts_the_error_of_main_beside_the_others() -> None:
    async def main() -> None:
        _ = asyncio.create_task(fail(ValueError("unseen")))
        del _
        try:
            await asyncio.sleep(5)
        finally:
            raise KeyError("of main")

    with pytest.raises(ExceptionGroup) as info:
        compat.run(main(), strict=True)
    assert [type(error) for error in info.value.exceptions] == [ValueError, KeyError]


def test_strict_lets_an_exit_through_and_logs_the_failures(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        _ = asyncio.create_task(fail(ValueError("unseen")))
        del _
        try:
            await asyncio.sleep(5)
        finally:
            raise SystemExit(3)

    with pytest.raises(SystemExit):
        compat.run(main(), strict=True)
    assert "failures that nobody retrieved" in caplog.text


def test_strict_reports_what_a_protocol_is_told_of_itself(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.call_exception_handler({"message": "connection", "exception": OSError(), "protocol": object()})
        loop.call_exception_handler({"message": "no failure"})
        await asyncio.sleep(0.001)

    compat.run(main(), strict=True)
    assert "connection" in caplog.text
    assert "no failure" in caplog.text


def test_strict_needs_a_loop_of_ours() -> None:
    made: list[asyncio.AbstractEventLoop] = []

    def factory() -> asyncio.AbstractEventLoop:
        made.append(asyncio.SelectorEventLoop())
        return made[-1]

    with pytest.raises(TypeError, match="strict=True needs a loop of nursery"), compat.Runner(
        loop_factory=factory, strict=True
    ):
        pass
    made[0].close()


def test_without_strict_a_failure_is_reported_and_the_run_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> str:
        _ = asyncio.create_task(fail(ValueError("unseen")))
        del _
        await asyncio.sleep(0.001)
        return "went on"

    assert compat.run(main()) == "went on"
    assert "Task exception was never retrieved" in caplog.text


def test_a_process_that_is_interrupted_dies_of_the_signal() -> None:
    import subprocess

    program = (
        "import asyncio, os, signal\n"
        "from nursery import compat\n"
        "async def main():\n"
        "    asyncio.get_running_loop().call_later(0.001, os.kill, os.getpid(), signal.SIGINT)\n"
        "    await asyncio.sleep(5)\n"
        "compat.run(main())\n"
    )
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert finished.returncode == -signal.SIGINT
    assert finished.stderr.rstrip().endswith("KeyboardInterrupt")
    assert os.getpid()
