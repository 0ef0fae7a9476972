"""Async generators: abandoned ones are finalised in their run, and those of others are left to their hooks."""

from __future__ import annotations

import gc
import logging
import sys
import warnings
from collections.abc import AsyncGenerator, Generator
from typing import Any

import pytest

import nursery
from nursery import CancelScope
from nursery.kernel.idle import wait_all_tasks_blocked
from nursery.lowlevel import checkpoint, current_task, in_nursery_task

from .in_run import in_a_run

Log = list[str]


async def tidy(log: Log, name: str = "generator") -> AsyncGenerator[int, None]:
    """Yield for ever; note how the clean-up goes."""
    try:
        while True:
            yield 1
    finally:
        log.append(f"{name} cleans up, in a task: {in_nursery_task()}")
        try:
            await checkpoint()
            log.append(f"{name} waited")
        except nursery.Cancelled:
            log.append(f"{name} may not wait")
            raise


@pytest.fixture(autouse=True)
def hooks_are_put_back() -> Generator[None, None, None]:
    """Fail a test whose run leaves its hooks in the interpreter."""
    before = sys.get_asyncgen_hooks()
    yield
    assert sys.get_asyncgen_hooks() == before


@in_a_run
async def test_an_abandoned_generator_is_finalised_in_a_cancelled_scope_and_warned_about() -> None:
    log: Log = []
    with pytest.warns(ResourceWarning, match="garbage collected before it had been exhausted"):  # noqa: PT031  # both
        await anext(tidy(log))
        gc.collect()
    await wait_all_tasks_blocked()
    assert log == ["generator cleans up, in a task: True", "generator may not wait"]


@in_a_run
async def test_an_abandoned_generator_is_finalised_by_a_system_task() -> None:
    tasks: list[str] = []

    async def generate() -> AsyncGenerator[int, None]:
        try:
            yield 1
        finally:
            tasks.append(current_task().name)

    with pytest.warns(ResourceWarning):  # noqa: PT031  # the warning comes with either statement
        await anext(generate())
        gc.collect()
    await wait_all_tasks_blocked()
    assert len(tasks) == 1
    assert tasks[0] != current_task().name
    assert "generate" in tasks[0]


@in_a_run
async def test_an_exhausted_or_closed_generator_is_not_warned_about() -> None:
    async def short() -> AsyncGenerator[int, None]:
        yield 1

    log: Log = []
    async for _ in short():
        pass
    agen = tidy(log)
    await anext(agen)
    await agen.aclose()
    del agen
    gc.collect()
    await wait_all_tasks_blocked()
    assert log == ["generator cleans up, in a task: True", "generator waited"]


def test_a_generator_alive_at_the_end_is_closed_after_main() -> None:
    log: Log = []
    kept: list[object] = []

    async def main() -> None:
        agen = tidy(log)
        kept.append(agen)
        await anext(agen)
        log.append("main ends")

    nursery.run(main)
    assert log == ["main ends", "generator cleans up, in a task: True", "generator may not wait"]


def test_a_generator_alive_at_the_end_is_closed_also_after_main_failed() -> None:
    log: Log = []
    kept: list[object] = []

    async def main() -> None:
        agen = tidy(log)
        kept.append(agen)
        await anext(agen)
        raise ValueError

    with pytest.raises(ValueError):
        nursery.run(main)
    assert len(log) == 2


def test_a_generator_first_iterated_during_the_closing_is_closed_too() -> None:
    log: Log = []
    kept: list[object] = []

    async def opens_another() -> AsyncGenerator[int, None]:
        try:
            yield 1
        finally:
            another = tidy(log, "the late one")
            kept.append(another)
            await anext(another)

    async def main() -> None:
        agen = opens_another()
        kept.append(agen)
        await anext(agen)

    nursery.run(main)
    assert log == ["the late one cleans up, in a task: True", "the late one may not wait"]


