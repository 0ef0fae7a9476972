"""Edge-triggered epoll: one registration for the life of a descriptor, no system call per wait.

Invariant: everything in the table is registered for both directions, edge-triggered, so an edge that comes while
nobody waits is remembered in the interest.  `level` re-arms by a modification, upon which the kernel reports the
readiness of the moment as a new edge (epoll(7)).
"""

from __future__ import annotations

import select
from collections import deque
from typing import Any, Final

from .interest import Driver, Events, Interest

READ: Final = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR | select.EPOLLPRI
WRITE: Final = select.EPOLLOUT | select.EPOLLHUP | select.EPOLLERR
# Urgent data counts as well: recv() stops at the urgent mark, so a short read says nothing once there is some
# (tests/network/test_socket_stream.py).
HANGUP: Final = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR | select.EPOLLPRI
MASK: Final = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLPRI | select.EPOLLET
# Something to read, and there is room to write as nearly always.
DATA: Final = select.EPOLLIN | select.EPOLLOUT
# As many as are asked for are allocated at each call, so not the default of 1023.
MOST_EVENTS: Final = 256


class EpollDriver(Driver):
    """The driver for Linux."""

    backend = "epoll"

    def __init__(self, queue: deque[Any]) -> None:
        super().__init__(queue)
        self._epoll = select.epoll()
        self._poll = self._epoll.poll

    def open(self, fd: int) -> Interest:
        stale = self.table.get(fd)
        if stale is not None:
            # The number was closed without a word and is in use again, or a raw wait came first.
            self.forget(stale)
        interest = Interest(fd)
        try:
            self._epoll.register(fd, MASK)
        except FileExistsError:
            # A duplicate keeps the old registration of this number alive.
            self._epoll.modify(fd, MASK)
        self.table[fd] = interest
        return interest

    def level(self, fd: int) -> Interest:
        interest = self.table.get(fd)
        if interest is None:
            return self.open(fd)
        try:
            self._epoll.modify(fd, MASK)
        except FileNotFoundError:
            return self.open(fd)
        return interest

    def unregister(self, interest: Interest) -> None:
        try:
            self._epoll.unregister(interest.fd)
        except OSError:
            # Closed behind our back: the kernel dropped it by itself.
            pass

    # flat: once for every event
    def poll(self, timeout: float) -> None:
        table = self.table
        append = self.queue.append
        for fd, mask in self._poll(timeout, min(len(table), MOST_EVENTS)):
            try:
                interest = table[fd]
            except KeyError:
                continue
            if mask == DATA:
                # The two cases below for what nearly every event is, without asking for each bit: 150 ns.
                interest.readable = interest.writable = True
                waiter = interest.reader
                if waiter is not None:
                    interest.reader = waiter.abort = None
                    append(waiter)
                elif interest.listener is not None:
                    interest.listener()
                waiter = interest.writer
                if waiter is not None:
                    interest.writer = waiter.abort = None
                    append(waiter)
                continue
            if mask & READ:
                interest.readable = True
                if mask & HANGUP:
                    interest.hangup = True
                waiter = interest.reader
                if waiter is not None:
                    interest.reader = waiter.abort = None
                    append(waiter)
                elif interest.listener is not None:
                    interest.listener()
            if mask & WRITE:
                interest.writable = True
                waiter = interest.writer
                if waiter is not None:
                    interest.writer = None
                    waiter.abort = None
                    append(waiter)

    def fetch(self, timeout: float) -> Events:
        table = self.table
        return [
            (table[fd], mask)
            for fd, mask in self._poll(timeout, min(len(table), MOST_EVENTS))
            if fd in table
        ]

    def dispatch(self, events: Events) -> None:
        for interest, mask in events:
            if interest.closed:
                continue
            if mask & READ:
                interest.readable = True
                if mask & HANGUP:
                    interest.hangup = True
                self.wake_reader(interest)
                if interest.listener is not None:
                    interest.listener()
            if mask & WRITE:
                interest.writable = True
                self.wake_writer(interest)

    def close(self) -> None:
        self._epoll.close()
        # Else a loop and a transport that was left open keep each other.
        self.table.clear()
