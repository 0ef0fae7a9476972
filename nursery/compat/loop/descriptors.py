"""add_reader and add_writer: callbacks for raw descriptors, with level semantics.

Invariant: while a watch has a reader, the reader is either waiting in the kernel's interest or queued, never both; it
waits again only after its callback has run, and asks then for the readiness of that moment (`Driver.level`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, TypeVarTuple

from ...kernel.io.interest import HasFileno, Interest
from ..handles import Handle, ReadinessHandle
from .state import LoopState

Ts = TypeVarTuple("Ts")

# How many calls lie between a handle and whoever called add_reader() (sockets.py has a part in it).
FROM_ADD: Final = 4


class Watch:
    """What the loop watches on one descriptor: a user's handle for each direction."""

    __slots__ = ("_on_read", "_on_write", "fd", "file", "loop", "reader", "writer")

    def __init__(self, loop: Descriptors, fd: int) -> None:
        self.loop = loop
        self.fd = fd
        # What was given for the descriptor: once it is closed, nothing else leads here.
        self.file: int | HasFileno = fd
        self.reader: Handle | None = None
        self.writer: Handle | None = None
        self._on_read = ReadinessHandle(self._readable, loop)
        self._on_write = ReadinessHandle(self._writable, loop)

    def wait(self) -> None:
        """Stand in the kernel's table for each direction that has a handle and is not queued."""
        interest: Interest = self.loop.io.level(self.fd)
        if self.reader is not None:
            interest.reader = self._on_read
            self._on_read.abort = True
        if self.writer is not None:
            interest.writer = self._on_write
            self._on_write.abort = True
        if interest.arm is not None:
            interest.arm(interest)

    def stop_reading(self) -> None:
        """Take the reader's place in the kernel's table back."""
        self.reader = None
        interest = self.loop.io.table.get(self.fd)
        if interest is not None and interest.reader is self._on_read:
            interest.reader = None

    def stop_writing(self) -> None:
        """Take the writer's place in the kernel's table back."""
        self.writer = None
        interest = self.loop.io.table.get(self.fd)
        if interest is not None and interest.writer is self._on_write:
            interest.writer = None

    def forget(self) -> None:
        """End the registration: nobody watches any more."""
        interest = self.loop.io.table.get(self.fd)
        if interest is not None and interest.reader is None and interest.writer is None:
            self.loop.io.forget(interest)
        # They hold this watch, which would be garbage for the collector (tests/compat/test_loop.py).
        self._on_read.cancel()
        self._on_write.cancel()

    def _readable(self) -> None:
        if self.reader is not None:
            self._call(self.reader)

    def _writable(self) -> None:
        if self.writer is not None:
            self._call(self.writer)

    def _call(self, handle: Handle) -> None:
        if self.loop._debug:
            # It is this one that takes long or fails, not the watch.
            self.loop._current_handle = handle
        self.loop._look_again()
        handle.run(None, None)
        self._wait_again()

    def _wait_again(self) -> None:
        if self.reader is None and self.writer is None:
            return
        try:
            self.wait()
        except OSError:
            # The callback closed the descriptor without a word; asyncio says nothing either.
            pass


