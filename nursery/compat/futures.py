"""asyncio.futures, by its names: `Future` is asyncio's own, and ours is an instance of it."""

from __future__ import annotations

from asyncio import Future as Future
from asyncio import futures as stdlib_futures
from asyncio import isfuture as isfuture
from asyncio import wrap_future as wrap_future
from asyncio.futures import _chain_future as _chain_future  # type: ignore[attr-defined]  # not in typeshed
from asyncio.futures import _get_loop as _get_loop  # type: ignore[attr-defined]  # not in typeshed
from typing import TYPE_CHECKING

__all__ = ["Future", "isfuture", "wrap_future"]


if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Find what asyncio.futures has beside."""
        return getattr(stdlib_futures, name)
