"""asyncio.subprocess, by its names: a child process, with streams for its pipes.

`Process` is ours (process.py); to a type checker it is asyncio's.
"""

from __future__ import annotations

import asyncio
import subprocess
from asyncio import subprocess as stdlib_subprocess
from collections.abc import Callable, Collection, Mapping
from typing import IO, TYPE_CHECKING, Any, Final, Literal, TypeAlias, TypedDict, Unpack

from .process import Process as OwnProcess
from .process import SubprocessStreamProtocol as OwnProtocol
from .stream import DEFAULT_LIMIT
from .waiting import running_loop

if TYPE_CHECKING:
    from asyncio.subprocess import SubprocessStreamProtocol as SubprocessStreamProtocol
    from os import PathLike

    from .typed import Process as Process
else:
    Process = OwnProcess
    SubprocessStreamProtocol = OwnProtocol

PIPE: Final[int] = subprocess.PIPE
STDOUT: Final[int] = subprocess.STDOUT
DEVNULL: Final[int] = subprocess.DEVNULL

__all__ = ("create_subprocess_exec", "create_subprocess_shell")

StrOrBytesPath: TypeAlias = "str | bytes | PathLike[str] | PathLike[bytes]"
Target: TypeAlias = "int | IO[Any] | None"


class Options(TypedDict, total=False):
    """The options that processes in either form take: those of `subprocess.Popen`, without text and buffers."""

    universal_newlines: Literal[False]
    bufsize: Literal[0]
    encoding: None
    errors: None
    text: Literal[False] | None
    executable: StrOrBytesPath | None
    preexec_fn: Callable[[], Any] | None
    close_fds: bool
    cwd: StrOrBytesPath | None
    env: Mapping[bytes, StrOrBytesPath] | Mapping[str, StrOrBytesPath] | None
    startupinfo: Any
    creationflags: int
    restore_signals: bool
    start_new_session: bool
    pass_fds: Collection[int]
    group: str | int | None
    extra_groups: Collection[str | int] | None
    user: str | int | None
    umask: int
    process_group: int | None
    pipesize: int


async def create_subprocess_exec(
    program: StrOrBytesPath,
    *args: StrOrBytesPath,
    stdin: Target = None,
    stdout: Target = None,
    stderr: Target = None,
    limit: int = DEFAULT_LIMIT,
    shell: Literal[False] = False,
    **kwds: Unpack[Options],
) -> Process:
    """Start `program` with `args`, and return the process.

    Arguments: stdin, stdout and stderr are `PIPE` for a stream, `DEVNULL`, `STDOUT` (stderr only), a descriptor, an
    open file, or None for what this program has itself; limit is that of a StreamReader, in bytes; kwds go to
    `subprocess.Popen`.

    A cancel point; if cancelled, the process is killed and reaped.  Raises OSError if the program cannot be started,
    ValueError for options that would make the pipes text or buffered.

    Example::

        process = await asyncio.create_subprocess_exec("git", "status", stdout=PIPE)
        out, _ = await process.communicate()

    Source: asyncio's documentation, `asyncio.create_subprocess_exec`.
    """
    loop = running_loop()
    transport, protocol = await loop.subprocess_exec(
        _factory(limit, loop), program, *args, stdin=stdin, stdout=stdout, stderr=stderr, shell=shell, **kwds
    )
    process: Any = OwnProcess(transport, protocol, loop)
    return process  # type: ignore[no-any-return]  # to a type checker asyncio's


async def create_subprocess_shell(
    cmd: str | bytes,
    stdin: Target = None,
    stdout: Target = None,
    stderr: Target = None,
    limit: int = DEFAULT_LIMIT,
    *,
    shell: Literal[True] = True,
    **kwds: Unpack[Options],
) -> Process:
    """Let the shell run `cmd`, and return the process: `create_subprocess_exec` for a line of the shell.

    Text from elsewhere in the line must be quoted, by `shlex.quote`, or it may run commands of its own.

    Source: asyncio's documentation, `asyncio.create_subprocess_shell`.
    """
    loop = running_loop()
    transport, protocol = await loop.subprocess_shell(
        _factory(limit, loop), cmd, stdin=stdin, stdout=stdout, stderr=stderr, shell=shell, **kwds
    )
    process: Any = OwnProcess(transport, protocol, loop)
    return process  # type: ignore[no-any-return]  # to a type checker asyncio's


def _factory(limit: int, loop: asyncio.AbstractEventLoop) -> Callable[[], OwnProtocol]:
    if limit <= 0:
        # The streams would say so only after the process has begun.
        raise ValueError(f"Limit cannot be <= 0, got {limit!r}")
    return lambda: OwnProtocol(limit=limit, loop=loop)


if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Find what asyncio.subprocess has beside."""
        return getattr(stdlib_subprocess, name)
