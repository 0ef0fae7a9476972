"""Debug mode: what it refuses, what it remembers, and what it logs."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
import threading
import time
from typing import Any

import pytest

from nursery import compat
from nursery.compat.loop.batch import batch

from ..two_loops import LoopFactory, on_both, run_on


async def nothing() -> None:
    pass


def slow_reports(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.getMessage().startswith("Executing ")]


@on_both
def test_a_slow_callback_is_logged_by_its_handle(
    loop_factory: LoopFactory, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.slow_callback_duration = 0.005
        loop.call_soon(time.sleep, 0.006)
        await asyncio.sleep(0)

    with caplog.at_level(logging.WARNING, "asyncio"):
        run_on(loop_factory, main(), debug=True)
    (report,) = [report for report in slow_reports(caplog) if "sleep" in report]
    assert report.startswith("Executing <Handle ")
    assert report.endswith(" seconds")
    assert 0.006 <= float(report.split()[-2]) < 1


@on_both
@pytest.mark.parametrize("writing", [False, True], ids=["reader", "writer"])
def test_a_slow_callback_of_a_descriptor_is_logged_by_its_name_and_who_added_it(
    loop_factory: LoopFactory, caplog: pytest.LogCaptureFixture, writing: bool
) -> None:
    left, right = socket.socketpair()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.slow_callback_duration = 0.005

        def slow_one() -> None:
            time.sleep(0.006)
            (loop.remove_writer if writing else loop.remove_reader)(left)

        (loop.add_writer if writing else loop.add_reader)(left, slow_one)
        right.send(b"x")
        await asyncio.sleep(0.02)

    with left, right:
        left.setblocking(False)
        run_on(loop_factory, main(), debug=True)
    (report,) = [report for report in slow_reports(caplog) if "slow_one" in report]
    assert "<Handle cancelled " in report
    assert "slow_one() at" in report
    if loop_factory is not asyncio.SelectorEventLoop:
        # There it names asyncio's own file.
        assert f"created at {__file__}" in report


@on_both
def test_servers_and_connections_are_logged(loop_factory: LoopFactory, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with await loop.create_server(asyncio.Protocol, "127.0.0.1", 0) as server:
            transport, _ = await loop.create_connection(asyncio.Protocol, *server.sockets[0].getsockname())
            await asyncio.sleep(0.002)
            transport.close()
            await asyncio.sleep(0.002)

    with caplog.at_level(logging.DEBUG, "asyncio"):
        run_on(loop_factory, main(), debug=True)
    for text in ("is serving", "got a new connection from", "connected to 127.0.0.1:"):
        assert text in caplog.text


@on_both
def test_a_slow_step_is_logged_by_its_task(loop_factory: LoopFactory, caplog: pytest.LogCaptureFixture) -> None:
    async def slow() -> None:
        time.sleep(0.006)

    async def main() -> None:
        asyncio.get_running_loop().slow_callback_duration = 0.005
        await asyncio.create_task(slow(), name="the slow one")
        made_by_hand = asyncio.Task(slow(), name="made by hand")
        await made_by_hand

    with caplog.at_level(logging.WARNING, "asyncio"):
        run_on(loop_factory, main(), debug=True)
    reports = slow_reports(caplog)
    assert any(report.startswith("Executing <Task ") and "name='the slow one'" in report for report in reports)
    assert any(report.startswith("Executing <Task ") and "name='made by hand'" in report for report in reports)


def test_outside_debug_mode_nothing_is_timed(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.slow_callback_duration = 0.0
        loop.call_soon(int)
        await asyncio.sleep(0)

    with caplog.at_level(logging.WARNING, "asyncio"):
        compat.run(main(), debug=False)
    assert slow_reports(caplog) == []


def test_debug_mode_can_be_turned_on_and_off_by_the_running_program(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        loop.slow_callback_duration = 0.0
        loop.set_debug(True)
        loop.call_soon(int)
        await asyncio.sleep(0)
        assert sys.get_coroutine_origin_tracking_depth() > 0
        assert "int" in "".join(slow_reports(caplog))
        caplog.clear()
        loop.set_debug(False)
        assert loop.runner.batch is batch
        # The step that turned it off was still timed.
        await asyncio.sleep(0)
        caplog.clear()
        loop.call_soon(int)
        await asyncio.sleep(0)
        assert slow_reports(caplog) == []
        assert sys.get_coroutine_origin_tracking_depth() == 0

    with caplog.at_level(logging.WARNING, "asyncio"):
        compat.run(main(), debug=False)


@on_both
def test_debug_mode_refuses_what_is_no_callback(loop_factory: LoopFactory) -> None:
    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        coro = nothing()
        for call in (loop.call_soon, loop.call_soon_threadsafe, lambda fn: loop.call_later(1, fn)):
            with pytest.raises(TypeError, match=r"coroutines cannot be used with call_\w+\("):
                call(nothing)
            with pytest.raises(TypeError, match="coroutines cannot be used"):
                call(coro)
            with pytest.raises(TypeError, match="a callable object was expected by call_"):
                call("a word")
        with pytest.raises(TypeError, match="coroutines cannot be used with run_in_executor"):
            loop.run_in_executor(None, nothing)
        coro.close()

    run_on(loop_factory, main(), debug=True)


@on_both
@pytest.mark.parametrize("method", ["call_soon", "call_later", "call_at"])
def test_debug_mode_refuses_calls_from_another_thread(loop_factory: LoopFactory, method: str) -> None:
    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        errors: list[BaseException] = []

        def call() -> None:
            try:
                getattr(loop, method)(*([] if method == "call_soon" else [1]), print)
            except RuntimeError as exc:
                errors.append(exc)

        thread = threading.Thread(target=call)
        thread.start()
        thread.join()
        assert "Non-thread-safe operation invoked on an event loop other than the current one" in str(errors[0])
        loop.call_soon_threadsafe(print)

    run_on(loop_factory, main(), debug=True)


@on_both
def test_handles_remember_who_made_them(loop_factory: LoopFactory) -> None:
    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        handles = [
            loop.call_soon(int),
            loop.call_soon_threadsafe(int),
            loop.call_later(0.001, int),
            loop.call_at(loop.time(), int),
        ]
        for handle in handles:
            assert handle._source_traceback[-1].name == "main"
            assert handle._source_traceback[-1].filename == __file__
            assert f"created at {__file__}:" in repr(handle)
            handle.cancel()

    run_on(loop_factory, main(), debug=True)


def test_outside_debug_mode_handles_remember_nothing() -> None:
    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        for handle in (loop.call_soon(int), loop.call_soon_threadsafe(int), loop.call_later(0.001, int)):
            assert handle._source_traceback is None
            handle.cancel()

    compat.run(main(), debug=False)


@on_both
def test_a_coroutine_that_was_never_awaited_tells_where_it_comes_from(loop_factory: LoopFactory) -> None:
    async def main() -> None:
        with pytest.warns(RuntimeWarning, match=r"never awaited\nCoroutine created at"):
            nothing()  # type: ignore[unused-coroutine]  # that is the test

    run_on(loop_factory, main(), debug=True)
    assert sys.get_coroutine_origin_tracking_depth() == 0


def test_the_environment_turns_debug_mode_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONASYNCIODEBUG", "1")
    loop = compat.new_event_loop()
    assert loop.get_debug()
    loop.close()
    monkeypatch.delenv("PYTHONASYNCIODEBUG")
    loop = compat.new_event_loop()
    assert not loop.get_debug() or sys.flags.dev_mode
    loop.close()


@on_both
def test_closing_is_logged(loop_factory: LoopFactory, caplog: pytest.LogCaptureFixture) -> None:
    loop = loop_factory()
    loop.set_debug(True)
    with caplog.at_level(logging.DEBUG, "asyncio"):
        loop.close()
    assert any(record.getMessage().startswith("Close <") for record in caplog.records)
    # It changes nothing any more.
    loop.set_debug(False)


def test_debug_mode_takes_the_same_turns() -> None:
    async def main() -> list[str]:
        loop = asyncio.get_running_loop()
        order: list[str] = []

        async def child(name: str) -> None:
            for turn in range(3):
                order.append(f"{name}{turn}")
                await asyncio.sleep(0)

        def chain(left: int) -> None:
            order.append(f"c{left}")
            if left:
                loop.call_soon(chain, left - 1)

        loop.call_soon(chain, 3)
        await asyncio.gather(child("a"), child("b"), asyncio.sleep(0.001))
        return order

    assert compat.run(main(), debug=True) == compat.run(main(), debug=False)


def test_a_failed_task_made_by_hand_is_freed_in_the_same_turn() -> None:
    reports: list[str] = []

    async def fail() -> None:
        raise ZeroDivisionError

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: reports.append(context["message"]))
        task = asyncio.Task(fail())
        del task
        await asyncio.sleep(0)
        assert reports == ["Task exception was never retrieved"]

    compat.run(main(), debug=True)