class Descriptors(LoopState):
    """add_reader, remove_reader, add_writer, remove_writer."""

    # Whether `_poll` is in the queue.
    _will_poll = False

    def _look_again(self) -> None:
        """Have events collected in the next turn, as asyncio does before each, also if callbacks go on and on.

        The loop polls less often while there is something to do.  Programs that read and write descriptors by
        themselves in callbacks may count on what they wrote being seen at the other end some turns later; the tests of
        Tornado do.
        """
        if not self._will_poll:
            self._will_poll = True
            self.call_soon(self._poll)

    def _poll(self) -> None:
        self._will_poll = False
        self.io.poll(0.0)

    def add_reader(self, fd: int | HasFileno, callback: Callable[[*Ts], object], *args: *Ts) -> asyncio.Handle:  # type: ignore[override]  # typeshed: returns None
        """Call `callback(*args)` whenever `fd` is readable.

        Source: asyncio's documentation, `loop.add_reader`.
        """
        number = self._free_descriptor(fd)
        handle = self._watch_reader(number, callback, args)
        self._watches[number].file = fd
        return handle

    def add_writer(self, fd: int | HasFileno, callback: Callable[[*Ts], object], *args: *Ts) -> asyncio.Handle:  # type: ignore[override]  # typeshed: returns None
        """Call `callback(*args)` whenever `fd` is writable.

        Source: asyncio's documentation, `loop.add_writer`.
        """
        number = self._free_descriptor(fd)
        handle = self._watch_writer(number, callback, args)
        self._watches[number].file = fd
        return handle

    def remove_reader(self, fd: int | HasFileno) -> bool:
        """Stop watching `fd` for reading; return whether it was watched.

        A socket or file that was closed meanwhile is found too.
        Source: asyncio's documentation, `loop.remove_reader`.
        """
        return self._unwatch_reader(self._watched_descriptor(fd))

    def remove_writer(self, fd: int | HasFileno) -> bool:
        """Stop watching `fd` for writing; return whether it was watched.

        A socket or file that was closed meanwhile is found too.
        Source: asyncio's documentation, `loop.remove_writer`.
        """
        return self._unwatch_writer(self._watched_descriptor(fd))

    def _watched_descriptor(self, fd: int | HasFileno) -> int:
        """Return the number of `fd`, which may be closed if it is watched."""
        try:
            return self._free_descriptor(fd)
        except ValueError:
            if not isinstance(fd, int):
                for watch in self._watches.values():
                    if watch.file is fd:
                        return watch.fd
            raise

    def _free_descriptor(self, fd: int | HasFileno) -> int:
        """Return the number of `fd`, which must not belong to a transport."""
        if isinstance(fd, int):
            number = fd
        else:
            try:
                number = int(fd.fileno())
            except (AttributeError, TypeError, ValueError):
                raise ValueError(f"Invalid file object: {fd!r} is neither a descriptor nor has one") from None
        if number < 0:
            raise ValueError(f"Invalid file descriptor: {number}")
        self._no_transport(number)
        return number

    def _no_transport(self, fd: int) -> None:
        """Raise RuntimeError if a transport uses a descriptor."""
        transport = self._transports.get(fd)
        if transport is not None and not transport.is_closing():
            if transport.has_descriptor():
                raise RuntimeError(f"File descriptor {fd!r} is used by transport {transport!r}")
            # It is somebody else's now, who cannot help it.
            transport.descriptor_gone()

    def _watch(self, fd: int) -> Watch:
        watch = self._watches.get(fd)
        return Watch(self, fd) if watch is None else watch

    def _watch_reader(self, fd: int, callback: Callable[..., object], args: tuple[Any, ...]) -> Handle:
        self._check_closed()
        watch = self._watch(fd)
        if watch.reader is not None:
            watch.reader.cancel()
        watch.reader = handle = Handle(callback, args, self, depth=FROM_ADD)
        self._begin_waiting(watch)
        return handle

    def _watch_writer(self, fd: int, callback: Callable[..., object], args: tuple[Any, ...]) -> Handle:
        self._check_closed()
        watch = self._watch(fd)
        if watch.writer is not None:
            watch.writer.cancel()
        watch.writer = handle = Handle(callback, args, self, depth=FROM_ADD)
        self._begin_waiting(watch)
        return handle

    def _begin_waiting(self, watch: Watch) -> None:
        watch.wait()
        # Only now: a descriptor that cannot be waited for has raised.
        self._watches[watch.fd] = watch

    def _unwatch_reader(self, fd: int) -> bool:
        watch = self._watches.get(fd)
        if self._closed or watch is None or watch.reader is None:
            return False
        watch.reader.cancel()
        watch.stop_reading()
        self._settle(watch)
        return True

    def _unwatch_writer(self, fd: int) -> bool:
        watch = self._watches.get(fd)
        if self._closed or watch is None or watch.writer is None:
            return False
        watch.writer.cancel()
        watch.stop_writing()
        self._settle(watch)
        return True

    def _settle(self, watch: Watch) -> None:
        if watch.reader is None and watch.writer is None:
            del self._watches[watch.fd]
            watch.forget()
