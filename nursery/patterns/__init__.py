"""What users write again and again on top of nurseries: gathering, racing, services, graceful shutdown."""

from .gather import gather
from .map_bounded import map_bounded, open_bounded_map
from .race import race
from .services import open_service_nursery
from .shutdown import each_until_closing
from .shutdown_on_signals import shutdown_on_signals

__all__ = [
    "each_until_closing",
    "gather",
    "map_bounded",
    "open_bounded_map",
    "open_service_nursery",
    "race",
    "shutdown_on_signals",
]
