"""install: make our loop the one that asyncio itself makes.

Invariant: after `install()` every name in asyncio that makes a loop makes ours, in whichever way this version of Python
lets one say so: a policy as long as policies exist, `new_event_loop` after; and the classes that libraries name
themselves, asyncio.SelectorEventLoop and asyncio.EventLoop, are ours too.  What imported one of those names before
`install()` keeps what it imported.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import warnings
from asyncio import events
from selectors import BaseSelector
from typing import TYPE_CHECKING, Any

from .loop import EventLoop, new_event_loop

if TYPE_CHECKING or sys.version_info < (3, 14):

    class EventLoopPolicy(asyncio.DefaultEventLoopPolicy):
        """asyncio's default policy, making our loops."""

        def new_event_loop(self) -> asyncio.AbstractEventLoop:
            """Return a new loop of ours."""
            return new_event_loop()

elif hasattr(events, "_AbstractEventLoopPolicy"):
    # 3.14 and 3.15: the public names still work but warn.
    class EventLoopPolicy(asyncio.unix_events._DefaultEventLoopPolicy):
        def new_event_loop(self) -> asyncio.AbstractEventLoop:
            return new_event_loop()


class _EveryLoop(type):
    """Lets the name that stands for asyncio's loop answer for all that take its place."""

    def __instancecheck__(cls, instance: object) -> bool:
        kinds = (EventLoop, asyncio.unix_events._UnixSelectorEventLoop) if cls is SelectorEventLoop else ()
        return isinstance(instance, kinds) or super().__instancecheck__(instance)

    def __subclasscheck__(cls, subclass: type) -> bool:
        kinds = (EventLoop, asyncio.unix_events._UnixSelectorEventLoop) if cls is SelectorEventLoop else ()
        return issubclass(subclass, kinds) or super().__subclasscheck__(subclass)


class SelectorEventLoop(EventLoop, metaclass=_EveryLoop):
    """What asyncio.SelectorEventLoop is after `install()`: ours, but asyncio's own for whoever brings a selector.

    Libraries name that class to get a loop with `add_reader`, as every loop on Unix has; that is ours.  A selector
    given is meant to be used, and ours has none: then it is the loop that asyncio had before.  `isinstance` holds for
    every loop of ours, and for asyncio's own.

    Source: asyncio's documentation, `asyncio.SelectorEventLoop`.
    """

    def __new__(cls, selector: BaseSelector | None = None) -> Any:
        """Make ours, or asyncio's."""
        if selector is not None and cls is SelectorEventLoop:
            return asyncio.unix_events._UnixSelectorEventLoop(selector)
        return super().__new__(cls)

    def __init__(self, selector: BaseSelector | None = None) -> None:
        if selector is not None:
            raise TypeError("a loop of nursery takes no selector: it has a driver of its own")
        super().__init__()


def install() -> None:
    """Let asyncio make our loops from now on, in this process; a second call changes nothing.

    asyncio.run, asyncio.Runner, asyncio.new_event_loop and the event loop policy make ours, and so do
    asyncio.SelectorEventLoop, unless it is given a selector, and asyncio.EventLoop.

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
    for module in (asyncio, asyncio.unix_events):
        for name in ("SelectorEventLoop", "EventLoop"):
            if hasattr(module, name):
                vars(module)[name] = SelectorEventLoop


def get_event_loop() -> asyncio.AbstractEventLoop:
    """Return the running loop, or else the one set for this thread; in the main thread one of ours is made if need be.

    Making one warns, from Python 3.12 on, and is an error from 3.14 on.
    Source: asyncio's documentation, `asyncio.get_event_loop`.
    """
    running = asyncio._get_running_loop()
    if running is not None:
        return running
    if sys.version_info < (3, 14):
        policy: Any = events.get_event_loop_policy()  # type: ignore[deprecated]  # guarded by the version
        # asyncio's own would make asyncio's own.
        plain = policy.__class__ is asyncio.DefaultEventLoopPolicy
        local = policy._local if plain else None
        if (
            local is not None
            and local._loop is None
            and not local._set_called
            and threading.current_thread() is threading.main_thread()
        ):
            if sys.version_info >= (3, 12):
                warnings.warn("There is no current event loop", DeprecationWarning, stacklevel=2)
            policy.set_event_loop(new_event_loop())
    return asyncio.get_event_loop()
