"""The exception handler: what it is told, in which context, and what happens when it fails itself."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import logging
from typing import Any

import pytest

from nursery import compat

from ..two_loops import LoopFactory, on_both, run_on

var: contextvars.ContextVar[str] = contextvars.ContextVar("var", default="outside")


def fail() -> None:
    raise ZeroDivisionError("on purpose")


@on_both
def test_a_failed_callback_is_reported_with_its_handle(loop_factory: LoopFactory) -> None:
    reports: list[dict[str, Any]] = []

    async def main() -> asyncio.Handle:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: reports.append(context))
        handle = loop.call_soon(fail)
        await asyncio.sleep(0)
        return handle

    handle = run_on(loop_factory, main())
    (report,) = reports
    assert sorted(report) == ["exception", "handle", "message"]
    assert report["message"].startswith("Exception in callback fail() at ")
    assert report["handle"] is handle
    assert isinstance(report["exception"], ZeroDivisionError)


@on_both
def test_in_debug_mode_the_report_says_where_the_handle_was_made_and_with_what(loop_factory: LoopFactory) -> None:
    reports: list[dict[str, Any]] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: reports.append(context))
        loop.call_soon(int, "secret")
        await asyncio.sleep(0)
        loop.set_debug(False)
        loop.call_soon(int, "secret")
        await asyncio.sleep(0)

    run_on(loop_factory, main(), debug=True)
    assert reports[0]["source_traceback"][-1].name == "main"
    assert "secret" in reports[0]["message"]
    # Arguments may be secret: before 3.13 asyncio showed them always.
    assert isinstance(loop_factory, type) or "secret" not in reports[1]["message"]


@on_both
def test_a_callback_that_cancels_its_own_handle_and_fails_is_reported(loop_factory: LoopFactory) -> None:
    reports: list[dict[str, Any]] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: reports.append(context))
        handles: list[asyncio.Handle] = []

        def cancel_and_fail() -> None:
            handles[0].cancel()
            raise KeyError("on purpose")

        handles.append(loop.call_soon(cancel_and_fail))
        await asyncio.sleep(0)

    if loop_factory is asyncio.SelectorEventLoop:
        # asyncio's own loop fails itself here.
        return
    run_on(loop_factory, main())
    assert isinstance(reports[0]["exception"], KeyError)


def test_the_handler_runs_in_the_context_of_what_failed() -> None:
    seen: list[tuple[str, str]] = []

    async def child() -> None:
        var.set("task")
        raise ValueError("on purpose")

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: seen.append((context["message"], var.get())))
        _ = asyncio.create_task(child())
        del _
        await asyncio.sleep(0.001)
        gc.collect()
        context = contextvars.copy_context()
        context.run(var.set, "handle")
        loop.call_soon(fail, context=context)
        await asyncio.sleep(0)
        loop.call_exception_handler({"message": "by hand"})

    compat.run(main())
    assert [where for _, where in seen] == ["task", "handle", "outside"]
    assert seen[0][0] == "Task exception was never retrieved"


@on_both
def test_a_broken_handler_is_logged_with_what_it_was_told(
    loop_factory: LoopFactory, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(loop: object, context: object) -> None:
        raise TypeError("broken too")

    async def main() -> int:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(broken)
        assert loop.get_exception_handler() is broken
        loop.call_soon(fail)
        await asyncio.sleep(0)
        return 42

    assert run_on(loop_factory, main()) == 42
    assert "Unhandled error in exception handler" in caplog.text
    assert "broken too" in caplog.text
    assert "ZeroDivisionError('on purpose')" in caplog.text


def test_an_overridden_default_handler_that_fails_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    class Loop(compat.EventLoop):
        def default_exception_handler(self, context: dict[str, Any]) -> None:
            raise LookupError("the last resort")

    loop = Loop()
    loop.call_exception_handler({"message": "lost"})
    assert "Exception in default exception handler" in caplog.text
    caplog.clear()
    loop.set_exception_handler(lambda loop, context: fail())
    loop.call_exception_handler({"message": "lost"})
    assert "while handling an unexpected error in custom exception handler" in caplog.text
    loop.close()


@on_both
@pytest.mark.parametrize("leaves", [KeyboardInterrupt, SystemExit])
def test_an_exit_raised_by_the_handler_leaves_the_loop(
    loop_factory: LoopFactory, leaves: type[BaseException]
) -> None:
    loop = loop_factory()

    def handler(loop: object, context: object) -> None:
        raise leaves

    loop.set_exception_handler(handler)
    loop.call_soon(fail)
    with pytest.raises(leaves):
        loop.run_forever()
    loop.close()


@on_both
def test_the_default_handler_logs_every_item_in_order(
    loop_factory: LoopFactory, caplog: pytest.LogCaptureFixture
) -> None:
    loop = loop_factory()
    loop.default_exception_handler({"message": "it broke", "where": 5, "exception": ValueError("why"), "a": "first"})
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.getMessage() == "it broke\na: 'first'\nwhere: 5"
    assert isinstance(record.exc_info, tuple)
    assert record.exc_info[0] is ValueError
    caplog.clear()
    loop.default_exception_handler({})
    assert caplog.records[0].getMessage() == "Unhandled exception in event loop"
    assert not caplog.records[0].exc_info
    loop.close()


@on_both
def test_in_debug_mode_the_default_handler_says_which_callback_was_under_way(
    loop_factory: LoopFactory, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        context = {"message": "found in passing"}
        loop.call_soon(loop.call_exception_handler, context)
        await asyncio.sleep(0)

    run_on(loop_factory, main(), debug=True)
    message = next(record.getMessage() for record in caplog.records if "found in passing" in record.getMessage())
    assert "\nhandle_traceback: Handle created at (most recent call last):\n" in message
    assert "in main" in message


@on_both
def test_where_a_failed_object_was_made_is_logged(
    loop_factory: LoopFactory, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        future = asyncio.get_running_loop().create_future()
        future.set_exception(KeyError("unseen"))
        del future
        gc.collect()

    run_on(loop_factory, main(), debug=True)
    assert "Future exception was never retrieved" in caplog.text
    assert "source_traceback: Object created at (most recent call last):\n" in caplog.text


@on_both
def test_a_handler_has_to_be_callable(loop_factory: LoopFactory) -> None:
    loop = loop_factory()
    no_handler: Any = "a word"
    with pytest.raises(TypeError, match="A callable object or None is expected, got 'a word'"):
        loop.set_exception_handler(no_handler)
    loop.set_exception_handler(None)
    assert loop.get_exception_handler() is None
    loop.close()
