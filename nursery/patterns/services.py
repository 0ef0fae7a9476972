"""A nursery for tasks that the block depends on, to its very end.

Invariant: a cancellation from outside reaches the block first; the services go on until the block has been left, its
clean-up included, and are cancelled then.

The services live in a nursery of another task, the keeper, behind a shield; the keeper lives in a nursery around the
block.  So the block feels what is outside it, and the services do not.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from ..kernel.errors import CancelReason
from ..kernel.nursery import Nursery, open_nursery
from ..kernel.scope import CancelScope
from ..sync.event import Event
from ..timeouts import sleep_forever


@asynccontextmanager
async def open_service_nursery() -> AsyncGenerator[Nursery, None]:
    """Open a nursery whose tasks outlive the block, and are cancelled when it has been left.

    What is started in it is shielded from cancellations outside the block for as long as the block runs: clean-up in
    the block may still use a connection that a service keeps alive.  It is an ordinary nursery otherwise, to be passed
    to `serve_tcp(..., handler_nursery=)` for one.

    Entering is a schedule point and not a cancel point; leaving cancels the services and waits for them.  A service
    that fails cancels the block and the other services.  Everything that the services and the block raised leaves in
    one group.

    Example::

        async with nursery.open_service_nursery() as services:
            connection = await connect()
            services.start_soon(connection.keep_alive)
            try:
                await work(connection)
            finally:
                await connection.say_goodbye()  # still kept alive
    """
    async with open_nursery() as around:
        keeper = _Keeper()
        around.start_soon(keeper.keep, around, name="keeper of a service nursery")
        with CancelScope(shield=True):
            await keeper.ready.wait()
        services = keeper.services
        try:
            yield services
        finally:
            services.cancel_scope.cancel(reason="the block of the service nursery was left")


class _Keeper:
    """The task that has the services' nursery open."""

    services: Nursery

    def __init__(self) -> None:
        self.ready = Event()

    async def keep(self, around: Nursery) -> None:
        with CancelScope(shield=True):
            try:
                async with open_nursery() as self.services:
                    self.ready.set()
                    await sleep_forever()
            except BaseExceptionGroup as group:
                # Flat, as if the services lived in the nursery around the block.
                for error in group.exceptions:
                    around.add_error(error, CancelReason("nursery", f"a service failed: it raised {error!r}"))
                del error


__all__ = ["open_service_nursery"]
