"""A network in memory, which stands in for sockets and name resolution in tests."""

from .host import Host
from .link import Link
from .network import Network

__all__ = ["Host", "Link", "Network"]
