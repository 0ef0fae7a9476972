"""asyncio.coroutines, by its names."""

from __future__ import annotations

import asyncio
from asyncio import coroutines as stdlib_coroutines

iscoroutine = asyncio.iscoroutine
iscoroutinefunction = asyncio.iscoroutinefunction

__all__ = ["iscoroutine", "iscoroutinefunction"]


def __getattr__(name: str) -> object:
    """Find what asyncio.coroutines has beside."""
    return getattr(stdlib_coroutines, name)
