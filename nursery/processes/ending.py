"""How the end of a child process is noticed, before anybody reaps it.

Invariant: nothing here reaps.  What is noticed is that there is something to reap; until it is done the process is a
zombie, and its number is nobody else's.

A process descriptor (pidfd) is one more descriptor to wait for.  Where the system has none, or refuses to give one, a
thread waits instead: one for each process that is waited for, however often the wait is cancelled.
"""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Protocol

from ..kernel.current import current
from ..kernel.errors import ClosedResourceError, RunFinishedError
from ..kernel.inbox import RunToken, current_run_token
from ..kernel.io.interest import wait_readable
from ..sync.event import Event
from ..threads.cache import start_thread_soon

if TYPE_CHECKING:
    import outcome


class Ending(Protocol):
    """The end of one process, as something that can be waited for."""

    async def wait(self) -> None:
        """Sleep until the process has ended, or until `close`.  A cancel point.  One task at a time."""

    def close(self) -> None:
        """Stop looking: the process was reaped.  Idempotent."""


class EndingByDescriptor:
    """Waits on a process descriptor, which it owns."""

    __slots__ = ("fd",)

    def __init__(self, fd: int) -> None:
        # -1 once it is closed.
        self.fd = fd

    async def wait(self) -> None:
        try:
            await wait_readable(self.fd)
        except ClosedResourceError:
            # A call of poll() in another task was faster, and has reaped it.
            pass

    def close(self) -> None:
        fd, self.fd = self.fd, -1
        if fd < 0:
            return
        runner = current.runner
        if runner is not None:
            interest = runner.io.table.get(fd)
            if interest is not None:
                runner.io.forget(interest)
        os.close(fd)

    def __del__(self) -> None:
        # The run is left alone, as in FdStream.
        if self.fd >= 0:
            os.close(self.fd)


class EndingByThread:
    """Lets a thread wait, which the end of the run does not wait for."""

    __slots__ = ("_ended", "_pid", "_token")

    _ended: Event

    def __init__(self, pid: int) -> None:
        self._pid = pid
        # The run that the thread will tell.
        self._token: RunToken | None = None

    async def wait(self) -> None:
        token = current_run_token()
        if self._token is not token:
            self._token = token
            self._ended = Event()
            tell = partial(self._tell, token, self._ended)
            start_thread_soon(self._block, tell, f"waiting for process {self._pid}")
        await self._ended.wait()

    def close(self) -> None:
        pass

    def _block(self) -> None:
        os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOWAIT)

    @staticmethod
    def _tell(token: RunToken, ended: Event, result: outcome.Outcome[None]) -> None:
        # Whether the thread saw the end, or was told that there is no such child: there is nothing left to wait for.
        try:
            token.run_sync_soon(ended.set)
        except RunFinishedError:
            # Nobody waited any more.
            pass


def ending_of(pid: int) -> Ending | None:
    """Return the best way to wait for the end of a child, None if the system has neither."""
    if hasattr(os, "pidfd_open"):
        try:
            return EndingByDescriptor(os.pidfd_open(pid, 0))
        except OSError:
            # An old system, a sandbox that forbids it, or no descriptor left.
            pass
    return EndingByThread(pid) if hasattr(os, "waitid") else None


__all__ = ["Ending", "EndingByDescriptor", "EndingByThread", "ending_of"]
