"""Things that must be closed, and closing them without waiting.

Invariant: `aclose` releases what is held even if it is cancelled at once; that is what makes
`aclose_forcefully` possible.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

from .kernel.scope import CancelScope


class AsyncResource(ABC):
    """Something that is closed with `await resource.aclose()`, or by leaving an `async with` block.

    Source: trio's documentation, `trio.abc.AsyncResource`.
    """

    __slots__ = ()

    @abstractmethod
    async def aclose(self) -> None:
        """Close the resource, in good order if there is time; idempotent.

        A cancel point.  If cancelled, the resource is closed all the same, without the good order.
        """

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()


async def aclose_forcefully(resource: AsyncResource) -> None:
    """Close a resource at once, without its parting words to the peer.

    Source: trio's documentation, `trio.aclose_forcefully`.
    """
    with CancelScope() as scope:
        scope.cancel(reason="cancelled during aclose_forcefully")
        await resource.aclose()
