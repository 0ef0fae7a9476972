"""A process as a function call: it is over when the call is over, whatever happens.

Invariant: from the moment in which the process exists, there is no way out of `run_process` but past its end.  Only
SIGKILL is certain to bring that about, so it is where every road leads on which somebody is impatient.
"""

from __future__ import annotations

import subprocess
import warnings
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, Unpack

from ..kernel.errors import BrokenResourceError
from ..kernel.interrupts import enable_ki_protection
from ..kernel.io.interest import HasFileno
from ..kernel.nursery import TASK_STATUS_IGNORED, TaskStatus, open_nursery
from ..kernel.scope import CancelScope
from ..streams.abstract import ReceiveStream, SendStream
from ..timeouts import sleep
from .opening import ProcessOptions, open_process
from .process import Command, Process

# How long a process that was asked to end may take over it.
SECONDS_OF_GRACE: Final = 5.0


async def terminate_then_kill(process: Process) -> None:
    """End a process as `run_process` does by default: SIGTERM, five seconds, SIGKILL."""
    try:
        process.terminate()
        await sleep(SECONDS_OF_GRACE)
        warnings.warn(
            RuntimeWarning(
                f"process {process!r} ignored SIGTERM for {SECONDS_OF_GRACE:g} seconds, so it gets SIGKILL now; if it "
                "needs more time, pass a deliver_cancel of your own"
            ),
            stacklevel=1,
        )
        process.kill()
    except OSError as exc:
        # It belongs to another user by now, for instance.  There is nobody to raise this to: the call is cancelled.
        warnings.warn(RuntimeWarning(f"tried to kill process {process!r}, but failed with: {exc!r}"), stacklevel=1)


# Protected: between the start of the process and its supervision a Ctrl-C would leave it alone in the world.
@enable_ki_protection
async def run_process(
    command: Command,
    *,
    stdin: bytes | bytearray | memoryview | int | HasFileno | None = b"",
    capture_stdout: bool = False,
    capture_stderr: bool = False,
    check: bool = True,
    deliver_cancel: Callable[[Process], Awaitable[object]] | None = None,
    task_status: TaskStatus[Process] = TASK_STATUS_IGNORED,
    shell: bool = False,
    **options: Unpack[ProcessOptions],
) -> subprocess.CompletedProcess[bytes]:
    """Run a process to its end and return how it ended; if started with `nursery.start`, give the Process at once.

    Arguments: command is the program and its arguments, or, with shell=True, a line for the shell.  stdin is what the
    process reads: bytes, or what `lowlevel.open_process` takes; nothing by default.  capture_stdout and capture_stderr
    keep what it writes, to be returned.  check=False returns also for an exit status that is not 0.
    deliver_cancel(process) is called when the call is cancelled, to make the process end; by default it gets SIGTERM,
    five seconds of grace, and SIGKILL.  The call ends with the process, and ends deliver_cancel with it; if
    deliver_cancel raises, and at a Ctrl-C during the grace, the process is killed.

    The other options are those of `lowlevel.open_process`.  With kill_group=True no process that this one has started
    lives on, unless it has left the process group; without it, what was captured is complete only when each process
    that inherited the pipe has closed it, and the call waits for that.

    Returns a `subprocess.CompletedProcess`.  Raises `subprocess.CalledProcessError` (with what was captured) for an
    exit status that is not 0, OSError if the process cannot be started, TypeError or ValueError for options that make
    no sense, UnicodeError if stdin is a str.  What goes wrong later comes in an ExceptionGroup.

    A cancel point; a cancelled call returns when the process has ended.

    Example::

        finished = await nursery.run_process(["git", "status", "--short"], capture_stdout=True)
        print(finished.stdout.decode())

    Source: trio's documentation, `trio.run_process`.
    """
    if isinstance(stdin, str):
        raise UnicodeError("process stdin must be bytes, not str: encode it first")
    if task_status is TASK_STATUS_IGNORED:
        if stdin is subprocess.PIPE:
            raise ValueError(
                "stdin=subprocess.PIPE is only valid with nursery.start, since that's the only way to access the pipe; "
                "use nursery.start or pass the data you want to write directly"
            )
        for stream, target in (("stdout", options.get("stdout")), ("stderr", options.get("stderr"))):
            if target is subprocess.PIPE:
                raise ValueError(
                    f"{stream}=subprocess.PIPE is only valid with nursery.start, since that's the only way to access "
                    "the pipe"
                )
    if capture_stdout:
        if "stdout" in options:
            raise ValueError("can't specify both stdout and capture_stdout")
        options["stdout"] = subprocess.PIPE
    if capture_stderr:
        if "stderr" in options:
            raise ValueError("can't specify both stderr and capture_stderr")
        options["stderr"] = subprocess.PIPE
    data: bytes | bytearray | memoryview | None = None
    if isinstance(stdin, (bytes, bytearray, memoryview)):
        data, stdin = stdin, subprocess.PIPE
    if deliver_cancel is None:
        deliver_cancel = terminate_then_kill

    out: list[bytes | bytearray] = []
    err: list[bytes | bytearray] = []
    # Outside the nursery, so that what is raised by it comes bare.
    process = await open_process(command, stdin=stdin, shell=shell, **options)
    async with open_nursery() as nursery:
        try:
            if data is not None:
                assert process.stdin is not None
                nursery.start_soon(_feed, process.stdin, data)
                process.stdin = process.stdio = None
            if capture_stdout:
                assert process.stdout is not None
                nursery.start_soon(_drain, process.stdout, out)
                process.stdout = process.stdio = None
            if capture_stderr:
                assert process.stderr is not None
                nursery.start_soon(_drain, process.stderr, err)
                process.stderr = None
            task_status.started(process)
            await process.wait()
        except BaseException:
            impatience = CancelScope(shield=True)
            nursery.start_soon(_deliver, deliver_cancel, process, impatience)
            try:
                await _outlive(process)
            finally:
                impatience.cancel(reason="the process has ended")
            raise

    code = process.returncode
    assert code is not None
    stdout = b"".join(out) if capture_stdout else None
    stderr = b"".join(err) if capture_stderr else None
    if check and code != 0:
        raise subprocess.CalledProcessError(code, process.args, output=stdout, stderr=stderr)
    return subprocess.CompletedProcess(process.args, code, stdout, stderr)


async def _feed(stream: SendStream, data: bytes | bytearray | memoryview) -> None:
    async with stream:
        try:
            await stream.send_all(data)
        except BrokenResourceError:
            # It does not want to read all that; whether this is a failure is for its exit status to say.
            pass


async def _drain(stream: ReceiveStream, pieces: list[bytes | bytearray]) -> None:
    async with stream:
        async for piece in stream:
            pieces.append(piece)


async def _deliver(
    deliver_cancel: Callable[[Process], Awaitable[object]], process: Process, impatience: CancelScope
) -> None:
    with impatience:
        try:
            await deliver_cancel(process)
        except BaseException:
            # Nobody else would end it, and the call would never return.  If it has ended, this does nothing.
            process.kill()
            raise


async def _outlive(process: Process) -> None:
    """Wait for the end of the process, and raise the Ctrl-C, if one came meanwhile: it passes through the shield."""
    interrupt: KeyboardInterrupt | None = None
    with CancelScope(shield=True):
        while process.returncode is None:
            try:
                await process.wait()
            except KeyboardInterrupt as exc:
                interrupt = exc
                with suppress(OSError):
                    process.kill()
    if interrupt is not None:
        raise interrupt


__all__ = ["run_process", "terminate_then_kill"]
