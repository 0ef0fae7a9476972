"""The facade's processes: create_subprocess_exec, create_subprocess_shell, Process."""

from __future__ import annotations

import asyncio
import gc
import inspect
import logging
import os
import signal
import warnings
from asyncio import subprocess as stdlib_subprocess
from collections.abc import Callable
from typing import Any

import pytest

import nursery
from nursery import compat
from nursery.compat import subprocess as facade
from nursery.compat.streams import StreamReader, StreamWriter
from nursery.compat.subprocess import DEVNULL, PIPE, STDOUT, create_subprocess_exec, create_subprocess_shell
from nursery.compat.taskgroups import TaskGroup
from tests.compat.transports.pipe_ends import on_ours, polls
from tests.processes.conftest import nothing_is_left  # noqa: F401  # every test here is checked for descriptors


async def talk(process: facade.Process, data: Any = None) -> tuple[Any, Any]:
    """Communicate; asyncio's type of that does not know that what is no pipe comes back as None."""
    return await process.communicate(data)


# Names


def test_the_module_has_the_names_of_asyncios() -> None:
    assert facade.__all__ == stdlib_subprocess.__all__
    assert (PIPE, STDOUT, DEVNULL) == (stdlib_subprocess.PIPE, stdlib_subprocess.STDOUT, stdlib_subprocess.DEVNULL)
    public = [name for name in vars(stdlib_subprocess.Process) if not name.startswith("_")]
    assert [name for name in public if name not in vars(facade.Process)] == []
    assert getattr(facade, "streams") is asyncio.streams  # noqa: B009  # mypy knows better
    with pytest.raises(AttributeError, match="no_such_name"):
        getattr(facade, "no_such_name")  # noqa: B009  # mypy knows better


@pytest.mark.parametrize("name", ["create_subprocess_exec", "create_subprocess_shell"])
def test_the_signatures_are_those_of_asyncio_and_shell(name: str) -> None:
    ours = inspect.signature(getattr(facade, name)).parameters
    asyncios = inspect.signature(getattr(stdlib_subprocess, name)).parameters
    assert [each for each in ours if each != "shell"] == list(asyncios)
    for each, parameter in asyncios.items():
        assert (ours[each].kind, ours[each].default) == (parameter.kind, parameter.default)


def test_the_classes_extend_asyncios() -> None:
    async def main() -> None:
        process = await create_subprocess_exec("cat", stdin=PIPE, stdout=PIPE, stderr=PIPE)
        assert isinstance(process, stdlib_subprocess.Process)
        assert type(process.stdin) is StreamWriter
        assert type(process.stdout) is StreamReader
        assert type(process.stderr) is StreamReader
        assert repr(process) == f"<Process {process.pid}>"
        protocol: Any = process
        assert isinstance(protocol._protocol, stdlib_subprocess.SubprocessStreamProtocol)
        assert await talk(process) == (b"", b"")

    on_ours(main)


def test_outside_a_loop_the_call_is_an_error() -> None:
    starting = create_subprocess_exec("true")
    with pytest.raises(RuntimeError, match="no running event loop"):
        starting.send(None)


# Starting


def test_a_program_and_a_line_for_the_shell() -> None:
    async def main() -> list[object]:
        first = await create_subprocess_exec("echo", b"spam", stdout=PIPE)
        second = await create_subprocess_shell("echo spam >&2; exit 3", stdout=DEVNULL, stderr=PIPE)
        third = await create_subprocess_shell(b"echo out; echo err >&2", None, PIPE, STDOUT)
        results = [await process.communicate() for process in (first, second, third)]
        return [*results, first.returncode, second.returncode]

    assert on_ours(main) == [(b"spam\n", None), (None, b"spam\n"), (b"out\nerr\n", None), 0, 3]


def test_what_is_no_pipe_is_none() -> None:
    async def main() -> None:
        process = await create_subprocess_exec("true")
        assert process.stdin is None
        assert process.stdout is None
        assert process.stderr is None
        assert await talk(process, b"ignored") == (None, None)

    on_ours(main)


