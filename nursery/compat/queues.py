"""asyncio.queues, by its names: the queues are ours (queue.py), to a type checker asyncio's."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .typed import LifoQueue, PriorityQueue, Queue, QueueEmpty, QueueFull, QueueShutDown
else:
    from .queue import LifoQueue, PriorityQueue, Queue, QueueEmpty, QueueFull, QueueShutDown

__all__ = ("LifoQueue", "PriorityQueue", "Queue", "QueueEmpty", "QueueFull", "QueueShutDown")
