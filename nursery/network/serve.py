"""Serving: a task for each connection.

Invariant: a stream that was accepted is closed when its handler is done, however it is done; the listeners are closed
when serving ends.
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from ..kernel.closing import is_closing, stop_when_closing
from ..kernel.nursery import TASK_STATUS_IGNORED, Nursery, TaskStatus, open_nursery
from ..resource import AsyncResource, aclose_forcefully
from ..streams.abstract import Listener
from ..timeouts import sleep
from .listener import SocketListener
from .listeners import open_tcp_listeners
from .stream import SocketStream

StreamT = TypeVar("StreamT", bound=AsyncResource)
ListenerT = TypeVar("ListenerT", bound=Listener[Any])

# Out of something that others may give back soon; seconds to wait for that.
OUT_OF_CAPACITY: Final = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS)
SECONDS_TO_RETRY: Final = 0.1

_logger = logging.getLogger("nursery.serve_listeners")


async def serve_listeners(
    handler: Callable[[StreamT], Awaitable[object]],
    listeners: list[ListenerT],
    *,
    handler_nursery: Nursery | None = None,
    task_status: TaskStatus[list[ListenerT]] = TASK_STATUS_IGNORED,
) -> None:
    """Accept connections on all `listeners` until cancelled, and run `handler(stream)` in a task for each.

    Arguments: handler_nursery is where the handlers run; by default they are cancelled together with this call, in a
    nursery of the caller they may outlive it.

    The stream is closed, forcefully, when its handler returns or raises; an error of a handler goes to its nursery
    and, with the default, ends serving.  When the process runs out of descriptors or memory, this is logged to
    "nursery.serve_listeners" and tried again a little later.  With `nursery.start` it reports the listeners.

    When a scope around it is asked to shut down (`scope.shutdown(grace=)`) the listeners are closed; it returns once
    the handlers in its own nursery are done.

    A cancel point.  The listeners are closed in any case.

    Source: trio's documentation, `trio.serve_listeners`.
    """
    async with open_nursery() as serving:
        if handler_nursery is None:
            handler_nursery = serving
        for listener in listeners:
            serving.start_soon(_serve_one, listener, handler_nursery, handler)
        # Listening sockets queue connections already: there is nothing to wait for.
        task_status.started(listeners)
    if not is_closing():
        raise AssertionError("serve_listeners has no listeners, or they have all ended: it can only be cancelled")


async def _serve_one(
    listener: Listener[StreamT], handler_nursery: Nursery, handler: Callable[[StreamT], Awaitable[object]]
) -> None:
    async with listener:
        with stop_when_closing():
            while True:
                try:
                    stream = await listener.accept()
                except OSError as exc:
                    if exc.errno not in OUT_OF_CAPACITY:
                        raise
                    _logger.exception(
                        "accept returned %s (%s); retrying in %s seconds",
                        errno.errorcode[exc.errno],
                        os.strerror(exc.errno),
                        SECONDS_TO_RETRY,
                    )
                    await sleep(SECONDS_TO_RETRY)
                else:
                    try:
                        handler_nursery.start_soon(_handle, stream, handler)
                    except BaseException:
                        # The caller's nursery is closed already: nobody will take care of the stream.
                        await aclose_forcefully(stream)
                        raise


async def _handle(stream: StreamT, handler: Callable[[StreamT], Awaitable[object]]) -> None:
    try:
        await handler(stream)
    finally:
        await aclose_forcefully(stream)


async def serve_tcp(
    handler: Callable[[SocketStream], Awaitable[object]],
    port: int,
    *,
    host: str | bytes | None = None,
    backlog: int | None = None,
    handler_nursery: Nursery | None = None,
    task_status: TaskStatus[list[SocketListener]] = TASK_STATUS_IGNORED,
) -> None:
    """Listen on a TCP port until cancelled, and run `handler(stream)` in a task for each connection.

    Arguments: port 0 lets the system choose.  host and backlog are those of `open_tcp_listeners`; handler_nursery is
    that of `serve_listeners`.

    With `nursery.start` it reports the list of listeners, already listening.  When a scope around it is asked to shut
    down it stops listening, and returns once the handlers in its own nursery are done.  A cancel point; the listeners
    are closed in any case.  Raises what `open_tcp_listeners` and `serve_listeners` do.

    Example::

        async def echo(stream: nursery.SocketStream) -> None:
            async for data in stream:
                await stream.send_all(data)

        async with nursery.open_nursery() as n:
            listeners = await n.start(nursery.serve_tcp, echo, 0)

    Source: trio's documentation, `trio.serve_tcp`.
    """
    listeners = await open_tcp_listeners(port, host=host, backlog=backlog)
    await serve_listeners(handler, listeners, handler_nursery=handler_nursery, task_status=task_status)


__all__ = ["serve_listeners", "serve_tcp"]
