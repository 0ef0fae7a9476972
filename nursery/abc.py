"""The interfaces of the native API: trio's `trio.abc`, under the same names."""

from .channels.abstract import Channel, ReceiveChannel, SendChannel
from .kernel.clock import Clock
from .kernel.instruments import Instrument
from .network.resolver import HostnameResolver
from .network.socket_type import SocketFactory
from .resource import AsyncResource
from .streams.abstract import HalfCloseableStream, Listener, ReceiveStream, SendStream, Stream

__all__ = [
    "AsyncResource",
    "Channel",
    "Clock",
    "HalfCloseableStream",
    "HostnameResolver",
    "Instrument",
    "Listener",
    "ReceiveChannel",
    "ReceiveStream",
    "SendChannel",
    "SendStream",
    "SocketFactory",
    "Stream",
]
