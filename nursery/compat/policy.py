"""install: make our loop the one that asyncio itself makes.

Invariant: after `install()` asyncio.run, asyncio.Runner, asyncio.new_event_loop and get_event_loop make our loops, in
whichever way this version of Python lets one say so: a policy as long as policies exist, `new_event_loop` after.
"""

from __future__ import annotations

import asyncio
import sys
from asyncio import events
from typing import TYPE_CHECKING, Any

from .loop import new_event_loop

if TYPE_CHECKING or sys.version_info < (3, 14):

    class EventLoopPolicy(asyncio.DefaultEventLoopPolicy):
        """asyncio's default policy, making our loops."""

        def new_event_loop(self) -> asyncio.AbstractEventLoop:
            """Return a new loop of ours."""
            return new_event_loop()

elif hasattr(events, "_AbstractEventLoopPolicy"):
    # 3.14 and 3.15: the public names still work but warn.
    class EventLoopPolicy(asyncio.unix_events._UnixDefaultEventLoopPolicy):
        def new_event_loop(self) -> asyncio.AbstractEventLoop:
            return new_event_loop()


def install() -> None:
    """Let asyncio make our loops from now on, in this process.

    Example::

        nursery.compat.install()
        asyncio.run(main())
    """
    set_policy: Any = getattr(events, "_set_event_loop_policy", None) or getattr(events, "set_event_loop_policy", None)
    if set_policy is not None:
        set_policy(EventLoopPolicy())
    else:
        for module in (events, asyncio):
            vars(module)["new_event_loop"] = new_event_loop
