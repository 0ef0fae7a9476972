"""The event loop: asyncio's AbstractEventLoop on a run of the kernel, one concern a file.

    state          what all parts share          batch         the step
    running        run, pause, close             callbacks     call_soon, timers, tasks
    errors         the exception handler         generators    async generators
    executors      threads                       signals       signal handlers
    debugging      debug mode                    signal_pipe   how the loop hears of signals
    descriptors    add_reader, add_writer        sockets       sock_*
    lines          waiting for raw sockets       names         getaddrinfo, getnameinfo
    connections    TCP clients and servers       server        what create_server returns
    unix           the same on unix sockets      socket_files  the files they have
    datagrams      datagram endpoints            sendfile      sendfile, sock_sendfile
    upgrades       start_tls                     interrupts    Ctrl-C
    pipes          pipes, terminals              subprocesses  child processes
"""

from __future__ import annotations

from .callbacks import Callbacks
from .datagrams import Datagrams
from .errors import Errors
from .pipes import Pipes
from .running import Running
from .sendfile import Sendfile
from .signals import Signals
from .subprocesses import Subprocesses
from .unix import UnixSockets
from .upgrades import Upgrades


class EventLoop(
    Signals, Running, Callbacks, Errors, UnixSockets, Datagrams, Sendfile, Upgrades, Pipes, Subprocesses
):
    """An asyncio event loop that is a run of the kernel.

    Arguments: clock replaces the system's monotonic clock (for tests).  insist is how many seconds asyncio code may
    wait on in a cancelled scope after it swallowed the interruption, until it is interrupted again; None for ever.

    Source: asyncio's documentation, "Event Loop".
    """


def new_event_loop(*, insist: float | None = None) -> EventLoop:
    """Return a new event loop; whoever asks for it closes it.

    Arguments: insist is that of EventLoop, in seconds.

    Example::

        asyncio.run(main(), loop_factory=nursery.compat.new_event_loop)
    """
    return EventLoop(insist=insist)
