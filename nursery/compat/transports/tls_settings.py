"""What a function of the loop is told of TLS: who the peer must be, and how long it may take.

Invariant: a context or a time limit that cannot be used is refused here, before anything is opened.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import Final, Self

# Seconds; asyncio's.
HANDSHAKE_TIMEOUT: Final = 60.0
SHUTDOWN_TIMEOUT: Final = 30.0


@dataclass(frozen=True, slots=True)
class TLSSettings:
    """How a connection is to be encrypted: checked once, before anything is opened."""

    context: ssl.SSLContext
    server_side: bool
    server_hostname: str | None
    any_name: bool
    handshake_timeout: float
    shutdown_timeout: float

    @classmethod
    def of(
        cls,
        context: object,
        *,
        server_side: bool = False,
        server_hostname: str | None = None,
        handshake_timeout: float | None = None,
        shutdown_timeout: float | None = None,
    ) -> Self:
        """Check the arguments of a function of the loop; context may be True for a client's default one.

        Raises ValueError, TypeError.
        """
        if handshake_timeout is None:
            handshake_timeout = HANDSHAKE_TIMEOUT
        elif handshake_timeout <= 0:
            raise ValueError(f"ssl_handshake_timeout should be a positive number, got {handshake_timeout}")
        if shutdown_timeout is None:
            shutdown_timeout = SHUTDOWN_TIMEOUT
        elif shutdown_timeout <= 0:
            raise ValueError(f"ssl_shutdown_timeout should be a positive number, got {shutdown_timeout}")
        # An empty name says that any will do; no name at all may have been forgotten, and the engine objects.
        any_name = not server_side and server_hostname == ""
        if isinstance(context, bool):
            if server_side:
                raise ValueError("Server side SSL needs a valid SSLContext")
            context = ssl.create_default_context()
            if any_name:
                context.check_hostname = False
        elif not isinstance(context, ssl.SSLContext):
            raise TypeError(f"ssl is expected to be an instance of ssl.SSLContext, got {context!r}")
        if server_side:
            server_hostname = None
        return cls(context, server_side, server_hostname, any_name, handshake_timeout, shutdown_timeout)


__all__ = ["TLSSettings"]
