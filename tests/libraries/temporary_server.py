"""A server program that lives as long as a test session: started, waited for, ended."""

from __future__ import annotations

import os
import pwd
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

# Seconds.
STARTS_WITHIN = 30

ROOT = Path(__file__).parent.parent.parent


def free_port() -> int:
    """A TCP port that nobody has right now."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


def accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def unprivileged(name: str) -> str | None:
    """Whom to become if we are root, for programs that refuse to be; None if we are not."""
    if os.getuid() != 0:
        return None
    try:
        return pwd.getpwnam(name).pw_name
    except KeyError:
        return "nobody"


@contextmanager
def running(
    arguments: list[str],
    log: Path,
    is_up: Callable[[], bool],
    *,
    user: str | None = None,
    environment: Mapping[str, str] | None = None,
    end_by: signal.Signals = signal.SIGTERM,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program; in the block `is_up` is true, after it the program has ended."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            arguments,
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            user=user,
            # A folder that every user may enter.
            cwd="/",
            env=None if environment is None else {**os.environ, **environment},
        )
    try:
        give_up = time.monotonic() + STARTS_WITHIN
        while not is_up():
            if process.poll() is not None or time.monotonic() > give_up:
                raise RuntimeError(f"{arguments} did not start:\n{log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.01)
        yield process
    finally:
        process.send_signal(end_by)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def with_the_checkout() -> dict[str, str]:
    """The environment in which a Python program finds the package under test."""
    return {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
