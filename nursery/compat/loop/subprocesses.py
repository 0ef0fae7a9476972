"""Child processes: subprocess_exec and subprocess_shell.

Invariant: a child that was started is watched by its transport, or it is killed and reaped before the call raises.
"""

from __future__ import annotations

import asyncio
import subprocess
from asyncio.log import logger
from collections.abc import Callable
from functools import cached_property
from typing import IO, Any, Literal, TypeAlias, TypeVar

from ...kernel.scope import CancelScope
from ..transports.process import ProcessTransport
from .state import LoopState

ProtocolT = TypeVar("ProtocolT", bound=asyncio.BaseProtocol)
# What a standard stream of a child can be: PIPE, DEVNULL, STDOUT, a descriptor, an open file, or our own.
Target: TypeAlias = "int | IO[Any] | None"


class Subprocesses(LoopState):
    """Starting processes."""

    @cached_property
    def _child_watches(self) -> set[CancelScope]:
        """The scopes in which kernel tasks wait for the ends of processes."""
        return set()

    def _forget_children(self) -> None:
        """Wait for the end of no process any more; for a loop that ends before its run does.

        Nothing then keeps a transport that nobody closed: it warns, and kills its process.
        """
        for scope in self._child_watches:
            scope.cancel()

    async def subprocess_exec(
        self,
        protocol_factory: Callable[[], ProtocolT],
        program: Any,
        *args: Any,
        stdin: Target = subprocess.PIPE,
        stdout: Target = subprocess.PIPE,
        stderr: Target = subprocess.PIPE,
        universal_newlines: Literal[False] = False,
        shell: Literal[False] = False,
        bufsize: Literal[0] = 0,
        encoding: None = None,
        errors: None = None,
        text: Literal[False] | None = None,
        **kwargs: Any,
    ) -> tuple[asyncio.SubprocessTransport, ProtocolT]:
        """Start `program` with `args`, and return transport and protocol.

        Arguments: kwargs go to `subprocess.Popen`.
        Raises ValueError for what would make the pipes text or buffered, OSError if the program cannot be started.
        A cancelled call kills the process and waits for its end.
        Source: asyncio's documentation, `loop.subprocess_exec`.
        """
        if shell:
            raise ValueError("shell must be False: subprocess_shell takes a command for the shell")
        _refuse_text(universal_newlines, bufsize, encoding, errors, text)
        protocol = protocol_factory()
        if self._debug:
            # Not the arguments: they may be long, and secret.
            self._log_start(f"execute program {program!r}", stdin, stdout, stderr)
        transport = await self._start_process(
            protocol, (program, *args), shell=False, stdin=stdin, stdout=stdout, stderr=stderr, **kwargs
        )
        return transport, protocol

    async def subprocess_shell(
        self,
        protocol_factory: Callable[[], ProtocolT],
        cmd: bytes | str,
        *,
        stdin: Target = subprocess.PIPE,
        stdout: Target = subprocess.PIPE,
        stderr: Target = subprocess.PIPE,
        universal_newlines: Literal[False] = False,
        shell: Literal[True] = True,
        bufsize: Literal[0] = 0,
        encoding: None = None,
        errors: None = None,
        text: Literal[False] | None = None,
        **kwargs: Any,
    ) -> tuple[asyncio.SubprocessTransport, ProtocolT]:
        """Let the shell run `cmd`, and return transport and protocol; as `subprocess_exec`.

        Raises ValueError also if cmd is no str or bytes.
        Source: asyncio's documentation, `loop.subprocess_shell`.
        """
        given: object = cmd
        if not isinstance(given, (bytes, str)):
            raise ValueError("cmd must be a string: subprocess_exec takes a program and its arguments")
        if not shell:
            raise ValueError("shell must be True: subprocess_exec runs a program without one")
        _refuse_text(universal_newlines, bufsize, encoding, errors, text)
        protocol = protocol_factory()
        if self._debug:
            self._log_start(f"run shell command {cmd!r}", stdin, stdout, stderr)
        transport = await self._start_process(
            protocol, cmd, shell=True, stdin=stdin, stdout=stdout, stderr=stderr, **kwargs
        )
        return transport, protocol

    async def _start_process(self, protocol: Any, command: Any, **options: Any) -> ProcessTransport:
        self._check_closed()
        # In the loop's own thread: see processes/opening.py.
        popen: subprocess.Popen[bytes] = subprocess.Popen(command, bufsize=0, universal_newlines=False, **options)
        try:
            transport = ProcessTransport(self, protocol, popen)
        except BaseException:
            # No descriptor left, for instance.
            popen.kill()
            for pipe in (popen.stdin, popen.stdout, popen.stderr):
                if pipe is not None:
                    pipe.close()
            popen.wait()
            raise
        if self._debug:
            logger.debug("process %r created: pid %s", command if options["shell"] else command[0], popen.pid)
        connected: asyncio.Future[None] = self.create_future()
        self.call_soon(protocol.connection_made, transport)
        self.call_soon(transport.begin, connected)
        try:
            await connected
        except (GeneratorExit, SystemExit, KeyboardInterrupt):
            # Nothing can be awaited any more; the transport waits by itself.
            transport.close()
            raise
        except BaseException:
            transport.close()
            await transport._wait()
            raise
        return transport

    def _log_start(self, what: str, stdin: Target, stdout: Target, stderr: Target) -> None:
        """Log which process is about to be started, and what its streams will be."""
        streams = [f"stdin={_shown(stdin)}"] if stdin is not None else []
        if stdout is not None and stderr == subprocess.STDOUT:
            streams.append(f"stdout=stderr={_shown(stdout)}")
        else:
            outputs = (("stdout", stdout), ("stderr", stderr))
            streams.extend(f"{name}={_shown(target)}" for name, target in outputs if target is not None)
        logger.debug("%s", " ".join([what, *streams]))


def _refuse_text(universal_newlines: object, bufsize: int, encoding: object, errors: object, text: object) -> None:
    """Raise ValueError for an option of Popen that means text, or a buffer."""
    if universal_newlines:
        raise ValueError("universal_newlines must be False: processes are spoken to in bytes")
    if bufsize != 0:
        raise ValueError("bufsize must be 0: the transports of the pipes have their own buffers")
    if text:
        raise ValueError("text must be False: processes are spoken to in bytes")
    if encoding is not None:
        raise ValueError("encoding must be None: processes are spoken to in bytes")
    if errors is not None:
        raise ValueError("errors must be None: processes are spoken to in bytes")


def _shown(target: Target) -> str:
    if target == subprocess.PIPE:
        return "<pipe>"
    if target == subprocess.STDOUT:
        return "<stdout>"
    return repr(target)
