"""Each example that uses a library runs to its end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.libraries.postgresql import PostgreSQL
from tests.libraries.required import REQUIRED
from tests.libraries.temporary_server import ROOT, accepts, free_port, running, with_the_checkout


def needs(*libraries: str) -> pytest.MarkDecorator:
    """Skip the test if a library is not installed, unless it has to be."""
    missing = [library for library in libraries if find_spec(library) is None]
    return pytest.mark.skipif(bool(missing) and not REQUIRED, reason=f"not installed: {', '.join(missing)}")


def output_of(example: str, *arguments: str) -> list[str]:
    """The lines that an example prints; it says nothing on its error stream."""
    finished = subprocess.run(
        [sys.executable, "-W", "error", f"examples/{example}", *arguments],
        cwd=ROOT,
        env={**os.environ, **with_the_checkout()},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    assert finished.stderr == ""
    return finished.stdout.splitlines()


@needs("aiohttp")
def test_a_handler_of_aiohttp_answers_with_what_came_in_time() -> None:
    assert output_of("aiohttp_handler.py") == ["news from fast", "news from slower", "complete: False"]


@needs("httpx")
def test_the_first_mirror_wins_the_race() -> None:
    assert output_of("httpx_race.py") == [
        "the file, from south",
        "gave up on the north: True",
        "the pool goes on",
    ]


@needs("asyncpg")
def test_jobs_in_postgresql_are_worked_off(postgresql: PostgreSQL) -> None:
    assert output_of("asyncpg_pool.py", postgresql.url) == [
        "done: [1, 2, 3, 4, 5, 6]",
        "failed: division by zero",
        "done: []",
        "left: [7, 8, 9]",
        "idle connections: 4 of 4",
    ]


@needs("fastapi", "uvicorn")
def test_the_fastapi_application_counts_its_visitors(tmp_path: Path) -> None:
    port = free_port()
    arguments = [sys.executable, "-m", "uvicorn", "--loop", "nursery.compat:new_event_loop", "--port", str(port)]
    arguments += ["--app-dir", str(ROOT / "examples"), "fastapi_app:app"]
    log = tmp_path / "log"

    def ask(path: str, method: str = "GET") -> object:
        request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", method=method)
        with urllib.request.urlopen(request, timeout=10) as response:
            return json.load(response)

    with running(arguments, log, lambda: accepts(port), environment=with_the_checkout()) as server:
        for name in ("ada", "grace", "ada"):
            assert ask(f"/visits/{name}", "POST") == f"welcome, {name}"
        assert ask("/visits") == {"ada": 2, "grace": 1}
        assert ask("/slowest") == {"native": True, "asyncio": True, "stuck": False}
        server.send_signal(signal.SIGTERM)
        server.wait(10)
    assert "3 visits" in log.read_text()


@needs("distributed")
def test_a_dask_cluster_counts_primes(cluster: str) -> None:
    assert output_of("dask_client.py", cluster) == ["1229 primes below 10002", "gave up on the rest: True"]
