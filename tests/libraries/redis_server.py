"""A real Redis, for the session; it answers on a TCP port and on a Unix socket."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from .required import command
from .temporary_server import accepts, free_port, running


@dataclass
class Redis:
    port: int
    unix_socket: Path


@pytest.fixture(scope="session")
def redis_server() -> Iterator[Redis]:
    program = command("redis-server")
    # Not pytest's folder: the path of a Unix socket has to be short.
    folder = Path(tempfile.mkdtemp(prefix="nursery-"))
    here = Redis(free_port(), folder / "redis.sock")
    arguments = [
        program,
        *("--port", str(here.port), "--bind", "127.0.0.1", "--unixsocket", str(here.unix_socket)),
        *("--save", "", "--appendonly", "no", "--dir", str(folder)),
    ]
    try:
        with running(arguments, folder / "log", lambda: accepts(here.port) and here.unix_socket.exists()):
            yield here
    finally:
        shutil.rmtree(folder, ignore_errors=True)
