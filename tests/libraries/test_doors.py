"""Programs that know nothing of us, as they are, through each of the doors that make our loop theirs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import aiohttp
import httpx
import pytest

import nursery
from nursery import compat
from tests.libraries.foreign_http import ForeignServer, fetch
from tests.libraries.on_our_loop import PATIENCE
from tests.libraries.temporary_server import ROOT, accepts, free_port, running, with_the_checkout

# Serves and asks itself, by two libraries, and says on whose loop.
PROGRAM = """
import asyncio
import aiohttp, httpx
from aiohttp import web

async def hello(request):
    await asyncio.sleep(0)
    return web.Response(text=f"hello from {request.path}")

async def main():
    app = web.Application()
    app.router.add_get("/{name}", hello)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    async with aiohttp.ClientSession() as session, session.get(f"{url}/aiohttp") as response:
        print(await response.text())
    async with httpx.AsyncClient() as client:
        print((await client.get(f"{url}/httpx")).text)
    await runner.cleanup()
    print(type(asyncio.get_running_loop()).__module__.partition(".")[0])
"""

SAID = ["hello from /aiohttp", "hello from /httpx", "nursery"]


def output_of(*arguments: str) -> list[str]:
    """The lines that a program prints; it says nothing on its error stream, and leaves nothing open."""
    finished = subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        cwd=ROOT,
        env=with_the_checkout(),
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    assert finished.stderr == ""
    return finished.stdout.splitlines()


def test_install_and_run_as_before() -> None:
    assert output_of("-c", f"from nursery import compat; compat.install()\n{PROGRAM}\nasyncio.run(main())") == SAID


def test_a_loop_made_by_the_library_after_install() -> None:
    # What web.run_app, anyio.run and others do: no asyncio.run.
    program = f"""
from nursery import compat; compat.install()
{PROGRAM}
loop = asyncio.new_event_loop()
asyncio.set_event_loop(loop)
loop.run_until_complete(main())
loop.run_until_complete(loop.shutdown_asyncgens())
loop.close()
import anyio
anyio.run(main)
"""
    assert output_of("-c", program) == SAID * 2


@pytest.mark.skipif(sys.version_info < (3, 12), reason="asyncio.run takes a loop factory from 3.12 on")
def test_a_loop_factory() -> None:
    program = f"{PROGRAM}\nfrom nursery import compat\nasyncio.run(main(), loop_factory=compat.new_event_loop)"
    assert output_of("-c", program) == SAID


def test_the_command_runs_a_script(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(f"{PROGRAM}\nasyncio.run(main())")
    assert output_of("-m", "nursery.compat", str(script)) == SAID


def test_the_command_runs_a_module_that_makes_its_own_loop(tmp_path: Path) -> None:
    # `python -m aiohttp.web` calls web.run_app.
    (tmp_path / "application.py").write_text(
        """
import asyncio
from aiohttp import web

async def whose(request):
    return web.Response(text=type(asyncio.get_running_loop()).__module__.partition(".")[0])

def make(arguments):
    app = web.Application()
    app.router.add_get("/", whose)
    return app
"""
    )
    port = free_port()
    arguments = [sys.executable, "-m", "nursery.compat", "-m", "aiohttp.web", "-H", "127.0.0.1", "-P", str(port)]
    environment = {"PYTHONPATH": f"{tmp_path}:{with_the_checkout()['PYTHONPATH']}"}
    with running(
        [*arguments, "application:make"], tmp_path / "log", lambda: accepts(port), environment=environment
    ) as server:
        assert fetch(port, "/") == b"nursery"
        server.terminate()
        assert server.wait(10) == 0


def test_a_native_run_opens_a_loop_as_often_as_it_likes(foreign_server: ForeignServer) -> None:
    async def main() -> None:
        for page in ("one", "two"):
            async with compat.open_loop(), httpx.AsyncClient() as client:
                with nursery.fail_after(PATIENCE):
                    assert (await client.get(f"{foreign_server.url}/{page}")).text == f"hello from /{page}"
            await nursery.sleep(0)

    nursery.run(main)


def test_a_native_task_with_a_nursery_and_a_session_in_one_line(foreign_server: ForeignServer) -> None:
    said: list[str] = []

    async def ask(session: aiohttp.ClientSession, page: str) -> None:
        async with session.get(f"{foreign_server.url}/{page}") as response:
            said.append(await response.text())

    async def main() -> None:
        async with compat.open_loop(), aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=2)) as outer:
            with nursery.move_on_after(PATIENCE) as scope:
                async with nursery.open_nursery() as n, aiohttp.ClientSession() as s:
                    n.start_soon(ask, s, "slow")
                    n.start_soon(ask, outer, "slow")
                    await ask(s, "quick")
                    scope.deadline = nursery.current_time() + 0.02
                    await nursery.sleep_forever()
            assert scope.cancelled_caught
            assert s.closed
            # The other session's pool has room for two: both are free.
            with nursery.fail_after(PATIENCE):
                async with nursery.open_nursery() as n:
                    for page in ("a", "b"):
                        n.start_soon(ask, outer, page)

    nursery.run(main)
    assert sorted(said) == ["hello from /a", "hello from /b", "hello from /quick"]
