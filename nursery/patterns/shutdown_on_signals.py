"""From SIGTERM to a graceful shutdown, in one line.

Invariant: while the block runs the signals are ours, and each is acted on once; when it is left the handlers from
before are back, and a signal that came too late to be acted on is raised again for them.
"""

from __future__ import annotations

import signal
import threading
from collections import deque
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final

from ..kernel.errors import RunFinishedError
from ..kernel.inbox import current_run_token
from ..kernel.scope import CancelScope
from .shutdown import shutdown

DEFAULT_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def shutdown_on_signals(*signals: signal.Signals | int, grace: float) -> Generator[CancelScope, None, None]:
    """Return a context manager whose block is shut down when a signal arrives.

    Arguments: signals are those to act on, SIGTERM and SIGINT if none are given.  grace is how many seconds of the
    run's clock the block may take from then on, see `shutdown`.

    The first signal asks the block to close, with `shutdown(scope, grace=grace)`; a second one cancels it at once.  It
    gives the block's scope.  In a block that was ended by the cancellation, `scope.cancelled_caught` is True.

    Raises RuntimeError outside the main thread, ValueError for a negative grace.

    Example::

        async def main() -> None:
            with nursery.shutdown_on_signals(grace=10):
                await serve()
    """
    if not grace >= 0:
        raise ValueError(f"grace must be non-negative, in seconds, not {grace!r}")
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("shutdown_on_signals() works in the main thread alone: that is where Python handles signals")
    token = current_run_token()
    pending: deque[int] = deque()
    requested = False

    def arrived() -> None:
        nonlocal requested
        if not pending:
            # The block was left meanwhile.
            return
        name = signal.Signals(pending.popleft()).name
        if requested:
            shutdown(scope, grace=0, reason=f"received a second signal, {name}")
        else:
            requested = True
            shutdown(scope, grace=grace, reason=f"received {name}")

    def handle(signum: int, frame: FrameType | None) -> None:
        pending.append(signum)
        try:
            token.run_sync_soon(arrived)
        except RunFinishedError:
            pass

    with CancelScope() as scope:
        before: dict[int, Any] = {}
        try:
            for number in dict.fromkeys(signals or DEFAULT_SIGNALS):
                before[number] = signal.signal(number, handle)
            yield scope
        finally:
            for number, handler in before.items():
                # None: it was not set from Python, and cannot be set back.
                signal.signal(number, signal.SIG_DFL if handler is None else handler)
            for number in tuple(pending):
                pending.popleft()
                signal.raise_signal(number)


__all__ = ["shutdown_on_signals"]
