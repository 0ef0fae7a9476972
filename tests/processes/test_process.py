"""A process that was opened: its end, its streams, the signals sent to it."""

from __future__ import annotations

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator

import pytest

import nursery
from nursery.lowlevel import enable_ki_protection
from nursery.processes import process as process_module
from nursery.processes.ending import EndingByDescriptor, EndingByThread, ending_of
from nursery.processes.opening import open_process
from nursery.processes.process import Process
from nursery.streams.stapled import StapledStream
from nursery.testing import assert_checkpoints, assert_no_checkpoints, wait_all_tasks_blocked

from .conftest import open_descriptors
from .witness import witness

SLEEP = ["sleep", "100"]


@pytest.fixture(params=["descriptor", "thread", "looking"])
def way_of_noticing(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of the ways in which the end of a process is noticed."""
    if request.param == "descriptor" and not hasattr(os, "pidfd_open"):
        pytest.skip("this system has no process descriptors")
    if request.param == "thread":
        monkeypatch.setattr(process_module, "ending_of", EndingByThread)
    elif request.param == "looking":
        monkeypatch.setattr(process_module, "ending_of", lambda pid: None)


on_linux = pytest.mark.skipif(sys.platform != "linux", reason="only on Linux can one set the size of a pipe")
every_way = pytest.mark.usefixtures("way_of_noticing")


@contextlib.asynccontextmanager
async def sleeper() -> AsyncGenerator[Process, None]:
    """Yield a process that sleeps, and end it."""
    process = await open_process(SLEEP)
    try:
        yield process
    finally:
        process.kill()
        with nursery.CancelScope(shield=True):
            await process.wait()


# The end


@every_way
@pytest.mark.parametrize("status", [0, 3])
async def test_wait_returns_the_exit_status(status: int) -> None:
    process = await open_process(["sh", "-c", f"exit {status}"])
    assert await process.wait() == status
    assert process.returncode == status
    assert process.poll() == status
    assert await process.wait() == status


@every_way
async def test_wait_returns_the_negative_of_the_signal_that_ended_it() -> None:
    async with sleeper() as process:
        process.send_signal(signal.SIGUSR1)
        assert await process.wait() == -signal.SIGUSR1


@every_way
async def test_any_number_of_tasks_wait_and_cancelled_ones_do_no_harm() -> None:
    async with sleeper() as process:
        async with nursery.open_nursery() as n:
            for _ in range(3):
                n.start_soon(process.wait)
            await wait_all_tasks_blocked()
            n.cancel_scope.cancel()
        async with nursery.open_nursery() as n:
            for _ in range(3):
                n.start_soon(process.wait)
            await wait_all_tasks_blocked()
            process.kill()


@every_way
async def test_poll_wakes_the_tasks_that_wait() -> None:
    async with sleeper() as process:
        async with nursery.open_nursery() as n:
            n.start_soon(process.wait)
            await wait_all_tasks_blocked()
            process.kill()
            with assert_no_checkpoints():
                os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
                assert process.poll() == -signal.SIGKILL


@every_way
async def test_wait_does_not_wait_for_pipes_that_others_hold_open() -> None:
    async with witness() as family:
        process = await open_process(
            ["sh", "-c", "sleep 100 & echo $!"], stdout=subprocess.PIPE, pass_fds=[family.fd]
        )
        os.close(family.fd)
        assert process.stdout is not None
        async with process.stdout:
            assert await process.wait() == 0
            os.kill(int(await process.stdout.receive_some()), signal.SIGKILL)
        await family.all_gone()


async def test_returncode_is_none_while_it_runs_and_always_the_latest_news() -> None:
    async with sleeper() as process:
        assert process.returncode is None
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert process.returncode == -signal.SIGKILL


async def test_wait_is_a_checkpoint_also_when_it_has_ended() -> None:
    process = await open_process(["true"])
    with assert_checkpoints():
        await process.wait()
    with assert_checkpoints():
        await process.wait()
    with nursery.CancelScope() as scope:
        scope.cancel()
        await process.wait()
    assert scope.cancelled_caught


@every_way
async def test_a_child_that_nobody_can_reap_ends_as_zero() -> None:
    former = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        process = await open_process(SLEEP)
        async with nursery.open_nursery() as n:
            n.start_soon(process.wait)
            await wait_all_tasks_blocked()
            process.kill()
        assert process.returncode == 0
    finally:
        signal.signal(signal.SIGCHLD, former)


@every_way
async def test_a_child_that_somebody_else_reaped_ends_as_zero() -> None:
    process = await open_process(SLEEP)
    async with nursery.open_nursery() as n:
        n.start_soon(process.wait)
        await wait_all_tasks_blocked()
        process.kill()
        os.waitpid(process.pid, 0)
    assert process.returncode == 0


async def test_a_process_that_ended_long_ago_is_noticed() -> None:
    process = await open_process(["true"])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert await process.wait() == 0


@every_way
def test_a_process_may_outlive_the_run_that_opened_it() -> None:
    async def begin() -> Process:
        process = await open_process(SLEEP)
        with nursery.move_on_after(0.001):
            await process.wait()
        return process

    async def end(process: Process) -> int:
        async with nursery.open_nursery() as n:
            n.start_soon(process.wait)
            await wait_all_tasks_blocked()
            process.terminate()
        return await process.wait()

    assert nursery.run(end, nursery.run(begin)) == -signal.SIGTERM


def test_a_process_may_be_reaped_outside_any_run() -> None:
    process = nursery.run(open_process, ["true"])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert process.poll() == 0


async def test_a_forgotten_process_is_a_resource_warning() -> None:
    process = await open_process(SLEEP)
    pid = process.pid
    with pytest.warns(ResourceWarning, match=f"subprocess {pid} is still running"):
        del process
    os.kill(pid, signal.SIGKILL)
    # The standard library reaps it when it makes the next process; this does without.
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)
    subprocess._cleanup()  # type: ignore[attr-defined]  # so that it does not try later, and finds another process


async def test_one_thread_waits_however_often_the_wait_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[str | None] = []
    real = nursery.lowlevel.start_thread_soon

    def start(fn: object, deliver: object, name: str | None = None) -> None:
        started.append(name)
        real(fn, deliver, name)  # type: ignore[arg-type]  # passed on as they came

    monkeypatch.setattr(process_module, "ending_of", EndingByThread)
    monkeypatch.setattr("nursery.processes.ending.start_thread_soon", start)
    async with sleeper() as process:
        for _ in range(5):
            with nursery.move_on_after(0.001):
                await process.wait()
    assert started == [f"waiting for process {process.pid}"]


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="this system has no process descriptors")
async def test_where_the_system_refuses_a_process_descriptor_a_thread_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(pid: int, flags: int) -> int:
        raise OSError("no process descriptors here")

    assert isinstance(ending_of(os.getpid()), EndingByDescriptor)
    monkeypatch.setattr(os, "pidfd_open", refuse)
    assert isinstance(ending_of(os.getpid()), EndingByThread)


async def test_a_system_that_can_neither_has_its_children_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "pidfd_open", raising=False)
    monkeypatch.delattr(os, "waitid")
    assert ending_of(os.getpid()) is None


# Streams


async def test_the_three_streams_are_connected() -> None:
    process = await open_process(
        ["sh", "-c", "read line; echo out $line; echo err $line >&2"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    async with process.stdin, process.stdout, process.stderr:
        await process.stdin.send_all(b"hello\n")
        assert await process.stdout.receive_some() == b"out hello\n"
        assert await process.stderr.receive_some() == b"err hello\n"
        assert await process.wait() == 0
        assert await process.stdout.receive_some() == b""
        assert await process.stderr.receive_some() == b""


async def test_stdio_is_the_input_and_the_output_as_one_stream() -> None:
    process = await open_process(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert isinstance(process.stdio, StapledStream)
    async with process.stdio:
        await process.stdio.send_all(b"round trip")
        assert await process.stdio.receive_some() == b"round trip"
        await process.stdio.send_eof()
        assert await process.stdio.receive_some() == b""
    assert await process.wait() == 0


async def test_streams_that_were_not_asked_for_are_none() -> None:
    process = await open_process(["true"], stdout=subprocess.DEVNULL)
    assert [process.stdin, process.stdout, process.stderr, process.stdio] == [None] * 4
    await process.wait()


async def test_stderr_may_go_where_stdout_goes() -> None:
    process = await open_process(
        ["sh", "-c", "echo one; echo two >&2"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert process.stderr is None
    assert process.stdout is not None
    async with process.stdout:
        assert b"".join([bytes(piece) async for piece in process.stdout]) == b"one\ntwo\n"
    await process.wait()


async def test_stderr_may_go_where_an_inherited_stdout_goes(capfd: pytest.CaptureFixture[str]) -> None:
    process = await open_process(["sh", "-c", "echo two >&2"], stderr=subprocess.STDOUT)
    await process.wait()
    assert capfd.readouterr() == ("two\n", "")


async def test_a_standard_stream_may_be_an_open_file(tmp_path: pathlib.Path) -> None:
    (tmp_path / "in").write_text("content")
    with open(tmp_path / "in") as source, open(tmp_path / "out", "wb") as target:
        process = await open_process(["cat"], stdin=source, stdout=target.fileno())
        assert await process.wait() == 0
    assert (tmp_path / "out").read_text() == "content"


@on_linux
async def test_pipesize_is_the_size_of_the_pipes() -> None:
    import fcntl

    process = await open_process(["true"], stdout=subprocess.PIPE, pipesize=4096)
    assert process.stdout is not None
    async with process.stdout as stream:
        assert fcntl.fcntl(stream.fileno(), fcntl.F_GETPIPE_SZ) == 4096  # type: ignore[attr-defined]  # an FdStream
    await process.wait()


# Signals


@pytest.mark.parametrize(
    ("method", "expected"), [("terminate", signal.SIGTERM), ("kill", signal.SIGKILL)], ids=["terminate", "kill"]
)
@every_way
async def test_signals_reach_the_process(method: str, expected: int) -> None:
    async with sleeper() as process:
        getattr(process, method)()
        assert await process.wait() == -expected


@every_way
@pytest.mark.parametrize("kill_group", [False, True])
async def test_no_signal_is_sent_after_the_reaping(monkeypatch: pytest.MonkeyPatch, kill_group: bool) -> None:
    process = await open_process(["true"], kill_group=kill_group)
    await process.wait()

    def send(*args: object) -> None:
        pytest.fail(f"a signal was sent to whoever has the number now: {args}")

    for module, name in ((os, "kill"), (os, "killpg"), (signal, "pidfd_send_signal")):
        monkeypatch.setattr(module, name, send, raising=False)
    process.terminate()
    process.kill()
    process.send_signal(signal.SIGUSR1)


@every_way
@pytest.mark.parametrize("kill_group", [False, True])
async def test_a_signal_to_a_process_that_somebody_else_reaped_goes_nowhere(kill_group: bool) -> None:
    process = await open_process(["true"], kill_group=kill_group)
    os.waitpid(process.pid, 0)
    process.terminate()
    assert process.returncode == 0


async def test_a_signal_that_does_not_exist_is_an_error() -> None:
    async with sleeper() as process:
        with pytest.raises((OSError, ValueError)):
            process.send_signal(12345)


# Looking at it


async def test_its_repr_says_how_it_is() -> None:
    async with sleeper() as process:
        assert repr(process) == f"<nursery.Process {SLEEP!r}: running with PID {process.pid}>"
    assert repr(process) == f"<nursery.Process {SLEEP!r}: exited with signal 9>"
    process = await open_process(["false"])
    await process.wait()
    assert repr(process) == "<nursery.Process ['false']: exited with status 1>"


async def test_it_tells_what_popen_tells() -> None:
    process = await open_process(["true", "argument"])
    assert process.args == ["true", "argument"]
    assert process.pid > 0
    assert process.universal_newlines is False
    assert process.encoding is None
    assert process.errors is None
    await process.wait()


def test_a_process_has_no_public_constructor() -> None:
    with pytest.raises(TypeError, match="no public constructor"):
        Process()


# Opening


async def test_a_shell_takes_a_line() -> None:
    for command in ("exit 3", b"exit 4"):
        process = await open_process(command, shell=True)
        assert await process.wait() == int(command[-1:])


async def test_a_program_may_be_a_path() -> None:
    true = pathlib.Path("/bin/true")
    for command in (true, [true]):
        process = await open_process(command)
        assert await process.wait() == 0


@pytest.mark.parametrize("command", ["ls -l", b"ls -l"])
async def test_a_line_without_a_shell_is_an_error(command: str | bytes) -> None:
    with pytest.raises(TypeError, match="must be a sequence"):
        await open_process(command)


async def test_a_list_for_a_shell_is_an_error() -> None:
    with pytest.raises(TypeError, match="must be a string or bytes"):
        await open_process(["ls"], shell=True)


@pytest.mark.parametrize("option", ["universal_newlines", "text", "encoding", "errors", "bufsize"])
async def test_options_about_text_are_errors(option: str) -> None:
    options = {option: 1}
    with pytest.raises(TypeError, match=f"unbuffered byte streams; the '{option}' option is not supported"):
        await open_process(["true"], **options)  # type: ignore[arg-type]  # the mistake under test


PIPES = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}


@pytest.mark.parametrize(
    ("command", "options", "error"),
    [
        (["/no/such/program"], {}, FileNotFoundError),
        (["/"], {}, PermissionError),
        (["true"], {"cwd": "/no/such/folder"}, FileNotFoundError),
        (["true"], {"no_such_option": 1}, TypeError),
        (["true", 7], {}, TypeError),
        (["nul\0byte"], {}, ValueError),
        ([], {}, (IndexError, ValueError)),
        (["true"], {"env": {"a=b": "c"}}, ValueError),
        (["true"], {"preexec_fn": lambda: 1 / 0}, subprocess.SubprocessError),
        (["true"], {"stderr": "a string"}, AttributeError),
        (["true"], {"stderr": 54321}, OSError),
        (["true"], {"user": "no such user"}, (KeyError, ValueError)),
        pytest.param(["true"], {"pipesize": 2**31 - 1}, OSError, marks=on_linux),
    ],
    ids=str,
)
async def test_what_cannot_be_started_raises_and_leaves_nothing(
    command: list[str], options: dict[str, object], error: type[Exception]
) -> None:
    # The fixture of this folder looks for zombies, and for descriptors; here it is seen that those are closed while
    # the error, and all that hangs on it, is still alive.
    before = open_descriptors()
    with pytest.raises(error) as caught:
        await open_process(command, **{**PIPES, **options})  # type: ignore[arg-type]  # the mistakes under test
    assert open_descriptors() == before
    del caught


async def test_descriptors_that_run_out_half_way_are_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.pipe
    made: list[tuple[int, int]] = []

    def pipe() -> tuple[int, int]:
        if len(made) == 2:
            raise OSError("no descriptors left")
        made.append(real())
        return made[-1]

    monkeypatch.setattr(os, "pipe", pipe)
    with pytest.raises(OSError, match="no descriptors left"):
        await open_process(["true"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


async def test_a_cancelled_open_has_started_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(*args: object, **options: object) -> None:
        pytest.fail("the process was started all the same")

    monkeypatch.setattr(subprocess, "Popen", start)
    with nursery.CancelScope() as scope:
        scope.cancel()
        await open_process(["true"])
    assert scope.cancelled_caught


async def test_opening_is_a_checkpoint() -> None:
    with assert_checkpoints():
        process = await open_process(["true"])
    await process.wait()


def test_a_ctrl_c_while_a_process_is_made_does_not_lose_it(monkeypatch: pytest.MonkeyPatch) -> None:
    real = subprocess.Popen
    process: Process | None = None

    def interrupted(*args: object, **options: object) -> object:
        popen = real(*args, **options)  # type: ignore[call-overload]  # passed on as they came
        signal.raise_signal(signal.SIGINT)
        return popen

    async def main() -> None:
        nonlocal process
        process = await open_process(SLEEP)
        await nursery.sleep_forever()

    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "Popen", interrupted)
        with pytest.raises(KeyboardInterrupt):
            nursery.run(main)
    assert process is not None
    process.kill()
    assert nursery.run(process.wait) == -signal.SIGKILL


# Groups


FAMILY = ["sh", "-c", "(trap '' TERM; echo child; sleep 100) & echo parent; wait"]


@every_way
@pytest.mark.parametrize("method", ["kill", "terminate"])
async def test_what_a_process_has_started_dies_with_it_if_its_group_is_killed(method: str) -> None:
    async with witness() as family:
        process = await open_process(FAMILY, kill_group=True, stdout=family.fd)
        os.close(family.fd)
        said = b""
        while said.count(b"\n") < 2:
            said += await family.says()
        getattr(process, method)()
        assert await process.wait() < 0
        await family.all_gone()


@every_way
async def test_what_a_process_leaves_behind_is_killed_if_its_group_is_killed() -> None:
    async with witness() as family:
        process = await open_process(["sh", "-c", "sleep 100 &"], kill_group=True, pass_fds=[family.fd])
        os.close(family.fd)
        assert await process.wait() == 0
        await family.all_gone()


async def test_without_its_group_only_the_process_itself_is_signalled() -> None:
    async with witness() as family:
        process = await open_process(["sh", "-c", "sleep 100 & echo $!; wait"], stdout=family.fd)
        os.close(family.fd)
        child = int(await family.says())
        process.kill()
        await process.wait()
        os.kill(child, 0)
        os.kill(child, signal.SIGKILL)
        await family.all_gone()


async def test_the_head_of_a_session_is_the_head_of_its_group() -> None:
    async with witness() as family:
        process = await open_process(
            ["sh", "-c", "sleep 100 & echo $!; wait"], kill_group=True, start_new_session=True, stdout=family.fd
        )
        os.close(family.fd)
        await family.says()
        assert os.getsid(process.pid) == process.pid
        process.kill()
        await process.wait()
        await family.all_gone()


async def test_killing_the_group_of_others_is_an_error() -> None:
    with pytest.raises(ValueError, match="cannot join the group 12345"):
        await open_process(["true"], kill_group=True, process_group=12345)


async def test_a_system_without_the_means_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nursery.processes.opening.CAN_KILL_GROUPS", False)
    with pytest.raises(NotImplementedError, match="kill_group=True needs"):
        await open_process(["true"], kill_group=True)


async def test_a_group_is_left_alone_if_only_its_number_is_asked_for() -> None:
    process = await open_process(SLEEP, process_group=0)
    assert os.getpgid(process.pid) == process.pid
    process.kill()
    await process.wait()


@enable_ki_protection
def interrupt_later() -> None:
    """Raise a Ctrl-C that waits for the main task."""
    signal.raise_signal(signal.SIGINT)


def test_a_ctrl_c_while_waiting_leaves_the_process_to_be_waited_for_again() -> None:
    async def main() -> None:
        async with sleeper() as process:
            async with nursery.open_nursery() as n:

                async def interrupt() -> None:
                    await wait_all_tasks_blocked()
                    interrupt_later()

                n.start_soon(interrupt)
                await process.wait()

    with pytest.raises(BaseExceptionGroup) as caught:
        nursery.run(main)
    assert caught.value.subgroup(KeyboardInterrupt)
