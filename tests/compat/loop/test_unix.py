"""Unix connections and servers: paths and abstract names, stale files and clean-up, arguments that do not fit."""

from __future__ import annotations

import asyncio
import errno
import os
import secrets
import socket
import ssl
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nursery import compat
from tests.compat.two_loops import LoopFactory, on_both, run, run_on

# What asyncio has from 3.13 on.
from_313 = pytest.mark.parametrize(
    "loop_factory",
    [
        pytest.param(
            asyncio.SelectorEventLoop, id="asyncio", marks=pytest.mark.skipif(sys.version_info < (3, 13), reason="3.13")
        ),
        pytest.param(compat.new_event_loop, id="nursery"),
    ],
)

abstract_names = pytest.mark.skipif(sys.platform != "linux", reason="abstract names are Linux's")


class Echo(asyncio.Protocol):
    """Sends back what it gets."""

    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


class Client(asyncio.Protocol):
    """Collects what comes until the end."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        self.data += data

    def connection_lost(self, exc: BaseException | None) -> None:
        self.lost.set_result(None)


async def echo(connect: Any) -> bytes:
    transport, client = await connect
    transport.write(b"hello")
    while client.data != b"hello":
        await asyncio.sleep(0.0005)
    transport.close()
    await client.lost
    return bytes(client.data)


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "socket")


Form = Callable[[str], Any]
forms = pytest.mark.parametrize("form", [str, os.fsencode, Path], ids=["str", "bytes", "Path"])


@on_both
@forms
def test_a_server_and_a_client_meet_at_a_path(loop_factory: LoopFactory, path: str, form: Form) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_unix_server(Echo, form(path))
        assert server.is_serving()
        assert stat.S_ISSOCK(os.stat(path).st_mode)
        assert server.sockets[0].getsockname() == path
        assert await echo(loop.create_unix_connection(Client, form(path))) == b"hello"
        server.close()
        await server.wait_closed()

    run_on(loop_factory, main())


@on_both
@abstract_names
@pytest.mark.parametrize("form", [str, os.fsencode], ids=["str", "bytes"])
def test_a_server_and_a_client_meet_at_an_abstract_name(loop_factory: LoopFactory, form: Form) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        name = form("\0nursery-" + secrets.token_hex(8))
        server = await loop.create_unix_server(Echo, name)
        assert await echo(loop.create_unix_connection(Client, name)) == b"hello"
        server.close()
        await server.wait_closed()

    run_on(loop_factory, main())


@on_both
def test_sockets_made_elsewhere_are_taken_over(loop_factory: LoopFactory, path: str) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(path)
        server = await loop.create_unix_server(Echo, sock=listening)
        client = socket.socket(socket.AF_UNIX)
        client.connect(path)
        assert await echo(loop.create_unix_connection(Client, sock=client)) == b"hello"
        assert client.fileno() == -1
        server.close()
        await server.wait_closed()
        assert listening.fileno() == -1

    run_on(loop_factory, main())


@on_both
def test_streams_work_over_unix_sockets(loop_factory: LoopFactory, path: str) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.readline()).upper())
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async def main() -> None:
        server = await asyncio.start_unix_server(serve, path)
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"hello\n")
        assert await reader.read() == b"HELLO\n"
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()

    run_on(loop_factory, main())


@on_both
def test_a_server_may_begin_to_serve_later(loop_factory: LoopFactory, path: str) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_unix_server(Echo, path, start_serving=False)
        assert not server.is_serving()
        with pytest.raises(ConnectionRefusedError):
            await loop.create_unix_connection(Client, path)
        await server.start_serving()
        assert await echo(loop.create_unix_connection(Client, path)) == b"hello"
        server.close()
        await server.wait_closed()

    run_on(loop_factory, main())


@on_both
def test_the_new_file_has_the_mode_that_the_umask_leaves(loop_factory: LoopFactory, path: str) -> None:
    async def main() -> None:
        before = os.umask(0o077)
        try:
            server = await asyncio.get_running_loop().create_unix_server(Echo, path)
        finally:
            os.umask(before)
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o700
        server.close()

    run_on(loop_factory, main())


# Files that are there before


@on_both
@forms
def test_a_stale_socket_file_is_replaced(loop_factory: LoopFactory, path: str, form: Form) -> None:
    with socket.socket(socket.AF_UNIX) as old:
        old.bind(path)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_unix_server(Echo, form(path))
        assert await echo(loop.create_unix_connection(Client, path)) == b"hello"
        server.close()

    run_on(loop_factory, main())


@on_both
def test_a_file_that_is_no_socket_stays_and_is_an_error_that_names_it(loop_factory: LoopFactory, path: str) -> None:
    Path(path).write_text("precious")

    async def main() -> None:
        with pytest.raises(OSError, match="is already in use") as caught:
            await asyncio.get_running_loop().create_unix_server(Echo, path)
        assert caught.value.errno == errno.EADDRINUSE
        assert path in str(caught.value)

    run_on(loop_factory, main())
    assert Path(path).read_text() == "precious"


@on_both
def test_a_folder_that_does_not_exist_is_the_systems_error(loop_factory: LoopFactory, path: str) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with pytest.raises(FileNotFoundError):
            await loop.create_unix_server(Echo, path + "/below")
        with pytest.raises(FileNotFoundError):
            await loop.create_unix_connection(Client, path + "/below")

    run_on(loop_factory, main())


@on_both
def test_a_stale_file_that_cannot_be_removed_is_logged(
    loop_factory: LoopFactory, path: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket(socket.AF_UNIX) as old:
        old.bind(path)

    def refuse(name: object) -> None:
        raise PermissionError(errno.EACCES, "no")

    async def main() -> None:
        with monkeypatch.context() as patch:
            patch.setattr(os, "remove", refuse)
            with pytest.raises(OSError, match="is already in use"):
                await asyncio.get_running_loop().create_unix_server(Echo, path)

    run_on(loop_factory, main())
    assert "Unable to check or remove stale UNIX socket" in caplog.text


# Files that are left behind


@from_313
def test_closing_the_server_removes_its_file(loop_factory: LoopFactory, path: str) -> None:
    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        server = await loop.create_unix_server(Echo, path, cleanup_socket=True)
        server.close()
        assert not os.path.exists(path)
        server.close()

        listening = socket.socket(socket.AF_UNIX)
        listening.bind(path)
        server = await loop.create_unix_server(Echo, sock=listening, cleanup_socket=True)
        server.close()
        assert not os.path.exists(path)

    run_on(loop_factory, main())


@from_313
def test_a_file_that_is_gone_or_was_replaced_is_let_alone(loop_factory: LoopFactory, path: str) -> None:
    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        server = await loop.create_unix_server(Echo, path, cleanup_socket=True)
        os.unlink(path)
        server.close()

        server = await loop.create_unix_server(Echo, path, cleanup_socket=True)
        os.rename(path, path + "-old")
        Path(path).touch()
        server.close()
        assert os.path.exists(path)

    run_on(loop_factory, main())


@from_313
def test_the_file_stays_if_that_is_wanted(loop_factory: LoopFactory, path: str) -> None:
    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        server = await loop.create_unix_server(Echo, path, cleanup_socket=False)
        server.close()
        assert os.path.exists(path)

    run_on(loop_factory, main())


@on_both
def test_whether_the_file_is_removed_by_default_depends_on_the_version(loop_factory: LoopFactory, path: str) -> None:
    async def main() -> None:
        server = await asyncio.get_running_loop().create_unix_server(Echo, path)
        server.close()
        assert os.path.exists(path) is (sys.version_info < (3, 13))

    run_on(loop_factory, main())


def test_the_file_is_removed_from_where_it_was_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        server = await loop.create_unix_server(Echo, "socket", cleanup_socket=True)
        os.mkdir("elsewhere")
        monkeypatch.chdir(tmp_path / "elsewhere")
        Path("socket").touch()
        server.close()
        assert os.path.exists("socket")
        assert not os.path.exists(tmp_path / "socket")

    run(main())


def test_a_file_that_cannot_be_removed_is_logged(
    path: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(name: object) -> None:
        raise PermissionError(errno.EACCES, "no")

    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        server = await loop.create_unix_server(Echo, path, cleanup_socket=True)
        with monkeypatch.context() as patch:
            patch.setattr(os, "unlink", refuse)
            server.close()

    run(main())
    assert "Unable to clean up listening UNIX socket" in caplog.text


def test_a_call_that_is_cancelled_leaves_no_server_behind(path: str) -> None:
    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        creating = asyncio.ensure_future(loop.create_unix_server(Echo, path, cleanup_socket=True))
        await asyncio.sleep(0)
        assert os.path.exists(path)
        creating.cancel()
        with pytest.raises(asyncio.CancelledError):
            await creating
        assert not os.path.exists(path)

    run(main())


# Arguments that do not fit


@on_both
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "no path and sock were specified"),
        ({"path": "p", "sock": object()}, "path and sock can not be specified at the same time"),
        ({"path": "p", "server_hostname": "h"}, "server_hostname is only meaningful with ssl"),
        ({"path": "p", "ssl": True}, "you have to pass server_hostname when using ssl"),
        ({"path": "p", "ssl_handshake_timeout": 1}, "ssl_handshake_timeout is only meaningful with ssl"),
        ({"path": "p", "ssl_shutdown_timeout": 1}, "ssl_shutdown_timeout is only meaningful with ssl"),
    ],
)
def test_a_connection_whose_arguments_exclude_each_other(
    loop_factory: LoopFactory, options: dict[str, Any], message: str
) -> None:
    async def main() -> None:
        with pytest.raises(ValueError, match=message):
            await asyncio.get_running_loop().create_unix_connection(Client, **options)

    run_on(loop_factory, main())


@on_both
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "path was not specified, and no sock specified"),
        ({"path": "p", "sock": object()}, "path and sock can not be specified at the same time"),
        ({"path": "p", "ssl_handshake_timeout": 1}, "ssl_handshake_timeout is only meaningful with ssl"),
        ({"path": "p", "ssl_shutdown_timeout": 1}, "ssl_shutdown_timeout is only meaningful with ssl"),
    ],
)
def test_a_server_whose_arguments_exclude_each_other(
    loop_factory: LoopFactory, options: dict[str, Any], message: str
) -> None:
    async def main() -> None:
        with pytest.raises(ValueError, match=message):
            await asyncio.get_running_loop().create_unix_server(Echo, **options)

    run_on(loop_factory, main())


@on_both
def test_a_truth_value_is_no_context_for_a_server(loop_factory: LoopFactory, path: str) -> None:
    async def main() -> None:
        with pytest.raises(TypeError, match="ssl argument must be an SSLContext or None"):
            await asyncio.get_running_loop().create_unix_server(Echo, path, ssl=True)

    run_on(loop_factory, main())


@on_both
@pytest.mark.parametrize(
    ("family", "kind"), [(socket.AF_INET, socket.SOCK_STREAM), (socket.AF_UNIX, socket.SOCK_DGRAM)]
)
def test_a_socket_of_another_kind_is_refused(loop_factory: LoopFactory, family: int, kind: int) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with socket.socket(family, kind) as sock:
            with pytest.raises(ValueError, match="A UNIX Domain Stream Socket was expected"):
                await loop.create_unix_server(Echo, sock=sock)
            with pytest.raises(ValueError, match="A UNIX Domain Stream Socket was expected"):
                await loop.create_unix_connection(Client, sock=sock)

    run_on(loop_factory, main())


@on_both
def test_a_connection_that_is_refused_leaves_no_socket_behind(loop_factory: LoopFactory, path: str) -> None:
    with socket.socket(socket.AF_UNIX) as old:
        old.bind(path)

    async def main() -> None:
        before = os.listdir("/proc/self/fd") if os.path.exists("/proc/self/fd") else []
        with pytest.raises(ConnectionRefusedError):
            await asyncio.get_running_loop().create_unix_connection(Client, path)
        after = os.listdir("/proc/self/fd") if os.path.exists("/proc/self/fd") else []
        assert len(after) == len(before)

    run_on(loop_factory, main())


# TLS


@on_both
def test_tls_works_over_unix_sockets(
    loop_factory: LoopFactory, path: str, tls_contexts: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    for_server, for_client = tls_contexts

    async def main() -> None:
        loop = asyncio.get_running_loop()
        limits: dict[str, Any] = {"ssl_handshake_timeout": 5, "ssl_shutdown_timeout": 5}
        server = await loop.create_unix_server(Echo, path, ssl=for_server, **limits)
        connect = loop.create_unix_connection(Client, path, ssl=for_client, server_hostname="unix.test", **limits)
        assert await echo(connect) == b"hello"
        server.close()
        await server.wait_closed()

    run_on(loop_factory, main())


@pytest.fixture(scope="module")
def tls_contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    import trustme

    authority = trustme.CA()
    for_server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("unix.test").configure_cert(for_server)
    for_client = ssl.create_default_context()
    authority.configure_trust(for_client)
    return for_server, for_client
