"""What users write again and again on top of nurseries: gathering, racing, handles, services, graceful shutdown."""

from .gather import gather
from .handle import Handle, TaskCancelledError, TaskFailedError, spawn
from .map_bounded import map_bounded, open_bounded_map
from .race import race
from .services import open_service_nursery
from .shutdown import each_until_closing, is_closing, shutdown, stop_when_closing, until_closing
from .shutdown_on_signals import shutdown_on_signals

__all__ = [
    "Handle",
    "TaskCancelledError",
    "TaskFailedError",
    "each_until_closing",
    "gather",
    "is_closing",
    "map_bounded",
    "open_bounded_map",
    "open_service_nursery",
    "race",
    "shutdown",
    "shutdown_on_signals",
    "spawn",
    "stop_when_closing",
    "until_closing",
]
