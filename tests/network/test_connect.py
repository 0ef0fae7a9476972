"""Connecting to hosts with several addresses: RFC 8305."""

from __future__ import annotations

import socket as stdlib_socket
from math import inf

import pytest

import nursery
from nursery.network.connect import (
    DEFAULT_DELAY,
    format_host_port,
    open_tcp_stream,
    second_of_another_family,
)
from nursery.network.listeners import open_tcp_listeners
from nursery.network.resolver import AddressInfo
from nursery.network.stream import SocketStream
from nursery.testing import MockClock
from tests.network.fake_sockets import FakeNetwork, FakeSocket, Site

# On the real network


@pytest.mark.parametrize("host", ["127.0.0.1", b"127.0.0.1", "localhost"])
async def test_a_stream_is_opened(host: str | bytes) -> None:
    [listener] = await open_tcp_listeners(0, host="127.0.0.1")
    async with listener, await open_tcp_stream(host, listener.socket.getsockname()[1]) as stream:
        async with await listener.accept() as accepted:
            await stream.send_all(b"x")
            assert await accepted.receive_some() == b"x"


async def test_a_local_address_can_be_chosen() -> None:
    [listener] = await open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        port = listener.socket.getsockname()[1]
        async with await open_tcp_stream("127.0.0.1", port, local_address="127.0.0.2") as stream:
            assert stream.socket.getsockname()[0] == "127.0.0.2"


async def test_a_local_address_of_the_wrong_family_is_told() -> None:
    with pytest.raises(OSError, match="all attempts to connect") as info:
        await open_tcp_stream("127.0.0.1", 80, local_address="::1")
    assert isinstance(info.value.__cause__, ExceptionGroup)
    [error] = info.value.__cause__.exceptions
    assert "local_address='::1' is incompatible with remote address '127.0.0.1'" in str(error)


async def test_a_refusal_is_told_with_host_and_port() -> None:
    with stdlib_socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(OSError, match=f"all attempts to connect to 127.0.0.1:{port} failed") as info:
            await open_tcp_stream("127.0.0.1", port)
    assert isinstance(info.value.__cause__, ExceptionGroup)
    assert isinstance(info.value.__cause__.exceptions[0], ConnectionRefusedError)


@pytest.mark.parametrize("host", [None, 5, bytearray(b"127.0.0.1")])
async def test_the_host_must_be_str_or_bytes(host: object) -> None:
    with pytest.raises(ValueError, match="host must be str or bytes, not "):
        await open_tcp_stream(host, 80)  # type: ignore[arg-type]  # the mistake under test


@pytest.mark.parametrize("port", [None, "80", b"http"])
async def test_the_port_must_be_a_number(port: object) -> None:
    with pytest.raises(TypeError, match="port must be int"):
        await open_tcp_stream("127.0.0.1", port)  # type: ignore[arg-type]  # the mistake under test


# On a network that does what the test says


async def connect(**options: float | None) -> str:
    stream = await open_tcp_stream("name.example", 80, **options)  # type: ignore[arg-type]  # one option
    assert isinstance(stream, SocketStream)
    assert isinstance(stream.socket, FakeSocket)
    assert stream.socket.ip is not None
    return stream.socket.ip


async def test_a_single_address_is_connected_to(autojump_clock: MockClock) -> None:
    network = FakeNetwork.install(Site("10.0.0.1", 5))
    assert await connect() == "10.0.0.1"
    assert nursery.current_time() - network.began == 5


async def test_the_next_attempt_begins_after_the_delay(autojump_clock: MockClock) -> None:
    network = FakeNetwork.install(Site("10.0.0.1", 10), Site("10.0.0.2", 1), Site("10.0.0.3", 0))
    assert await connect() == "10.0.0.3"
    assert network.attempts == {"10.0.0.1": 0, "10.0.0.2": DEFAULT_DELAY, "10.0.0.3": 2 * DEFAULT_DELAY}
    assert network.open_sockets() == ["10.0.0.3"]


async def test_the_delay_can_be_chosen_and_none_means_the_default(autojump_clock: MockClock) -> None:
    network = FakeNetwork.install(Site("10.0.0.1", 10), Site("10.0.0.2", 1))
    await connect(happy_eyeballs_delay=3)
    assert network.attempts == {"10.0.0.1": 0, "10.0.0.2": 3}
    network = FakeNetwork.install(Site("10.0.0.1", 10), Site("10.0.0.2", 1))
    await connect(happy_eyeballs_delay=None)
    assert network.attempts == {"10.0.0.1": 0, "10.0.0.2": DEFAULT_DELAY}


async def test_an_infinite_delay_tries_one_after_the_other(autojump_clock: MockClock) -> None:
    network = FakeNetwork.install(Site("10.0.0.1", 10, refuses=True), Site("10.0.0.2", 1))
    assert await connect(happy_eyeballs_delay=inf) == "10.0.0.2"
    assert network.attempts == {"10.0.0.1": 0, "10.0.0.2": 10}


