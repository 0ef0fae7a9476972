"""The event loop: asyncio's AbstractEventLoop on a run of the kernel, one concern a file.

    state          what all parts share          batch         the step
    running        run, pause, close             callbacks     call_soon, timers, tasks
    errors         the exception handler         generators    async generators
    executors      threads, name look-up         signals       signal handlers
    descriptors    add_reader, add_writer        sockets       sock_*
    connections    TCP clients and servers       server        what create_server returns
    missing        what is still to come
"""

from __future__ import annotations

from .callbacks import Callbacks
from .connections import Connections
from .errors import Errors
from .missing import Missing
from .running import Running
from .signals import Signals


class EventLoop(Signals, Running, Callbacks, Errors, Connections, Missing):
    """An asyncio event loop that is a run of the kernel.

    Arguments: clock replaces the system's monotonic clock (for tests).

    Source: asyncio's documentation, "Event Loop".
    """


def new_event_loop() -> EventLoop:
    """Return a new event loop; whoever asks for it closes it.

    Example::

        asyncio.run(main(), loop_factory=nursery.compat.new_event_loop)
    """
    return EventLoop()
