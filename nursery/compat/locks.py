"""asyncio.locks, by its names: the classes are ours (lock.py), to a type checker asyncio's."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncio import Barrier, BoundedSemaphore, Condition, Event, Lock, Semaphore
else:
    from .lock import Barrier, BoundedSemaphore, Condition, Event, Lock, Semaphore

__all__ = ("Barrier", "BoundedSemaphore", "Condition", "Event", "Lock", "Semaphore")
