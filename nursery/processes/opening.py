"""Starting a process: options, pipes, and the one moment in which it is made.

Invariant: a cancelled call has made nothing, for its only checkpoint comes first; and whatever raises after it, each
descriptor that was opened is closed, and a child that could not run its program is reaped.

The process is made in the run's own thread.  In another one it would not be made any sooner: Python holds its
global lock until the child has begun its program.  And on Linux a child may ask to be killed with its parent's
*thread*, which a worker thread does not survive for long (PR_SET_PDEATHSIG).
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, TypedDict, Unpack

from ..kernel.interrupts import enable_ki_protection
from ..kernel.io.interest import HasFileno, descriptor
from ..kernel.traps import checkpoint
from ..streams.fd_stream import FdStream
from .process import CAN_KILL_GROUPS, Command, Process, StrOrBytesPath

# What `subprocess` knows and streams of bytes do not.
TEXT_OPTIONS: Final = ("universal_newlines", "text", "encoding", "errors", "bufsize")


class PopenOptions(TypedDict, total=False):
    """The options that `subprocess.Popen` gets as they are."""

    executable: StrOrBytesPath | None
    cwd: StrOrBytesPath | None
    env: Mapping[str, StrOrBytesPath] | Mapping[bytes, StrOrBytesPath] | None
    close_fds: bool
    pass_fds: Sequence[int]
    preexec_fn: Callable[[], object] | None
    restore_signals: bool
    start_new_session: bool
    process_group: int | None
    user: str | int | None
    group: str | int | None
    extra_groups: Iterable[str | int] | None
    umask: int


class ProcessOptions(PopenOptions, total=False):
    """The options that `run_process` hands on to `open_process`."""

    stdout: int | HasFileno | None
    stderr: int | HasFileno | None
    pipesize: int
    kill_group: bool


class Pipes:
    """The pipes of a process that is being started: which ends are ours, which the child's."""

    __slots__ = ("_child_ends", "_size", "_streams")

    def __init__(self, size: int) -> None:
        self._size = size
        self._streams: list[FdStream] = []
        self._child_ends: list[int] = []

    def open(self, *, to_child: bool) -> tuple[FdStream, int]:
        """Make a pipe; return our end as a stream, and the child's."""
        read, write = os.pipe()
        ours, theirs = (write, read) if to_child else (read, write)
        self._child_ends.append(theirs)
        stream = FdStream(ours)
        self._streams.append(stream)
        if self._size > 0:
            import fcntl

            if hasattr(fcntl, "F_SETPIPE_SZ"):
                fcntl.fcntl(ours, fcntl.F_SETPIPE_SZ, self._size)
        return stream, theirs

    def close_child_ends(self) -> None:
        """Leave the child with the only copies, so that its end ends the streams."""
        for fd in self._child_ends:
            os.close(fd)

    def close_our_ends(self) -> None:
        """Give up: there is no child."""
        for stream in self._streams:
            stream.close()


@enable_ki_protection
async def open_process(
    command: Command,
    *,
    stdin: int | HasFileno | None = None,
    stdout: int | HasFileno | None = None,
    stderr: int | HasFileno | None = None,
    pipesize: int = -1,
    kill_group: bool = False,
    shell: bool = False,
    **options: Unpack[PopenOptions],
) -> Process:
    """Start a process and return it; what becomes of it is up to the caller, `run_process` takes care of that.

    Arguments: command is the program and its arguments, or, with shell=True, a line for the shell.  stdin, stdout and
    stderr are what the child's standard streams are connected to: `subprocess.PIPE` for a stream of the returned
    Process, `subprocess.DEVNULL`, a descriptor or an object with `fileno()`, None for what this program has itself;
    stderr may be `subprocess.STDOUT`, for the same as stdout.  pipesize is the size of the pipes in bytes, where the
    system can set it.

    kill_group=True (nursery's own) puts the process at the head of a new process group, and lets the group share its
    fate: `send_signal`, `terminate` and `kill` reach all of it, and when the process ends, whatever is left of
    the group is killed.  So the processes that it has started die too, unless they have left the group.  Without it,
    they live on, and only the process itself is signalled.  (Ctrl-C in a terminal does not reach another group.)

    The other options are those of `subprocess.Popen`, but for those about text.

    A cancel point; a cancelled call has started nothing.  Raises OSError if the process cannot be started (no such
    program, no such cwd, no descriptors left), TypeError or ValueError for options that make no sense.

    Example::

        process = await nursery.lowlevel.open_process(["sort"], stdin=subprocess.PIPE)
        await process.stdin.send_all(b"b\\na\\n")
        await process.stdin.aclose()
        await process.wait()

    Source: trio's documentation, `trio.lowlevel.open_process`.
    """
    for option in TEXT_OPTIONS:
        if options.get(option):
            raise TypeError(
                "nursery.Process only supports communicating over unbuffered byte streams; the "
                f"{option!r} option is not supported"
            )
    if isinstance(command, (str, bytes)) and not shell:
        raise TypeError(
            "command must be a sequence (not a string or bytes) if shell=False: put the program and each argument "
            "into a list, or pass shell=True"
        )
    if not isinstance(command, (str, bytes)) and shell:
        raise TypeError("command must be a string or bytes (not a sequence) if shell=True")
    if kill_group:
        _put_at_head_of_group(options)
    await checkpoint()

    pipes = Pipes(pipesize)
    to_stdin: FdStream | None = None
    from_stdout: FdStream | None = None
    from_stderr: FdStream | None = None
    try:
        if stdin == subprocess.PIPE:
            to_stdin, stdin = pipes.open(to_child=True)
        if stdout == subprocess.PIPE:
            from_stdout, stdout = pipes.open(to_child=False)
        if stderr == subprocess.PIPE:
            from_stderr, stderr = pipes.open(to_child=False)
        elif stderr == subprocess.STDOUT and stdout is not None:
            stderr = stdout
        popen = subprocess.Popen(
            command,
            stdin=None if stdin is None else descriptor(stdin),
            stdout=None if stdout is None else descriptor(stdout),
            stderr=None if stderr is None else descriptor(stderr),
            shell=shell,
            **options,
        )
    except BaseException:
        pipes.close_our_ends()
        raise
    finally:
        pipes.close_child_ends()
    return Process._create(popen, to_stdin, from_stdout, from_stderr, kill_group)


def _put_at_head_of_group(options: PopenOptions) -> None:
    """Let the process lead a group of its own, or say why it cannot."""
    if not CAN_KILL_GROUPS:
        raise NotImplementedError("kill_group=True needs os.waitid and os.killpg, which this system does not have")
    if options.get("process_group") not in (None, 0):
        raise ValueError(
            f"kill_group=True kills a group of the process's own, it cannot join the group "
            f"{options['process_group']}: leave process_group out"
        )
    # The head of a session is the head of a group already.
    options["process_group"] = None if options.get("start_new_session") else 0


__all__ = ["ProcessOptions", "open_process"]
