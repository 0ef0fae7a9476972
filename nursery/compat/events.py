"""asyncio.events, by its names; of what makes a loop, ours."""

from __future__ import annotations

import sys
from asyncio import events as stdlib_events
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .typed import AbstractEventLoop as AbstractEventLoop
    from .typed import AbstractServer as AbstractServer
    from .typed import Handle as Handle
    from .typed import TimerHandle as TimerHandle
    from .typed import _get_running_loop as _get_running_loop
    from .typed import _set_running_loop as _set_running_loop
    from .typed import get_event_loop as get_event_loop
    from .typed import get_event_loop_policy as get_event_loop_policy  # type: ignore[deprecated]  # as in asyncio
    from .typed import get_running_loop as get_running_loop
    from .typed import new_event_loop as new_event_loop
    from .typed import set_event_loop as set_event_loop
    from .typed import set_event_loop_policy as set_event_loop_policy  # type: ignore[deprecated]  # as in asyncio

    if sys.version_info < (3, 14):
        from .typed import AbstractEventLoopPolicy as AbstractEventLoopPolicy
        from .typed import get_child_watcher as get_child_watcher  # type: ignore[deprecated]  # as in asyncio
        from .typed import set_child_watcher as set_child_watcher  # type: ignore[deprecated]  # as in asyncio
else:
    from .loop import new_event_loop as new_event_loop
    from .policy import get_event_loop as get_event_loop

    def __getattr__(name: str) -> object:
        """Find what asyncio.events has beside."""
        return getattr(stdlib_events, name)
