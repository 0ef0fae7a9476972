"""Flow control of a transport: when its protocol is told to stop and to go on writing.

Invariant: after each change of the buffer `_protocol_paused` says whether the protocol was told to pause; it is told
once above the high mark, and once when the buffer is at or below the low mark again.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from ..loop.state import LoopState

HIGH_MARK: Final = 64 * 1024


class FlowControl(asyncio.Transport):
    """The two marks, and the calls of pause_writing and resume_writing.

    It derives from all of Transport, as asyncio's does: what only writes says NotImplementedError to who wants to read.
    """

    # Slots for speed: asyncio's class has one, and with it the interpreter (3.13) specialises no access to a plain
    # attribute.  A dict is there for users who put something on a transport.
    __slots__ = ("__dict__", "__weakref__", "_high", "_loop", "_low", "_protocol", "_protocol_paused")

    _loop: LoopState
    _protocol: asyncio.BaseProtocol
    # Under this name asyncio's own code asks.
    _protocol_paused: bool
    _high: int
    _low: int

    def __init__(self, extra: dict[str, Any] | None = None) -> None:
        super().__init__(extra)
        self._protocol_paused = False
        self._high = HIGH_MARK
        self._low = HIGH_MARK // 4

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Return the low and the high mark, in bytes."""
        return self._low, self._high

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set the marks, in bytes; what is not given is derived from the other (low is a quarter of high)."""
        if high is None:
            high = HIGH_MARK if low is None else 4 * low
        if low is None:
            low = high // 4
        if not high >= low >= 0:
            raise ValueError(f"high ({high!r}) must be >= low ({low!r}) must be >= 0")
        self._high = high
        self._low = low
        self._maybe_pause()

    def _maybe_pause(self) -> None:
        if self._protocol_paused or self.get_write_buffer_size() <= self._high:
            return
        self._protocol_paused = True
        self._tell("pause_writing")

    def _maybe_resume(self) -> None:
        if self._protocol_paused and self.get_write_buffer_size() <= self._low:
            self._protocol_paused = False
            self._tell("resume_writing")

    def _tell(self, method: str) -> None:
        try:
            getattr(self._protocol, method)()
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            context: dict[str, Any] = {
                "message": f"protocol.{method}() failed",
                "exception": exc,
                "transport": self,
                "protocol": self._protocol,
            }
            self._loop.call_exception_handler(context)
