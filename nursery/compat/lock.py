"""asyncio's locks, on lots.

Invariant: a lock, a semaphore is handed on in the order of arrival, one turn after its release: who was woken has it
when it runs.  If a woken task is interrupted before that, the next one is woken.  `locked()` answers what asyncio's
answers in between.

Each object belongs to the loop on which a task first waits for it.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Final, Literal, TypeVar

from .waiting import NO_WAIT, Lot, running_loop

T = TypeVar("T")

__all__ = ("Barrier", "BoundedSemaphore", "Condition", "Event", "Lock", "Semaphore")


class _LoopBound:
    """What belongs to one loop from its first wait on."""

    _loop: asyncio.AbstractEventLoop | None = None

    def _get_loop(self) -> asyncio.AbstractEventLoop:
        """Check that the running loop is the one, and return it."""
        loop = running_loop()
        if self._loop is None:
            self._loop = loop
        if loop is not self._loop:
            raise RuntimeError(f"{self!r} is bound to a different event loop: it was waited for in {self._loop!r}")
        return loop


class _ContextManager:
    """`async with lock:` acquires, and releases at the end.

    The two methods are no coroutines: those would cost as much as all the rest of a lock that is free.
    """

    def __init_subclass__(cls) -> None:
        # The flat forms in this file do the work of `acquire` and `release` themselves: not in a subclass that has its
        # own (tests/compat/test_locks.py).
        super().__init_subclass__()
        if _definer(cls, "acquire") < _definer(cls, "__aenter__"):
            cls.__aenter__ = _ContextManager.__aenter__  # type: ignore[method-assign]  # of this subclass
        if _definer(cls, "release") < _definer(cls, "__aexit__"):
            cls.__aexit__ = _ContextManager.__aexit__  # type: ignore[method-assign]  # of this subclass

    async def acquire(self) -> Literal[True]:
        raise NotImplementedError

    def release(self) -> None:
        raise NotImplementedError

    def __aenter__(self) -> Awaitable[None]:
        return self._enter()

    async def _enter(self) -> None:
        await self.acquire()

    def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> Awaitable[None]:
        self.release()
        return NO_WAIT


def _definer(cls: type, name: str) -> int:
    """Return how far up, in the order of `cls.__mro__`, a method is defined."""
    return next(distance for distance, ancestor in enumerate(cls.__mro__) if name in ancestor.__dict__)


FREE: Final = 0
HELD: Final = 1
# Somebody was woken to take it, and has not run yet.
OFFERED: Final = 2


class Lock(_ContextManager, _LoopBound):
    """A lock for tasks, handed on in the order of arrival.

    FREE -> HELD -> FREE if nobody waits, OFFERED otherwise -> HELD by whoever was woken.  So nobody waits for a lock
    that is FREE.

    Example::

        async with lock:
            ...

    Source: asyncio's documentation, `asyncio.Lock`.
    """

    def __init__(self) -> None:
        self._waiters = Lot()
        self._state = FREE

    def __repr__(self) -> str:
        return _describe(self, "locked" if self._state == HELD else "unlocked", len(self._waiters))

    def locked(self) -> bool:
        """Return whether the lock is held."""
        return self._state == HELD

    # flat: once for every lock taken
    def __aenter__(self) -> Awaitable[None]:
        if self._state:
            return self._enter()
        self._state = HELD
        return NO_WAIT

    # flat: once for every lock taken
    def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> Awaitable[None]:
        if self._state != HELD or self._waiters.waiters:
            self.release()
        else:
            self._state = FREE
        return NO_WAIT

    # flat: once for every lock taken
    async def acquire(self) -> Literal[True]:
        """Wait until the lock is free, and take it.

        A cancel point if it waits; a cancelled call holds nothing.
        """
        if self._state:
            if self._loop is None or self._loop is not asyncio._get_running_loop():
                self._get_loop()
            await self._waiters.wait(self._decline)
        self._state = HELD
        return True

    def _decline(self) -> None:
        if self._state == OFFERED:
            self._state = FREE
            self._offer()

    def _offer(self) -> None:
        if self._waiters.wake_one():
            self._state = OFFERED

    # flat: once for every lock taken
    def release(self) -> None:
        """Give the lock back, and wake the task that has waited longest; RuntimeError if it is not held."""
        if self._state != HELD:
            raise RuntimeError("Lock is not acquired: release() belongs to an acquire() before it")
        self._state = FREE
        if self._waiters.waiters:
            self._offer()


class Event(_LoopBound):
    """A flag that tasks wait for.

    Source: asyncio's documentation, `asyncio.Event`.
    """

    def __init__(self) -> None:
        self._waiters = Lot()
        self._value = False

    def __repr__(self) -> str:
        return _describe(self, "set" if self._value else "unset", len(self._waiters))

    def is_set(self) -> bool:
        """Return whether the flag is up."""
        return self._value

    def set(self) -> None:
        """Raise the flag and wake everybody who waits."""
        if not self._value:
            self._value = True
            if self._waiters.waiters:
                self._waiters.wake_all()

    def clear(self) -> None:
        """Take the flag down."""
        self._value = False

    # flat: once for every wait
    async def wait(self) -> Literal[True]:
        """Wait until the flag is up.  A cancel point if it waits."""
        if not self._value:
            if self._loop is None or self._loop is not asyncio._get_running_loop():
                self._get_loop()
            await self._waiters.wait()
        return True


class Condition(_ContextManager, _LoopBound):
    """A lock with a place to wait for news about what it guards.

    Arguments: lock is the Lock to use, a new one by default.
    Source: asyncio's documentation, `asyncio.Condition`.
    """

    def __init__(self, lock: Lock | None = None) -> None:
        self._lock = lock = Lock() if lock is None else lock
        self.locked = lock.locked
        self._waiters = Lot()

    def __repr__(self) -> str:
        return _describe(self, "locked" if self.locked() else "unlocked", len(self._waiters))

    # flat: once for every lock taken
    def __aenter__(self) -> Awaitable[None]:
        lock = self._lock
        if type(lock) is not Lock or lock._state:
            return self._enter()
        lock._state = HELD
        return NO_WAIT

    # flat: once for every lock taken
    def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> Awaitable[None]:
        lock = self._lock
        if type(lock) is not Lock or lock._state != HELD or lock._waiters.waiters:
            self.release()
        else:
            lock._state = FREE
        return NO_WAIT

    async def acquire(self) -> Literal[True]:
        """Wait until the lock is free, and take it."""
        return await self._lock.acquire()

    def release(self) -> None:
        """Give the lock back."""
        self._lock.release()

    # flat: once for every news that somebody waits for
    async def wait(self) -> Literal[True]:
        """Release the lock, wait to be notified, and take the lock again.

        A cancel point; also a cancelled call holds the lock again when it raises, and passes the notification on if it
        had one.  Raises RuntimeError if the lock is not held.
        """
        lock = self._lock
        plain = type(lock) is Lock
        if not (lock._state == HELD if plain else lock.locked()):
            raise RuntimeError("cannot wait on un-acquired lock: use 'async with condition:' around it")
        if self._loop is None or self._loop is not asyncio._get_running_loop():
            self._get_loop()
        if plain and not lock._waiters.waiters:
            lock._state = FREE
        else:
            lock.release()
        try:
            await self._waiters.wait(self._pass_on)
        except BaseException:
            await self._retake()
            raise
        if plain and not lock._state:
            lock._state = HELD
        else:
            await self._retake()
        return True

    def _pass_on(self) -> None:
        self._waiters.wake_one()

    async def _retake(self) -> None:
        """Take the lock whatever happens; an interruption meanwhile is raised afterwards."""
        interruption: BaseException | None = None
        while True:
            try:
                await self._lock.acquire()
                break
            except asyncio.CancelledError as exc:
                interruption = exc
        if interruption is not None:
            try:
                # A notification that came with it is for somebody else.
                self._pass_on()
                raise interruption
            finally:
                # The error's traceback holds this frame.
                interruption = None

    async def wait_for(self, predicate: Callable[[], T]) -> T:
        """Wait until `predicate()` is true, asking after each notification; return what it gave."""
        result = predicate()
        while not result:
            await self.wait()
            result = predicate()
        return result

    def notify(self, n: int = 1) -> None:
        """Wake `n` tasks that wait; they run once they have the lock.  RuntimeError if the lock is not held."""
        if not self.locked():
            raise RuntimeError("cannot notify on un-acquired lock: use 'async with condition:' around it")
        for _ in range(n):
            if not self._waiters.wake_one():
                break

    def notify_all(self) -> None:
        """Wake every task that waits."""
        self.notify(len(self._waiters))


class Semaphore(_ContextManager, _LoopBound):
    """A number of permits, handed out in the order of arrival.

    Arguments: value is how many there are at first.  Raises ValueError for a negative one.

    While anybody waits, there are no permits, or one was just offered to somebody who has not run yet.
    Source: asyncio's documentation, `asyncio.Semaphore`.
    """

    def __init__(self, value: int = 1) -> None:
        if value < 0:
            raise ValueError(f"Semaphore initial value must be >= 0, not {value!r}")
        self._waiters = Lot()
        self._value = value
        # Permits that were given to tasks which have not run yet.
        self._offered = 0

    def __repr__(self) -> str:
        state = "locked" if self.locked() else f"unlocked, value:{self._value}"
        return _describe(self, state, len(self._waiters))

    def locked(self) -> bool:
        """Return whether `acquire` would have to wait."""
        return self._value == 0 or self._offered > 0

    # flat: once for every permit
    def __aenter__(self) -> Awaitable[None]:
        if self._offered or self._value <= 0:
            return self._enter()
        self._value -= 1
        return NO_WAIT

    # flat: once for every permit
    def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> Awaitable[None]:
        self._value += 1
        if self._waiters.waiters:
            self._offer()
        return NO_WAIT

    # flat: once for every permit
    async def acquire(self) -> Literal[True]:
        """Wait for a permit, and take it.

        A cancel point if it waits; a cancelled call holds nothing.
        """
        if self._value > 0 and not self._offered:
            self._value -= 1
            return True
        if self._loop is None or self._loop is not asyncio._get_running_loop():
            self._get_loop()
        await self._waiters.wait(self._give_back)
        self._offered -= 1
        if self._value > 0:
            # There are more, released while this one was on its way.
            self._offer()
        return True

    def _give_back(self) -> None:
        self._offered -= 1
        self._value += 1
        self._offer()

    def _offer(self) -> None:
        while self._value > 0 and self._waiters.wake_one():
            self._value -= 1
            self._offered += 1

    # flat: once for every permit
    def release(self) -> None:
        """Give a permit back, or add one, and wake the task that has waited longest."""
        self._value += 1
        if self._waiters.waiters:
            self._offer()


class BoundedSemaphore(Semaphore):
    """A semaphore that refuses more permits than it had at first.

    Source: asyncio's documentation, `asyncio.BoundedSemaphore`.
    """

    def __init__(self, value: int = 1) -> None:
        self._bound_value = value
        super().__init__(value)

    def release(self) -> None:
        """Give a permit back; ValueError if none was taken."""
        if self._value >= self._bound_value:
            raise ValueError("BoundedSemaphore released too many times")
        super().release()


class _Phase(enum.Enum):
    FILLING = "filling"
    DRAINING = "draining"
    RESETTING = "resetting"
    BROKEN = "broken"


# Bound once: reading a member of an enum costs more than a global.
FILLING: Final[_Phase] = _Phase.FILLING
DRAINING: Final[_Phase] = _Phase.DRAINING
RESETTING: Final[_Phase] = _Phase.RESETTING
BROKEN: Final[_Phase] = _Phase.BROKEN


class Barrier(_LoopBound):
    """A place where tasks wait until enough of them have come.

    Arguments: parties is how many.  Raises ValueError if that is not positive.

    FILLING until `parties` tasks wait, then DRAINING until all have left, and FILLING again; RESETTING while those that
    `reset` sent away leave, BROKEN by `abort`.
    Source: asyncio's documentation, `asyncio.Barrier`.
    """

    def __init__(self, parties: int) -> None:
        if parties < 1:
            raise ValueError(f"parties must be >= 1, not {parties!r}")
        self._cond = Condition()
        self._parties = parties
        self._state = FILLING
        self._count = 0

    def __repr__(self) -> str:
        info = f"{self._state.value}"
        if not self.broken:
            info += f", waiters:{self.n_waiting}/{self.parties}"
        return f"<{type(self).__module__}.{type(self).__qualname__} object at {id(self):#x} [{info}]>"

    async def __aenter__(self) -> int:
        # The position in the barrier.
        return await self.wait()

    async def __aexit__(self, *args: object) -> None:
        pass

    async def wait(self) -> int:
        """Wait for the others; return the position, unlike in each task, from 0 to parties - 1.

        A cancel point.  Raises BrokenBarrierError if the barrier is broken or reset meanwhile.
        """
        async with self._cond:
            # Those of the last round leave first.
            while self._state is DRAINING or self._state is RESETTING:
                await self._cond.wait()
            if self._state is BROKEN:
                raise asyncio.BrokenBarrierError("Barrier aborted")
            try:
                index = self._count
                self._count += 1
                if index + 1 == self._parties:
                    self._state = DRAINING
                    self._cond.notify_all()
                else:
                    while self._state is FILLING:
                        await self._cond.wait()
                    if self._state is not DRAINING:
                        raise asyncio.BrokenBarrierError("Abort or reset of barrier")
                return index
            finally:
                self._count -= 1
                if self._count == 0:
                    if self._state is not BROKEN:
                        self._state = FILLING
                    self._cond.notify_all()

    async def reset(self) -> None:
        """Send everybody who waits away, with BrokenBarrierError, and be as new."""
        async with self._cond:
            self._state = RESETTING if self._count > 0 else FILLING
            self._cond.notify_all()

    async def abort(self) -> None:
        """Break the barrier: who waits, now or later, gets BrokenBarrierError."""
        async with self._cond:
            self._state = BROKEN
            self._cond.notify_all()

    @property
    def parties(self) -> int:
        """How many tasks it takes."""
        return self._parties

    @property
    def n_waiting(self) -> int:
        """How many tasks wait for the others."""
        return self._count if self._state is FILLING else 0

    @property
    def broken(self) -> bool:
        """Whether the barrier was aborted."""
        return self._state is BROKEN


def _describe(this: Any, state: str, waiters: int) -> str:
    if waiters:
        state += f", waiters:{waiters}"
    return f"<{type(this).__module__}.{type(this).__qualname__} object at {id(this):#x} [{state}]>"


