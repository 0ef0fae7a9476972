"""Waiting for raw sockets, in line: what the sock_* functions do after "it would block".

Invariant: a line is who waits for one direction of one socket, in the order of arrival, each by a future of its own.
The first one has its turn: either the line stands in the kernel's table and its event makes that future done, or the
future is done already.  Whoever leaves, with a result or without, hands the turn to the next.  Nobody takes a turn
twice for one event, and nobody who is not first makes a system call, so two senders never mix their data.

The system call is made by the waiting task itself, in the step in which it resumes.  So a call that was cancelled has
received nothing, and a call that has received something cannot be cancelled any more: asyncio receives in a callback,
and a cancellation between that and the task's step drops the data.

A place keeps its registration after the wait: the next one costs no system call.  That is safe as long as the socket
object it was made for still has that descriptor; for any other object the registration is made afresh.
"""

from __future__ import annotations

import errno
import socket
import weakref
from asyncio import Future
from collections.abc import Callable
from contextvars import Context
from typing import TYPE_CHECKING, TypeVar

from ..handles import Handle, ReadinessHandle

if TYPE_CHECKING:
    from ...kernel.io.interest import Interest
    from .sockets import Sockets

T = TypeVar("T")


class Unfinished(Exception):
    """What the owner of a turn raises to go on after others have run, without waiting for an event."""


class Line(ReadinessHandle):
    """Who waits for one direction of one place; it is itself the handle that stands in the kernel's table."""

    __slots__ = ("place", "waiters", "writing")

    def __init__(self, place: Place, writing: bool) -> None:
        # The context of whoever happens to come first must not be kept.
        Handle.__init__(self, self._ready, (), place.loop, Context())
        self.abort = None
        self.place = place
        self.writing = writing
        # Few; an empty deque would cost ten times as much memory, for each socket.
        self.waiters: list[Future[None]] = []

    async def take_turn(self, call: Callable[[], T], *, tried: bool = True) -> T:
        """Return what `call()` returns once it does not block and it is the caller's turn.

        While `call` raises `BlockingIOError` or `Unfinished` the turn lasts.  Unless the caller has `tried` and would
        have blocked, the first call is made at once: no event may come for a socket that is ready already.
        """
        waiters = self.waiters
        create_future = self.place.loop.create_future
        ready = create_future()
        waiters.append(ready)
        try:
            if waiters[0] is ready:
                if tried:
                    self._stand()
                else:
                    ready.set_result(None)
            while True:
                await ready
                try:
                    return call()
                except (BlockingIOError, InterruptedError):
                    waiters[0] = ready = create_future()
                    self._stand()
                except Unfinished:
                    waiters[0] = ready = create_future()
                    self.place.loop.call_soon(self._ready)
        finally:
            # Not there any more after `release`.
            if ready in waiters:
                was_first = waiters[0] is ready
                waiters.remove(ready)
                if was_first:
                    self._next()

    def displace(self, error: Callable[[], Exception]) -> bool:
        """Let everyone in the line fail; return whether there was anyone."""
        waiting = [ready for ready in self.waiters if not ready.done()]
        for ready in waiting:
            ready.set_exception(error())
        self._leave_table()
        return bool(waiting)

    def release(self) -> bool:
        """Send everyone out of the line, to whom no event comes any more; return whether there was anyone.

        Whoever was given the turn already keeps it.
        """
        waiting = [ready for ready in self.waiters if not ready.done()]
        self.waiters[:] = [ready for ready in self.waiters if ready.done()]
        self._leave_table()
        return bool(waiting)

    def wake_with_error(self, error: BaseException) -> None:
        """Let everyone fail: the registration has ended."""
        self.abort = None
        self.displace(self.place.gone)

    def _ready(self) -> None:
        """Give the first one its turn: an event has come."""
        if self.waiters and not self.waiters[0].done():
            self.waiters[0].set_result(None)

    def _next(self) -> None:
        if self.waiters:
            self._ready()
        else:
            self._leave_table()

    def _stand(self) -> None:
        """Stand in the kernel's table until the next event."""
        place = self.place
        interest = place.register()
        standing = interest.writer if self.writing else interest.reader
        if standing is self:
            return
        if standing is not None:
            raise RuntimeError(f"{standing!r} already waits for descriptor {place.fd}")
        self.abort = True
        if self.writing:
            interest.writable = False
            interest.writer = self
        else:
            interest.readable = False
            interest.reader = self
        if interest.arm is not None:
            interest.arm(interest)

    def _leave_table(self) -> None:
        self.abort = None
        interest = self.place.interest
        if interest is None:
            return
        if interest.reader is self:
            interest.reader = None
        if interest.writer is self:
            interest.writer = None


class Place:
    """What the loop knows of one raw socket: its registration, and a line for each direction."""

    __slots__ = ("fd", "interest", "loop", "owner", "reading", "writing")

    def __init__(self, loop: Sockets, sock: socket.socket, fd: int) -> None:
        self.loop = loop
        self.fd = fd
        # Weak: whoever forgets a socket may expect it to be closed.
        self.owner = weakref.ref(sock)
        self.interest: Interest | None = None
        self.reading = Line(self, writing=False)
        self.writing = Line(self, writing=True)

    def register(self) -> Interest:
        """Return the registration, made now if there is none."""
        interest = self.interest
        if interest is None or interest.closed:
            self.loop._no_transport(self.fd)
            interest = self.interest = self.loop.io.level(self.fd)
        return interest

    def belongs_to(self, sock: socket.socket) -> bool:
        """Return whether this is the place of `sock`, not that of a socket that once had the same descriptor."""
        owner = self.owner()
        if owner is sock:
            return True
        if owner is None or owner.fileno() != self.fd:
            return False
        # Two objects for one descriptor, or one of them has lost it and does not know: ask the system.
        if self.interest is not None:
            self.interest = self.loop.io.level(self.fd)
        return True

    def abandon(self) -> None:
        """Let everyone fail who still waits here: the descriptor was closed, and its number is in use again."""
        for line in (self.reading, self.writing):
            line.displace(self.gone)
        interest = self.interest
        if interest is not None and interest.reader is None and interest.writer is None:
            # The portable driver would take the new socket for the old one.
            self.loop.io.forget(interest)
        if not self.reading.waiters and not self.writing.waiters:
            self.dissolve()

    def dissolve(self) -> None:
        """Come apart, once nobody waits here any more, so that nothing is left to the collector."""
        for line in (self.reading, self.writing):
            assert not line.waiters
            line.cancel()
            del line.place

    def gone(self) -> OSError:
        """Return the news that the descriptor is not what it was."""
        news = f"descriptor {self.fd} was closed, or given to a transport, while a sock_* function waited for it"
        return OSError(errno.EBADF, news)
