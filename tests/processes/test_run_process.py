"""A process as a function call, and as a background task."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
from collections.abc import Awaitable, Callable

import pytest

import nursery
from nursery.lowlevel import enable_ki_protection
from nursery.processes.process import Process
from nursery.processes.running import run_process
from nursery.testing import MockClock, assert_checkpoints, wait_all_tasks_blocked

from .witness import Witness, witness

SLEEP = ["sleep", "100"]
# Says so when it ignores SIGTERM; one process, which SIGKILL ends as a whole.
STUBBORN = ["sh", "-c", "trap '' TERM; echo ready; exec sleep 100"]


async def start(n: nursery.Nursery, command: list[str], **options: object) -> Process:
    """Run a process in the background; its exit status does not matter."""
    process: Process = await n.start(functools.partial(run_process, command, check=False, **options))  # type: ignore[arg-type]  # passed on
    return process


# As a function


async def test_it_returns_how_the_process_ended() -> None:
    finished = await run_process(["true"])
    assert finished.args == ["true"]
    assert finished.returncode == 0
    # Nothing was captured: then the two are None.
    assert repr(finished) == "CompletedProcess(args=['true'], returncode=0)"


async def test_what_is_captured_is_returned() -> None:
    finished = await run_process(["sh", "-c", "echo out; echo err >&2"], capture_stdout=True, capture_stderr=True)
    assert finished.stdout == b"out\n"
    assert finished.stderr == b"err\n"


async def test_captured_together_they_are_in_the_order_of_writing() -> None:
    finished = await run_process(
        ["sh", "-c", "echo one; echo two >&2; echo three"], capture_stdout=True, stderr=subprocess.STDOUT
    )
    assert finished.stdout == b"one\ntwo\nthree\n"
    assert finished.stderr is None


async def test_much_goes_in_and_out_at_once() -> None:
    data = os.urandom(1_000_000)
    finished = await run_process(["cat"], stdin=data, capture_stdout=True)
    assert finished.stdout == data


@pytest.mark.parametrize("data", [bytearray(b"data"), memoryview(b"data")], ids=["bytearray", "memoryview"])
async def test_stdin_takes_any_form_of_bytes(data: bytearray | memoryview) -> None:
    assert (await run_process(["cat"], stdin=data, capture_stdout=True)).stdout == b"data"


async def test_by_default_there_is_nothing_to_read() -> None:
    assert (await run_process(["cat"], capture_stdout=True)).stdout == b""


async def test_stdin_may_be_an_open_file() -> None:
    with open("/dev/null") as nothing:
        assert (await run_process(["cat"], stdin=nothing, capture_stdout=True)).stdout == b""


async def test_output_that_is_not_captured_goes_where_ours_goes(capfd: pytest.CaptureFixture[str]) -> None:
    await run_process(["sh", "-c", "echo out; echo err >&2"])
    assert capfd.readouterr() == ("out\n", "err\n")


async def test_a_process_that_does_not_read_its_input_is_no_error() -> None:
    finished = await run_process(["sh", "-c", "exec <&-; exit 0"], stdin=b"x" * 300_000)
    assert finished.returncode == 0


async def test_a_failure_raises_with_what_was_captured() -> None:
    command = ["sh", "-c", "echo out; echo err >&2; exit 3"]
    with pytest.raises(subprocess.CalledProcessError) as caught:
        await run_process(command, capture_stdout=True, capture_stderr=True)
    assert caught.value.returncode == 3
    assert caught.value.cmd == command
    assert caught.value.stdout == b"out\n"
    assert caught.value.stderr == b"err\n"


async def test_a_failure_that_is_not_checked_is_returned() -> None:
    assert (await run_process(["false"], check=False)).returncode == 1


async def test_a_death_by_signal_is_a_failure() -> None:
    with pytest.raises(subprocess.CalledProcessError) as caught:
        await run_process("kill -USR1 $$", shell=True)
    assert caught.value.returncode == -signal.SIGUSR1


async def test_it_is_a_checkpoint() -> None:
    with assert_checkpoints():
        await run_process(["true"])


# Misuse


async def test_text_is_not_input() -> None:
    with pytest.raises(UnicodeError, match="must be bytes"):
        await run_process(["cat"], stdin="text")  # type: ignore[arg-type]  # the mistake under test


@pytest.mark.parametrize("stream", ["stdin", "stdout", "stderr"])
async def test_a_pipe_that_nobody_could_get_at_is_an_error(stream: str) -> None:
    options = {stream: subprocess.PIPE}
    with pytest.raises(ValueError, match=f"^{stream}=subprocess.PIPE is only valid with nursery.start"):
        await run_process(["cat"], **options)  # type: ignore[arg-type]  # any of the three


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
async def test_a_stream_cannot_be_captured_and_go_elsewhere(stream: str) -> None:
    options = {stream: None, f"capture_{stream}": True}
    with pytest.raises(ValueError, match=f"^can't specify both {stream} and capture_{stream}$"):
        await run_process(["cat"], **options)  # type: ignore[arg-type]  # either of the two


async def test_what_cannot_be_started_raises_bare_and_leaves_nothing() -> None:
    with pytest.raises(FileNotFoundError):
        await run_process(["/no/such/program"], capture_stdout=True, capture_stderr=True)
    with pytest.raises(FileNotFoundError):
        await run_process(["true"], capture_stdout=True, cwd="/no/such/folder")
    with pytest.raises(TypeError):
        await run_process("a line")
    async with nursery.open_nursery() as n:
        with pytest.raises(FileNotFoundError):
            await n.start(run_process, ["/no/such/program"])


# As a background task


async def test_start_gives_the_process_while_it_runs() -> None:
    async with nursery.open_nursery() as n:
        process = await start(n, ["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert process.stdio is not None
        async with process.stdio:
            await process.stdio.send_all(b"hello")
            assert await process.stdio.receive_some() == b"hello"
            assert process.returncode is None
            await process.stdio.send_eof()
            assert await process.wait() == 0


async def test_streams_that_run_process_serves_itself_are_not_handed_out() -> None:
    async with nursery.open_nursery() as n:
        process = await start(n, ["cat"], stdin=b"data", capture_stdout=True, capture_stderr=True)
        assert [process.stdin, process.stdout, process.stderr, process.stdio] == [None] * 4


async def test_a_failure_in_the_background_comes_out_of_the_nursery() -> None:
    with pytest.raises(ExceptionGroup) as caught:
        async with nursery.open_nursery() as n:
            await n.start(run_process, ["false"])
    assert caught.group_contains(subprocess.CalledProcessError, depth=1)


async def test_leaving_the_nursery_waits_for_the_process() -> None:
    async with nursery.open_nursery() as n:
        process = await start(n, ["sh", "-c", "sleep 0.05; exit 4"])
        assert process.returncode is None
    assert process.returncode == 4


# Cancellation


async def test_a_cancelled_call_ends_the_process_and_returns_after_it() -> None:
    async with nursery.open_nursery() as n:
        process = await start(n, SLEEP)
        n.cancel_scope.cancel()
    assert process.returncode == -signal.SIGTERM


async def test_a_call_in_a_cancelled_scope_starts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "Popen", lambda *args, **options: pytest.fail("it was started"))
    with nursery.CancelScope() as scope:
        scope.cancel()
        await run_process(SLEEP, capture_stdout=True)
    assert scope.cancelled_caught


@pytest.mark.parametrize("captures", [False, True])
@pytest.mark.parametrize("after", range(8))
async def test_cancelled_at_any_moment_it_leaves_nothing(after: int, captures: bool) -> None:
    # The fixture of this folder looks for descriptors and for children.
    with nursery.CancelScope() as scope:
        async with nursery.open_nursery() as n:
            n.start_soon(
                functools.partial(
                    run_process, SLEEP, stdin=b"x" * 100_000, capture_stdout=captures, capture_stderr=captures
                )
            )
            for _ in range(after):
                await nursery.lowlevel.checkpoint()
            scope.cancel()
    assert scope.cancelled_caught


async def test_a_failing_sibling_ends_the_process_too() -> None:
    with pytest.raises(ExceptionGroup):
        async with nursery.open_nursery() as n:
            process = await start(n, SLEEP)
            raise ValueError("the sibling")
    assert process.returncode == -signal.SIGTERM


async def test_a_cancelled_start_leaves_nothing() -> None:
    async def never_ready(task_status: nursery.TaskStatus[None]) -> None:
        await run_process(SLEEP)

    async with nursery.open_nursery() as n:
        with nursery.move_on_after(0.02) as scope:
            await n.start(never_ready)
        assert scope.cancelled_caught


def test_sigterm_then_a_grace_of_five_seconds_then_sigkill() -> None:
    async def main() -> None:
        async with nursery.open_nursery() as n:
            process = await start(n, STUBBORN, stdout=subprocess.PIPE)
            assert process.stdout is not None
            async with process.stdout:
                assert await process.stdout.receive_some() == b"ready\n"
                began = nursery.current_time()
                n.cancel_scope.cancel()
                with nursery.CancelScope(shield=True):
                    await process.wait()
                assert nursery.current_time() - began == pytest.approx(5)
        assert process.returncode == -signal.SIGKILL

    with pytest.warns(RuntimeWarning, match="ignored SIGTERM for 5 seconds"):
        nursery.run(main, clock=MockClock(autojump_threshold=0.01))


async def test_a_process_that_cannot_be_signalled_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    real = Process.terminate

    def refuse(self: Process) -> None:
        real(self)
        raise PermissionError("not yours")

    monkeypatch.setattr(Process, "terminate", refuse)

    async def run_and_cancel() -> None:
        async with nursery.open_nursery() as n:
            await start(n, SLEEP)
            n.cancel_scope.cancel()

    with pytest.warns(RuntimeWarning, match="not yours"):
        await run_and_cancel()


async def test_deliver_cancel_decides_how_the_process_is_ended() -> None:
    async def politely(process: Process) -> None:
        process.send_signal(signal.SIGUSR1)

    async with nursery.open_nursery() as n:
        process = await start(n, SLEEP, deliver_cancel=politely)
        n.cancel_scope.cancel()
    assert process.returncode == -signal.SIGUSR1


async def test_deliver_cancel_ends_with_the_process() -> None:
    ended_with: list[int | None] = []

    async def and_wait(process: Process) -> None:
        process.kill()
        try:
            await nursery.sleep_forever()
        finally:
            ended_with.append(process.returncode)

    async with nursery.open_nursery() as n:
        await start(n, SLEEP, deliver_cancel=and_wait)
        n.cancel_scope.cancel()
    assert ended_with == [-signal.SIGKILL]


async def test_a_deliver_cancel_that_fails_does_not_leave_the_process_alive() -> None:
    async def fail(process: Process) -> None:
        raise ValueError("no idea how")

    with pytest.raises(ExceptionGroup) as caught:
        async with nursery.open_nursery() as n:
            process = await start(n, SLEEP, deliver_cancel=fail)
            n.cancel_scope.cancel()
    assert process.returncode == -signal.SIGKILL
    # One group of our nursery, one of the call's.
    assert caught.group_contains(ValueError, match="no idea how", depth=2)


# Ctrl-C


@enable_ki_protection
def interrupt_later() -> None:
    """Raise a Ctrl-C that waits for the main task."""
    signal.raise_signal(signal.SIGINT)


async def wait_for_ever(process: Process) -> None:
    await nursery.sleep_forever()


@pytest.mark.parametrize(
    ("deliver_cancel", "times", "expected"),
    [(None, 1, signal.SIGTERM), (wait_for_ever, 2, signal.SIGKILL), (wait_for_ever, 3, signal.SIGKILL)],
    ids=["the first asks the process to end", "the second ends the grace", "the third changes nothing"],
)
def test_ctrl_c_ends_the_process(
    deliver_cancel: Callable[[Process], Awaitable[object]] | None, times: int, expected: int
) -> None:
    processes: list[Process] = []

    class Report:
        def started(self, value: Process | None = None) -> None:
            assert value is not None
            processes.append(value)

    async def interrupt() -> None:
        for _ in range(times):
            await wait_all_tasks_blocked(0.01)
            interrupt_later()

    async def main() -> None:
        nursery.lowlevel.spawn_system_task(interrupt)
        await run_process(SLEEP, deliver_cancel=deliver_cancel, task_status=Report())

    with pytest.raises(BaseException) as caught:
        nursery.run(main)
    error = caught.value
    assert isinstance(error, KeyboardInterrupt) or (
        isinstance(error, BaseExceptionGroup) and error.subgroup(KeyboardInterrupt)
    )
    assert processes[0].returncode == -expected


# Groups


async def run_family(family: Witness, script: str) -> subprocess.CompletedProcess[bytes]:
    return await run_process(
        ["sh", "-c", script], capture_stdout=True, kill_group=True, pass_fds=[family.fd], check=False
    )


async def test_a_cancelled_call_ends_the_whole_family_if_the_group_is_killed() -> None:
    async with witness() as family:
        with nursery.move_on_after(0.05) as scope:
            await run_family(family, "(trap '' TERM; sleep 100) & sleep 100")
        os.close(family.fd)
        assert scope.cancelled_caught
        await family.all_gone()


async def test_a_call_that_is_over_leaves_nobody_behind_if_the_group_is_killed() -> None:
    # The background process also holds the pipe open: without the group's end the call would wait for it.
    async with witness() as family:
        finished = await run_family(family, "sleep 100 & echo done")
        os.close(family.fd)
        assert finished.stdout == b"done\n"
        await family.all_gone()


async def test_in_the_background_too() -> None:
    async with witness() as family:
        async with nursery.open_nursery() as n:
            process = await start(
                n, ["sh", "-c", "sleep 100 & sleep 100"], kill_group=True, pass_fds=[family.fd]
            )
            os.close(family.fd)
            assert os.getpgid(process.pid) == process.pid
            n.cancel_scope.cancel()
        await family.all_gone()
    assert process.returncode == -signal.SIGTERM
