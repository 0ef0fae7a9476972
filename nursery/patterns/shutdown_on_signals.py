"""From SIGTERM to a graceful shutdown, in one line.

Invariant: while the block runs the signals are ours, and each is acted on once; when it is left the handlers from
before are back, and a signal that came too late to be acted on is raised again for them.
"""

from __future__ import annotations

import signal
import threading
from collections import deque
from types import FrameType, TracebackType
from typing import Any, Final, final

from ..kernel.errors import RunFinishedError
from ..kernel.inbox import current_run_token
from ..kernel.scope import CancelScope

DEFAULT_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


@final
class shutdown_on_signals:
    """A context manager whose block is shut down when a signal arrives.

    Arguments: signals are those to act on, SIGTERM and SIGINT if none are given.  grace is how many seconds of the
    run's clock the block may take from then on, see `CancelScope.shutdown`.

    The first signal asks the block to close, with `scope.shutdown(grace=grace)`; a second one cancels it at once.  It
    gives the block's scope; if the cancellation was what ended the block, `scope.cancelled_caught` is True.

    Raises ValueError for a negative grace; on entry RuntimeError outside the main thread.

    Example::

        async def main() -> None:
            with nursery.shutdown_on_signals(grace=10):
                await serve()
    """

    # A class, not a generator function: type checkers are to know that it may end the block.
    __slots__ = ("_before", "_grace", "_pending", "_requested", "_scope", "_signals", "_token")

    def __init__(self, *signals: signal.Signals | int, grace: float) -> None:
        if not grace >= 0:
            raise ValueError(f"grace must be non-negative, in seconds, not {grace!r}")
        self._signals = tuple(dict.fromkeys(signals or DEFAULT_SIGNALS))
        self._grace = grace
        self._scope = CancelScope()
        self._requested = False
        # Signals that have arrived and were not acted on yet.
        self._pending: deque[int] = deque()
        self._before: dict[int, Any] = {}

    def __enter__(self) -> CancelScope:
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError(
                "shutdown_on_signals() works in the main thread alone: that is where Python handles signals"
            )
        self._token = current_run_token()
        scope = self._scope.__enter__()
        try:
            for number in self._signals:
                self._before[number] = signal.signal(number, self._handle)
        except BaseException as exc:
            # A number that is no signal, or one that cannot be handled.
            self._put_back()
            self._scope.__exit__(type(exc), exc, exc.__traceback__)
            raise
        return scope

    def __exit__(
        self, etype: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> bool:
        try:
            self._put_back()
            while self._pending:
                signal.raise_signal(self._pending.popleft())
        except BaseException as raised:
            # By the handler from before: KeyboardInterrupt, most likely.
            self._scope.__exit__(type(raised), raised, raised.__traceback__)
            raise
        return self._scope.__exit__(etype, exc, tb)

    def _put_back(self) -> None:
        for number, handler in self._before.items():
            # None: it was not set from Python, and cannot be set back.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        self._pending.append(signum)
        try:
            self._token.run_sync_soon(self._act)
        except RunFinishedError:
            pass

    def _act(self) -> None:
        """Act on one signal, in the run."""
        if not self._pending:
            # The block was left meanwhile.
            return
        number = self._pending.popleft()
        try:
            name = signal.Signals(number).name
        except ValueError:
            # One of the real-time signals, of which only the first and the last have names.
            name = f"signal {number}"
        if self._requested:
            self._scope.shutdown(grace=0, reason=f"received a second signal, {name}")
        else:
            self._requested = True
            self._scope.shutdown(grace=self._grace, reason=f"received {name}")


__all__ = ["shutdown_on_signals"]
