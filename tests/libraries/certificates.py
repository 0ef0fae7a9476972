"""An authority of our own, and contexts that use it."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme


@dataclass
class Certificates:
    """What the two sides of a TLS connection to 127.0.0.1 or localhost need."""

    server: ssl.SSLContext
    client: ssl.SSLContext
    # The same as files, for programs with a command line.
    authority_file: Path
    certificate_file: Path
    key_file: Path


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost", "127.0.0.1")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(server)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(client)
    folder = tmp_path_factory.mktemp("certificates")
    files = folder / "authority.pem", folder / "certificate.pem", folder / "key.pem"
    authority.cert_pem.write_to_path(str(files[0]))
    for number, blob in enumerate(certificate.cert_chain_pems):
        blob.write_to_path(str(files[1]), append=bool(number))
    certificate.private_key_pem.write_to_path(str(files[2]))
    return Certificates(server, client, *files)
