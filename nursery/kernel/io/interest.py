"""What one run knows of one descriptor.

Invariant: `readable` is False only if a system call has shown that nothing is there (EAGAIN, or a short read on a
stream without a hang-up) and no event has come since; so whoever finds it False may sleep, and whoever finds it True
tries the system call first.  The same holds for `writable`.  At most one waiter a direction.

A descriptor's number may be closed and used again.  Each registration is therefore an object of its own; an
event that was fetched for a registration that is `closed` meanwhile is dropped (tests/kernel/test_io.py).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from ..current import current_runner, current_task
from ..errors import BusyResourceError, ClosedResourceError
from ..traps import Abort, RaiseCancel, park

if TYPE_CHECKING:
    from ..task import Task


class Waiter(Protocol):
    """What can wait for a descriptor: a task, or a callback of a foreign dialect."""

    abort: Any

    def wake_with_error(self, error: BaseException) -> None:
        """Queue the waiter, with the news that its descriptor is gone."""


class HasFileno(Protocol):
    """Anything with a `fileno()` method."""

    def fileno(self) -> int: ...


@dataclass(frozen=True, slots=True)
class IOStatistics:
    """How many tasks wait for descriptors, and which driver they wait on."""

    tasks_waiting_read: int
    tasks_waiting_write: int
    backend: str


# Functions, not methods: a task that sleeps has its interest in `custom_sleep_data`, which costs less than binding a
# method for each wait (3 % of the instructions that an echo of 1 KiB takes).


def abort_read(task: Task, raise_cancel: RaiseCancel) -> Abort:
    """Take a cancelled reader away from the interest that it waits for."""
    task.custom_sleep_data.reader = None
    return Abort.SUCCEEDED


def abort_write(task: Task, raise_cancel: RaiseCancel) -> Abort:
    """Take a cancelled writer away from the interest that it waits for."""
    task.custom_sleep_data.writer = None
    return Abort.SUCCEEDED


class Interest:
    """One registration of a descriptor in one run, for the life of the descriptor."""

    __slots__ = ("arm", "closed", "fd", "hangup", "listener", "readable", "reader", "registered", "writable", "writer")

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.readable = True
        self.writable = True
        # The peer has shut down or reset: a short read no longer means "drained", no further edge will come.
        self.hangup = False
        self.closed = False
        self.reader: Waiter | None = None
        self.writer: Waiter | None = None
        # Called at each event instead of waking a waiter (the bell).
        self.listener: Callable[[], None] | None = None
        # What a level-triggered driver wants to be told before somebody waits; None on epoll.
        self.arm: Callable[[Interest], None] | None = None
        # The events a level-triggered driver has registered.
        self.registered = 0

    async def until_readable(self) -> None:
        """Sleep until an event says that reading may succeed.  A cancel point."""
        if self.reader is not None:
            raise BusyResourceError(f"another task is already reading from descriptor {self.fd}")
        task = current_task()
        self.reader = task
        if self.arm is not None:
            self.arm(self)
        task.custom_sleep_data = self
        await park(task, abort_read)

    async def until_writable(self) -> None:
        """Sleep until an event says that writing may succeed.  A cancel point."""
        if self.writer is not None:
            raise BusyResourceError(f"another task is already writing to descriptor {self.fd}")
        task = current_task()
        self.writer = task
        if self.arm is not None:
            self.arm(self)
        task.custom_sleep_data = self
        await park(task, abort_write)

    def __repr__(self) -> str:
        return f"<Interest fd={self.fd} readable={self.readable} writable={self.writable} closed={self.closed}>"


Events: TypeAlias = "list[tuple[Interest, int]]"


class Driver(ABC):
    """The table of interests, and what the two drivers have in common."""

    backend: str

    def __init__(self, queue: deque[Any]) -> None:
        self.queue = queue
        self.table: dict[int, Interest] = {}

    # What the loop asks

    @abstractmethod
    def fetch(self, timeout: float) -> Events:
        """Ask the system for events, waiting for `timeout` seconds at most; the only call safe in a helper thread."""

    @abstractmethod
    def dispatch(self, events: Events) -> None:
        """Set the readiness and wake the waiters that `events` concern."""

    def poll(self, timeout: float) -> None:
        """Do both in one go; for a driver that sleeps in the run's own thread."""
        self.dispatch(self.fetch(timeout))

    @abstractmethod
    def close(self) -> None:
        """Give the system's object back."""

    # What streams ask

    @abstractmethod
    def open(self, fd: int) -> Interest:
        """Register `fd` for the life of its owner, who must call `forget` before closing it."""

    @abstractmethod
    def level(self, fd: int) -> Interest:
        """Return an interest in `fd` that will report the readiness that holds at this moment, and later ones."""

    @abstractmethod
    def unregister(self, interest: Interest) -> None:
        """Take a registration out of the system's object."""

    def listen(self, fd: int, listener: Callable[[], None]) -> None:
        """Call `listener` at each event on `fd`, for the whole run."""
        interest = self.open(fd)
        interest.listener = listener

    def forget(self, interest: Interest) -> None:
        """End a registration: whoever waits gets ClosedResourceError, fetched events are dropped."""
        if interest.closed:
            return
        interest.closed = True
        if self.table.get(interest.fd) is interest:
            del self.table[interest.fd]
            self.unregister(interest)
        for waiter in (interest.reader, interest.writer):
            if waiter is not None:
                waiter.wake_with_error(ClosedResourceError("another task closed this descriptor"))
        interest.reader = interest.writer = None

    def statistics(self) -> IOStatistics:
        """Count who waits."""
        interests = self.table.values()
        return IOStatistics(
            tasks_waiting_read=sum(1 for interest in interests if interest.reader or interest.listener),
            tasks_waiting_write=sum(1 for interest in interests if interest.writer is not None),
            backend=self.backend,
        )

    def check(self) -> None:
        """Raise AssertionError if an invariant of the table is broken (kernel self-check)."""
        for fd, interest in self.table.items():
            assert interest.fd == fd, f"{interest!r} is in the table under {fd}"
            assert not interest.closed, f"{interest!r} is closed and in the table"
            for waiter in (interest.reader, interest.writer):
                assert waiter is None or waiter.abort is not None, f"{waiter!r} waits for {interest!r}, but not parked"

    # For a driver's dispatch

    def wake_reader(self, interest: Interest) -> None:
        reader = interest.reader
        if reader is not None:
            interest.reader = None
            reader.abort = None
            self.queue.append(reader)

    def wake_writer(self, interest: Interest) -> None:
        writer = interest.writer
        if writer is not None:
            interest.writer = None
            writer.abort = None
            self.queue.append(writer)


