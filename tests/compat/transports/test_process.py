"""Process transports; what asyncio's own loop does with the same program is the measure where it is right."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from typing import Any

import pytest

import nursery
from nursery import compat
from nursery.processes import process as process_module
from nursery.processes.ending import EndingByThread
from tests.processes.conftest import nothing_is_left  # noqa: F401  # every test here is checked for descriptors

from .children import SLEEP, Witness, start, start_shell
from .pipe_ends import on_both_loops, on_ours, polls, turns

PIPE = subprocess.PIPE


@pytest.fixture(params=["descriptor", "thread", "looking"])
def way_of_noticing(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of the ways in which the end of a process is noticed."""
    if request.param == "descriptor" and not hasattr(os, "pidfd_open"):
        pytest.skip("this system has no process descriptors")
    if request.param == "thread":
        monkeypatch.setattr(process_module, "ending_of", EndingByThread)
    elif request.param == "looking":
        monkeypatch.setattr(process_module, "ending_of", lambda pid: None)


every_way = pytest.mark.usefixtures("way_of_noticing")


# The order of events


@every_way
def test_what_the_process_wrote_comes_before_its_end_and_the_end_of_the_transport_last() -> None:
    async def main() -> None:
        for _ in range(5):
            witness = await start_shell("echo out; echo err >&2; exit 3", 0, 1, 2)
            await witness.lost
            witness.transport.close()
            assert witness.data == {1: b"out\n", 2: b"err\n"}
            assert witness.exited.result() == 3
            assert witness.events[0] == "made"
            assert witness.events[-2:] == ["exited", "lost"]
            assert sorted(witness.events[1:-2]) == ["data 1", "data 2", "pipe lost 0", "pipe lost 1", "pipe lost 2"]
            for fd in (1, 2):
                assert witness.events.index(f"data {fd}") < witness.events.index(f"pipe lost {fd}")

    on_ours(main)


def test_a_full_pipe_is_read_before_the_end_of_the_process_is_told() -> None:
    async def main() -> None:
        witness = await start_shell("head -c 60000 /dev/zero", 1)
        witness.transport.get_pipe_transport(1).pause_reading()
        os.waitid(os.P_PID, witness.transport.get_pid(), os.WEXITED | os.WNOWAIT)
        witness.transport.get_pipe_transport(1).resume_reading()
        await witness.lost
        witness.transport.close()
        assert len(witness.data[1]) == 60000
        assert witness.events[-3:] == ["pipe lost 1", "exited", "lost"]

    on_ours(main)


def test_a_pipe_that_another_process_holds_open_outlasts_the_process() -> None:
    async def main() -> list[str]:
        # The background process waits for the end of its input, so the test says when it ends.
        read, write = os.pipe()
        witness = await start_shell("exec 3<&0; (cat <&3 >/dev/null; echo late) & exit 3", 1, stdin=read)
        os.close(read)
        assert await witness.exited == 3
        await polls()
        assert witness.events == ["made", "exited"]
        assert witness.transport.get_returncode() == 3
        assert not witness.transport.is_closing()
        os.close(write)
        await witness.lost
        witness.transport.close()
        return witness.events

    assert on_both_loops(main) == ["made", "exited", "data 1", "pipe lost 1", "lost"]


def test_the_end_is_waited_for_without_the_pipes() -> None:
    async def main() -> None:
        read, write = os.pipe()
        witness = await start_shell("exec 3<&0; cat <&3 & exit 3", 1, stdin=read)
        os.close(read)
        assert await asyncio.gather(*[witness.transport._wait() for _ in range(3)]) == [3, 3, 3]
        assert await witness.transport._wait() == 3
        os.close(write)
        await witness.lost

    on_ours(main)


def test_a_paused_pipe_delivers_after_the_end_of_the_process() -> None:
    async def main() -> list[str]:
        witness = await start_shell("read line; echo out", 0, 1)
        witness.transport.get_pipe_transport(1).pause_reading()
        witness.transport.get_pipe_transport(0).write(b"\n")
        assert await witness.exited == 0
        await witness.pipe_lost[0]
        await polls()
        assert sorted(witness.events) == ["exited", "made", "pipe lost 0"]
        witness.transport.get_pipe_transport(1).resume_reading()
        await witness.lost
        witness.transport.close()
        return witness.events[3:]

    assert on_both_loops(main) == ["data 1", "pipe lost 1", "lost"]