async def test_a_failure_starts_the_next_attempt_at_once(autojump_clock: MockClock) -> None:
    network = FakeNetwork.install(Site("10.0.0.1", 0.1, refuses=True), Site("10.0.0.2", 0.1))
    assert await connect() == "10.0.0.2"
    assert network.attempts["10.0.0.2"] == pytest.approx(0.1)
    assert nursery.current_time() - network.began == pytest.approx(0.2)


async def test_an_early_attempt_may_win_after_later_ones_have_begun(autojump_clock: MockClock) -> None:
    network = FakeNetwork.install(Site("10.0.0.1", 0.3), Site("10.0.0.2", 10), Site("10.0.0.3", 10))
    assert await connect() == "10.0.0.1"
    assert set(network.attempts) == {"10.0.0.1", "10.0.0.2"}
    assert network.open_sockets() == ["10.0.0.1"]


async def test_every_failure_is_in_the_group(autojump_clock: MockClock) -> None:
    network = FakeNetwork.install(
        Site("10.0.0.1", 1, refuses=True), Site("10.0.0.2", 2, refuses=True), Site("10.0.0.3", 0, refuses=True)
    )
    with pytest.raises(OSError, match=r"all attempts to connect to name\.example:80 failed") as info:
        await connect()
    assert isinstance(info.value.__cause__, ExceptionGroup)
    assert len(info.value.__cause__.exceptions) == 3
    assert network.open_sockets() == []


async def test_two_that_succeed_at_the_same_moment_leave_one_open(autojump_clock: MockClock) -> None:
    network = FakeNetwork.install(Site("10.0.0.1", 1), Site("10.0.0.2", 1 - DEFAULT_DELAY))
    winner = await connect()
    assert network.open_sockets() == [winner]


async def test_a_cancelled_call_closes_every_socket(autojump_clock: MockClock) -> None:
    network = FakeNetwork.install(Site("10.0.0.1", 10), Site("10.0.0.2", 10))
    with nursery.move_on_after(1) as scope:
        await connect()
    assert scope.cancelled_caught
    assert set(network.attempts) == {"10.0.0.1", "10.0.0.2"}
    assert network.open_sockets() == []


async def test_an_interrupt_after_the_connection_closes_the_socket(autojump_clock: MockClock) -> None:
    network = FakeNetwork.install(Site("10.0.0.1", 1), fails_in_setup=True)
    with pytest.raises(KeyboardInterrupt):
        await connect()
    assert network.open_sockets() == []


async def test_a_family_that_the_machine_lacks_is_one_more_failure(autojump_clock: MockClock) -> None:
    network = FakeNetwork.install(Site("fd00::1", 0, unsupported=True), Site("10.0.0.1", 1))
    assert await connect() == "10.0.0.1"
    assert network.attempts == {"10.0.0.1": 0}


async def test_the_second_attempt_is_at_the_other_family(autojump_clock: MockClock) -> None:
    network = FakeNetwork.install(Site("fd00::1", 10), Site("fd00::2", 10), Site("10.0.0.1", 10), Site("10.0.0.2", 0))
    await connect()
    assert list(network.attempts) == ["fd00::1", "10.0.0.1", "fd00::2", "10.0.0.2"]


async def test_a_resolver_that_finds_nothing_is_an_error(autojump_clock: MockClock) -> None:
    FakeNetwork.install()
    with pytest.raises(OSError, match=r"no results found for hostname lookup: name\.example:80"):
        await connect()


# The parts


def target(family: int, ip: str) -> AddressInfo:
    return (family, stdlib_socket.SOCK_STREAM, 6, "", (ip, 80))  # type: ignore[return-value]  # short for a test


def test_targets_are_only_moved_if_there_are_two_families() -> None:
    four, six = stdlib_socket.AF_INET, stdlib_socket.AF_INET6
    one = [target(four, "1"), target(four, "2")]
    second_of_another_family(one)
    assert one == [target(four, "1"), target(four, "2")]
    two = [target(six, "1"), target(six, "2"), target(four, "3"), target(four, "4")]
    second_of_another_family(two)
    assert two == [target(six, "1"), target(four, "3"), target(six, "2"), target(four, "4")]
    none: list[AddressInfo] = []
    second_of_another_family(none)
    assert none == []


def test_an_ipv6_host_is_written_in_brackets() -> None:
    assert format_host_port("127.0.0.1", 80) == "127.0.0.1:80"
    assert format_host_port(b"example.org", 443) == "example.org:443"
    assert format_host_port("::1", "http") == "[::1]:http"  # type: ignore[arg-type]  # any port can be shown
    assert format_host_port(b"::1", 80) == "[::1]:80"
