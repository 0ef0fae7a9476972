"""asyncssh: server and client, and OpenSSH's command as a foreign peer."""

# mypy: allow-subclassing-any, allow-untyped-decorators
# To the type checker everything of the libraries is Any, installed or not.

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncssh
import pytest

import nursery
from tests.libraries.on_our_loop import asyncio_test, mixed_test
from tests.libraries.required import command

# As fast to make as a key can be.
KEY = asyncssh.generate_private_key("ssh-ed25519")


class Open(asyncssh.SSHServer):
    """Lets everybody in, and to every port."""

    def begin_auth(self, username: str) -> bool:
        return False

    def connection_requested(self, dest_host: str, dest_port: int, orig_host: str, orig_port: int) -> bool:
        return True


async def shell(process: asyncssh.SSHServerProcess[str]) -> None:
    """`shout` sends its input back in capitals, `wait` waits; anything else is echoed."""
    if process.command == "shout":
        async for line in process.stdin:
            process.stdout.write(line.upper())
    elif process.command == "wait":
        await asyncio.Event().wait()
    else:
        process.stdout.write(f"you said {process.command}\n")
    process.exit(0)


@asynccontextmanager
async def serving(**options: object) -> AsyncIterator[int]:
    """Serve on a free port, and give it."""
    options.setdefault("process_factory", shell)
    async with await asyncssh.listen(
        "127.0.0.1", 0, server_host_keys=[KEY], server_factory=Open, **options
    ) as acceptor:
        yield acceptor.get_port()


def connect(port: int) -> asyncssh.misc.ACMWrapper[asyncssh.SSHClientConnection]:
    return asyncssh.connect(
        "127.0.0.1", port, known_hosts=None, username="tester", config=None, client_keys=None, agent_path=None
    )


@asyncio_test
async def test_commands_run_on_one_connection() -> None:
    async with serving() as port, connect(port) as connection:
        for word in ("one", "two"):
            assert (await connection.run(word)).stdout == f"you said {word}\n"
        assert (await connection.run("shout", input="hello\nworld\n")).stdout == "HELLO\nWORLD\n"


@asyncio_test
async def test_openssh_is_served(tmp_path: Path) -> None:
    program = command("ssh")
    options = ["-F", "none", "-o", "StrictHostKeyChecking=no", "-o", f"UserKnownHostsFile={tmp_path / 'hosts'}"]
    options += ["-o", "IdentityAgent=none", "-o", "IdentityFile=none", "-o", "LogLevel=ERROR"]
    async with serving() as port:
        done = await asyncio.to_thread(
            subprocess.run,
            [program, *options, "-p", str(port), "tester@127.0.0.1", "hello"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=15,
            check=False,
        )
    assert done.stdout == b"you said hello\n", done.stderr


@asyncio_test
async def test_files_are_copied_by_sftp(tmp_path: Path) -> None:
    content = bytes(range(256)) * 4000
    (tmp_path / "file").write_bytes(content)
    async with serving(sftp_factory=True) as port, connect(port) as connection:
        async with connection.start_sftp_client() as sftp:
            await sftp.get(str(tmp_path / "file"), tmp_path / "copy")
            assert await sftp.exists(str(tmp_path / "copy"))
    assert (tmp_path / "copy").read_bytes() == content


@asyncio_test
async def test_a_port_is_forwarded() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.readline()).upper())
        writer.close()

    target = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with target, serving() as port, connect(port) as connection:
        listener = await connection.forward_local_port("127.0.0.1", 0, "127.0.0.1", target.sockets[0].getsockname()[1])
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.get_port())
        writer.write(b"hello\n")
        assert await reader.read() == b"HELLO\n"
        writer.close()
        listener.close()
        await listener.wait_closed()


@asyncio_test
async def test_cancel_ends_a_command_and_the_connection_goes_on() -> None:
    async with serving() as port, connect(port) as connection:
        waiting = asyncio.create_task(connection.run("wait"))
        await asyncio.sleep(0.05)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert (await connection.run("next")).stdout == "you said next\n"


@mixed_test
async def test_a_scope_ends_a_command_and_the_connection_goes_on() -> None:
    async with serving() as port, connect(port) as connection:
        for _ in range(2):
            with nursery.move_on_after(0.03) as scope:
                await connection.run("wait")
            assert scope.cancelled_caught
        assert (await connection.run("next")).stdout == "you said next\n"


@mixed_test
async def test_a_scope_ends_a_connection_attempt() -> None:
    left = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        await writer.wait_closed()
        left.set()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    async with server:
        with nursery.move_on_after(0.03) as scope:
            async with connect(server.sockets[0].getsockname()[1]):
                pass
        assert scope.cancelled_caught
        await left.wait()


@mixed_test
async def test_a_command_of_the_server_runs_in_a_nursery() -> None:
    async def crowd(process: asyncssh.SSHServerProcess[str]) -> None:
        sender, receiver = nursery.open_memory_channel[str](0)

        async def say(number: int, lines: nursery.MemorySendChannel[str]) -> None:
            async with lines:
                await nursery.sleep(0.001 * number)
                await lines.send(f"line {number}\n")

        async with nursery.open_nursery() as children:
            async with sender:
                for number in range(3):
                    children.start_soon(say, number, sender.clone())
            async for line in receiver:
                process.stdout.write(line)
        with nursery.move_on_after(0.01) as scope:
            await process.stdin.read()
        process.stdout.write(f"gave up: {scope.cancelled_caught}\n")
        process.exit(0)

    async with serving(process_factory=crowd) as port, connect(port) as connection:
        process = await connection.create_process("any")
        assert (await process.stdout.read()).splitlines() == ["line 0", "line 1", "line 2", "gave up: True"]


@mixed_test
async def test_children_of_a_nursery_share_a_connection() -> None:
    said: list[str] = []

    async def child(number: int) -> None:
        said.append(str((await connection.run(f"{number}")).stdout))

    async with serving() as port, connect(port) as connection:
        async with nursery.open_nursery() as children:
            for number in range(5):
                children.start_soon(child, number)
        assert (await connection.run("next")).stdout == "you said next\n"
    assert sorted(said) == [f"you said {number}\n" for number in range(5)]
