"""Synchronisation between tasks: events, locks, semaphores, limiters and conditions."""

from .condition import Condition, ConditionStatistics
from .event import Event, EventStatistics
from .limiter import CapacityLimiter, CapacityLimiterStatistics
from .lock import Lock, LockStatistics, StrictFIFOLock
from .semaphore import Semaphore

__all__ = [
    "CapacityLimiter",
    "CapacityLimiterStatistics",
    "Condition",
    "ConditionStatistics",
    "Event",
    "EventStatistics",
    "Lock",
    "LockStatistics",
    "Semaphore",
    "StrictFIFOLock",
]
