"""asyncio.timeouts, by its names: what they name is ours (time_limit.py), to a type checker asyncio's."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncio import Timeout, timeout, timeout_at
else:
    from .time_limit import Timeout, timeout, timeout_at

__all__ = ("Timeout", "timeout", "timeout_at")
