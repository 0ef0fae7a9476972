"""What all parts of the event loop share: the run it drives, and the questions each part asks first.

Invariant: a loop has one kernel run from its birth to its close.  `running_in` is the thread that is inside
`run_forever`, None while the run is paused.  Every task made by `create_task` is a child of `root_group`, a nursery
that lives as long as the run and is never cancelled by a failure.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from threading import get_ident
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ...kernel.io.interest import Driver
    from ...kernel.nursery import Nursery
    from ...kernel.runner import Runner
    from ..events import Handle
    from .descriptors import Watch


class LoopState(asyncio.AbstractEventLoop):
    """The attributes of the loop; the parts derive from it."""

    runner: Runner
    # Where transports receive: a message up to this size is read by one system call.
    read_buffer: memoryview
    io: Driver
    root_group: Nursery
    running_in: int | None = None

    # Under these names libraries look at them.
    slow_callback_duration: float = 0.1
    _closed: bool = False
    _debug: bool = False
    _stopping: bool = False
    _default_executor: ThreadPoolExecutor | None = None
    _executor_shutdown_called: bool = False
    _asyncgens_shutdown_called: bool = False
    _signal_handlers: dict[int, Handle]
    _watches: dict[int, Watch]
    _transports: Any

    def _check_closed(self) -> None:
        if self._closed:
            raise RuntimeError("Event loop is closed")

    def _check_thread(self) -> None:
        """Raise RuntimeError in another thread than the one that runs the loop (asked in debug mode)."""
        if self.running_in is not None and self.running_in != get_ident():
            raise RuntimeError(
                "Non-thread-safe operation invoked on an event loop other than the current one: from another thread "
                "use call_soon_threadsafe"
            )

    @property
    def _ready(self) -> Any:
        """What waits to be run: truth value and length are meant."""
        return self.runner.queue

    def get_debug(self) -> bool:
        """Return whether debug mode is on."""
        return self._debug

    def set_debug(self, enabled: bool) -> None:
        """Turn debug mode on or off: handles and tasks then remember where they were made."""
        self._debug = enabled

    def is_closed(self) -> bool:
        """Return whether `close` was called."""
        return self._closed

    def is_running(self) -> bool:
        """Return whether the loop is inside `run_forever`."""
        return self.running_in is not None
