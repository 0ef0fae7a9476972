"""The loop: one run, paused and resumed; one queue; failures reported."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import logging
import os
import socket
import subprocess
import sys
import threading
import warnings
import weakref
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import nursery
from nursery import compat
from nursery.compat.loop import EventLoop


async def answer() -> int:
    return 42


@pytest.fixture
def loop() -> Any:
    loop = compat.new_event_loop()
    yield loop
    loop.close()


def test_run_until_complete_pauses_one_and_the_same_run(loop: compat.EventLoop) -> None:
    runs: list[object] = []

    async def look() -> None:
        runs.append(nursery.lowlevel.current_root_task())

    loop.run_until_complete(look())
    background = loop.create_task(asyncio.sleep(0.002, "done"))
    loop.run_until_complete(look())
    assert not background.done()
    assert loop.run_until_complete(background) == "done"
    assert runs[0] is runs[1]
    assert not nursery.lowlevel.in_nursery_run()


def test_run_until_complete_takes_a_future_and_raises_its_error(loop: compat.EventLoop) -> None:
    future = loop.create_future()
    loop.call_soon(future.set_exception, ValueError("set"))
    with pytest.raises(ValueError, match="set"):
        loop.run_until_complete(future)


def test_a_loop_that_is_stopped_early_says_so(loop: compat.EventLoop) -> None:
    loop.call_soon(loop.stop)
    with pytest.raises(RuntimeError, match="Event loop stopped before Future completed"):
        loop.run_until_complete(loop.create_future())


def test_stop_before_run_forever_runs_what_is_queued_once(loop: compat.EventLoop) -> None:
    called: list[int] = []
    for number in range(100):
        loop.call_soon(called.append, number)
    loop.call_soon(lambda: loop.call_soon(called.append, -1))
    loop.stop()
    loop.run_forever()
    assert called == list(range(100))
    loop.stop()
    loop.run_forever()
    assert called[-1] == -1


def test_a_run_of_one_turn_looks_at_the_events(loop: compat.EventLoop) -> None:
    left, right = socket.socketpair()
    left.setblocking(False)
    got: list[int] = []
    with left, right:
        loop.add_reader(left, got.append, 1)
        right.send(b"x")
        for expected in range(1, 4):
            loop.call_soon(loop.stop)
            loop.run_forever()
            assert len(got) == expected
        loop.remove_reader(left)


def test_callbacks_and_steps_share_one_queue(loop: compat.EventLoop) -> None:
    order: list[str] = []

    async def step(name: str) -> None:
        order.append(name)

    loop.call_soon(order.append, "callback")
    first = loop.create_task(step("task"))
    loop.call_soon_threadsafe(order.append, "threadsafe")
    last = loop.create_task(step("last"))
    loop.run_until_complete(last)
    assert first.done()
    assert order == ["callback", "task", "threadsafe", "last"]


def test_a_cancelled_handle_is_not_called(loop: compat.EventLoop) -> None:
    called: list[int] = []
    handle = loop.call_soon(called.append, 1)
    assert isinstance(handle, asyncio.Handle)
    handle.cancel()
    assert handle.cancelled()
    loop.run_until_complete(answer())
    assert called == []


def test_a_callback_runs_in_its_context(loop: compat.EventLoop) -> None:
    var: contextvars.ContextVar[int] = contextvars.ContextVar("var", default=0)
    context = contextvars.copy_context()
    context.run(var.set, 5)
    seen: list[int] = []
    loop.call_soon(lambda: seen.append(var.get()), context=context)
    loop.call_soon(lambda: seen.append(var.get()))
    loop.run_until_complete(answer())
    assert seen == [5, 0]


def test_call_soon_threadsafe_wakes_a_sleeping_loop(loop: compat.EventLoop) -> None:
    future = loop.create_future()
    thread = threading.Timer(0.005, lambda: loop.call_soon_threadsafe(future.set_result, 8))
    thread.start()
    assert loop.run_until_complete(future) == 8
    thread.join()


def test_a_thread_that_calls_while_the_loop_is_closed_is_told_so() -> None:
    errors: list[BaseException] = []
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for _ in range(20):
            loop = compat.EventLoop()

            def call(loop: EventLoop = loop) -> None:
                try:
                    while True:
                        loop.call_soon_threadsafe(int)
                except BaseException as exc:
                    errors.append(exc)

            thread = threading.Thread(target=call)
            thread.start()
            loop.run_until_complete(asyncio.sleep(0))
            loop.close()
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert [str(error) for error in errors] == ["Event loop is closed"] * 20


def test_a_loop_made_in_one_thread_runs_in_another() -> None:
    loop = compat.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    assert asyncio.run_coroutine_threadsafe(answer(), loop).result(timeout=5) == 42
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def test_a_loop_does_not_run_inside_another() -> None:
    other = compat.new_event_loop()

    async def main() -> None:
        with pytest.raises(RuntimeError, match="while another loop is running"):
            other.run_forever()
        with pytest.raises(RuntimeError, match="already running"):
            asyncio.get_running_loop().run_forever()

    compat.run(main())
    other.close()


def test_a_closed_loop_takes_nothing_more() -> None:
    loop = compat.new_event_loop()
    loop.close()
    loop.close()
    assert loop.is_closed()
    for use in (lambda: loop.call_soon(print), lambda: loop.call_later(1, print), loop.run_forever):
        with pytest.raises(RuntimeError, match="Event loop is closed"):
            use()


@pytest.mark.parametrize("method", ["server", "unix server", "datagrams", "connection", "process", "pipe"])
def test_a_closed_loop_refuses_what_another_loop_runs(method: str, tmp_path: Path) -> None:
    closed = compat.new_event_loop()
    closed.close()
    left, right = socket.socketpair()

    async def main() -> None:
        with pytest.raises(RuntimeError, match="Event loop is closed"):
            match method:
                case "server":
                    await closed.create_server(asyncio.Protocol, "127.0.0.1", 0)
                case "unix server":
                    await closed.create_unix_server(asyncio.Protocol, tmp_path / "socket")
                case "datagrams":
                    await closed.create_datagram_endpoint(asyncio.DatagramProtocol, ("127.0.0.1", 0))
                case "connection":
                    await closed.create_connection(asyncio.Protocol, sock=left)
                case "process":
                    await closed.subprocess_exec(asyncio.SubprocessProtocol, "true")
                case "pipe":
                    await closed.connect_read_pipe(asyncio.Protocol, left)

    with left, right:
        compat.run(main())


def test_close_cancels_the_tasks_that_are_left_and_lets_them_clean_up() -> None:
    loop = compat.new_event_loop()
    events: list[str] = []

    async def work() -> None:
        try:
            await asyncio.sleep(5)
        finally:
            await asyncio.sleep(0)
            events.append("cleaned")

    task = loop.create_task(work())
    never = loop.create_task(work())
    loop.run_until_complete(asyncio.sleep(0))
    never.cancel()
    loop.close()
    assert task.cancelled()
    assert events == ["cleaned", "cleaned"]


def test_close_does_not_wait_for_a_task_that_will_not_end(caplog: pytest.LogCaptureFixture) -> None:
    loop = compat.new_event_loop()

    async def stubborn() -> None:
        while True:
            try:
                await asyncio.sleep(5)
            except asyncio.CancelledError:
                pass

    task = loop.create_task(stubborn())
    loop.run_until_complete(asyncio.sleep(0))
    with caplog.at_level(logging.ERROR):
        loop.close()
    assert "Task was destroyed but it is pending!" in caplog.text
    assert not task.done()


def test_close_of_a_running_loop_is_refused() -> None:
    async def main() -> None:
        with pytest.raises(RuntimeError, match="Cannot close a running event loop"):
            asyncio.get_running_loop().close()

    compat.run(main())


def test_an_unclosed_loop_warns() -> None:
    loop: Any = compat.new_event_loop()
    with pytest.warns(ResourceWarning, match="unclosed event loop"):
        # At once, not by the collector: nothing but its user holds an idle loop.
        del loop


@pytest.mark.parametrize("waiting", ["callback", "timer", "reader", "server"])
def test_an_unclosed_loop_with_something_to_do_is_found_by_the_collector(waiting: str) -> None:
    left, right = socket.socketpair()

    async def listen() -> None:
        await asyncio.get_running_loop().create_server(asyncio.Protocol, "127.0.0.1", 0)

    def forget() -> int:
        loop = compat.EventLoop()
        if waiting == "callback":
            loop.call_soon(print)
        elif waiting == "timer":
            loop.call_later(60, print)
        elif waiting == "reader":
            loop.add_reader(left, print)
        else:
            loop.run_until_complete(listen())
        return loop.runner.inbox.bell.read

    with left, right, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        bell = forget()
        gc.collect()
    assert any("unclosed event loop" in str(each.message) for each in caught)
    assert not any(issubclass(each.category, RuntimeWarning) for each in caught)
    with pytest.raises(OSError):
        os.fstat(bell)


def test_an_unclosed_loop_whose_own_coroutines_were_collected_first_is_closed_all_the_same() -> None:
    loop: Any = compat.new_event_loop()
    driver = loop.io
    loop.runner.root_task.coro.close()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del loop
        gc.collect()
    assert any("unclosed event loop" in str(each.message) for each in caught)
    assert not driver.table


@pytest.mark.parametrize("at_work", ["pass", "loop.call_later(60, print)", "loop.create_task(asyncio.sleep(60))",
                                     "loop.add_signal_handler(10, print)"])
@pytest.mark.parametrize("where", ["module", "cycle", "daemon thread"])
def test_a_loop_that_the_end_of_the_process_finds_unclosed_is_no_trouble(at_work: str, where: str) -> None:
    keep = {
        "module": "",
        "cycle": "loop.me = loop; del loop",
        "daemon thread": "import threading, time; threading.Thread(target=loop.run_forever, daemon=True).start(); "
        "time.sleep(0.01)",
    }[where]
    program = f"""