def test_a_process_without_pipes_ends_too() -> None:
    async def main() -> list[str]:
        witness = await start("true")
        assert [witness.transport.get_pipe_transport(fd) for fd in (0, 1, 2, 3)] == [None] * 4
        await witness.lost
        witness.transport.close()
        return witness.events

    assert on_both_loops(main) == ["made", "exited", "lost"]


def test_a_pipe_that_we_close_is_lost_and_the_process_goes_on() -> None:
    async def main() -> list[str]:
        witness = await start("cat", stdin=PIPE, stdout=PIPE)
        witness.transport.get_pipe_transport(1).close()
        assert await witness.pipe_lost[1] is None
        assert not witness.exited.done()
        # It writes to nobody: SIGPIPE.
        witness.transport.get_pipe_transport(0).write(b"spam")
        assert await witness.exited == -signal.SIGPIPE
        await witness.lost
        witness.transport.close()
        return sorted(witness.events)

    on_both_loops(main)


def test_a_process_that_does_not_read_its_input_is_noticed() -> None:
    async def main() -> list[str]:
        witness = await start_shell("read line; exec <&-; kill -STOP $$", 0)
        transport = witness.transport
        transport.get_pipe_transport(0).write(b"\n" + b"x" * 1_000_000)
        assert isinstance(await witness.pipe_lost[0], BrokenPipeError)
        transport.kill()
        await witness.lost
        transport.close()
        return witness.events

    on_both_loops(main)


def test_a_slow_reader_pauses_the_protocol() -> None:
    async def main() -> list[str]:
        witness = await start("cat", stdin=PIPE, stdout=PIPE)
        stdin = witness.transport.get_pipe_transport(0)
        witness.transport.get_pipe_transport(1).pause_reading()
        stdin.write(b"x" * 1_000_000)
        witness.transport.get_pipe_transport(1).resume_reading()
        await witness.resumed.wait()
        stdin.write_eof()
        await witness.lost
        witness.transport.close()
        assert len(witness.data[1]) == 1_000_000
        return [event for event in witness.events if event in ("pause", "resume")]

    assert on_both_loops(main) == ["pause", "resume"]


# What a protocol raises


@pytest.mark.parametrize("method", ["pipe_data_received", "pipe_connection_lost", "process_exited", "connection_lost"])
def test_a_protocol_that_fails_is_reported_and_the_rest_goes_on(method: str) -> None:
    async def main() -> list[str]:
        loop = asyncio.get_running_loop()
        reports: list[str] = []
        loop.set_exception_handler(lambda loop, context: reports.append(str(context["exception"])))

        def fail(self: Witness, *args: Any) -> None:
            getattr(super(Failing, self), method)(*args)
            raise ValueError(method)

        Failing = type("Failing", (Witness,), {method: fail})
        transport, witness = await loop.subprocess_exec(Failing, "echo", "out", stdin=None, stderr=None)
        await witness.lost
        await turns()
        transport.close()
        return [*reports, *sorted(witness.events)]

    on_both_loops(main)


# Signals


@every_way
@pytest.mark.parametrize(
    ("send", "code"),
    [
        (lambda transport: transport.kill(), -signal.SIGKILL),
        (lambda transport: transport.terminate(), -signal.SIGTERM),
        (lambda transport: transport.send_signal(signal.SIGUSR1), -signal.SIGUSR1),
    ],
)
def test_a_signal_ends_the_process(send: Callable[[Any], None], code: int) -> None:
    async def main() -> list[int]:
        witness = await start(*SLEEP)
        assert witness.transport.get_returncode() is None
        send(witness.transport)
        await witness.lost
        witness.transport.close()
        return [witness.exited.result(), witness.transport.get_returncode()]

    assert on_both_loops(main) == [code, code]


def test_a_signal_to_a_process_that_has_ended_is_an_error() -> None:
    async def main() -> list[str]:
        witness = await start("true")
        await witness.lost
        await turns()
        found = []
        for send in (witness.transport.kill, witness.transport.terminate, lambda: witness.transport.send_signal(0)):
            with pytest.raises(ProcessLookupError) as info:
                send()
            found.append(type(info.value).__name__)
        witness.transport.close()
        return found

    on_both_loops(main)


