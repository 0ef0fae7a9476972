"""A listener whose connections speak TLS.

Invariant: `accept` waits for nothing but the connection: the handshake is the business of whoever uses the stream, so
that a peer that is slow at it, or malicious, keeps nobody else waiting.
"""

from __future__ import annotations

import ssl
from typing import Generic, final

from ..resource import aclose_forcefully
from ..streams.abstract import Listener
from .stream import SSLStream, TransportT


@final
class SSLListener(Listener[SSLStream[TransportT]], Generic[TransportT]):
    """A listener that makes an SSLStream of each stream that `transport_listener` accepts.

    Arguments: https_compatible is passed on to the streams.

    Attributes: `transport_listener`, closed by `aclose`.

    Source: trio's documentation, `trio.SSLListener`.
    """

    __slots__ = ("__weakref__", "_https_compatible", "_ssl_context", "transport_listener")

    def __init__(
        self, transport_listener: Listener[TransportT], ssl_context: ssl.SSLContext, *, https_compatible: bool = False
    ) -> None:
        self.transport_listener = transport_listener
        self._ssl_context = ssl_context
        self._https_compatible = https_compatible

    async def accept(self) -> SSLStream[TransportT]:
        """Wait for the next connection and return it as a stream, before its handshake.

        A cancel point; if cancelled, no connection is lost.  Raises what the transport's listener does, and
        `ssl.SSLError` or ValueError if the context is not one for servers.

        Source: trio's documentation, `trio.SSLListener.accept`.
        """
        transport = await self.transport_listener.accept()
        try:
            return SSLStream(transport, self._ssl_context, server_side=True, https_compatible=self._https_compatible)
        except BaseException:
            await aclose_forcefully(transport)
            raise

    async def aclose(self) -> None:
        """Close the transport's listener.  A cancel point; closed in any case."""
        await self.transport_listener.aclose()

    def __repr__(self) -> str:
        return f"<SSLListener over {self.transport_listener!r}>"


__all__ = ["SSLListener"]
