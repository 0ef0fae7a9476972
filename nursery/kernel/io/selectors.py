"""The portable driver: the standard library's selectors, level-triggered.

Invariant: a descriptor is registered for just the directions in which somebody waits (the bell: always), so a ready
descriptor that nobody reads does not spin the loop.
"""

from __future__ import annotations

import selectors
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from .interest import Driver, Events, Interest

READ: Final = selectors.EVENT_READ
WRITE: Final = selectors.EVENT_WRITE


class SelectorsDriver(Driver):
    """The driver for every system that Python supports."""

    backend = "selectors"

    def __init__(self, queue: deque[Any]) -> None:
        super().__init__(queue)
        self._selector = selectors.DefaultSelector()

    def open(self, fd: int) -> Interest:
        stale = self.table.get(fd)
        if stale is not None:
            self.forget(stale)
        interest = Interest(fd)
        interest.arm = self._arm
        self.table[fd] = interest
        return interest

    def listen(self, fd: int, listener: Callable[[], None]) -> None:
        interest = self.open(fd)
        interest.listener = listener
        self._register(interest, READ)

    def level(self, fd: int) -> Interest:
        interest = self.table.get(fd)
        return self.open(fd) if interest is None else interest

    def unregister(self, interest: Interest) -> None:
        try:
            self._register(interest, 0)
        except (OSError, ValueError, KeyError):
            # Closed behind our back.
            pass

    def _arm(self, interest: Interest) -> None:
        wanted = (READ if interest.reader is not None else 0) | (WRITE if interest.writer is not None else 0)
        try:
            self._register(interest, wanted)
        except BaseException:
            # The wait does not begin: nobody may be left standing in the table.
            if not interest.registered & READ:
                interest.reader = None
            if not interest.registered & WRITE:
                interest.writer = None
            if not interest.registered:
                self.table.pop(interest.fd, None)
            raise

    def _register(self, interest: Interest, wanted: int) -> None:
        fd, registered = interest.fd, interest.registered
        if wanted == registered:
            return
        if not registered:
            try:
                self._selector.register(fd, wanted, interest)
            except KeyError:
                # The number was closed and is in use again.
                self._selector.unregister(fd)
                self._selector.register(fd, wanted, interest)
        elif not wanted:
            self._selector.unregister(fd)
        else:
            try:
                self._selector.modify(fd, wanted, interest)
            except (OSError, KeyError):
                self._selector.register(fd, wanted, interest)
        interest.registered = wanted

    def fetch(self, timeout: float) -> Events:
        return [(key.data, mask) for key, mask in self._selector.select(timeout)]

    def dispatch(self, events: Events) -> None:
        for interest, mask in events:
            if interest.closed:
                continue
            if interest.listener is not None:
                interest.listener()
                continue
            if mask & READ:
                interest.readable = True
                self.wake_reader(interest)
            if mask & WRITE:
                interest.writable = True
                self.wake_writer(interest)
            self._settle(interest)

    def _settle(self, interest: Interest) -> None:
        """Stop watching the directions in which nobody waits any more."""
        wanted = (READ if interest.reader is not None else 0) | (WRITE if interest.writer is not None else 0)
        try:
            self._register(interest, wanted)
        except (OSError, KeyError, ValueError):
            interest.registered = 0

    def close(self) -> None:
        self._selector.close()
        # Each interest leads back here, by `arm`.
        self.table.clear()
