"""The interfaces of the native API: trio's `trio.abc`, under the same names."""

from .kernel.clock import Clock
from .kernel.instruments import Instrument

__all__ = ["Clock", "Instrument"]