def descriptor(fd: int | HasFileno) -> int:
    """Return the number of a descriptor given as a number or as an object with `fileno()`."""
    return fd if isinstance(fd, int) else fd.fileno()


async def wait_readable(fd: int | HasFileno) -> None:
    """Sleep until `fd` is readable now; returns soon if it is already.

    Level semantics: what is unread stays readable.  One waiter a direction: a second gets BusyResourceError.
    Raises ClosedResourceError if another task announces with `notify_closing` that it closes `fd`, OSError if `fd`
    cannot be waited for.  A cancel point; nothing is read.

    Source: trio's documentation, `trio.lowlevel.wait_readable`.
    """
    number = descriptor(fd)
    driver = current_runner().io
    interest = driver.table.get(number)
    if interest is not None and interest.reader is not None:
        raise BusyResourceError(f"another task is already reading from descriptor {number}")
    await driver.level(number).until_readable()


async def wait_writable(fd: int | HasFileno) -> None:
    """Sleep until `fd` is writable now; returns soon if it is already.

    As `wait_readable`, for the other direction.
    Source: trio's documentation, `trio.lowlevel.wait_writable`.
    """
    number = descriptor(fd)
    driver = current_runner().io
    interest = driver.table.get(number)
    if interest is not None and interest.writer is not None:
        raise BusyResourceError(f"another task is already writing to descriptor {number}")
    await driver.level(number).until_writable()


def notify_closing(fd: int | HasFileno) -> None:
    """Announce that `fd` is about to be closed: whoever waits for it gets ClosedResourceError.

    Source: trio's documentation, `trio.lowlevel.notify_closing`.
    """
    driver = current_runner().io
    interest = driver.table.get(descriptor(fd))
    if interest is not None:
        driver.forget(interest)
