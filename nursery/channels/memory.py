"""Channels between the tasks of one run.

Invariants.  1. Receivers wait only while the buffer is empty and no sender waits; senders wait only while the buffer is
full.  So at most one kind waits at any moment, except that both may be present for one moment inside one call.
2. A value is in exactly one place: with a waiting sender, in the buffer, or in `given`, for the one receiver that it
was given to.  It is given in the moment in which the receiver is woken; from then on no cancellation can take that
receiver out of its sleep, so no value is lost.  No object is made for the journey.
3. A waiting task knows in `custom_sleep_data` through which handle it waits: closing a handle wakes those and no
others.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass
from math import inf
from types import TracebackType
from typing import TYPE_CHECKING, Final, Generic, Self, TypeVar, final

from ..kernel.current import current, current_task
from ..kernel.errors import BrokenResourceError, ClosedResourceError, EndOfChannel, WouldBlock
from ..kernel.traps import (
    BUDGET,
    Abort,
    RaiseCancel,
    cancel_shielded_checkpoint,
    checkpoint,
    checkpoint_if_cancelled,
    park,
)
from .abstract import ReceiveChannel, ReceiveType, SendChannel, SendType

if TYPE_CHECKING:
    from ..kernel.task import Task

T = TypeVar("T")

_CLOSED: Final = "this handle of the channel was closed"
_BROKEN: Final = "nobody can receive from the channel any more: every receiving handle is closed"
_ENDED: Final = "no more values will come: every sending handle is closed and the buffer is empty"


@dataclass(frozen=True, slots=True)
class MemoryChannelStatistics:
    """A snapshot of a channel.

    `current_buffer_used`: values in the buffer now; `max_buffer_size`: how many fit; `open_send_channels`,
    `open_receive_channels`: handles that are not closed; `tasks_waiting_send`, `tasks_waiting_receive`: tasks asleep
    in `send` and `receive`; `peak_buffer_used`: the most values that were ever in the buffer at once.
    """

    current_buffer_used: int
    max_buffer_size: int | float
    open_send_channels: int
    open_receive_channels: int
    tasks_waiting_send: int
    tasks_waiting_receive: int
    peak_buffer_used: int


class _State(Generic[T]):
    """What all handles of one channel share."""

    __slots__ = ("data", "given", "max_buffer_size", "open_receivers", "open_senders", "peak", "receivers", "senders")

    def __init__(self, max_buffer_size: int | float) -> None:
        self.max_buffer_size = max_buffer_size
        self.data: deque[T] = deque()
        self.peak = 0
        self.open_senders = 0
        self.open_receivers = 0
        # Who waits, in the order of arrival; senders with what they send.
        self.senders: OrderedDict[Task, T] = OrderedDict()
        self.receivers: OrderedDict[Task, None] = OrderedDict()
        # Receivers that were woken with a value and have not run since.
        self.given: dict[Task, T] = {}

    def statistics(self) -> MemoryChannelStatistics:
        return MemoryChannelStatistics(
            current_buffer_used=len(self.data),
            max_buffer_size=self.max_buffer_size,
            open_send_channels=self.open_senders,
            open_receive_channels=self.open_receivers,
            tasks_waiting_send=len(self.senders),
            tasks_waiting_receive=len(self.receivers),
            peak_buffer_used=self.peak,
        )


def _abort_send(task: Task, raise_cancel: RaiseCancel) -> Abort:
    del task.custom_sleep_data._state.senders[task]
    return Abort.SUCCEEDED


def _abort_receive(task: Task, raise_cancel: RaiseCancel) -> Abort:
    del task.custom_sleep_data._state.receivers[task]
    return Abort.SUCCEEDED


class open_memory_channel(tuple["MemorySendChannel[T]", "MemoryReceiveChannel[T]"]):
    """Open a channel between tasks and return its two handles, `(send_channel, receive_channel)`.

    Arguments: max_buffer_size is how many values may lie in the channel before `send` waits: an int, 0 to hand each
    value over in person, math.inf for no limit.  `open_memory_channel[int](0)` says what type the values have.

    Raises TypeError if it is neither, ValueError if it is negative.

    Both handles can be cloned; the channel ends for receivers when every sending handle is closed, and breaks for
    senders when every receiving handle is.  Values are received in the order in which they were sent, each by one
    receiver, and those who wait are served in the order in which they came.

    Example::

        send, receive = nursery.open_memory_channel[str](0)

        async def producer() -> None:
            async with send:
                await send.send("hello")

        async def consumer() -> None:
            async for message in receive:
                print(message)

    Source: trio's documentation, `trio.open_memory_channel`.
    """

    # A class, since only a class can be subscripted with a type; what the call returns is a plain pair.
    __slots__ = ()

    def __new__(  # type: ignore[misc]  # it returns the pair and not an instance, and is called as a function
        cls, max_buffer_size: int | float
    ) -> tuple[MemorySendChannel[T], MemoryReceiveChannel[T]]:
        if not isinstance(max_buffer_size, int) and max_buffer_size != inf:
            raise TypeError(f"max_buffer_size must be an integer or math.inf, not {max_buffer_size!r}")
        if max_buffer_size < 0:
            raise ValueError(f"max_buffer_size must be >= 0, not {max_buffer_size}")
        state: _State[T] = _State(max_buffer_size)
        return MemorySendChannel._create(state), MemoryReceiveChannel._create(state)

    def __init__(self, max_buffer_size: int | float) -> None: ...


@final
class MemorySendChannel(SendChannel[SendType]):
    """The sending handle of a memory channel; made by `open_memory_channel` and `clone`.

    Close it when nothing more will be sent, with `with`, `async with`, `close` or `aclose`.

    Source: trio's documentation, `trio.MemorySendChannel`.
    """

    __slots__ = ("__weakref__", "_closed", "_sleepers", "_state")
    _state: _State[SendType]
    _closed: bool
    # How many calls of send() on this handle have slept and not returned yet: if none, close() need not look for them.
    _sleepers: int

    def __init__(self, *args: object) -> None:
        raise TypeError("MemorySendChannel has no public constructor: use open_memory_channel() or clone()")

    @classmethod
    def _create(cls, state: _State[SendType]) -> MemorySendChannel[SendType]:
        self = cls.__new__(cls)
        self._state = state
        self._closed = False
        self._sleepers = 0
        state.open_senders += 1
        return self

    def statistics(self) -> MemoryChannelStatistics:
        """Return a snapshot of the channel for debugging."""
        return self._state.statistics()

    # flat: send() does the same in line
    def send_nowait(self, value: SendType) -> None:
        """Send a value if it need not wait: a receiver waits, or there is room in the buffer.

        Raises WouldBlock if it had to wait, ClosedResourceError if this handle is closed, BrokenResourceError if every
        receiving handle is.  Not a cancel point.
        Source: trio's documentation, `trio.MemorySendChannel.send_nowait`.
        """
        state = self._state
        if self._closed:
            raise ClosedResourceError(_CLOSED)
        if state.receivers:
            receiver, _nothing = state.receivers.popitem(last=False)
            state.given[receiver] = value
            receiver.wake()
        elif not state.open_receivers:
            raise BrokenResourceError(_BROKEN)
        elif (used := len(state.data)) < state.max_buffer_size:
            state.data.append(value)
            if used >= state.peak:
                state.peak = used + 1
        else:
            raise WouldBlock

    # flat: what pipelines of tasks do most
    async def send(self, value: SendType) -> None:
        """Send a value, waiting until a receiver takes it or there is room in the buffer.

        A cancel point; a cancelled call has sent nothing.  Raises ClosedResourceError if this handle is closed, before
        or during the wait, BrokenResourceError if every receiving handle is.
        Source: trio's documentation, `trio.abc.SendChannel.send`.
        """
        runner = current.runner
        task = None if runner is None else runner.current
        if task is None:
            task = current_task()
        if task.alert:
            await checkpoint_if_cancelled()
            # Not cancelled, so a test counts checkpoints: let it see the schedule point as well.
            task.budget = 0
        state = self._state
        if self._closed:
            raise ClosedResourceError(_CLOSED)
        if state.receivers:
            receiver, _nothing = state.receivers.popitem(last=False)
            state.given[receiver] = value
            receiver.abort = None
            receiver.runner.queue.append(receiver)
        elif not state.open_receivers:
            raise BrokenResourceError(_BROKEN)
        elif (used := len(state.data)) < state.max_buffer_size:
            state.data.append(value)
            if used >= state.peak:
                state.peak = used + 1
        else:
            state.senders[task] = value
            task.custom_sleep_data = self
            self._sleepers += 1
            try:
                await park(task, _abort_send)
            finally:
                self._sleepers -= 1
            return
        if task.budget > 0:
            task.budget -= 1
        else:
            task.budget = BUDGET
            await cancel_shielded_checkpoint()

    def clone(self) -> MemorySendChannel[SendType]:
        """Return one more sending handle of the same channel, to be closed on its own.

        Raises ClosedResourceError if this handle is closed.
        Source: trio's documentation, `trio.MemorySendChannel.clone`.
        """
        if self._closed:
            raise ClosedResourceError(_CLOSED)
        return MemorySendChannel._create(self._state)

    def close(self) -> None:
        """Close this handle; idempotent.

        Tasks that wait in `send` on it get ClosedResourceError.  If it was the last sending handle, receivers that wait
        get EndOfChannel.  Not a cancel point.
        Source: trio's documentation, `trio.MemorySendChannel.close`.
        """
        if self._closed:
            return
        self._closed = True
        state = self._state
        if self._sleepers:
            for task in [task for task in state.senders if task.custom_sleep_data is self]:
                del state.senders[task]
                task.wake_with_error(ClosedResourceError(_CLOSED))
        state.open_senders -= 1
        if not state.open_senders:
            while state.receivers:
                receiver, _nothing = state.receivers.popitem(last=False)
                receiver.wake_with_error(EndOfChannel(_ENDED))

    async def aclose(self) -> None:
        """Close this handle as `close` does, and be a checkpoint."""
        self.close()
        await checkpoint()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return _describe("send", self, self._state, self._closed)


@final
class MemoryReceiveChannel(ReceiveChannel[ReceiveType]):
    """The receiving handle of a memory channel; made by `open_memory_channel` and `clone`.

    `async for value in receive_channel:` receives until the end.  Close it when nothing more will be received, with
    `with`, `async with`, `close` or `aclose`.

    Source: trio's documentation, `trio.MemoryReceiveChannel`.
    """

    __slots__ = ("__weakref__", "_closed", "_sleepers", "_state")
    _state: _State[ReceiveType]
    _closed: bool
    # How many calls of receive() on this handle have slept and not returned yet.
    _sleepers: int

    def __init__(self, *args: object) -> None:
        raise TypeError("MemoryReceiveChannel has no public constructor: use open_memory_channel() or clone()")

    @classmethod
    def _create(cls, state: _State[ReceiveType]) -> MemoryReceiveChannel[ReceiveType]:
        self = cls.__new__(cls)
        self._state = state
        self._closed = False
        self._sleepers = 0
        state.open_receivers += 1
        return self

    def statistics(self) -> MemoryChannelStatistics:
        """Return a snapshot of the channel for debugging."""
        return self._state.statistics()

    # flat: receive() and __anext__() stand on it
    def receive_nowait(self) -> ReceiveType:
        """Receive a value if one is there.

        Raises WouldBlock if it had to wait, EndOfChannel if none will come, ClosedResourceError if this handle is
        closed.  Not a cancel point.
        Source: trio's documentation, `trio.MemoryReceiveChannel.receive_nowait`.
        """
        if self._closed:
            raise ClosedResourceError(_CLOSED)
        state = self._state
        if state.senders:
            # The buffer is full, or has no room at all: what is received makes room for what the sender holds.
            sender, value = state.senders.popitem(last=False)
            sender.wake()
            if state.data:
                state.data.append(value)
                value = state.data.popleft()
            return value
        if state.data:
            return state.data.popleft()
        if not state.open_senders:
            raise EndOfChannel(_ENDED)
        raise WouldBlock

    # flat: what pipelines of tasks do most
    async def receive(self) -> ReceiveType:
        """Receive a value, waiting for one if none is there.

        A cancel point; a cancelled call has received nothing, and no value is lost.  Raises EndOfChannel if none will
        come, ClosedResourceError if this handle is closed, before or during the wait.
        Source: trio's documentation, `trio.abc.ReceiveChannel.receive`.
        """
        runner = current.runner
        task = None if runner is None else runner.current
        if task is None:
            task = current_task()
        if task.alert:
            await checkpoint_if_cancelled()
            # Not cancelled, so a test counts checkpoints: let it see the schedule point as well.
            task.budget = 0
        state = self._state
        if self._closed:
            raise ClosedResourceError(_CLOSED)
        if state.senders:
            # As in receive_nowait.
            sender, value = state.senders.popitem(last=False)
            sender.abort = None
            sender.runner.queue.append(sender)
            if state.data:
                state.data.append(value)
                value = state.data.popleft()
        elif state.data:
            value = state.data.popleft()
        elif not state.open_senders:
            raise EndOfChannel(_ENDED)
        else:
            state.receivers[task] = None
            task.custom_sleep_data = self
            self._sleepers += 1
            try:
                await park(task, _abort_receive)
            finally:
                self._sleepers -= 1
            return state.given.pop(task)
        if task.budget > 0:
            task.budget -= 1
        else:
            task.budget = BUDGET
            await cancel_shielded_checkpoint()
        return value

    def clone(self) -> MemoryReceiveChannel[ReceiveType]:
        """Return one more receiving handle of the same channel, to be closed on its own.

        Each value goes to one receiver: clones share the values, they do not each get a copy.  Raises
        ClosedResourceError if this handle is closed.
        Source: trio's documentation, `trio.MemoryReceiveChannel.clone`.
        """
        if self._closed:
            raise ClosedResourceError(_CLOSED)
        return MemoryReceiveChannel._create(self._state)

    def close(self) -> None:
        """Close this handle; idempotent.

        Tasks that wait in `receive` on it get ClosedResourceError.  If it was the last receiving handle, senders that
        wait get BrokenResourceError, and what is in the buffer is dropped.  Not a cancel point.
        Source: trio's documentation, `trio.MemoryReceiveChannel.close`.
        """
        if self._closed:
            return
        self._closed = True
        state = self._state
        if self._sleepers:
            for task in [task for task in state.receivers if task.custom_sleep_data is self]:
                del state.receivers[task]
                task.wake_with_error(ClosedResourceError(_CLOSED))
        state.open_receivers -= 1
        if not state.open_receivers:
            while state.senders:
                sender, _value = state.senders.popitem(last=False)
                sender.wake_with_error(BrokenResourceError(_BROKEN))
            state.data.clear()

    async def aclose(self) -> None:
        """Close this handle as `close` does, and be a checkpoint."""
        self.close()
        await checkpoint()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return _describe("receive", self, self._state, self._closed)


def _describe(kind: str, handle: object, state: _State[T], closed: bool) -> str:
    end = ", closed" if closed else ""
    return f"<{kind} channel at {id(handle):#x}, using buffer at {id(state):#x}{end}>"


__all__ = ["MemoryChannelStatistics", "MemoryReceiveChannel", "MemorySendChannel", "open_memory_channel"]
