"""Streams without any buffer: sending takes as long as receiving does.

Invariant: the pipe holds bytes only while a `send_all` is under way, and they are what is left of its data.  So at any
moment at most one task is on either side, and each waits for the other or for an end to be closed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import final

from ..kernel.errors import BrokenResourceError, ClosedResourceError
from ..kernel.parking import ParkingLot
from ..kernel.traps import checkpoint
from ..streams.abstract import ReceiveStream, SendStream
from ..streams.stapled import StapledStream
from .memory_streams import OneAtATime, checked_max_bytes, stapled_pair


class _Pipe:
    """What the two ends share."""

    def __init__(self) -> None:
        self.offered = bytearray()
        self.receiver_waits = False
        self.sending_end_closed = False
        self.receiving_end_closed = False
        self.sending = OneAtATime("sending to this stream")
        self.receiving = OneAtATime("receiving from this stream")
        self._watchers = ParkingLot()

    def changed(self) -> None:
        self._watchers.unpark_all()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until the condition holds or an end is closed; a checkpoint in any case."""
        while not (condition() or self.sending_end_closed or self.receiving_end_closed):
            await self._watchers.park()
        await checkpoint()


@final
class LockstepSendStream(SendStream):
    """The sending end of a pair made by `lockstep_stream_one_way_pair`."""

    def __init__(self, pipe: _Pipe) -> None:
        self._pipe = pipe

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send the data, and wait until all of it was received.

        A cancel point; if cancelled, what was not received by then never will be.  Raises ClosedResourceError,
        BrokenResourceError, BusyResourceError.
        """
        pipe = self._pipe
        with pipe.sending:
            self._check_open()
            if pipe.receiving_end_closed:
                raise BrokenResourceError("the receiving end of this lockstep stream was closed")
            pipe.offered += data
            pipe.changed()
            try:
                await pipe.until(lambda: not pipe.offered)
                self._check_open()
                if pipe.offered:
                    raise BrokenResourceError("the receiving end of this lockstep stream was closed meanwhile")
            finally:
                pipe.offered.clear()

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until somebody waits in `receive_some`, or the receiving end is closed.

        A cancel point.  Raises ClosedResourceError, BusyResourceError.
        """
        pipe = self._pipe
        with pipe.sending:
            self._check_open()
            await pipe.until(lambda: pipe.receiver_waits)
            self._check_open()

    def _check_open(self) -> None:
        if self._pipe.sending_end_closed:
            raise ClosedResourceError("this lockstep stream was closed")

    def close(self) -> None:
        """Close this end: the other receives its end.  Not a cancel point."""
        self._pipe.sending_end_closed = True
        self._pipe.changed()

    async def aclose(self) -> None:
        """Close this end as `close` does, and be a checkpoint."""
        self.close()
        await checkpoint()


@final
class LockstepReceiveStream(ReceiveStream):
    """The receiving end of a pair made by `lockstep_stream_one_way_pair`."""

    def __init__(self, pipe: _Pipe) -> None:
        self._pipe = pipe

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """Wait for data and return what is being sent; empty means the end.

        Arguments: max_bytes is the most to return, at least 1.  A cancel point; if cancelled, nothing was taken.
        Raises ValueError, ClosedResourceError, BusyResourceError.
        """
        pipe = self._pipe
        with pipe.receiving:
            max_bytes = checked_max_bytes(max_bytes)
            self._check_open()
            pipe.receiver_waits = True
            pipe.changed()
            try:
                await pipe.until(lambda: bool(pipe.offered))
            finally:
                pipe.receiver_waits = False
            self._check_open()
            received = bytes(pipe.offered[:max_bytes])
            del pipe.offered[:max_bytes]
            pipe.changed()
            return received

    def _check_open(self) -> None:
        if self._pipe.receiving_end_closed:
            raise ClosedResourceError("this lockstep stream was closed")

    def close(self) -> None:
        """Close this end: the other cannot send any more.  Not a cancel point."""
        self._pipe.receiving_end_closed = True
        self._pipe.changed()

    async def aclose(self) -> None:
        """Close this end as `close` does, and be a checkpoint."""
        self.close()
        await checkpoint()


def lockstep_stream_one_way_pair() -> tuple[LockstepSendStream, LockstepReceiveStream]:
    """Make two streams, the first of which sends to the second; `send_all` waits until all was received.

    Good for testing flow control at its hardest, and as "clogged" streams for `check_one_way_stream`.  Both ends also
    have a plain `close()`.

    Source: trio's documentation, `trio.testing.lockstep_stream_one_way_pair`.
    """
    pipe = _Pipe()
    return LockstepSendStream(pipe), LockstepReceiveStream(pipe)


def lockstep_stream_pair() -> tuple[
    StapledStream[LockstepSendStream, LockstepReceiveStream], StapledStream[LockstepSendStream, LockstepReceiveStream]
]:
    """Make two connected two-way streams; each `send_all` waits until all was received.

    Example::

        left, right = nursery.testing.lockstep_stream_pair()
        async with nursery.open_nursery() as n:
            n.start_soon(left.send_all, b"hello")
            assert await right.receive_some() == b"hello"

    Source: trio's documentation, `trio.testing.lockstep_stream_pair`.
    """
    return stapled_pair(lockstep_stream_one_way_pair)


__all__ = [
    "LockstepReceiveStream",
    "LockstepSendStream",
    "lockstep_stream_one_way_pair",
    "lockstep_stream_pair",
]