@pytest.mark.parametrize(
    "options", [{"text": True}, {"encoding": "utf-8"}, {"errors": "strict"}, {"bufsize": 1}, {"universal_newlines": 1}]
)
def test_text_is_refused(options: dict[str, Any]) -> None:
    async def main() -> None:
        with pytest.raises(ValueError, match=f"{next(iter(options))} must be"):
            await create_subprocess_exec("true", **options)
        with pytest.raises(ValueError, match=f"{next(iter(options))} must be"):
            await create_subprocess_shell("true", **options)

    on_ours(main)


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_that_is_not_positive_starts_nothing(limit: int) -> None:
    async def main() -> None:
        with pytest.raises(ValueError, match="Limit cannot be <= 0"):
            await create_subprocess_exec("sleep", "100", stdout=PIPE, limit=limit)
        with pytest.raises(ValueError, match="Limit cannot be <= 0"):
            await create_subprocess_shell("sleep 100", stdout=PIPE, limit=limit)

    on_ours(main)


def test_a_cancelled_start_kills_and_reaps() -> None:
    async def main() -> None:
        task = compat.create_task(create_subprocess_exec("sleep", "100", stdin=PIPE))
        await compat.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)
        await polls()

    on_ours(main)


# communicate


def test_communicate_sends_and_receives_more_than_the_pipes_hold() -> None:
    async def main() -> None:
        data = os.urandom(1_000_000)
        process = await create_subprocess_shell("tee /dev/stderr", stdin=PIPE, stdout=PIPE, stderr=PIPE)
        out, err = await process.communicate(memoryview(data))
        assert out == data
        assert err == data
        assert process.returncode == 0

    on_ours(main)


@pytest.mark.parametrize("data", [None, b"", bytearray(b"spam")])
def test_communicate_closes_the_input(data: bytes | None) -> None:
    async def main() -> None:
        process = await create_subprocess_exec("cat", stdin=PIPE, stdout=PIPE)
        assert await talk(process, data) == (bytes(data or b""), None)
        assert await talk(process) == (b"", None)

    on_ours(main)


def test_communicate_with_the_input_alone() -> None:
    async def main() -> int:
        process = await create_subprocess_shell('read line; test "$line" = spam && exit 3', stdin=PIPE)
        assert await talk(process, b"spam\n") == (None, None)
        return await process.wait()

    assert on_ours(main) == 3


def test_communicate_does_not_mind_a_process_that_does_not_read() -> None:
    async def main() -> None:
        process = await create_subprocess_shell("exec <&-; echo done", stdin=PIPE, stdout=PIPE)
        assert await talk(process, b"x" * 1_000_000) == (b"done\n", None)

    on_ours(main)


def test_a_communicate_that_was_cancelled_loses_no_output() -> None:
    async def main() -> None:
        process = await create_subprocess_shell("echo early; echo more >&2; exec sleep 100", stdout=PIPE, stderr=PIPE)
        with pytest.raises(TimeoutError):
            await compat.wait_for(process.communicate(), 0.01)
        process.kill()
        assert await talk(process) == (b"early\n", b"more\n")
        assert process.returncode == -signal.SIGKILL

    on_ours(main)


def test_a_communicate_that_a_native_scope_cut_off_loses_no_output() -> None:
    async def main() -> None:
        process = await create_subprocess_shell("echo early; exec sleep 100", stdout=PIPE)
        with nursery.move_on_after(0.01) as scope:
            await process.communicate()
        assert scope.cancelled_caught
        process.terminate()
        assert await talk(process) == (b"early\n", None)

    on_ours(main)


def test_two_communicates_at_once_are_an_error() -> None:
    async def main() -> None:
        process = await create_subprocess_exec("cat", stdin=PIPE, stdout=PIPE)
        assert process.stdin is not None
        first = compat.create_task(process.communicate(b"x" * 1_000_000))
        await compat.sleep(0)
        with pytest.raises(RuntimeError, match=r"read\(\) called while another coroutine"):
            await process.communicate()
        out, _ = await first
        assert len(out) == 1_000_000

    on_ours(main)


