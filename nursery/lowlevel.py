"""The kernel's public door for libraries: trio's `trio.lowlevel`, under the same names."""

from .kernel.current import current_task, in_nursery_run, in_nursery_task
from .kernel.guest import start_guest_run
from .kernel.inbox import RunToken, current_run_token
from .kernel.instruments import add_instrument, remove_instrument
from .kernel.interrupts import currently_ki_protected, disable_ki_protection, enable_ki_protection
from .kernel.io.interest import IOStatistics, notify_closing, wait_readable, wait_writable
from .kernel.parking import ParkingLot, ParkingLotStatistics, add_parking_lot_breaker, remove_parking_lot_breaker
from .kernel.runner import RunStatistics, current_clock, current_root_task, current_statistics, spawn_system_task
from .kernel.runvar import RunVar, RunVarToken
from .kernel.task import Task
from .kernel.traps import (
    Abort,
    RaiseCancel,
    cancel_shielded_checkpoint,
    checkpoint,
    checkpoint_if_cancelled,
    permanently_detach_coroutine_object,
    reattach_detached_coroutine_object,
    reschedule,
    temporarily_detach_coroutine_object,
    wait_task_rescheduled,
)
from .network.resolver import encode_hostname
from .processes.opening import open_process
from .streams.fd_stream import FdStream
from .threads.cache import start_thread_soon

# trio's name for the type of an abort function's argument.
RaiseCancelT = RaiseCancel

__all__ = [
    "Abort",
    "FdStream",
    "IOStatistics",
    "ParkingLot",
    "ParkingLotStatistics",
    "RaiseCancelT",
    "RunStatistics",
    "RunToken",
    "RunVar",
    "RunVarToken",
    "Task",
    "add_instrument",
    "add_parking_lot_breaker",
    "cancel_shielded_checkpoint",
    "checkpoint",
    "checkpoint_if_cancelled",
    "current_clock",
    "current_root_task",
    "current_run_token",
    "current_statistics",
    "current_task",
    "currently_ki_protected",
    "disable_ki_protection",
    "enable_ki_protection",
    "encode_hostname",
    "in_nursery_run",
    "in_nursery_task",
    "notify_closing",
    "open_process",
    "permanently_detach_coroutine_object",
    "reattach_detached_coroutine_object",
    "remove_instrument",
    "remove_parking_lot_breaker",
    "reschedule",
    "spawn_system_task",
    "start_guest_run",
    "start_thread_soon",
    "temporarily_detach_coroutine_object",
    "wait_readable",
    "wait_task_rescheduled",
    "wait_writable",
]
