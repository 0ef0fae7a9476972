"""run: what goes in, what comes out, and that everything is given back."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import subprocess
import sys
import threading
import warnings
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest

import nursery
from nursery.kernel.current import current
from nursery.lowlevel import checkpoint

from .jumping_clock import JumpingClock


async def echo(value: object) -> object:
    """Return the argument."""
    return value


def test_run_returns_what_main_returns() -> None:
    assert nursery.run(echo, 5) == 5


def test_run_passes_all_arguments_on() -> None:
    async def main(*args: int) -> tuple[int, ...]:
        return args

    assert nursery.run(main, 1, 2, 3) == (1, 2, 3)


def test_run_raises_what_main_raises_as_it_is() -> None:
    error = ValueError("main's")

    async def main() -> None:
        raise error

    with pytest.raises(ValueError) as caught:
        nursery.run(main)
    assert caught.value is error


def test_the_traceback_of_mains_error_shows_run_and_main_and_little_between() -> None:
    async def main() -> None:
        raise ValueError

    with pytest.raises(ValueError) as caught:
        nursery.run(main)
    names = [entry.name for entry in caught.traceback]
    assert names[0] == "test_the_traceback_of_mains_error_shows_run_and_main_and_little_between"
    assert names[-1] == "main"
    assert len(names) <= 3


def test_base_exceptions_of_main_come_out_too() -> None:
    async def main() -> None:
        raise SystemExit(4)

    with pytest.raises(SystemExit) as caught:
        nursery.run(main)
    assert caught.value.code == 4


def test_stop_async_iteration_from_main_is_an_error_like_any_other() -> None:
    async def main() -> None:
        raise StopAsyncIteration

    with pytest.raises(StopAsyncIteration):
        nursery.run(main)


def test_a_run_inside_a_run_is_refused_and_the_outer_one_goes_on() -> None:
    async def main() -> str:
        with pytest.raises(RuntimeError, match="inside"):
            nursery.run(echo, 5)
        await checkpoint()
        return "went on"

    assert nursery.run(main) == "went on"


def test_a_thread_can_have_one_run_after_another() -> None:
    assert [nursery.run(echo, number) for number in range(3)] == [0, 1, 2]


def test_a_run_in_another_thread_works() -> None:
    results: list[object] = []

    async def main() -> None:
        await nursery.sleep(0.001)
        results.append("ran")

    thread = threading.Thread(target=nursery.run, args=(main,))
    thread.start()
    thread.join()
    assert results == ["ran"]


@pytest.mark.parametrize("wrong", [5, None, "text"])
def test_what_cannot_be_called_is_a_type_error(wrong: object) -> None:
    with pytest.raises(TypeError, match="expected an async function"):
        nursery.run(cast(Any, wrong))
    assert current.runner is None


def test_a_coroutine_object_in_place_of_a_function_is_explained() -> None:
    with pytest.raises(TypeError, match="coroutine object"):
        nursery.run(cast(Any, echo(5)))


def test_a_plain_function_is_explained() -> None:
    with pytest.raises(TypeError, match="plain function"):
        nursery.run(cast(Any, lambda: 5))


def test_a_wrong_number_of_arguments_is_the_ordinary_type_error() -> None:
    with pytest.raises(TypeError, match="argument"):
        nursery.run(cast(Callable[[], Awaitable[object]], echo))


def test_an_asyncio_function_fails_with_a_clear_error_at_the_await() -> None:
    async def main() -> None:
        with pytest.raises((TypeError, RuntimeError)):
            await asyncio.Future(loop=loop)
        await checkpoint()

    loop = asyncio.new_event_loop()
    try:
        nursery.run(main)
    finally:
        loop.close()


# Everything is given back


def open_descriptors() -> set[str]:
    """Return the descriptors that this process has open, by number."""
    return set(os.listdir("/proc/self/fd"))


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc to count descriptors")
def test_no_descriptor_is_left_open_however_the_run_ends() -> None:
    async def fail() -> None:
        raise ValueError

    async def waits() -> None:
        here, there = socket.socketpair()
        with here, there:
            there.send(b"x")
            await nursery.lowlevel.wait_readable(here)

    nursery.run(echo, 1)
    before = len(open_descriptors())
    for _ in range(5):
        nursery.run(echo, 1)
        nursery.run(waits)
        with pytest.raises(ValueError):
            nursery.run(fail)
        with pytest.raises(TypeError):
            nursery.run(cast(Any, 5))
    assert len(open_descriptors()) == before


def test_the_signal_wakeup_descriptor_is_given_back() -> None:
    async def main() -> int:
        inside = signal.set_wakeup_fd(-1)
        signal.set_wakeup_fd(inside, warn_on_full_buffer=False)
        return inside

    assert nursery.run(main) != -1
    assert signal.set_wakeup_fd(-1) == -1


def test_a_signal_wakeup_descriptor_of_somebody_else_is_warned_about_and_put_back() -> None:
    here, there = socket.socketpair()
    with here, there:
        there.setblocking(False)
        signal.set_wakeup_fd(there.fileno(), warn_on_full_buffer=False)
        try:
            with pytest.warns(RuntimeWarning, match="set_wakeup_fd"):
                nursery.run(echo, 1)
        finally:
            assert signal.set_wakeup_fd(-1) == there.fileno()


def test_the_async_generator_hooks_are_given_back_also_after_an_error() -> None:
    before = sys.get_asyncgen_hooks()

    async def fail() -> None:
        assert sys.get_asyncgen_hooks() != before
        raise ValueError

    with pytest.raises(ValueError):
        nursery.run(fail)
    assert sys.get_asyncgen_hooks() == before


def test_a_bad_argument_leaves_nothing_behind() -> None:
    before = (sys.get_asyncgen_hooks(), signal.getsignal(signal.SIGINT))

    class BrokenClock(JumpingClock):
        def start_clock(self) -> None:
            raise ValueError("no time")

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises((ValueError, nursery.InternalError)):
            nursery.run(echo, 1, clock=BrokenClock())
        gc.collect()
    assert (sys.get_asyncgen_hooks(), signal.getsignal(signal.SIGINT)) == before
    assert current.runner is None
    assert nursery.run(echo, 2) == 2


def test_an_instrument_that_is_refused_leaves_nothing_behind() -> None:
    class Wrong(nursery.abc.Instrument):
        task_spawned = 5  # type: ignore[assignment]  # the misuse under test

    before = sys.get_asyncgen_hooks()
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        with pytest.raises(TypeError):
            nursery.run(echo, 1, instruments=[Wrong()])
        gc.collect()
    assert sys.get_asyncgen_hooks() == before
    assert current.runner is None


def test_the_drivers_name_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NURSERY_IO", "carrier pigeon")
    with pytest.raises(ValueError, match="NURSERY_IO"):
        nursery.run(echo, 1)
    assert current.runner is None


def test_importing_nursery_loads_neither_asyncio_nor_ssl() -> None:
    program = "import sys, nursery; print([m for m in ('asyncio', 'ssl') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=20)
    assert done.stdout.strip() == "[]"


def test_an_error_in_the_kernel_itself_is_an_internal_error_with_its_cause() -> None:
    from .broken_run import internal_error_of

    async def main() -> None:
        from nursery.kernel.current import current_runner

        def broken(timeout: float) -> Any:
            raise OSError("the driver broke")

        current_runner().io.fetch = broken  # type: ignore[method-assign]  # the damage under test
        current_runner().io.poll = broken  # type: ignore[method-assign]  # the damage under test
        await nursery.sleep_forever()

    text = internal_error_of(lambda: nursery.run(main))
    assert "OSError: the driver broke" in text
    assert "state of the run:" in text