@every_way
def test_no_signal_is_sent_after_the_reaping(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[object] = []

    async def main() -> None:
        witness = await start("true")
        pid = witness.transport.get_pid()
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        with monkeypatch.context() as patch:
            patch.setattr(os, "kill", lambda *args: sent.append(args))
            patch.setattr(signal, "pidfd_send_signal", lambda *args: sent.append(args), raising=False)
            # Not told yet: nothing happens.  The number is given back to the system by this.
            witness.transport.kill()
            witness.transport.terminate()
            assert witness.transport.get_returncode() is None
            assert await witness.exited == 0
            for _ in range(3):
                with pytest.raises(ProcessLookupError, match=f"process {pid} has ended with return code 0"):
                    witness.transport.kill()
                await turns(1)
            witness.transport.close()
        assert sent == []
        await witness.lost

    on_ours(main)


def test_a_process_that_somebody_else_reaped_gets_no_signal_and_its_code_is_unknown(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    sent: list[object] = []

    async def main() -> list[object]:
        witness = await start("true")
        os.waitpid(witness.transport.get_pid(), 0)
        with monkeypatch.context() as patch:
            patch.setattr(os, "kill", lambda *args: sent.append(args))
            code = await witness.transport._wait()
        await witness.lost
        witness.transport.close()
        messages = [record.getMessage() for record in caplog.records]
        caplog.clear()
        return [code, *sent, len(messages), "exit status already read" in messages[0].lower()]

    assert on_ours(main) == [255, 1, True]


def test_a_process_that_ends_while_sigchld_is_ignored_has_an_unknown_code(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> int:
        before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        try:
            witness = await start("true")
            code = await witness.exited
        finally:
            signal.signal(signal.SIGCHLD, before)
        await witness.lost
        witness.transport.close()
        return code

    assert on_ours(main) == 255
    assert "exit status already read" in caplog.text


def test_a_process_that_the_caller_reaped_by_its_popen_keeps_its_code() -> None:
    async def main() -> int:
        witness = await start_shell("exit 3")
        popen = witness.transport.get_extra_info("subprocess")
        assert isinstance(popen, subprocess.Popen)
        assert popen.pid == witness.transport.get_pid()
        assert popen.wait() == 3
        assert witness.transport.get_returncode() is None
        code = await witness.exited
        await witness.lost
        witness.transport.close()
        return code

    assert on_ours(main) == 3


def test_the_child_in_its_group_is_signalled_alone() -> None:
    async def main() -> None:
        witness = await start_shell("sleep 100 & echo $!; wait", 1, start_new_session=True)
        while not witness.data[1]:
            await asyncio.sleep(0)
        other = int(witness.data[1])
        witness.transport.kill()
        assert await witness.exited == -signal.SIGKILL
        os.kill(other, 0)
        os.kill(other, signal.SIGKILL)
        await witness.lost
        witness.transport.close()

    on_ours(main)


# Closing


@every_way
def test_close_kills_and_reaps() -> None:
    async def main() -> list[str]:
        witness = await start(*SLEEP, stdin=PIPE, stdout=PIPE, stderr=PIPE)
        transport = witness.transport
        assert not transport.is_closing()
        transport.close()
        transport.close()
        assert transport.is_closing()
        assert await witness.exited == -signal.SIGKILL
        assert await witness.lost is None
        with pytest.raises(ChildProcessError):
            os.waitpid(transport.get_pid(), 0)
        assert witness.events[-1] == "lost"
        return sorted(witness.events)

    assert on_both_loops(main) == ["exited", "lost", "made", "pipe lost 0", "pipe lost 1", "pipe lost 2"]


def test_close_drops_what_a_killed_process_has_not_read() -> None:
    async def main() -> None:
        read, write = os.pipe()
        # A process in the background holds the input open and reads something else.
        line = f"exec 4<&0 3</dev/fd/{read}; cat <&3 >/dev/null & echo ready; exec sleep 100"
        witness = await start_shell(line, 0, 1, pass_fds=[read])
        os.close(read)
        await witness.has(1, b"ready\n")
        witness.transport.get_pipe_transport(0).write(b"x" * 1_000_000)
        witness.transport.close()
        assert await witness.lost is None
        os.close(write)

    on_ours(main)


def test_close_does_not_kill_what_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> list[int]:
        witness = await start_shell("exit 3")
        popen = witness.transport.get_extra_info("subprocess")
        os.waitid(os.P_PID, popen.pid, os.WEXITED | os.WNOWAIT)
        monkeypatch.setattr(popen, "kill", lambda: pytest.fail("killed"))
        witness.transport.close()
        await witness.lost
        return [witness.exited.result()]

    assert on_ours(main) == [3]


def test_close_survives_a_process_that_may_not_be_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise PermissionError(1, "Operation not permitted")

    async def main() -> None:
        witness = await start(*SLEEP)
        monkeypatch.setattr(witness.transport.get_extra_info("subprocess"), "kill", refuse)
        witness.transport.close()
        await polls()
        assert witness.events == ["made"]
        os.kill(witness.transport.get_pid(), signal.SIGKILL)
        await witness.lost
        assert witness.events == ["made", "exited", "lost"]

    on_ours(main)


def test_a_transport_that_ended_by_itself_is_closed() -> None:
    async def main() -> None:
        witness = await start("true")
        await witness.lost
        assert witness.transport.is_closing()
        witness.transport.close()
        assert witness.events == ["made", "exited", "lost"]

    on_ours(main)


def test_a_transport_that_outlives_its_loop_warns_kills_and_reaps() -> None:
    loop = compat.new_event_loop()
    witness = loop.run_until_complete(start(*SLEEP, stdin=PIPE, stdout=PIPE))
    pid = witness.transport.get_pid()
    loop.close()
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        del loop, witness
        gc.collect()
    messages = [str(each.message) for each in warned]
    assert [message[:41] for message in messages if "transport" in message] == [
        "unclosed transport <ProcessTransport pid="
    ]
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_transport_can_be_closed_after_its_loop() -> None:
    loop = compat.new_event_loop()
    witness = loop.run_until_complete(start(*SLEEP, stdin=PIPE, stdout=PIPE))
    loop.close()
    witness.transport.get_pipe_transport(0).write(b"spam")
    witness.transport.close()
    witness.transport.close()
    with pytest.raises(ProcessLookupError):
        os.kill(witness.transport.get_pid(), 0)
    assert witness.events == ["made"]
    # What the program holds itself is closed for good.
    assert repr(witness.transport.get_pipe_transport(1)).startswith("<ReadPipeTransport closed ")


def test_a_process_can_be_killed_after_its_loop() -> None:
    loop = compat.new_event_loop()
    witness = loop.run_until_complete(start(*SLEEP))
    loop.close()
    witness.transport.kill()
    assert witness.transport.get_extra_info("subprocess").wait() == -signal.SIGKILL
    witness.transport.close()


def test_an_unclosed_transport_of_a_running_loop_lives_as_long_as_its_process() -> None:
    async def main() -> None:
        witness = await start_shell("read line; exit 3", 0)
        exited, stdin = witness.exited, witness.transport.get_pipe_transport(0)
        del witness
        gc.collect()
        stdin.write(b"\n")
        del stdin
        assert await exited == 3
        await turns()

    on_ours(main)


def test_a_transport_that_ended_is_no_garbage() -> None:
    async def main() -> None:
        import weakref

        witness = await start_shell("cat; echo err >&2", 0, 1, 2)
        witness.transport.get_pipe_transport(0).close()
        await witness.lost
        await turns()
        gone = weakref.ref(witness.transport)
        del witness
        assert gone() is None

    gc.disable()
    try:
        on_ours(main)
    finally:
        gc.enable()


# The surroundings


def test_the_watching_is_no_task_of_asyncio() -> None:
    async def main() -> list[int]:
        witness = await start(*SLEEP)
        count = len(asyncio.all_tasks())
        witness.transport.close()
        await witness.lost
        return [count]

    # This one, and that of wait_for before 3.12.
    on_both_loops(main)


def test_a_program_that_is_cancelled_at_its_end_can_still_wait_for_its_children() -> None:
    codes: list[int] = []

    async def tend() -> None:
        process = await asyncio.create_subprocess_exec(*SLEEP)
        try:
            await asyncio.sleep(100)
        finally:
            process.kill()
            codes.append(await process.wait())

    async def main() -> None:
        task = asyncio.create_task(tend())
        await polls(10)
        assert not task.done()

    compat.run(main())
    assert codes == [-signal.SIGKILL]


def test_children_are_started_and_awaited_in_any_thread() -> None:
    codes: list[int] = []

    async def main() -> int:
        witness = await start_shell("exit 3", 1)
        await witness.lost
        witness.transport.close()
        return witness.exited.result()

    threads = [threading.Thread(target=lambda: codes.append(compat.run(main()))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes == [3, 3, 3]


def test_a_loop_that_pauses_learns_of_the_end_when_it_goes_on() -> None:
    loop = compat.new_event_loop()
    witness = loop.run_until_complete(start_shell("exit 3", 1))
    os.waitid(os.P_PID, witness.transport.get_pid(), os.WEXITED | os.WNOWAIT)
    assert not witness.exited.done()
    loop.run_until_complete(witness.lost)
    assert witness.exited.result() == 3
    loop.close()


def test_callbacks_run_in_the_context_of_the_call() -> None:
    async def main() -> list[str]:
        import contextvars

        var = contextvars.ContextVar("var", default="lost")
        found: list[str] = []

        class Looking(Witness):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                super().connection_made(transport)
                found.append(var.get())

            def pipe_data_received(self, fd: int, data: bytes) -> None:
                found.append(var.get())

            def process_exited(self) -> None:
                super().process_exited()
                found.append(var.get())

            def connection_lost(self, exc: BaseException | None) -> None:
                super().connection_lost(exc)
                found.append(var.get())

        var.set("found")
        transport, witness = await asyncio.get_running_loop().subprocess_exec(Looking, "echo", "x", stdin=None)
        var.set("changed")
        await witness.lost
        transport.close()
        return found

    # Before 3.12 asyncio tells of the end in a thread's context.
    assert on_ours(main) == ["found"] * 4


# Looks


def test_the_repr_tells_what_goes_on() -> None:
    async def main() -> None:
        witness = await start("cat", stdin=PIPE, stdout=PIPE)
        transport = witness.transport
        pid = transport.get_pid()
        text = repr(transport)
        assert text.startswith(f"<ProcessTransport pid={pid} running stdin=<WritePipeTransport open ")
        assert " stdout=<ReadPipeTransport open " in text
        transport.close()
        assert repr(transport).startswith(f"<ProcessTransport closed pid={pid} running ")
        await witness.lost
        assert f" pid={pid} returncode=-9 " in repr(transport)

    on_ours(main)


def test_another_protocol_can_take_over() -> None:
    async def main() -> list[str]:
        first = await start_shell("read line; echo out", 0, 1)
        second = Witness()
        second.transport = first.transport
        first.transport.set_protocol(second)
        assert first.transport.get_protocol() is second
        first.transport.get_pipe_transport(0).write(b"\n")
        await second.lost
        first.transport.close()
        return [*first.events, "then", *sorted(second.events)]

    on_both_loops(main)


def test_debug_mode_logs_the_life_of_a_process(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> list[str]:
        asyncio.get_running_loop().set_debug(True)
        caplog.set_level(logging.DEBUG, "asyncio")
        witness = await start(*SLEEP, stdout=PIPE, stderr=subprocess.STDOUT)
        witness.transport.close()
        await witness.lost
        messages = [record.getMessage() for record in caplog.records]
        words = (
            "execute program 'sleep' stdout=stderr=<pipe>",
            "created: pid",
            "Close running child process: kill",
            "exited with return code -9",
        )
        found = [word for word in words if any(word in message for message in messages)]
        assert not any("100" in message for message in messages)
        caplog.clear()
        return found

    assert len(on_both_loops(main)) == 4


def test_a_native_scope_that_is_cancelled_interrupts_the_wait_and_leaves_the_process_alone() -> None:
    async def main() -> None:
        process = await asyncio.create_subprocess_exec(*SLEEP)
        with nursery.move_on_after(0.002) as scope:
            await process.wait()
        assert scope.cancelled_caught
        assert process.returncode is None
        process.terminate()
        assert await process.wait() == -signal.SIGTERM

    on_ours(main)


@pytest.mark.skipif(sys.platform != "linux", reason="counts threads by process descriptors")
def test_no_thread_is_made() -> None:
    async def main() -> None:
        before = threading.active_count()
        witnesses = [await start(*SLEEP) for _ in range(5)]
        await polls()
        assert threading.active_count() == before
        for witness in witnesses:
            witness.transport.close()
            await witness.lost

    on_ours(main)
