"""The echo client as the server's process sees it: started, left alone, asked for its result."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Self


class ClientProcess:
    """A context manager; no client outlives the block."""

    def __init__(self, host: str, size: int, connections: int, seconds: float) -> None:
        self._host = host
        self._settings = (size, connections, seconds, os.getpid())
        self._process: subprocess.Popen[bytes] | None = None

    def connect(self, port: int) -> None:
        """Start the client. It connects, exchanges messages for the set time and hangs up."""
        arguments = (self._host, port, *self._settings)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.echo_client", *map(str, arguments)],
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