import asyncio
from nursery import compat
loop = compat.new_event_loop()
{at_work}
loop.run_until_complete(asyncio.sleep(0))
{keep}
"""
    finished = subprocess.run(
        [sys.executable, "-W", "always::ResourceWarning", "-c", program], capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0
    assert "Exception ignored" not in finished.stderr
    assert "Traceback" not in finished.stderr


def test_a_failing_callback_is_reported_and_the_loop_goes_on(loop: compat.EventLoop) -> None:
    reports: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: reports.append(context))

    def broken() -> None:
        raise ZeroDivisionError

    handle = loop.call_soon(broken)
    assert loop.run_until_complete(answer()) == 42
    (report,) = reports
    assert report["handle"] is handle
    assert isinstance(report["exception"], ZeroDivisionError)
    assert "Exception in callback" in report["message"]


def test_a_broken_exception_handler_does_not_stop_the_loop(
    loop: compat.EventLoop, caplog: pytest.LogCaptureFixture
) -> None:
    def broken_handler(loop: object, context: object) -> None:
        raise TypeError("broken too")

    loop.set_exception_handler(broken_handler)
    loop.call_soon(int, "x")
    assert loop.run_until_complete(answer()) == 42
    assert "Unhandled error in exception handler" in caplog.text


def test_the_default_exception_handler_logs_what_it_knows(
    loop: compat.EventLoop, caplog: pytest.LogCaptureFixture
) -> None:
    loop.call_exception_handler({"message": "it broke", "where": 5})
    assert "it broke\nwhere: 5" in caplog.text


def test_keyboard_interrupt_in_a_callback_leaves_the_loop(loop: compat.EventLoop) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    loop.call_soon(interrupt)
    with pytest.raises(KeyboardInterrupt):
        loop.run_forever()
    assert not loop.is_running()
    assert loop.run_until_complete(answer()) == 42


def test_run_in_executor_returns_a_future_of_the_result(loop: compat.EventLoop) -> None:
    async def main() -> None:
        here = threading.get_ident()
        there = await asyncio.get_running_loop().run_in_executor(None, threading.get_ident)
        assert here != there
        with ThreadPoolExecutor(1) as pool:
            assert await asyncio.get_running_loop().run_in_executor(pool, int, "7") == 7
        assert await asyncio.to_thread(str, 5) == "5"

    loop.run_until_complete(main())
    loop.run_until_complete(loop.shutdown_default_executor())
    with pytest.raises(RuntimeError, match="Executor shutdown has been called"):
        loop.run_until_complete(loop.run_in_executor(None, print))


def test_only_a_thread_pool_can_be_the_default_executor(loop: compat.EventLoop) -> None:
    no_pool: Any = object()
    with pytest.raises(TypeError, match="ThreadPoolExecutor"):
        loop.set_default_executor(no_pool)


def test_names_are_looked_up_in_a_thread(loop: compat.EventLoop) -> None:
    async def main() -> None:
        infos = await loop.getaddrinfo("127.0.0.1", 80, type=socket.SOCK_STREAM)
        assert infos[0][4] == ("127.0.0.1", 80)
        _, service = await loop.getnameinfo(("127.0.0.1", 80), socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)
        assert service == "80"

    loop.run_until_complete(main())
    loop.run_until_complete(loop.shutdown_default_executor())


def test_async_generators_are_closed_by_shutdown_asyncgens() -> None:
    closed: list[str] = []

    async def numbers(name: str) -> AsyncGenerator[int, None]:
        try:
            yield 1
            yield 2
        finally:
            await asyncio.sleep(0)
            closed.append(name)

    async def main() -> None:
        kept = numbers("kept")
        keep.append(kept)
        await anext(kept)
        abandoned = numbers("abandoned")
        await anext(abandoned)
        del abandoned
        gc.collect()
        for _ in range(10):
            await asyncio.sleep(0.001)
        assert closed == ["abandoned"]

    keep: list[object] = []
    compat.run(main())
    assert closed == ["abandoned", "kept"]


def test_debug_mode_refuses_calls_from_other_threads() -> None:
    errors: list[BaseException] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()

        def call() -> None:
            try:
                loop.call_soon(print)
            except RuntimeError as exc:
                errors.append(exc)

        await asyncio.to_thread(call)

    compat.run(main(), debug=True)
    assert "Non-thread-safe operation" in str(errors[0])


def test_debug_mode_remembers_where_tasks_were_made() -> None:
    async def main() -> None:
        task: Any = asyncio.create_task(answer())
        assert any(frame.name == "main" for frame in task._source_traceback)
        await task

    compat.run(main(), debug=True)


def test_what_failed_is_reported_even_when_its_loop_is_closed_and_gone(caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> None:
        raise ValueError("unseen")

    loop: Any = compat.new_event_loop()
    future = loop.create_future()
    task = loop.create_task(fail())
    loop.run_until_complete(asyncio.sleep(0))
    future.set_exception(KeyError("unseen"))
    loop.close()
    assert task.get_loop() is loop
    del loop
    gc.collect()
    del task
    gc.collect()
    assert "Task exception was never retrieved" in caplog.text
    del future
    gc.collect()
    assert "Future exception was never retrieved" in caplog.text


def test_a_forked_child_may_run_a_loop_of_its_own() -> None:
    async def main() -> None:
        reading, writing = os.pipe()
        with warnings.catch_warnings():
            # Of the threads that other tests have left.
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if child == 0:
            try:
                os.write(writing, b"%d" % compat.run(answer()))
            finally:
                os._exit(0)
        os.close(writing)
        assert os.read(reading, 100) == b"42"
        os.close(reading)
        os.waitpid(child, 0)
        # The parent is where it was.
        await asyncio.sleep(0.001)
        assert nursery.lowlevel.in_nursery_run()

    compat.run(main())


def test_libraries_find_the_thread_that_runs_the_loop(loop: compat.EventLoop) -> None:
    async def main() -> None:
        assert loop._thread_id == threading.get_ident()
        loop.call_soon(print)
        assert loop._ready
        assert len(loop._ready) >= 1

    assert loop._thread_id is None
    loop.run_until_complete(main())
    assert loop._thread_id is None


def test_no_warning_is_left_by_a_plain_run() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert compat.run(answer()) == 42
        gc.collect()


def test_a_native_run_cannot_begin_inside_the_loop() -> None:
    async def native() -> None:
        pass

    async def main() -> None:
        with pytest.raises(RuntimeError, match="inside a run"):
            nursery.run(native)

    compat.run(main())


def test_two_loops_in_one_thread_take_turns() -> None:
    first, second = compat.new_event_loop(), compat.new_event_loop()
    assert first.run_until_complete(answer()) == second.run_until_complete(answer()) == 42
    first.close()
    second.close()


@pytest.mark.parametrize("waiting", ["callback", "timer", "reader"])
def test_a_closed_loop_that_somebody_keeps_holds_nothing_of_what_it_will_not_call(
    waiting: str, loop: compat.EventLoop
) -> None:
    class Callback:
        def __call__(self) -> None:
            raise AssertionError

    callback = Callback()
    kept = weakref.ref(callback)
    left, right = socket.socketpair()
    with left, right:
        if waiting == "callback":
            loop.call_soon(callback)
        elif waiting == "timer":
            handle = loop.call_later(60, callback)
        else:
            loop.add_reader(left, callback)
        del callback
        loop.close()
        gc.collect()
        assert kept() is None
    if waiting == "timer":
        # Nothing is wrong with that.
        handle.cancel()


def test_a_run_leaves_nothing_to_the_collector() -> None:
    async def wait_for_a_future_of_asyncio(fail: bool) -> None:
        future: asyncio.Future[None] = asyncio.Future()
        asyncio.get_running_loop().call_soon(future.set_result, None)
        await future
        if fail:
            raise ZeroDivisionError

    async def main() -> None:
        loop = asyncio.get_running_loop()
        await loop.create_task(wait_for_a_future_of_asyncio(False))
        with contextlib.suppress(ZeroDivisionError):
            await loop.create_task(wait_for_a_future_of_asyncio(True))
        left, right = socket.socketpair()
        with left, right:
            loop.add_reader(left, print)
            loop.add_writer(left, loop.remove_writer, left)
            await asyncio.sleep(0)
            loop.remove_reader(left)

    compat.run(main())
    gc.collect()
    gc.disable()
    try:
        with asyncio.Runner(loop_factory=compat.new_event_loop) as runner:
            runner.run(main())
            found = gc.collect()
    finally:
        gc.enable()
    assert found == 0
