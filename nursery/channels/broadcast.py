"""Channels that give every value to every receiver.

Invariants.  1. A value goes to all subscriptions in one moment: while a sender waits for room nobody has its value, so
a cancelled `send` has sent nothing, and all receivers see the values in one and the same order.
2. Senders wait only while some subscription is full, in the order in which they came; whoever comes later waits behind
them.
3. The receivers of one subscription wait only while its buffer is empty; a value is given to the one that has waited
longest in the moment in which it is woken, so no cancellation can lose it.

What a slow receiver does to the others is the policy, chosen at opening: with "wait" it holds up the senders, with
"drop_oldest" it loses its own oldest values, which are counted.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass
from math import inf
from types import TracebackType
from typing import TYPE_CHECKING, Final, Generic, Literal, Protocol, Self, TypeAlias, TypeVar, final

import outcome

from ..kernel.current import current_task
from ..kernel.errors import ClosedResourceError, EndOfChannel, WouldBlock
from ..kernel.traps import BUDGET, Abort, RaiseCancel, cancel_shielded_checkpoint, checkpoint, park
from .abstract import ReceiveChannel, ReceiveType, SendChannel, SendType

if TYPE_CHECKING:
    from ..kernel.task import Task

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)

WhenFull: TypeAlias = Literal["wait", "drop_oldest"]

_CLOSED: Final = "this handle of the broadcast channel was closed"
_ENDED: Final = "no more values will come: every sending handle is closed and this subscription is drained"


@dataclass(frozen=True, slots=True)
class BroadcastChannelStatistics:
    """A snapshot of a broadcast channel.

    `max_buffer_size`: values that fit into one subscription; `longest_buffer`: values in the fullest one now;
    `open_send_channels`, `open_receive_channels`: handles that are not closed; `tasks_waiting_send`,
    `tasks_waiting_receive`: tasks asleep in `send` and `receive`.
    """

    max_buffer_size: int | float
    longest_buffer: int
    open_send_channels: int
    open_receive_channels: int
    tasks_waiting_send: int
    tasks_waiting_receive: int


class Taker(Protocol[T_contra]):
    """What waits for a value of a subscription: a task in `receive`, or one in `select`."""

    def give(self, value: T_contra) -> None:
        """Wake up with a value."""

    def refuse(self, error: BaseException) -> None:
        """Wake up with an error."""


class _Waiter(Generic[T]):
    """A task in `receive`."""

    __slots__ = ("_task",)

    def __init__(self, task: Task) -> None:
        self._task = task

    def give(self, value: T) -> None:
        self._task.outcome = outcome.Value(value)
        self._task.wake()

    def refuse(self, error: BaseException) -> None:
        self._task.wake_with_error(error)


class _State(Generic[T]):
    """What all handles of one broadcast channel share."""

    __slots__ = ("max_buffer_size", "open_senders", "senders", "subscriptions", "when_full")

    def __init__(self, max_buffer_size: int | float, when_full: WhenFull) -> None:
        self.max_buffer_size = max_buffer_size
        self.when_full = when_full
        self.open_senders = 0
        self.subscriptions: dict[BroadcastReceiveChannel[T], None] = {}
        # Who waits, in the order of arrival, with the value and the handle it is sent through.
        self.senders: OrderedDict[Task, tuple[T, BroadcastSendChannel[T]]] = OrderedDict()

    def has_room(self) -> bool:
        if self.when_full != "wait":
            return True
        return all(len(each._buffer) < self.max_buffer_size for each in self.subscriptions)

    def put(self, value: T) -> None:
        for each in tuple(self.subscriptions):
            each._put(value)

    def admit(self) -> None:
        """Let senders go on, as far as there is room now."""
        while self.senders and self.has_room():
            task, (value, _) = self.senders.popitem(last=False)
            self.put(value)
            task.wake()

    def abort_send(self, task: Task, raise_cancel: RaiseCancel) -> Abort:
        del self.senders[task]
        return Abort.SUCCEEDED

    def statistics(self) -> BroadcastChannelStatistics:
        return BroadcastChannelStatistics(
            max_buffer_size=self.max_buffer_size,
            longest_buffer=max((len(each._buffer) for each in self.subscriptions), default=0),
            open_send_channels=self.open_senders,
            open_receive_channels=len(self.subscriptions),
            tasks_waiting_send=len(self.senders),
            tasks_waiting_receive=sum(len(each._takers) for each in self.subscriptions),
        )


class BroadcastSendChannel(SendChannel[SendType]):
    """The sending handle of a broadcast channel; made by `open_broadcast_channel` and `clone`.

    Close it when nothing more will be sent, with `with`, `async with`, `close` or `aclose`.
    """

    __slots__ = ("__weakref__", "_closed", "_state")
    _state: _State[SendType]
    _closed: bool

    def __init__(self, *args: object) -> None:
        raise TypeError("BroadcastSendChannel has no public constructor: use open_broadcast_channel() or clone()")

    @classmethod
    def _create(cls, state: _State[SendType]) -> BroadcastSendChannel[SendType]:
        self = cls.__new__(cls)
        self._state = state
        self._closed = False
        state.open_senders += 1
        return self

    def statistics(self) -> BroadcastChannelStatistics:
        """Return a snapshot of the channel for debugging."""
        return self._state.statistics()

    def send_nowait(self, value: SendType) -> None:
        """Send a value to all receivers if none of them is full.

        Raises WouldBlock if it had to wait, ClosedResourceError if this handle is closed.  Not a cancel point.
        """
        self._check_open()
        state = self._state
        if state.senders or not state.has_room():
            raise WouldBlock
        state.put(value)

    async def send(self, value: SendType) -> None:
        """Send a value to all receivers, with the policy "wait" waiting until each has room for it.

        A cancel point; a cancelled call has sent nothing to anybody.  Raises ClosedResourceError if this handle is
        closed, before or during the wait.
        """
        task = current_task()
        if task.alert:
            task.raise_if_interrupted()
        try:
            self.send_nowait(value)
        except WouldBlock:
            state = self._state
            state.senders[task] = (value, self)
            await park(task, state.abort_send)
        else:
            await _pass_on(task)

    def subscribe(self) -> BroadcastReceiveChannel[SendType]:
        """Return a new receiver, which gets every value that is sent from now on.

        Raises ClosedResourceError if this handle is closed.  Not a cancel point.
        """
        self._check_open()
        return BroadcastReceiveChannel._create(self._state)

    def clone(self) -> BroadcastSendChannel[SendType]:
        """Return one more sending handle of the same channel, to be closed on its own.

        Raises ClosedResourceError if this handle is closed.  Not a cancel point.
        """
        self._check_open()
        return BroadcastSendChannel._create(self._state)

    def close(self) -> None:
        """Close this handle; idempotent.

        Tasks that wait in `send` on it get ClosedResourceError.  If it was the last sending handle, receivers get
        EndOfChannel once they have received what is left.  Not a cancel point.
        """
        if self._closed:
            return
        self._closed = True
        state = self._state
        for task in [task for task, (_, handle) in state.senders.items() if handle is self]:
            del state.senders[task]
            task.wake_with_error(ClosedResourceError(_CLOSED))
        state.open_senders -= 1
        if not state.open_senders:
            for subscription in tuple(state.subscriptions):
                subscription._refuse_all(EndOfChannel, _ENDED)

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
        return f"<broadcast send channel at {id(self):#x}{', closed' if self._closed else ''}>"

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedResourceError(_CLOSED)


class open_broadcast_channel(BroadcastSendChannel[T]):
    """Open a channel whose every receiver gets every value, and return its sending handle.

    Arguments: max_buffer_size is how many values a receiver may lag behind: an int of at least 1, math.inf for no
    limit.  when_full says what happens when a receiver lags further: "wait" lets `send` wait for it, so the slowest
    receiver sets the pace; "drop_oldest" drops the oldest value that this receiver has not received, for this receiver
    alone, and counts it in the receiver's `missed`.

    Receivers come from `subscribe()`, at any time, and get what is sent from then on.  What is sent while there is no
    receiver goes nowhere.

    Raises TypeError or ValueError for a size or a policy that is none.  Not a cancel point.

    Example::

        send = nursery.open_broadcast_channel[str](10)

        async def listener(name: str) -> None:
            with send.subscribe() as news:
                async for item in news:
                    print(name, item)
    """

    # A class, since only a class can be subscripted with a type; what the call returns is the handle.
    __slots__ = ()

    def __new__(  # type: ignore[misc]  # it returns a plain handle and not an instance, and is called as a function
        cls, max_buffer_size: int | float, *, when_full: WhenFull = "wait"
    ) -> BroadcastSendChannel[T]:
        if not isinstance(max_buffer_size, int) and max_buffer_size != inf:
            raise TypeError(f"max_buffer_size must be an integer or math.inf, not {max_buffer_size!r}")
        if max_buffer_size < 1:
            raise ValueError(f"max_buffer_size must be >= 1, not {max_buffer_size}: each receiver has a buffer")
        if when_full not in ("wait", "drop_oldest"):
            raise ValueError(f"when_full must be 'wait' or 'drop_oldest', not {when_full!r}")
        return BroadcastSendChannel._create(_State(max_buffer_size, when_full))

    def __init__(self, max_buffer_size: int | float, *, when_full: WhenFull = "wait") -> None: ...


@final
class BroadcastReceiveChannel(ReceiveChannel[ReceiveType]):
    """A subscription to a broadcast channel; made by `BroadcastSendChannel.subscribe`.

    `async for value in receiver:` receives until the end.  Close it when nothing more will be received: until then it
    holds up the senders, or collects what nobody wants.  Tasks that share one receiver share its values.

    Attributes: `missed`, how many values it has lost because it was too slow (policy "drop_oldest").
    """

    __slots__ = ("__weakref__", "_buffer", "_closed", "_state", "_takers", "missed")
    _state: _State[ReceiveType]
    _buffer: deque[ReceiveType]
    _takers: OrderedDict[Taker[ReceiveType], None]
    _closed: bool
    missed: int

    def __init__(self, *args: object) -> None:
        raise TypeError("BroadcastReceiveChannel has no public constructor: use BroadcastSendChannel.subscribe()")

    @classmethod
    def _create(cls, state: _State[ReceiveType]) -> BroadcastReceiveChannel[ReceiveType]:
        self = cls.__new__(cls)
        self._state = state
        self._buffer = deque()
        self._takers = OrderedDict()
        self._closed = False
        self.missed = 0
        state.subscriptions[self] = None
        return self

    def statistics(self) -> BroadcastChannelStatistics:
        """Return a snapshot of the channel for debugging."""
        return self._state.statistics()

    def receive_nowait(self) -> ReceiveType:
        """Receive a value if one is there.

        Raises WouldBlock if it had to wait, EndOfChannel if none will come, ClosedResourceError if this receiver is
        closed.  Not a cancel point.
        """
        if self._closed:
            raise ClosedResourceError(_CLOSED)
        if self._buffer:
            value = self._buffer.popleft()
            self._state.admit()
            return value
        if not self._state.open_senders:
            raise EndOfChannel(_ENDED)
        raise WouldBlock

    async def receive(self) -> ReceiveType:
        """Receive a value, waiting for one if none is there.

        A cancel point; a cancelled call has received nothing, and no value is lost.  Raises EndOfChannel if none will
        come, ClosedResourceError if this receiver is closed, before or during the wait.
        """
        task = current_task()
        if task.alert:
            task.raise_if_interrupted()
        try:
            value = self.receive_nowait()
        except WouldBlock:
            waiter: _Waiter[ReceiveType] = _Waiter(task)
            self._takers[waiter] = None

            def abort(task: Task, raise_cancel: RaiseCancel) -> Abort:
                del self._takers[waiter]
                return Abort.SUCCEEDED

            received: ReceiveType = await park(task, abort)
            return received
        await _pass_on(task)
        return value

    def close(self) -> None:
        """Close this receiver and forget what it has not received; idempotent.

        Tasks that wait in `receive` on it get ClosedResourceError; senders that waited for it go on.  Not a cancel
        point.
        """
        if self._closed:
            return
        self._closed = True
        self._buffer.clear()
        del self._state.subscriptions[self]
        self._refuse_all(ClosedResourceError, _CLOSED)
        self._state.admit()

    async def aclose(self) -> None:
        """Close this receiver as `close` does, and be a checkpoint."""
        self.close()
        await checkpoint()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<broadcast receive channel at {id(self):#x}{', closed' if self._closed else ''}>"

    def _put(self, value: ReceiveType) -> None:  # type: ignore[misc]  # called by the channel, which made it for T
        if self._takers:
            taker, _ = self._takers.popitem(last=False)
            taker.give(value)
            return
        if len(self._buffer) >= self._state.max_buffer_size:
            # Only with "drop_oldest": otherwise it would not have been sent yet.
            self._buffer.popleft()
            self.missed += 1
        self._buffer.append(value)

    def _refuse_all(self, error: type[Exception], text: str) -> None:
        while self._takers:
            taker, _ = self._takers.popitem(last=False)
            taker.refuse(error(text))


async def _pass_on(task: Task) -> None:
    """Be the schedule point of an operation that did not have to wait."""
    if task.budget > 0:
        task.budget -= 1
    else:
        task.budget = BUDGET
        await cancel_shielded_checkpoint()


__all__ = [
    "BroadcastChannelStatistics",
    "BroadcastReceiveChannel",
    "BroadcastSendChannel",
    "open_broadcast_channel",
]