def test_debug_mode_logs_what_communicate_does(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        asyncio.get_running_loop().set_debug(True)
        process = await create_subprocess_exec("cat", stdin=PIPE, stdout=PIPE)
        await process.communicate(b"spam")

    with caplog.at_level(logging.DEBUG, "asyncio"):
        on_ours(main)
    for words in ("communicate: feed stdin (4 bytes)", "communicate: close stdin", "communicate: close stdout"):
        assert words in caplog.text


# Streams


def test_the_streams_of_a_process_are_used_in_turn() -> None:
    async def main() -> None:
        process = await create_subprocess_exec("cat", stdin=PIPE, stdout=PIPE)
        assert process.stdin is not None
        assert process.stdout is not None
        for n in range(50):
            process.stdin.write(b"line %d\n" % n)
            await process.stdin.drain()
            assert await process.stdout.readline() == b"line %d\n" % n
        assert process.stdin.can_write_eof()
        process.stdin.write_eof()
        await process.stdin.wait_closed()
        assert await process.stdout.read() == b""
        assert await process.wait() == 0

    on_ours(main)


def test_a_line_above_the_limit_is_an_error_and_a_slow_reader_holds_up_the_process() -> None:
    async def main() -> None:
        process = await create_subprocess_shell("head -c 1000000 /dev/zero; echo", stdout=PIPE, limit=1000)
        assert process.stdout is not None
        with pytest.raises(ValueError, match="limit"):
            await process.stdout.readline()
        await polls()
        assert process.returncode is None
        size = 0
        while data := await process.stdout.read(100_000):
            size += len(data)
        assert 900_000 < size < 1_000_001
        assert await process.wait() == 0

    on_ours(main)


def test_drain_waits_for_a_slow_process_and_tells_of_one_that_is_gone() -> None:
    async def main() -> None:
        process = await create_subprocess_shell("read line; exec <&-; kill -STOP $$", stdin=PIPE)
        assert process.stdin is not None
        process.stdin.write(b"\n" + b"x" * 1_000_000)
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            await process.stdin.drain()
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            await process.stdin.wait_closed()
        process.kill()
        assert await process.wait() == -signal.SIGKILL

    on_ours(main)


# The end


def test_wait_returns_although_nobody_reads_the_output() -> None:
    async def main() -> None:
        process = await create_subprocess_shell("head -c 60000 /dev/zero", stdout=PIPE, limit=10)
        assert await process.wait() == 0
        assert process.stdout is not None
        assert len(await process.stdout.read()) == 60000
        await polls()

    on_ours(main)


def test_any_number_of_tasks_may_wait_and_be_cancelled() -> None:
    async def main() -> None:
        process = await create_subprocess_exec("cat", stdin=PIPE)
        async with TaskGroup() as group:
            tasks = [group.create_task(process.wait()) for _ in range(4)]
            await compat.sleep(0)
            tasks[1].cancel()
            assert process.returncode is None
            await process.communicate()
        assert [task.cancelled() for task in tasks] == [False, True, False, False]
        assert tasks[0].result() == process.returncode == 0

    on_ours(main)


def test_signals_end_a_process_and_are_an_error_afterwards() -> None:
    async def main() -> None:
        ways: list[tuple[Callable[[facade.Process], None], int]] = [
            (lambda process: process.kill(), -signal.SIGKILL),
            (lambda process: process.terminate(), -signal.SIGTERM),
            (lambda process: process.send_signal(signal.SIGUSR1), -signal.SIGUSR1),
        ]
        for send, code in ways:
            process = await create_subprocess_exec("sleep", "100")
            send(process)
            assert await process.wait() == code
            with pytest.raises(ProcessLookupError):
                send(process)

    on_ours(main)


def test_a_process_that_ended_is_no_garbage() -> None:
    async def main() -> None:
        import weakref

        process = await create_subprocess_exec("cat", stdin=PIPE, stdout=PIPE, stderr=PIPE)
        await process.communicate(b"spam")
        await polls()
        gone = weakref.ref(process)
        del process
        assert gone() is None

    gc.disable()
    try:
        on_ours(main)
    finally:
        gc.enable()


def test_many_processes_run_at_once() -> None:
    async def one(n: int) -> bytes:
        process = await create_subprocess_exec("echo", str(n), stdin=PIPE, stdout=PIPE, stderr=PIPE)
        return (await process.communicate(b"x"))[0]

    async def main() -> None:
        assert await compat.gather(*[one(n) for n in range(20)]) == [b"%d\n" % n for n in range(20)]

    on_ours(main)


def test_processes_run_in_an_opened_loop() -> None:
    async def main() -> None:
        async with compat.open_loop(), nursery.open_nursery() as n:
            process = await create_subprocess_exec("cat", stdin=PIPE, stdout=PIPE)
            n.start_soon(process.wait)
            with nursery.fail_after(5):
                assert await talk(process, b"spam") == (b"spam", None)

    nursery.run(main)


def test_a_process_that_an_opened_loop_leaves_unclosed_is_killed_with_a_warning() -> None:
    async def main() -> None:
        async with compat.open_loop():
            process = await create_subprocess_exec("sleep", "100", stdin=PIPE)
            pid = process.pid
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            del process
            for _ in range(3):
                await nursery.lowlevel.checkpoint()
            gc.collect()
        assert "unclosed transport <ProcessTransport pid=" in str([str(each.message) for each in warned])
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)

    nursery.run(main)
