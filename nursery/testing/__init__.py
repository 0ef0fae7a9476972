"""Tools for testing programs that run on nursery: trio's `trio.testing`, under the same names, and seeded schedules."""

from ..kernel.idle import wait_all_tasks_blocked
from .checkpoints import assert_checkpoints, assert_no_checkpoints
from .clock import MockClock
from .decorator import nursery_test
from .schedule import SeededSchedule, explore_schedules
from .sequencer import Sequencer

__all__ = [
    "MockClock",
    "SeededSchedule",
    "Sequencer",
    "assert_checkpoints",
    "assert_no_checkpoints",
    "explore_schedules",
    "nursery_test",
    "wait_all_tasks_blocked",
]
