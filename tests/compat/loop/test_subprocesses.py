"""subprocess_exec and subprocess_shell, and the standard library's processes on them."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import nursery
from nursery import compat
from tests.compat.transports.children import SLEEP, Witness, start, start_shell
from tests.compat.transports.pipe_ends import on_both_loops, on_ours, polls, turns
from tests.processes.conftest import nothing_is_left  # noqa: F401  # every test here is checked for descriptors

PIPE = subprocess.PIPE


# Arguments


@pytest.mark.parametrize(
    "options",
    [
        {"universal_newlines": True},
        {"bufsize": 1},
        {"bufsize": -1},
        {"text": True},
        {"encoding": "utf-8"},
        {"encoding": ""},
        {"errors": "strict"},
    ],
)
def test_text_and_buffers_are_refused(options: dict[str, Any]) -> None:
    async def main() -> list[str]:
        loop = asyncio.get_running_loop()
        found = []
        for starting in (
            loop.subprocess_exec(asyncio.SubprocessProtocol, "true", **options),
            loop.subprocess_shell(asyncio.SubprocessProtocol, "true", **options),
            asyncio.create_subprocess_exec("true", **options),
            asyncio.create_subprocess_shell("true", **options),
        ):
            with pytest.raises(ValueError, match=f"{next(iter(options))} must be") as info:
                await starting
            found.append(type(info.value).__name__)
        return found

    on_both_loops(main)


def test_the_shell_is_for_the_one_and_not_for_the_other() -> None:
    async def main() -> list[str]:
        loop: Any = asyncio.get_running_loop()
        found = []
        for starting, message in (
            (loop.subprocess_exec(asyncio.SubprocessProtocol, "true", shell=True), "shell must be False"),
            (loop.subprocess_shell(asyncio.SubprocessProtocol, "true", shell=False), "shell must be True"),
            (loop.subprocess_shell(asyncio.SubprocessProtocol, ["true"]), "cmd must be a string"),
        ):
            with pytest.raises(ValueError, match=message):
                await starting
            found.append(message)
        return found

    on_both_loops(main)


def test_an_argument_of_another_kind_is_refused() -> None:
    async def main() -> list[str]:
        loop: Any = asyncio.get_running_loop()
        with pytest.raises(TypeError) as info:
            await loop.subprocess_exec(asyncio.SubprocessProtocol, "echo", 5)
        with pytest.raises(TypeError):
            await loop.subprocess_exec(asyncio.SubprocessProtocol, "true", nonsense=5)
        with pytest.raises(ValueError, match="null byte"):
            await loop.subprocess_exec(asyncio.SubprocessProtocol, "ec\0ho")
        return [type(info.value).__name__]

    on_both_loops(main)


def test_programs_and_arguments_may_be_paths_and_bytes() -> None:
    async def main() -> list[bytes]:
        found = []
        for command in ((b"echo", b"spam"), (Path("/bin/echo"), Path("spam"))):
            process = await asyncio.create_subprocess_exec(*command, stdout=PIPE)
            found.append((await process.communicate())[0])
        process = await asyncio.create_subprocess_shell(b"echo spam", stdout=PIPE)
        found.append((await process.communicate())[0])
        return found

    assert on_both_loops(main) == [b"spam\n"] * 3


# Options of Popen


def test_the_options_of_popen_are_handed_on(tmp_path: Path) -> None:
    async def main() -> list[bytes]:
        async def output(line: str, **options: Any) -> bytes:
            process = await asyncio.create_subprocess_shell(line, stdout=PIPE, **options)
            return (await process.communicate())[0]

        read, write = os.pipe()
        os.write(write, b"inherited")
        os.close(write)
        found = [
            await output("echo $SPAM", env={"SPAM": "eggs"}),
            await output("pwd", cwd="/"),
            await output("pwd", cwd=tmp_path),
            await output(f"cat /dev/fd/{read}", pass_fds=[read]),
            await output("umask", umask=0o077),
            await output('test $(ps -o sid= -p $$) -eq $$ && echo leads || echo follows', start_new_session=True),
            await output("echo $0", executable="/bin/bash"),
            await output("echo $CHANGED", preexec_fn=lambda: os.environ.update(CHANGED="not seen"), env={}),
        ]
        os.close(read)
        return found

    on_both_loops(main)


@pytest.mark.parametrize("target", ["devnull", "descriptor", "file", "socket", "inherited"])
def test_input_comes_from_whatever_is_given(target: str, tmp_path: Path) -> None:
    async def main() -> list[object]:
        (tmp_path / "file").write_bytes(b"spam")
        close: list[Any] = []
        stdin: Any = None
        if target == "devnull":
            stdin = subprocess.DEVNULL
        elif target == "descriptor":
            stdin, write = os.pipe()
            os.write(write, b"spam")
            os.close(write)
            close.append(open(stdin, "rb"))
        elif target == "file":
            stdin = open(tmp_path / "file", "rb")
            close.append(stdin)
        elif target == "socket":
            stdin, peer = socket.socketpair()
            peer.send(b"spam")
            peer.close()
            close.append(stdin)
        process = await asyncio.create_subprocess_shell(
            "cat" if stdin is not None else "echo spam", stdin=stdin, stdout=PIPE
        )
        assert process.stdin is None
        for each in close:
            each.close()
        return [await process.communicate(), await process.wait()]

    on_both_loops(main)


def test_output_goes_wherever_it_is_sent(tmp_path: Path) -> None:
    async def main() -> list[object]:
        found: list[object] = []
        line = "echo out; echo err >&2"
        process = await asyncio.create_subprocess_shell(line, stdout=PIPE, stderr=subprocess.STDOUT)
        found.append(await process.communicate())
        process = await asyncio.create_subprocess_shell(line, stdout=PIPE, stderr=subprocess.DEVNULL)
        found.append(await process.communicate())
        process = await asyncio.create_subprocess_shell(line, stdout=subprocess.DEVNULL, stderr=PIPE)
        found.append(await process.communicate())
        with open(tmp_path / "file", "w+b") as file:
            process = await asyncio.create_subprocess_shell(line, stdout=file, stderr=subprocess.STDOUT)
            found.append(await process.communicate())
            found.append((tmp_path / "file").read_bytes())
            process = await asyncio.create_subprocess_shell(line, stdout=file.fileno(), stderr=PIPE)
            found.append(await process.communicate())
        return found

    on_both_loops(main)


def test_pipes_are_made_unless_told_otherwise() -> None:
    async def main() -> list[object]:
        transport, witness = await asyncio.get_running_loop().subprocess_shell(Witness, "cat; echo err >&2")
        stdin: Any = transport.get_pipe_transport(0)
        stdin.write(b"spam")
        stdin.close()
        await witness.lost
        transport.close()
        return [witness.data[1], witness.data[2]]

    assert on_both_loops(main) == [b"spam", b"err\n"]


def test_the_pipes_have_the_size_that_was_asked_for() -> None:
    async def main() -> list[int]:
        import fcntl

        process = await asyncio.create_subprocess_exec("cat", stdin=PIPE, stdout=PIPE, pipesize=16384)
        transport: Any = process
        pipe = transport._transport.get_pipe_transport(0).get_extra_info("pipe")
        size = fcntl.fcntl(pipe, getattr(fcntl, "F_GETPIPE_SZ", 1032))
        await process.communicate(b"")
        return [size]

    on_both_loops(main)


# Failures, after which the fixture finds neither descriptors nor processes


@pytest.mark.parametrize(
    ("command", "options"),
    [
        (("/no/such/program",), {}),
        (("no-such-program-anywhere",), {}),
        (("/etc/passwd",), {}),
        (("/",), {}),
        (("true",), {"cwd": "/no/such/folder"}),
        (("true",), {"user": 1 << 40}),
    ],
)
def test_a_program_that_cannot_be_started_leaves_nothing(command: tuple[str, ...], options: dict[str, Any]) -> None:
    async def main() -> list[str]:
        loop = asyncio.get_running_loop()
        with pytest.raises((OSError, ValueError, OverflowError)) as info:
            await loop.subprocess_exec(Witness, *command, **options)
        with pytest.raises((OSError, ValueError, OverflowError)):
            await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, stderr=PIPE, **options)
        await turns()
        return [type(info.value).__name__, str(info.value)]

    on_both_loops(main)


def test_a_failing_preexec_fn_leaves_nothing() -> None:
    def fail() -> None:
        raise ValueError("spam")

    async def main() -> list[str]:
        with pytest.raises(subprocess.SubprocessError, match="preexec_fn") as info:
            await asyncio.create_subprocess_exec(*SLEEP, stdin=PIPE, preexec_fn=fail)
        return [type(info.value).__name__]

    on_both_loops(main)


def test_a_failing_factory_starts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> asyncio.SubprocessProtocol:
        raise ValueError("no protocol")

    async def main() -> list[str]:
        with monkeypatch.context() as patch:
            patch.setattr(subprocess, "Popen", lambda *args, **kwargs: pytest.fail("started"))
            with pytest.raises(ValueError, match="no protocol") as info:
                await asyncio.get_running_loop().subprocess_exec(fail, *SLEEP)
        return [str(info.value)]

    on_both_loops(main)


@pytest.mark.parametrize("failing", [1, 2, 3])
def test_a_process_whose_pipes_cannot_be_registered_is_killed_and_reaped(
    failing: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        real, opened = loop.io.open, 0

        def full(fd: int) -> Any:
            nonlocal opened
            opened += 1
            if opened == failing:
                raise OSError(28, "No space left on device")
            return real(fd)

        with monkeypatch.context() as patch:
            patch.setattr(loop.io, "open", full)
            with pytest.raises(OSError, match="No space left"):
                await loop.subprocess_exec(Witness, *SLEEP)
        with pytest.raises(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)
        assert not [interest for interest in loop.io.table.values() if interest.reader or interest.writer]

    on_ours(main)


def test_a_failing_connection_made_is_reported_and_the_process_runs() -> None:
    async def main() -> list[str]:
        loop = asyncio.get_running_loop()
        reports: list[str] = []
        loop.set_exception_handler(lambda loop, context: reports.append(repr(context["exception"])))

        class Failing(Witness):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                super().connection_made(transport)
                raise ValueError("no")

        transport, witness = await loop.subprocess_exec(Failing, "true", stdin=None, stdout=None, stderr=None)
        await witness.lost
        transport.close()
        return [*reports, *witness.events]

    on_both_loops(main)


# Cancellation


def test_a_cancelled_call_kills_and_reaps() -> None:
    async def main() -> list[object]:
        loop = asyncio.get_running_loop()
        for starting in (
            asyncio.create_subprocess_exec(*SLEEP),
            asyncio.create_subprocess_exec(*SLEEP, stdin=PIPE, stdout=PIPE, stderr=PIPE),
            asyncio.create_subprocess_shell("sleep 100", stdout=PIPE),
            loop.subprocess_exec(Witness, *SLEEP),
        ):
            task = asyncio.create_task(starting)
            await asyncio.sleep(0)
            task.cancel("enough")
            with pytest.raises(asyncio.CancelledError):
                await task
            assert task.cancelled()
            with pytest.raises(ChildProcessError):
                os.waitpid(-1, os.WNOHANG)
        await polls()
        return ["done"]

    # asyncio's own loop may wait for ever here (CPython issue 125502).
    on_ours(main)


def test_a_call_that_is_cancelled_twice_leaves_the_reaping_to_the_loop() -> None:
    async def main() -> None:
        task = asyncio.create_task(asyncio.create_subprocess_exec(*SLEEP, stdout=PIPE))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        while True:
            try:
                os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                break
            await asyncio.sleep(0.0005)

    on_ours(main)


def test_a_call_that_is_thrown_away_kills_its_process() -> None:
    async def main() -> None:
        starting = asyncio.create_subprocess_exec(*SLEEP, stdout=PIPE)
        starting.send(None)
        starting.close()
        while True:
            try:
                os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                break
            await asyncio.sleep(0.0005)
        await turns()

    on_ours(main)


def test_a_cancelled_native_scope_around_the_call_kills_and_reaps() -> None:
    async def main() -> None:
        with nursery.CancelScope() as scope:
            scope.cancel()
            await asyncio.create_subprocess_exec(*SLEEP, stdin=PIPE)
        assert scope.cancelled_caught
        with pytest.raises(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)
        await polls()

    on_ours(main)


def test_the_end_of_a_run_leaves_no_process_that_the_program_closes() -> None:
    pids: list[int] = []

    async def tend() -> None:
        witness = await start(*SLEEP, stdin=PIPE, stdout=PIPE)
        pids.append(witness.transport.get_pid())
        try:
            await asyncio.sleep(100)
        finally:
            witness.transport.close()
            await witness.lost

    async def main() -> None:
        task = asyncio.create_task(tend())
        await polls(10)
        assert not task.done()

    compat.run(main())
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)


# The standard library's Process


def test_communicate_sends_and_receives_more_than_the_pipes_hold() -> None:
    async def main() -> list[object]:
        data = os.urandom(1_000_000)
        process = await asyncio.create_subprocess_shell("tee /dev/stderr", stdin=PIPE, stdout=PIPE, stderr=PIPE)
        out, err = await process.communicate(data)
        return [out == data, err == data, process.returncode]

    assert on_both_loops(main) == [True, True, 0]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="3.11's own Process leaves the input open, and waits for ever")
def test_communicate_without_input_closes_the_input() -> None:
    async def main() -> list[object]:
        process = await asyncio.create_subprocess_exec("cat", stdin=PIPE, stdout=PIPE)
        return [await process.communicate(), process.returncode]

    assert on_both_loops(main) == [(b"", None), 0]


def test_communicate_does_not_mind_a_process_that_does_not_read() -> None:
    async def main() -> list[object]:
        process = await asyncio.create_subprocess_shell("exec <&-; echo done", stdin=PIPE, stdout=PIPE)
        return [await process.communicate(b"x" * 1_000_000), process.returncode]

    assert on_both_loops(main) == [(b"done\n", None), 0]


def test_drain_tells_of_a_process_that_does_not_read() -> None:
    async def main() -> list[object]:
        process = await asyncio.create_subprocess_shell("exec <&-; kill -STOP $$", stdin=PIPE)
        assert process.stdin is not None
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            while True:
                process.stdin.write(b"x" * 100_000)
                await process.stdin.drain()
        process.kill()
        return [await process.wait()]

    on_both_loops(main)


def test_streams_of_a_process_can_be_used_in_turn() -> None:
    async def main() -> list[bytes]:
        process = await asyncio.create_subprocess_exec("cat", stdin=PIPE, stdout=PIPE)
        assert process.stdin is not None
        assert process.stdout is not None
        lines = []
        for n in range(50):
            process.stdin.write(b"line %d\n" % n)
            await process.stdin.drain()
            lines.append(await process.stdout.readline())
        process.stdin.close()
        await process.stdin.wait_closed()
        lines.append(await process.stdout.read())
        await process.wait()
        return lines

    on_both_loops(main)


def test_a_limit_holds_up_the_process() -> None:
    async def main() -> list[object]:
        process = await asyncio.create_subprocess_shell("head -c 1000000 /dev/zero; echo", stdout=PIPE, limit=1000)
        assert process.stdout is not None
        with pytest.raises(ValueError, match="limit"):
            await process.stdout.readline()
        await polls()
        assert process.returncode is None
        size = 0
        while data := await process.stdout.read(70_000):
            size += len(data)
        return [size + 0 > 0, await process.wait()]

    on_both_loops(main)


def test_wait_returns_although_nobody_reads_the_output() -> None:
    async def main() -> int:
        process = await asyncio.create_subprocess_shell("head -c 60000 /dev/zero", stdout=PIPE, limit=10)
        assert await process.wait() == 0
        assert process.stdout is not None
        size = 0
        while data := await process.stdout.read(7000):
            size += len(data)
        await polls()
        return size

    # asyncio waits for the pipe, and so for ever.
    assert on_ours(main) == 60000


def test_any_number_of_tasks_may_wait_and_be_cancelled() -> None:
    async def main() -> list[object]:
        process = await asyncio.create_subprocess_exec("cat", stdin=PIPE)
        tasks = [asyncio.create_task(process.wait()) for _ in range(5)]
        await asyncio.sleep(0)
        tasks[0].cancel()
        tasks[3].cancel()
        assert process.stdin is not None
        process.stdin.close()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        return [type(result).__name__ for result in results]

    assert on_both_loops(main) == ["CancelledError", "int", "int", "CancelledError", "int"]


def test_a_cancelled_communicate_can_be_followed_by_kill_and_wait() -> None:
    async def main() -> int:
        process = await asyncio.create_subprocess_exec("cat", stdin=PIPE, stdout=PIPE)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.005):
                assert process.stdout is not None
                await process.stdout.read()
        process.kill()
        await process.communicate()
        return await process.wait()

    assert on_both_loops(main) == -signal.SIGKILL


def test_many_processes_run_at_once() -> None:
    async def one(n: int) -> bytes:
        process = await asyncio.create_subprocess_exec("echo", str(n), stdin=PIPE, stdout=PIPE, stderr=PIPE)
        return (await process.communicate(b"x"))[0]

    async def main() -> list[bytes]:
        return await asyncio.gather(*[one(n) for n in range(20)])

    assert on_both_loops(main) == [b"%d\n" % n for n in range(20)]


def test_a_terminal_can_be_the_input_of_a_process() -> None:
    async def main() -> list[object]:
        master, slave = os.openpty()
        process = await asyncio.create_subprocess_shell("read line; echo got $line", stdin=slave, stdout=PIPE)
        os.close(slave)
        os.write(master, b"spam\n")
        result = await process.communicate()
        os.close(master)
        return [*result]

    assert on_both_loops(main) == [b"got spam\n", None]


def test_a_process_is_started_in_the_thread_of_its_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    threads: list[int] = []
    real = subprocess.Popen

    def popen(*args: Any, **kwargs: Any) -> Any:
        threads.append(threading.get_ident())
        return real(*args, **kwargs)

    async def main() -> None:
        monkeypatch.setattr(subprocess, "Popen", popen)
        witness = await start("true")
        await witness.lost
        assert threads == [threading.get_ident()]

    on_ours(main)


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="child watchers are gone")
def test_no_child_watcher_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> list[int]:
        monkeypatch.setattr(asyncio.events, "get_child_watcher", lambda: pytest.fail("asked"))
        witness = await start_shell("exit 3")
        await witness.lost
        return [witness.exited.result()]

    assert on_ours(main) == [3]
