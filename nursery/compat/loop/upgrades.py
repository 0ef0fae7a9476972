"""start_tls: a connection in plain text, or in TLS, becomes one of TLS upon it.

Invariant: no byte that was received before the upgrade reaches the protocol after it as if it had come through TLS.
What a stream reader still holds of the plain text becomes input of the handshake: there it either belongs, or somebody
has put it there, and the handshake fails.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

from ..transports.tls import SSLTransport
from ..transports.tls_settings import TLSSettings
from .connections import Connections


class Upgrades(Connections):
    """start_tls."""

    async def start_tls(
        self,
        transport: asyncio.WriteTransport,
        protocol: asyncio.BaseProtocol,
        sslcontext: ssl.SSLContext,
        *,
        server_side: bool = False,
        server_hostname: str | None = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
    ) -> asyncio.Transport:
        """Do the handshake on a connection that exists, and return the transport that stands for it from now on.

        Arguments: protocol is who hears of the new transport, without another `connection_made`.  server_hostname is
        whom the certificate must name; an empty one lets any name do.  The time limits are in seconds.
        Raises TypeError for a transport that cannot be upgraded, ConnectionAbortedError if it is closing or the
        handshake takes too long, `ssl.SSLError` and ConnectionError if the handshake fails; the connection is closed
        then, but not for ValueError: a client's context that checks names, and no name.
        Source: asyncio's documentation, `loop.start_tls`, which lets that last one pass, and checks no name.
        """
        if not isinstance(sslcontext, ssl.SSLContext):
            raise TypeError(f"sslcontext is expected to be an instance of ssl.SSLContext, got {sslcontext!r}")
        below: Any = transport
        if not getattr(below, "_start_tls_compatible", False):
            raise TypeError(f"transport {transport!r} is not supported by start_tls()")
        settings = TLSSettings.of(
            sslcontext,
            server_side=server_side,
            server_hostname=server_hostname,
            handshake_timeout=ssl_handshake_timeout,
            shutdown_timeout=ssl_shutdown_timeout,
        )
        if below.is_closing():
            raise ConnectionAbortedError(f"start_tls(): {transport!r} is closed or about to be")
        done: asyncio.Future[None] = self.create_future()
        upgraded = SSLTransport(
            self, protocol, settings, done, connected=True, context=getattr(below, "_context", None)
        )
        # Who was told to stop writing must be told to go on.
        upgraded._protocol_paused = upgraded._full_below = getattr(below, "_protocol_paused", False)
        below.set_protocol(upgraded._ssl_protocol)
        early = _take_unread(protocol)
        if early:
            upgraded._engine.feed(early)
        upgraded._begin(below)
        below.resume_reading()
        try:
            await done
        except BaseException:
            upgraded.close()
            raise
        finally:
            # The traceback of its error leads here (tests/compat/loop/test_upgrades.py).
            del done
        return upgraded


def _take_unread(protocol: asyncio.BaseProtocol) -> bytes:
    """Return what a stream reader has received and nobody has read, and take it away from it."""
    if not isinstance(protocol, asyncio.StreamReaderProtocol):
        return b""
    reader: Any = getattr(protocol, "_stream_reader", None)
    if reader is None or not reader._buffer:
        return b""
    unread = bytes(reader._buffer)
    reader._buffer.clear()
    reader._maybe_resume_transport()
    return unread
