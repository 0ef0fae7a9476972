"""Tools for testing programs that run on nursery: trio's `trio.testing`, under the same names, and seeded schedules."""

from ..kernel.idle import wait_all_tasks_blocked
from ..threads.active import active_thread_count, wait_all_threads_completed
from .checkpoints import assert_checkpoints, assert_no_checkpoints
from .clock import MockClock
from .decorator import nursery_test
from .lockstep_streams import lockstep_stream_one_way_pair, lockstep_stream_pair
from .memory_streams import (
    MemoryReceiveStream,
    MemorySendStream,
    memory_stream_one_way_pair,
    memory_stream_pair,
    memory_stream_pump,
)
from .network import Host, Link, Network
from .schedule import SeededSchedule, explore_schedules
from .sequencer import Sequencer
from .sockets import open_stream_to_socket_listener
from .stream_checks import check_half_closeable_stream, check_one_way_stream, check_two_way_stream

__all__ = [
    "Host",
    "Link",
    "MemoryReceiveStream",
    "MemorySendStream",
    "MockClock",
    "Network",
    "SeededSchedule",
    "Sequencer",
    "active_thread_count",
    "assert_checkpoints",
    "assert_no_checkpoints",
    "check_half_closeable_stream",
    "check_one_way_stream",
    "check_two_way_stream",
    "explore_schedules",
    "lockstep_stream_one_way_pair",
    "lockstep_stream_pair",
    "memory_stream_one_way_pair",
    "memory_stream_pair",
    "memory_stream_pump",
    "nursery_test",
    "open_stream_to_socket_listener",
    "wait_all_tasks_blocked",
    "wait_all_threads_completed",
]
