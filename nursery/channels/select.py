"""Receiving from whichever of several channels has something first.

Invariants.  1. Nothing is taken from a channel except for being returned: a call that was cancelled, or that raised,
has taken nothing.
2. A waiting `select` stands in the queue of each of its channels as a receiver like any other, by a candidate; in the
moment in which a value is given to one candidate the others leave their queues, so no second value can be given.
3. Of several channels that have something, the one is served that `select` has not served for the longest time.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar, overload
from weakref import WeakKeyDictionary

import outcome

from ..kernel.current import current_task
from ..kernel.errors import EndOfChannel, WouldBlock
from ..kernel.traps import BUDGET, Abort, RaiseCancel, cancel_shielded_checkpoint, park
from .broadcast import BroadcastReceiveChannel
from .memory import MemoryReceiveChannel

if TYPE_CHECKING:
    from ..kernel.task import Task

T = TypeVar("T")
T1 = TypeVar("T1")
T2 = TypeVar("T2")
T3 = TypeVar("T3")

Selectable: TypeAlias = MemoryReceiveChannel[T] | BroadcastReceiveChannel[T]
Handle: TypeAlias = "MemoryReceiveChannel[Any] | BroadcastReceiveChannel[Any]"

_ENDED: Final = "no more values will come from any of the channels"

# When each channel was last served, as a count of all that were; the smaller, the longer ago.
_served: WeakKeyDictionary[object, int] = WeakKeyDictionary()
_counter = count(1)


@overload
async def select(first: Selectable[T1], /) -> tuple[Selectable[T1], T1]: ...


@overload
async def select(
    first: Selectable[T1], second: Selectable[T2], /
) -> tuple[Selectable[T1], T1] | tuple[Selectable[T2], T2]: ...


@overload
async def select(
    first: Selectable[T1], second: Selectable[T2], third: Selectable[T3], /
) -> tuple[Selectable[T1], T1] | tuple[Selectable[T2], T2] | tuple[Selectable[T3], T3]: ...


@overload
async def select(*channels: Selectable[T]) -> tuple[Selectable[T], T]: ...


async def select(*channels: Handle) -> tuple[Handle, object]:
    """Receive from the first of several channels that has a value, and return (channel, value).

    Arguments: channels are receiving handles of memory channels and broadcast channels.

    If several have a value, the one is taken whose turn was longest ago.  A channel that has ended is left out.

    A cancel point; a cancelled call has received nothing, and no value is lost.  Raises EndOfChannel when all of the
    channels have ended, ClosedResourceError if one of the handles is closed, before or during the wait, ValueError
    without a channel or with the same one twice, TypeError for what is no such handle.

    Example::

        while True:
            channel, value = await nursery.select(orders, ticks)
            if channel is orders:
                fill(value)
    """
    _check(channels)
    task = current_task()
    if task.alert:
        task.raise_if_interrupted()
    open_channels: list[Handle] = []
    for channel in sorted(channels, key=_turn) if len(channels) > 1 else channels:
        try:
            value = channel.receive_nowait()
        except WouldBlock:
            open_channels.append(channel)
        except EndOfChannel:
            pass
        else:
            if task.budget > 0:
                task.budget -= 1
            else:
                task.budget = BUDGET
                await cancel_shielded_checkpoint()
            break
    else:
        if not open_channels:
            raise EndOfChannel(_ENDED)
        channel, value = await _Selection(task, open_channels).wait()
    _served[channel] = next(_counter)
    return channel, value


def _turn(channel: Handle) -> int:
    return _served.get(channel, 0)


def _check(channels: tuple[Handle, ...]) -> None:
    """Refuse what cannot be selected from; no channel is touched before all are known to be good."""
    if not channels:
        raise ValueError("select() needs at least one channel to receive from")
    for channel in channels:
        if not isinstance(channel, MemoryReceiveChannel | BroadcastReceiveChannel):
            raise TypeError(f"select() takes receiving handles of memory and broadcast channels, not {channel!r}")
    if len(set(channels)) < len(channels):
        raise ValueError("select() was given the same channel twice")
    for channel in channels:
        if channel._closed:
            # Raises ClosedResourceError, in the channel's own words.
            channel.receive_nowait()


class _Selection:
    """One wait for several channels."""

    __slots__ = ("_candidates", "_task")

    def __init__(self, task: Task, channels: list[Handle]) -> None:
        self._task = task
        self._candidates: list[_MemoryCandidate | _BroadcastCandidate] = [
            _MemoryCandidate(self, channel)
            if isinstance(channel, MemoryReceiveChannel)
            else _BroadcastCandidate(self, channel)
            for channel in channels
        ]

    async def wait(self) -> tuple[Handle, object]:
        for candidate in self._candidates:
            candidate.enter()
        given: tuple[Handle, object] = await park(self._task, self._abort)
        return given

    def _abort(self, task: Task, raise_cancel: RaiseCancel) -> Abort:
        self._leave_all()
        return Abort.SUCCEEDED

    def _leave_all(self) -> None:
        for candidate in self._candidates:
            candidate.leave()
        self._candidates.clear()

    def give(self, candidate: _MemoryCandidate | _BroadcastCandidate, value: object) -> None:
        """Wake the task with a value that was given to one of its candidates, which has left its queue already."""
        self._candidates.remove(candidate)
        self._leave_all()
        self._task.outcome = outcome.Value((candidate.channel, value))
        self._task.wake()

    def refuse(self, candidate: _MemoryCandidate | _BroadcastCandidate, error: BaseException) -> None:
        """Be told that a channel will give nothing to a candidate, which has left its queue already."""
        self._candidates.remove(candidate)
        if isinstance(error, EndOfChannel):
            if self._candidates:
                return
            error = EndOfChannel(_ENDED)
        self._leave_all()
        self._task.wake_with_error(error)


class _BroadcastCandidate:
    """Stands in the queue of a subscription for a task that waits for several channels."""

    __slots__ = ("_selection", "channel")

    def __init__(self, selection: _Selection, channel: BroadcastReceiveChannel[Any]) -> None:
        self._selection = selection
        self.channel = channel

    def enter(self) -> None:
        self.channel._takers[self] = None

    def leave(self) -> None:
        del self.channel._takers[self]

    def give(self, value: object) -> None:
        self._selection.give(self, value)

    def refuse(self, error: BaseException) -> None:
        self._selection.refuse(self, error)


class _MemoryCandidate:
    """Stands in the queue of a memory channel for a task that waits for several channels.

    A memory channel treats it like a waiting task.  `send` wakes tasks in line, for speed: it puts the value into
    `given`, clears the task's `abort` and appends it to `runner.queue`.  So a candidate has those attributes, and is
    its own runner and queue: being appended is what tells it that it was given a value
    (tests/channels/test_select.py).
    """

    __slots__ = ("_selection", "abort", "channel", "custom_sleep_data")

    def __init__(self, selection: _Selection, channel: MemoryReceiveChannel[Any]) -> None:
        self._selection = selection
        self.channel = channel
        self.custom_sleep_data = channel
        self.abort: object = None

    def enter(self) -> None:
        receivers: dict[Any, None] = self.channel._state.receivers
        receivers[self] = None
        # So that closing the handle looks for it.
        self.channel._sleepers += 1

    def leave(self) -> None:
        receivers: dict[Any, None] = self.channel._state.receivers
        del receivers[self]
        self.channel._sleepers -= 1

    @property
    def runner(self) -> _MemoryCandidate:
        return self

    @property
    def queue(self) -> _MemoryCandidate:
        return self

    def append(self, candidate: _MemoryCandidate) -> None:
        self.wake()

    def wake(self) -> None:
        given: dict[Any, object] = self.channel._state.given
        self.channel._sleepers -= 1
        self._selection.give(self, given.pop(self))

    def wake_with_error(self, error: BaseException) -> None:
        self.channel._sleepers -= 1
        self._selection.refuse(self, error)


__all__ = ["Selectable", "select"]
