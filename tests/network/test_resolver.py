"""Names to addresses and back."""

from __future__ import annotations

import socket as stdlib_socket
import threading

import pytest

import nursery
from nursery.network.resolver import (
    AddressInfo,
    HostnameResolver,
    encode_hostname,
    getaddrinfo,
    getnameinfo,
    getprotobyname,
    set_custom_hostname_resolver,
)
from nursery.testing import assert_checkpoints


async def test_a_name_is_looked_up() -> None:
    with assert_checkpoints():
        found = await getaddrinfo("localhost", 80, type=stdlib_socket.SOCK_STREAM)
    assert any(entry[4][0] in ("127.0.0.1", "::1") for entry in found)


async def test_the_thread_of_the_run_answers_for_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[threading.Thread] = []
    original = stdlib_socket.getaddrinfo

    def watching(*args: object) -> object:
        threads.append(threading.current_thread())
        return original(*args)  # type: ignore[arg-type]  # whatever came

    monkeypatch.setattr(stdlib_socket, "getaddrinfo", watching)
    with assert_checkpoints():
        found = await getaddrinfo("127.0.0.1", "80", type=stdlib_socket.SOCK_STREAM)
    assert found[0][4] == ("127.0.0.1", 80)
    assert threads == [threading.current_thread()]


async def test_another_thread_looks_names_up(monkeypatch: pytest.MonkeyPatch) -> None:
    # Replaced after the import, so this also shows that the function is looked up at each call.
    asked: list[tuple[threading.Thread, object]] = []
    original = stdlib_socket.getaddrinfo

    def watching(host: object, *args: object) -> object:
        if threading.current_thread() is threading.main_thread():
            return original(host, *args)  # type: ignore[arg-type]  # whatever came
        asked.append((threading.current_thread(), host))
        return ["the answer"]

    monkeypatch.setattr(stdlib_socket, "getaddrinfo", watching)
    answer: object = await getaddrinfo("name.example", 80)
    assert answer == ["the answer"]
    assert asked[0][1] == b"name.example"


async def test_an_error_that_is_not_about_the_name_is_raised_at_once() -> None:
    with assert_checkpoints(), pytest.raises(stdlib_socket.gaierror):
        await getaddrinfo("127.0.0.1", 80, family=stdlib_socket.AF_INET, type=12345)


async def test_a_cancelled_lookup_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()

    def hanging(*args: object) -> object:
        release.wait(5)
        return ("host", "service")

    monkeypatch.setattr(stdlib_socket, "getnameinfo", hanging)
    with nursery.move_on_after(0.002) as scope:
        await getnameinfo(("127.0.0.1", 80), 0)
    assert scope.cancelled_caught
    release.set()


async def test_an_address_is_named() -> None:
    flags = stdlib_socket.NI_NUMERICHOST | stdlib_socket.NI_NUMERICSERV
    with assert_checkpoints():
        assert await getnameinfo(("127.0.0.1", 80), flags) == ("127.0.0.1", "80")


async def test_the_thread_of_the_run_turns_numbers_into_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[threading.Thread] = []
    original = stdlib_socket.getnameinfo

    def watching(*args: object) -> object:
        threads.append(threading.current_thread())
        return original(*args)  # type: ignore[arg-type]  # whatever came

    monkeypatch.setattr(stdlib_socket, "getnameinfo", watching)
    numbers = stdlib_socket.NI_NUMERICHOST | stdlib_socket.NI_NUMERICSERV
    with assert_checkpoints():
        assert await getnameinfo(("127.0.0.1", 80), numbers) == ("127.0.0.1", "80")
    with assert_checkpoints(), pytest.raises(stdlib_socket.gaierror):
        await getnameinfo(("name.example", 80), numbers)
    assert threads == [threading.current_thread()] * 2
    await getnameinfo(("127.0.0.1", 80), stdlib_socket.NI_NUMERICHOST)
    assert threads[2] is not threading.current_thread()


async def test_a_protocol_is_numbered() -> None:
    with assert_checkpoints():
        assert await getprotobyname("tcp") == stdlib_socket.IPPROTO_TCP


class Resolver(HostnameResolver):
    """Answers with what it was asked."""

    async def getaddrinfo(self, *args: object) -> list[AddressInfo]:
        return [("asked", *args)]  # type: ignore[list-item]  # the question for an answer

    async def getnameinfo(self, *args: object) -> tuple[str, str]:
        return (repr(args), "")


async def test_a_custom_resolver_is_asked_for_names_only() -> None:
    resolver = Resolver()
    assert set_custom_hostname_resolver(resolver) is None
    answer: object = await getaddrinfo("name.example", 80)
    assert answer == [("asked", b"name.example", 80, 0, 0, 0, 0)]
    question = (b"name.example", "http", stdlib_socket.AF_INET, stdlib_socket.SOCK_STREAM, 6, stdlib_socket.AI_PASSIVE)
    second_answer: object = await getaddrinfo(*question)
    assert second_answer == [("asked", *question)]
    assert (await getaddrinfo("127.0.0.1", 80))[0][4] == ("127.0.0.1", 80)
    assert await getnameinfo(("127.0.0.1", 80), 7) == ("(('127.0.0.1', 80), 7)", "")
    assert set_custom_hostname_resolver(None) is resolver
    assert (await getnameinfo(("127.0.0.1", 80), stdlib_socket.NI_NUMERICHOST))[0] == "127.0.0.1"


def test_a_custom_resolver_lasts_for_its_run() -> None:
    async def set_it() -> None:
        set_custom_hostname_resolver(Resolver())

    async def look() -> HostnameResolver | None:
        return set_custom_hostname_resolver(None)

    nursery.run(set_it)
    assert nursery.run(look) is None


def test_ascii_names_are_encoded_as_they_are() -> None:
    assert encode_hostname("Example.ORG") == b"Example.ORG"
    assert encode_hostname("::1") == b"::1"


def test_other_names_are_encoded_by_idna_2008() -> None:
    pytest.importorskip("idna")
    # IDNA 2003 makes "strasse" of it, which is another host.
    assert encode_hostname("stra\N{LATIN SMALL LETTER SHARP S}e.example") == b"xn--strae-oqa.example"
    assert encode_hostname("B\N{LATIN CAPITAL LETTER U WITH DIAERESIS}CHER.example") == b"xn--bcher-kva.example"
