"""What all parts of the event loop share: the run it drives, and the questions each part asks first.

Invariant: a loop has one kernel run from its birth to its close.  `running_in` is the thread that is inside
`run_forever`, None while the run is paused.  Every task made by `create_task` is a child of `root_group`, a nursery
that lives as long as the run and is never cancelled by a failure.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import get_ident
from typing import TYPE_CHECKING, Any

from ...kernel.current import current

if TYPE_CHECKING:
    from ...kernel.io.interest import Driver
    from ...kernel.nursery import Nursery
    from ...kernel.runner import Runner
    from ..handles import Handle
    from ..transports.outbox import Outbox
    from .descriptors import Watch


class LoopState(asyncio.AbstractEventLoop):
    """The attributes of the loop; the parts derive from it."""

    runner: Runner
    # Where transports receive: a message up to this size is read by one system call.
    read_buffer: memoryview
    io: Driver
    outbox: Outbox
    root_group: Nursery
    running_in: int | None = None

    # Under these names libraries look at them.
    slow_callback_duration: float = 0.1
    _closed: bool = False
    _debug: bool = False
    # Closed, or in debug mode: one question for both on the paths that must be flat.
    _careful: bool = False
    _stopping: bool = False
    # What is being run, in debug mode.
    _current_handle: object = None
    # Under run(strict=True): takes what would be reported, or answers that it does not.
    _keep_failure: Callable[[dict[str, Any]], bool] | None = None
    _default_executor: ThreadPoolExecutor | None = None
    _executor_shutdown_called: bool = False
    _asyncgens_shutdown_called: bool = False
    _signal_handlers: dict[int, Handle]
    _watches: dict[int, Watch]
    _transports: Any
    # Under run(strict=True): the failures that somebody still holds, and may ask for.
    _unretrieved: weakref.WeakSet[Any] | None = None

    def _check_closed(self) -> None:
        if self._closed:
            raise RuntimeError("Event loop is closed")

    def _check_callback(self, callback: object, method: str) -> None:
        """Raise TypeError for what cannot be a callback (asked in debug mode); see callbacks.py."""
        raise NotImplementedError

    def _look_again(self) -> None:
        """Have events collected in the next turn; see descriptors.py."""
        raise NotImplementedError

    def _check_thread(self) -> None:
        """Raise RuntimeError in another thread than the one that runs the loop (asked in debug mode)."""
        if self.running_in is not None and self.running_in != get_ident():
            raise RuntimeError(
                "Non-thread-safe operation invoked on an event loop other than the current one: from another thread "
                "use call_soon_threadsafe"
            )

    @property
    def _thread_id(self) -> int | None:
        return self.running_in

    @property
    def _ready(self) -> Any:
        """What waits to be run: truth value and length are meant."""
        return self.runner.queue

    def get_debug(self) -> bool:
        """Return whether debug mode is on."""
        return self._debug

    def is_closed(self) -> bool:
        """Return whether `close` was called."""
        return self._closed

    def is_running(self) -> bool:
        """Return whether the loop is inside `run_forever`."""
        if current.runner is self.runner and not self._closed:
            # An eager C task asks this, and nothing else, right before its first step, which runs inside the step of
            # the task that makes it and must not be taken for that: whoever needs the current task now asks asyncio
            # which one it is (record_of_current; tests/compat/test_ctasks.py).
            self.runner.current = None
        return self.running_in is not None
