"""An authority of our own, the certificates it has issued, and contexts that use them."""

from __future__ import annotations

import datetime
import functools
import ssl
from pathlib import Path

import pytest
import trustme

HOST = "server.example"

AUTHORITY = trustme.CA()
CERTIFICATE = AUTHORITY.issue_cert(HOST, "127.0.0.1")
OF_ANOTHER_HOST = AUTHORITY.issue_cert("other.example")
OF_A_CLIENT = AUTHORITY.issue_cert("client@server.example")

VERSIONS = [
    pytest.param(ssl.TLSVersion.TLSv1_2, id="TLSv1.2"),
    pytest.param(ssl.TLSVersion.TLSv1_3, id="TLSv1.3"),
]


def client_context(version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
    """A client that trusts the authority and speaks nothing newer than `version`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.maximum_version = version
    AUTHORITY.configure_trust(context)
    return context


def server_context(certificate: trustme.LeafCert = CERTIFICATE) -> ssl.SSLContext:
    """A server that shows `certificate`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


def _refuses_nameless_clients() -> bool:
    try:
        client_context().wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO())
    except ValueError:
        return True
    return False


needs_nameless_clients = pytest.mark.skipif(
    _refuses_nameless_clients(), reason="ssl lets no client without a name use a context that checks names"
)


@functools.cache
def expired_certificate() -> trustme.LeafCert:
    """A certificate that was good for the host until yesterday."""
    now = datetime.datetime.now(datetime.UTC)
    day = datetime.timedelta(days=1)
    return AUTHORITY.issue_cert(HOST, not_before=now - 30 * day, not_after=now - day)


def self_signed_context(folder: Path) -> ssl.SSLContext:
    """A server that vouches for itself; what it shows is written to `folder`."""
    itself = trustme.CA()
    file = folder / "self-signed.pem"
    file.write_bytes(itself.private_key_pem.bytes() + itself.cert_pem.bytes())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context
