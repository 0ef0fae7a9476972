"""TLS: the engine without I/O, and the streams and listeners that stand on it.

Invariant: importing this loads the standard library's `ssl`; nothing outside imports it before it is used.
"""

from .connect import open_ssl_over_tcp_stream
from .listener import SSLListener
from .serve import open_ssl_over_tcp_listeners, serve_ssl_over_tcp
from .stream import SSLStream

__all__ = [
    "SSLListener",
    "SSLStream",
    "open_ssl_over_tcp_listeners",
    "open_ssl_over_tcp_stream",
    "serve_ssl_over_tcp",
]
