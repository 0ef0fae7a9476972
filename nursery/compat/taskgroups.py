"""asyncio.taskgroups, by its name: the class is ours (taskgroup.py), to a type checker asyncio's."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .typed import TaskGroup
else:
    from .taskgroup import TaskGroup

__all__ = ("TaskGroup",)
