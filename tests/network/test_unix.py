"""Connecting to Unix sockets."""

from __future__ import annotations

import os
import socket as stdlib_socket
from collections.abc import Callable
from pathlib import Path

import pytest

import nursery
from nursery.network import unix
from nursery.network.unix import open_unix_socket
from tests.network.loopback import needs_unix


@needs_unix
@pytest.mark.parametrize("form", [str, os.fsencode, Path])
async def test_a_stream_to_a_path_is_opened(form: Callable[[Path], Path], tmp_path: Path) -> None:
    with stdlib_socket.socket(stdlib_socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "s"))
        listening.listen()
        async with await open_unix_socket(form(tmp_path / "s")) as stream:
            accepted, _ = listening.accept()
            with accepted:
                await stream.send_all(b"x")
                assert accepted.recv(1) == b"x"
                accepted.send(b"y")
                assert await stream.receive_some() == b"y"


@needs_unix
async def test_a_path_that_nobody_listens_at_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await open_unix_socket(tmp_path / "nobody")


@needs_unix
@pytest.mark.parametrize("wrong", [None, 4, ()])
async def test_it_must_be_a_path(wrong: object) -> None:
    with pytest.raises(TypeError):
        await open_unix_socket(wrong)  # type: ignore[arg-type]  # the mistake under test


@needs_unix
async def test_a_cancelled_call_opens_nothing(tmp_path: Path) -> None:
    with nursery.CancelScope() as scope:
        scope.cancel()
        await open_unix_socket(tmp_path / "s")
    assert scope.cancelled_caught


async def test_a_system_without_unix_sockets_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unix, "_AF_UNIX", None)
    with pytest.raises(RuntimeError, match="not supported"):
        await open_unix_socket("/tmp/s")
