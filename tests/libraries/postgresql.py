"""A real PostgreSQL, for the session: a cluster of its own in a temporary folder."""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from .required import not_here
from .temporary_server import accepts, free_port, running, unprivileged

USER = "tester"


@dataclass
class PostgreSQL:
    port: int
    # The folder of its Unix socket.
    folder: Path
    user: str = USER
    database: str = "postgres"

    @property
    def url(self) -> str:
        return f"postgresql://{self.user}@127.0.0.1:{self.port}/{self.database}"


def programs() -> Path:
    """The folder of initdb and postgres: Debian keeps them off the PATH, one folder a version."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not versions:
        not_here("no PostgreSQL on this machine")
    return versions[-1].parent


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    here = programs()
    # PostgreSQL does not run as root.
    owner = unprivileged("postgres")
    # Not pytest's folder: that one belongs to root, and the path of a Unix socket has to be short.
    folder = Path(tempfile.mkdtemp(prefix="nursery-"))
    data = folder / "data"
    try:
        if owner is not None:
            shutil.chown(folder, owner)
        subprocess.run(
            [str(here / "initdb"), "-D", str(data), "-U", USER, "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C"],
            check=True,
            capture_output=True,
            user=owner,
            cwd="/",
        )
        peer = PostgreSQL(free_port(), folder)
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(peer.port),
            "unix_socket_directories": str(folder),
            # Nothing here has to outlive a crash.
            "fsync": "off",
            "max_connections": "30",
        }
        arguments = [str(here / "postgres"), "-D", str(data)]
        for name, value in settings.items():
            arguments += ["-c", f"{name}={value}"]
        # SIGINT: end also if a client is still there.
        with running(arguments, folder / "log", lambda: is_ready(here, peer), user=owner, end_by=signal.SIGINT):
            yield peer
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def is_ready(here: Path, peer: PostgreSQL) -> bool:
    """Whether it accepts sessions: its port is open a little earlier."""
    if not accepts(peer.port):
        return False
    ask = [str(here / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(peer.port)]
    return subprocess.run(ask, check=False).returncode == 0
