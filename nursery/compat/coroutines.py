"""asyncio.coroutines, by its names, with the meaning that they have since Python 3.12: a generator is no coroutine."""

from __future__ import annotations

import asyncio
import sys
from asyncio import coroutines as stdlib_coroutines
from types import GeneratorType
from typing import TYPE_CHECKING

iscoroutinefunction = asyncio.iscoroutinefunction

if TYPE_CHECKING or sys.version_info >= (3, 12):
    iscoroutine = asyncio.iscoroutine
else:

    def iscoroutine(obj):
        """Return whether `obj` is a coroutine.

        Source: asyncio's documentation, `asyncio.iscoroutine`.
        """
        return type(obj) is not GeneratorType and asyncio.iscoroutine(obj)


__all__ = ["iscoroutine", "iscoroutinefunction"]


if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Find what asyncio.coroutines has beside."""
        return getattr(stdlib_coroutines, name)
