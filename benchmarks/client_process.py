"""The echo client as the server's process sees it: started, left alone, asked for its result."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Self

from benchmarks.echo_client import Order


class ClientProcess:
    """A context manager; no client outlives the block."""

    def __init__(self, wire: str, size: int, connections: int, seconds: float) -> None:
        self._wire = wire
        self._size = size
        self._connections = connections
        self._seconds = seconds
        self._process: subprocess.Popen[bytes] | None = None

    def connect(self, address: str | bytes | tuple[str, int]) -> None:
        """Start the client. It connects, exchanges messages for the set time and hangs up."""
        if isinstance(address, bytes):
            address = address.decode()
        order = Order(self._wire, address, self._size, self._connections, self._seconds, os.getpid())
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.echo_client", order.to_json()],
            stdout=subprocess.PIPE,
        )

    def result(self) -> tuple[int, int, int]:
        """Messages, wall time and CPU time of the server, both in nanoseconds."""
        assert self._process is not None
        output, _ = self._process.communicate()
        if self._process.returncode:
            raise RuntimeError(f"the echo client failed with status {self._process.returncode}")
        messages, wall_ns, server_cpu_ns = json.loads(output)
        return messages, wall_ns, server_cpu_ns

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
