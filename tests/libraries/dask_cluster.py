"""A Dask cluster of processes, for the session: scheduler and workers run on our loop."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Final

import pytest

from .temporary_server import free_port, running, with_the_checkout

WORKERS: Final = 2


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Gives the scheduler's address, perhaps before it listens there: clients and workers try again."""
    folder = tmp_path_factory.mktemp("cluster")
    port = free_port()
    address = f"tcp://127.0.0.1:{port}"
    program = [sys.executable, "-m", "nursery.compat", "-m"]
    scheduler = [*program, "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", str(port)]
    worker = [*program, "distributed.cli.dask_worker", address, "--no-nanny", "--nthreads", "1"]
    worker += ["--local-directory", str(folder)]
    with ExitStack() as programs:
        for number, arguments in enumerate([scheduler] + [worker] * WORKERS):
            programs.enter_context(
                # By SIGKILL, since a worker whose scheduler has gone tries for a while to reach it.
                running(
                    [*arguments, "--no-dashboard"],
                    folder / f"log {number}",
                    lambda: True,
                    environment=with_the_checkout(),
                    end_by=signal.SIGKILL,
                )
            )
        yield address
