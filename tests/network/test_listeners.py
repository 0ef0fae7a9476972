"""Opening listeners."""

from __future__ import annotations

import errno
import socket as stdlib_socket

import pytest

from nursery.network.connect import open_tcp_stream
from nursery.network.listeners import LONGEST_BACKLOG, checked_backlog, open_tcp_listeners
from nursery.resource import aclose_forcefully
from nursery.testing import MockClock
from tests.network.fake_sockets import FakeNetwork, FakeSocket, Site
from tests.network.loopback import has_ipv6, needs_ipv6


async def test_a_host_gives_a_listener_that_accepts() -> None:
    [listener] = await open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        assert listener.socket.getsockname()[0] == "127.0.0.1"
        async with await open_tcp_stream("127.0.0.1", listener.socket.getsockname()[1]):
            async with await listener.accept():
                pass


async def test_no_host_gives_a_listener_for_each_family() -> None:
    listeners = await open_tcp_listeners(0)
    families = {listener.socket.family for listener in listeners}
    assert stdlib_socket.AF_INET in families
    assert (stdlib_socket.AF_INET6 in families) == has_ipv6()
    for listener in listeners:
        await listener.aclose()


@needs_ipv6
async def test_both_families_can_have_the_same_port() -> None:
    [four] = await open_tcp_listeners(0, host="0.0.0.0")
    async with four:
        [six] = await open_tcp_listeners(four.socket.getsockname()[1], host="::")
        assert six.socket.getsockopt(stdlib_socket.IPPROTO_IPV6, stdlib_socket.IPV6_V6ONLY)
        await six.aclose()


async def test_a_port_that_was_just_in_use_can_be_had_again() -> None:
    [listener] = await open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    async with await open_tcp_stream("127.0.0.1", port), await listener.accept():
        await aclose_forcefully(listener)
        [again] = await open_tcp_listeners(port, host="127.0.0.1")
        await again.aclose()


async def test_a_port_in_use_is_an_error_and_leaves_nothing_open(autojump_clock: MockClock) -> None:
    network = FakeNetwork.install(Site("10.0.0.1", 0), cannot_bind=True)
    with pytest.raises(OSError, match="cannot bind"):
        await open_tcp_listeners(80, host="name.example")
    assert network.open_sockets() == []


async def test_if_one_address_fails_the_others_are_closed(autojump_clock: MockClock) -> None:
    network = FakeNetwork.install(Site("10.0.0.1", 0), Site("10.0.0.2", 0))
    original = network.socket

    def second_fails(family: int = 0, type: int = 0, proto: int = 0) -> object:
        network.cannot_bind = bool(network.sockets)
        return original(family, type, proto)

    network.socket = second_fails  # type: ignore[method-assign,assignment]  # changes its mind half way
    with pytest.raises(OSError, match="cannot bind"):
        await open_tcp_listeners(80, host="name.example")
    assert len(network.sockets) == 2
    assert network.open_sockets() == []


async def test_a_family_that_the_machine_lacks_is_skipped(autojump_clock: MockClock) -> None:
    FakeNetwork.install(Site("fd00::1", 0, unsupported=True), Site("10.0.0.1", 0))
    [listener] = await open_tcp_listeners(80, host="name.example")
    assert listener.socket.family == stdlib_socket.AF_INET


async def test_it_is_an_error_if_no_family_is_left(autojump_clock: MockClock) -> None:
    FakeNetwork.install(Site("fd00::1", 0, unsupported=True), Site("10.0.0.1", 0, unsupported=True))
    with pytest.raises(OSError, match="This system doesn't support") as info:
        await open_tcp_listeners(80, host="name.example")
    assert info.value.errno == errno.EAFNOSUPPORT
    assert isinstance(info.value.__cause__, ExceptionGroup)
    assert len(info.value.__cause__.exceptions) == 2


@pytest.mark.parametrize("port", ["80", b"http", None])
async def test_the_port_must_be_a_number(port: object) -> None:
    with pytest.raises(TypeError, match="port must be an int"):
        await open_tcp_listeners(port)  # type: ignore[arg-type]  # the mistake under test


async def test_the_backlog_reaches_the_socket(autojump_clock: MockClock) -> None:
    network = FakeNetwork.install(Site("10.0.0.1", 0))
    for backlog in (None, 0, 7, 10**9):
        await open_tcp_listeners(80, host="name.example", backlog=backlog)
    assert [sock.listening for sock in network.sockets] == [LONGEST_BACKLOG, 0, 7, LONGEST_BACKLOG]
    assert isinstance(network.sockets[0], FakeSocket)


def test_the_backlog_must_be_a_count() -> None:
    for wrong in (1.5, "7", float("inf")):
        with pytest.raises(TypeError, match="backlog must be an int or None"):
            checked_backlog(wrong)  # type: ignore[arg-type]  # the mistake under test
    with pytest.raises(ValueError, match="non-negative"):
        checked_backlog(-1)
