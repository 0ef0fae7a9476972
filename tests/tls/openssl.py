"""The `openssl` program as a peer: another user of the library, with other habits."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
from collections.abc import Generator
from pathlib import Path
from typing import IO

import pytest

from tests.tls.certificates import AUTHORITY, CERTIFICATE

PROGRAM = shutil.which("openssl")

needs_openssl = pytest.mark.skipif(PROGRAM is None, reason="the program openssl is not installed")


class Openssl:
    """A running `openssl s_server` or `openssl s_client`."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.output = b""

    @property
    def stdin(self) -> IO[bytes]:
        assert self.process.stdin is not None
        return self.process.stdin

    def type(self, line: bytes) -> None:
        """Let it send a line, or a server do what the line's letter means to it.

        Only the first line of what it reads at once counts: let the server show that it has done the one before.
        """
        self.stdin.write(line + b"\n")

    def read_until(self, pattern: bytes) -> re.Match[bytes]:
        """Block until the output matches, and forget it so far; in a thread if other tasks are to run meanwhile."""
        assert self.process.stdout is not None
        while not (found := re.search(pattern, self.output)):
            # One byte at a time: what it prints need not end its lines.
            byte = self.process.stdout.read(1)
            assert byte, f"openssl ended before it said {pattern!r}: {self.output!r}"
            self.output += byte
        self.output = self.output[found.end() :]
        return found


@contextlib.contextmanager
def openssl(*arguments: str) -> Generator[Openssl, None, None]:
    """Run openssl with these arguments, and kill it at the end."""
    assert PROGRAM is not None
    process = subprocess.Popen(
        [PROGRAM, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0
    )
    try:
        yield Openssl(process)
    finally:
        process.kill()
        with process:
            pass


@contextlib.contextmanager
def s_server(folder: Path, *options: str) -> Generator[tuple[Openssl, int], None, None]:
    """A server on a port that the system chooses, which accepts one connection; yield it and its port."""
    file = folder / "server.pem"
    file.write_bytes(CERTIFICATE.private_key_and_cert_chain_pem.bytes())
    where = ("-accept", "127.0.0.1:0", "-naccept", "1")
    with openssl("s_server", *where, "-cert", str(file), "-key", str(file), *options) as server:
        port = int(server.read_until(rb"ACCEPT 127\.0\.0\.1:(\d+)\s")[1])
        yield server, port


@contextlib.contextmanager
def s_client(folder: Path, port: int, *options: str) -> Generator[Openssl, None, None]:
    """A client that trusts the authority and insists on the host."""
    file = folder / "authority.pem"
    AUTHORITY.cert_pem.write_to_path(str(file))
    whom = ("-connect", f"127.0.0.1:{port}", "-servername", "server.example", "-verify_hostname", "server.example")
    with openssl("s_client", *whom, "-CAfile", str(file), "-verify_return_error", *options) as client:
        yield client
