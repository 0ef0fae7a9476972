"""getaddrinfo and getnameinfo: the answers of the socket module, and from a thread only where that is needed."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
import threading
import time
from typing import Any

import pytest

from nursery.compat.loop.names import is_literal, numeric_address
from tests.compat.two_loops import LoopFactory, on_both, run, run_on


def no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise AssertionError(f"asked for a thread: {args}")

    monkeypatch.setattr(asyncio.get_running_loop(), "run_in_executor", refuse)


def record_threads(monkeypatch: pytest.MonkeyPatch, function: str) -> list[bool]:
    """Write down for each call of a function of the socket module whether it was in the main thread."""
    in_main: list[bool] = []
    real = getattr(socket, function)

    def recorded(*args: Any) -> Any:
        in_main.append(threading.current_thread() is threading.main_thread())
        return real(*args)

    monkeypatch.setattr(socket, function, recorded)
    return in_main


@on_both
@pytest.mark.parametrize(
    ("host", "port", "options"),
    [
        ("127.0.0.1", 80, {}),
        ("127.0.0.1", "80", {"type": socket.SOCK_STREAM}),
        (b"127.0.0.1", b"80", {"type": socket.SOCK_DGRAM}),
        ("127.0.0.1", None, {"type": socket.SOCK_STREAM, "flags": socket.AI_CANONNAME}),
        (None, 80, {"type": socket.SOCK_STREAM, "flags": socket.AI_PASSIVE}),
        (None, 80, {"type": socket.SOCK_STREAM, "family": socket.AF_INET}),
        ("::1", 80, {"type": socket.SOCK_STREAM}),
        ("::ffff:1.2.3.4", 80, {}),
        ("localhost", 80, {"type": socket.SOCK_STREAM, "family": socket.AF_INET}),
    ],
)
def test_the_answer_is_that_of_the_socket_module(
    loop_factory: LoopFactory, host: Any, port: Any, options: dict[str, Any]
) -> None:
    async def main() -> None:
        assert await asyncio.get_running_loop().getaddrinfo(host, port, **options) == socket.getaddrinfo(
            host, port, **options
        )

    run_on(loop_factory, main())


@on_both
def test_an_address_of_the_wrong_family_is_an_error(loop_factory: LoopFactory) -> None:
    async def main() -> None:
        with pytest.raises(socket.gaierror):
            await asyncio.get_running_loop().getaddrinfo("127.0.0.1", 80, family=socket.AF_INET6)

    run_on(loop_factory, main())


def test_what_is_numeric_needs_no_thread_and_no_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        no_threads(monkeypatch)
        turns: list[int] = []
        loop.call_soon(turns.append, 1)
        for host in ("127.0.0.1", b"127.0.0.1", "::1", None):
            assert await loop.getaddrinfo(host, 80, type=socket.SOCK_STREAM)
        assert await loop.getnameinfo(("127.0.0.1", 80), socket.NI_NUMERICHOST | socket.NI_NUMERICSERV) == (
            "127.0.0.1",
            "80",
        )
        assert turns == []

    run(main())


@pytest.mark.parametrize(("host", "port"), [("localhost", 80), ("127.0.0.1", "http"), (None, "http"), ("127.1", 80)])
def test_whatever_may_read_a_file_or_ask_a_server_is_done_in_a_thread(
    monkeypatch: pytest.MonkeyPatch, host: Any, port: Any
) -> None:
    in_main = record_threads(monkeypatch, "getaddrinfo")

    async def main() -> None:
        await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)

    run(main())
    assert in_main == [False]


@pytest.mark.parametrize("flags", [0, socket.NI_NUMERICHOST, socket.NI_NUMERICSERV])
def test_names_of_an_address_are_looked_up_in_a_thread(monkeypatch: pytest.MonkeyPatch, flags: int) -> None:
    in_main = record_threads(monkeypatch, "getnameinfo")

    async def main() -> None:
        answer = await asyncio.get_running_loop().getnameinfo(("127.0.0.1", 80), flags)
        assert answer == socket.getnameinfo(("127.0.0.1", 80), flags)

    run(main())
    assert in_main[0] is False


def test_the_call_in_the_loops_thread_may_ask_no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    flags: list[int] = []
    real = socket.getaddrinfo

    def look_up(*args: Any) -> Any:
        flags.append(args[-1])
        return real(*args)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)

    async def main() -> None:
        await asyncio.get_running_loop().getaddrinfo("127.0.0.1", 80, flags=socket.AI_PASSIVE)

    run(main())
    assert flags == [socket.AI_PASSIVE | socket.AI_NUMERICHOST | socket.AI_NUMERICSERV]


def test_a_replaced_getaddrinfo_is_asked_with_the_arguments_as_given(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def look_up(*args: Any) -> list[Any]:
        asked.append(args)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 80))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)

    async def main() -> None:
        await asyncio.get_running_loop().getaddrinfo("a.test", 80, family=2, type=1, proto=6, flags=1)

    run(main())
    assert asked == [("a.test", 80, 2, 1, 6, 1)]


@on_both
def test_debug_mode_reports_a_slow_look_up(
    loop_factory: LoopFactory, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def look_up(host: Any, port: Any, *rest: Any) -> list[Any]:
        time.sleep(0.002 if host == "slow.test" else 0)
        return ["found"]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    caplog.set_level(logging.DEBUG, "asyncio")

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.slow_callback_duration = 0.001
        await loop.getaddrinfo("slow.test", 80, family=socket.AF_INET)
        loop.slow_callback_duration = 10
        await loop.getaddrinfo("127.0.0.1", 80)

    run_on(loop_factory, main(), debug=True)
    told = [(record.levelno, record.getMessage()) for record in caplog.records if "address info" in record.message]
    assert told[0][0] == logging.DEBUG
    assert told[0][1].startswith("Get address info slow.test:80, family=")
    assert told[1][0] == logging.INFO
    assert told[1][1].startswith("Getting address info slow.test:80, family=")
    assert told[1][1].endswith("ms: ['found']")
    assert told[2][1].startswith("Get address info 127.0.0.1:80")
    assert told[3][0] == logging.DEBUG


@pytest.mark.parametrize(
    ("host", "literal"),
    [
        ("127.0.0.1", True),
        (b"127.0.0.1", True),
        ("::1", True),
        ("fe80::1%lo", True),
        ("127.0.0.1%lo", False),
        (None, True),
        ("localhost", False),
        ("", False),
        ("127.1", False),
        ("\N{LATIN SMALL LETTER U WITH DIAERESIS}.test", False),
        (b"\xff", False),
        ("a\0b", False),
        (1, False),
    ],
)
def test_a_literal_address_is_told_from_a_name(host: Any, literal: bool) -> None:
    assert is_literal(host) is literal


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        (("1.2.3.4", 1, 0, 1, 0), (2, 1, 6, "", ("1.2.3.4", 1))),
        ((b"1.2.3.4", b"1", 0, 2, 17), (2, 2, 17, "", ("1.2.3.4", 1))),
        (("1.2.3.4", None, 2, 1, 0), (2, 1, 6, "", ("1.2.3.4", 0))),
        (("1.2.3.4", "", 2, 1, 0), (2, 1, 6, "", ("1.2.3.4", 0))),
        (("::1", 1, 0, 1, 0), (10, 1, 6, "", ("::1", 1, 0, 0))),
        (("::1", 1, 10, 1, 0, 3, 4), (10, 1, 6, "", ("::1", 1, 3, 4))),
        (("::1", 1, 2, 1, 0), None),
        (("1.2.3.4", 1, 10, 1, 0), None),
        (("1.2.3.4", "http", 2, 1, 0), None),
        (("1.2.3.4", 1, 2, 3, 0), None),
        (("1.2.3.4", 1, 2, 1, 132), None),
        (("fe80::1%lo", 1, 0, 1, 0), None),
        ((None, 1, 0, 1, 0), None),
        (("a.test", 1, 0, 1, 0), None),
    ],
)
@pytest.mark.skipif(sys.platform != "linux", reason="the numbers are those of Linux")
def test_the_short_way_answers_only_what_is_as_simple(arguments: Any, answer: Any) -> None:
    assert numeric_address(*arguments) == answer
