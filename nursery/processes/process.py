"""A child process: its streams, its end, the signals sent to it.

Invariant: it is reaped in one place, `_reap`, and no signal is sent after that: its number may be another's by then.
Where the system has process descriptors a signal goes through one, so it cannot hit another process even if somebody
else has reaped the child.

For a process that was started with kill_group=True the signals go to its whole group, whose number is its leader's.
The number is safe to use while the leader, running or a zombie, was not reaped; so what is left of the group is killed
after the leader's end and before its reaping.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from typing import Final, TypeAlias, final

from ..streams.abstract import ReceiveStream, SendStream
from ..streams.stapled import StapledStream
from ..sync.lock import Lock
from ..timeouts import sleep
from .ending import Ending, EndingByDescriptor, ending_of

StrOrBytesPath: TypeAlias = "str | bytes | os.PathLike[str] | os.PathLike[bytes]"
Command: TypeAlias = "StrOrBytesPath | Sequence[StrOrBytesPath]"

# Without a way to see the end of the leader before it is reaped, there is no moment to kill the rest of its group.
CAN_KILL_GROUPS: Final[bool] = hasattr(os, "waitid") and hasattr(os, "killpg")

# How often to look at a process whose end cannot be waited for, or that cannot be reaped yet, in seconds.
SECONDS_BETWEEN_LOOKS: Final = 0.01


@final
class Process:
    """A child process; `nursery.start(run_process, ...)` and `lowlevel.open_process` return one.

    Attributes: `args`, the command; `pid`; `stdin`, a stream to the standard input, `stdout` and `stderr`, streams from
    the standard output and error, each of them None unless it was asked for with `subprocess.PIPE`; `stdio`, the first
    two as one stream, or None.

    It has no public constructor.

    Example::

        async with nursery.open_nursery() as n:
            start = functools.partial(nursery.run_process, ["cat"], stdin=PIPE, stdout=PIPE)
            process: nursery.Process = await n.start(start)
            await process.stdio.send_all(b"hello")
            await process.stdio.send_eof()
            print(await process.stdio.receive_some())

    Source: trio's documentation, `trio.Process`.
    """

    __slots__ = (
        "__weakref__",
        "_ending",
        "_kills_group",
        "_popen",
        "_waiting",
        "args",
        "pid",
        "stderr",
        "stdin",
        "stdio",
        "stdout",
    )

    # What `subprocess.Popen` tells of itself; here the streams carry bytes, always.
    universal_newlines: Final = False
    encoding: Final = None
    errors: Final = None

    args: Command
    pid: int
    stdin: SendStream | None
    stdout: ReceiveStream | None
    stderr: ReceiveStream | None
    stdio: StapledStream[SendStream, ReceiveStream] | None
    # None once the process was reaped; or if its end cannot be waited for on this system.
    _ending: Ending | None
    _kills_group: bool
    _popen: subprocess.Popen[bytes]
    _waiting: Lock

    def __init__(self, *args: object, **kwargs: object) -> None:
        raise TypeError("Process has no public constructor: use run_process() or lowlevel.open_process()")

    @classmethod
    def _create(
        cls,
        popen: subprocess.Popen[bytes],
        stdin: SendStream | None,
        stdout: ReceiveStream | None,
        stderr: ReceiveStream | None,
        kills_group: bool,
    ) -> Process:
        self = cls.__new__(cls)
        self._popen = popen
        self._kills_group = kills_group
        self._ending = ending_of(popen.pid)
        # One task at a time waits for the end; a cancelled one passes the baton on.
        self._waiting = Lock()
        self.args = popen.args
        self.pid = popen.pid
        self.stdin = stdin
        self.stdout = stdout
        self.stderr = stderr
        self.stdio = None if stdin is None or stdout is None else StapledStream(stdin, stdout)
        return self

    def __repr__(self) -> str:
        code = self.returncode
        if code is None:
            status = f"running with PID {self.pid}"
        elif code < 0:
            status = f"exited with signal {-code}"
        else:
            status = f"exited with status {code}"
        return f"<nursery.Process {self.args!r}: {status}>"

    # Its end

    @property
    def returncode(self) -> int | None:
        """The exit status, the negative of the signal that ended it, or None while it runs; always the latest news.

        A process that somebody else has reaped, or that ended while SIGCHLD was ignored, reads as 0.
        Source: trio's documentation, `trio.Process.returncode`.
        """
        return self._reap()

    def poll(self) -> int | None:
        """Return `returncode`.  Not a cancel point.

        Source: trio's documentation, `trio.Process.poll`.
        """
        return self._reap()

    async def wait(self) -> int:
        """Wait until the process has ended, and return its `returncode`; any number of tasks may do so at once.

        Its pipes play no part: they may be held open by processes that it has started.
        A cancel point; a cancelled call leaves the process alone.

        Source: trio's documentation, `trio.Process.wait`.
        """
        async with self._waiting:
            while True:
                code = self._reap()
                if code is not None:
                    return code
                if self._ending is not None:
                    await self._ending.wait()
                    code = self._reap()
                    if code is not None:
                        return code
                # It has ended, but a debugger looks at the remains first; or we cannot do better.
                await sleep(SECONDS_BETWEEN_LOOKS)

    def _reap(self) -> int | None:
        """Return how the process ended, None if it has not; the one place where it is reaped."""
        popen = self._popen
        if popen.returncode is None and (not self._kills_group or self._finish_group()):
            popen.poll()
        if popen.returncode is not None and self._ending is not None:
            self._ending.close()
            self._ending = None
        return popen.returncode

    def _finish_group(self) -> bool:
        """Return whether the leader has ended; if so, kill what is left of its group."""
        try:
            if os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                return False
        except ChildProcessError:
            # Reaped behind our back: the number means nothing any more.
            return True
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            # Nobody is left but the leader; some systems call that EPERM.
            pass
        return True

    # Signals

    def send_signal(self, sig: signal.Signals | int) -> None:
        """Send a signal to the process, or to its whole group if it was started with kill_group=True.

        Does nothing if the process has ended.  Raises OSError if the system refuses, ValueError if there is no such
        signal.  Not a cancel point.

        Source: trio's documentation, `trio.Process.send_signal`.
        """
        if self._reap() is not None:
            return
        try:
            if self._kills_group:
                os.killpg(self.pid, sig)
            elif isinstance(self._ending, EndingByDescriptor) and hasattr(signal, "pidfd_send_signal"):
                signal.pidfd_send_signal(self._ending.fd, sig)
            else:
                os.kill(self.pid, sig)
        except ProcessLookupError:
            # Somebody else reaped it in this moment.
            pass

    def terminate(self) -> None:
        """Ask the process to end: send SIGTERM, as `send_signal` does.

        Source: trio's documentation, `trio.Process.terminate`.
        """
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Make the process end: send SIGKILL, as `send_signal` does.  To see it ended, `wait`.

        Source: trio's documentation, `trio.Process.kill`.
        """
        self.send_signal(signal.SIGKILL)


__all__ = ["CAN_KILL_GROUPS", "Command", "Process", "StrOrBytesPath"]
