"""What the messages of an echo server travel over: how to listen, for the server of every system alike."""

from __future__ import annotations

import os
import socket
import ssl
import tempfile
from dataclasses import dataclass

HOST = "127.0.0.1"
BACKLOG = 1024


@dataclass(frozen=True, slots=True)
class Wire:
    """A kind of connection, by the name that `benchmarks.echo_client` knows it by."""

    name: str

    def listen(self) -> socket.socket:
        """A listening socket; whoever gets it closes it."""
        if self is not UNIX:
            return socket.create_server((HOST, 0), backlog=BACKLOG)
        listener = socket.socket(socket.AF_UNIX)
        # An abstract name (Linux): no file to clean up.
        listener.bind(f"\0nursery-benchmark-{os.getpid()}")
        listener.listen(BACKLOG)
        return listener

    def server_context(self) -> ssl.SSLContext | None:
        """What the server encrypts with, if it does."""
        if self is not TLS:
            return None
        import trustme  # only here is it needed

        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        certificate = trustme.CA().issue_cert(HOST)
        with tempfile.NamedTemporaryFile() as file:
            file.write(certificate.private_key_and_cert_chain_pem.bytes())
            file.flush()
            context.load_cert_chain(file.name)
        return context


TCP = Wire("tcp")
UNIX = Wire("unix")
TLS = Wire("tls")