def test_generators_that_hold_each_other_are_all_closed() -> None:
    closed: list[int] = []
    kept: list[object] = []

    async def link(number: int, inner: AsyncGenerator[int, None] | None) -> AsyncGenerator[int, None]:
        try:
            if inner is not None:
                await anext(inner)
            yield number
        finally:
            if inner is not None:
                await inner.aclose()
            closed.append(number)

    async def main() -> None:
        inner: AsyncGenerator[int, None] | None = None
        for number in range(5):
            inner = link(number, inner)
        assert inner is not None
        kept.append(inner)
        await anext(inner)

    nursery.run(main)
    assert sorted(closed) == [0, 1, 2, 3, 4]


def test_a_generator_abandoned_in_mains_last_moment_is_finalised() -> None:
    log: Log = []

    async def main() -> None:
        cycle: list[Any] = [tidy(log)]
        cycle.append(cycle)
        await anext(cycle[0])
        del cycle
        gc.collect()

    with pytest.warns(ResourceWarning):
        nursery.run(main)
    assert log == ["generator cleans up, in a task: True", "generator may not wait"]


def test_an_error_of_a_finaliser_is_logged_and_does_not_end_the_run(caplog: pytest.LogCaptureFixture) -> None:
    async def fails() -> AsyncGenerator[int, None]:
        try:
            yield 1
        finally:
            raise ValueError("in the finaliser")

    async def main() -> str:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            await anext(fails())
            gc.collect()
            await wait_all_tasks_blocked()
        return "went on"

    with caplog.at_level(logging.ERROR, logger="nursery.async_generator_errors"):
        assert nursery.run(main) == "went on"
    (record,) = caplog.records
    assert "fails" in record.getMessage()
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ValueError)


def test_an_error_of_a_generator_closed_at_the_end_is_logged_too(caplog: pytest.LogCaptureFixture) -> None:
    kept: list[object] = []

    async def fails() -> AsyncGenerator[int, None]:
        try:
            yield 1
        finally:
            raise ValueError("in the finaliser")

    async def main() -> str:
        agen = fails()
        kept.append(agen)
        await anext(agen)
        return "went on"

    with caplog.at_level(logging.ERROR, logger="nursery.async_generator_errors"):
        assert nursery.run(main) == "went on"
    assert len(caplog.records) == 1


def test_hooks_that_were_there_before_get_the_generators_of_others() -> None:
    log: Log = []

    def firstiter(agen: object) -> None:
        log.append("firstiter")

    def finalizer(agen: AsyncGenerator[int, None]) -> None:
        log.append("finalizer")
        with pytest.raises(StopIteration):
            agen.aclose().send(None)

    async def simple() -> AsyncGenerator[int, None]:
        yield 1

    class Outsider(nursery.abc.Instrument):
        """Code that runs in the run's thread, but in none of its tasks."""

        def before_run(self) -> None:
            agen = simple()
            with pytest.raises(StopIteration):
                agen.asend(None).send(None)
            del agen
            gc.collect()

    async def main() -> None:
        pass

    before = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(firstiter, finalizer)
    try:
        nursery.run(main, instruments=[Outsider()])
        assert sys.get_asyncgen_hooks() == (firstiter, finalizer)
    finally:
        sys.set_asyncgen_hooks(*before)
    assert log == ["firstiter", "finalizer"]


def test_a_generator_of_an_outsider_without_hooks_is_closed_as_python_does_it() -> None:
    log: Log = []

    async def simple() -> AsyncGenerator[int, None]:
        try:
            yield 1
        finally:
            log.append("closed")

    class Outsider(nursery.abc.Instrument):
        def before_run(self) -> None:
            agen = simple()
            with pytest.raises(StopIteration):
                agen.asend(None).send(None)
            del agen
            gc.collect()

    async def main() -> None:
        pass

    nursery.run(main, instruments=[Outsider()])
    assert log == ["closed"]


@in_a_run
async def test_an_abandoned_generator_in_a_cancelled_task_is_finalised_all_the_same() -> None:
    log: Log = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        with CancelScope() as scope:
            scope.cancel()
            await anext(tidy(log))
        gc.collect()
        await wait_all_tasks_blocked()
    assert log[0] == "generator cleans up, in a task: True"


@in_a_run
async def test_many_abandoned_generators_are_all_finalised() -> None:
    log: Log = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        for number in range(50):
            await anext(tidy(log, str(number)))
        gc.collect()
        await wait_all_tasks_blocked()
    assert len(log) == 100
