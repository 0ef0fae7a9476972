"""Addresses in the forms that users write."""

from __future__ import annotations

import socket as stdlib_socket
from pathlib import Path

import pytest

from nursery.network.address import resolve_address
from nursery.testing import assert_no_checkpoints
from tests.network.loopback import needs_ipv6, needs_unix


async def resolve(family: int, address: object, *, local: bool = False, v6only: bool = False) -> object:
    with stdlib_socket.socket(family) as sock:
        if family == stdlib_socket.AF_INET6:
            sock.setsockopt(stdlib_socket.IPPROTO_IPV6, stdlib_socket.IPV6_V6ONLY, v6only)
        return await resolve_address(sock, address, local=local)


async def test_a_numeric_address_comes_back_without_a_checkpoint() -> None:
    address = ("127.0.0.1", 80)
    with assert_no_checkpoints():
        assert await resolve(stdlib_socket.AF_INET, address) is address


@pytest.mark.parametrize(
    ("address", "local", "expected"),
    [
        (("localhost", 80), False, ("127.0.0.1", 80)),
        (("127.0.0.1", "80"), False, ("127.0.0.1", 80)),
        (("", 80), True, ("0.0.0.0", 80)),
        (("", 80), False, ("127.0.0.1", 80)),
        ((None, 80), True, ("0.0.0.0", 80)),
        ((b"127.0.0.1", 80), False, ("127.0.0.1", 80)),
        (("<broadcast>", 123), False, ("255.255.255.255", 123)),
    ],
)
async def test_names_and_shorthands_are_resolved(address: object, local: bool, expected: object) -> None:
    assert await resolve(stdlib_socket.AF_INET, address, local=local) == expected


@needs_ipv6
@pytest.mark.parametrize(
    ("address", "local", "expected"),
    [
        (("::1", 80), False, ("::1", 80)),
        (("::1", "80"), False, ("::1", 80, 0, 0)),
        (("::1", "80", 7), False, ("::1", 80, 7, 0)),
        (("::1", "80", 7, 1), False, ("::1", 80, 7, 1)),
        (("", 80), True, ("::", 80, 0, 0)),
        (("127.0.0.1", 80), False, ("::ffff:127.0.0.1", 80, 0, 0)),
    ],
)
async def test_ipv6_addresses_keep_flow_and_scope(address: object, local: bool, expected: object) -> None:
    assert await resolve(stdlib_socket.AF_INET6, address, local=local) == expected


@needs_ipv6
async def test_an_ipv4_address_is_not_mapped_for_a_socket_that_is_ipv6_only() -> None:
    with pytest.raises(stdlib_socket.gaierror):
        await resolve(stdlib_socket.AF_INET6, ("127.0.0.1", 80), v6only=True)


@pytest.mark.parametrize("wrong", ["127.0.0.1", ("127.0.0.1",), ("127.0.0.1", 80, 0), ["127.0.0.1", 80]])
async def test_an_ipv4_address_must_be_a_pair(wrong: object) -> None:
    with pytest.raises(ValueError, match=r"^address should be a \(host, port\) tuple"):
        await resolve(stdlib_socket.AF_INET, wrong)


@needs_ipv6
@pytest.mark.parametrize("wrong", ["::1", ("::1",), ("::1", 80, 0, 0, 0)])
async def test_an_ipv6_address_must_be_a_tuple_of_two_to_four(wrong: object) -> None:
    with pytest.raises(ValueError, match=r"^address should be a \(host, port, \[flowinfo, \[scopeid\]\]\) tuple"):
        await resolve(stdlib_socket.AF_INET6, wrong)


@needs_unix
async def test_a_path_becomes_text() -> None:
    assert await resolve(stdlib_socket.AF_UNIX, Path("/tmp/x")) == "/tmp/x"
    with pytest.raises(TypeError):
        await resolve(stdlib_socket.AF_UNIX, 7)


@pytest.mark.skipif(not hasattr(stdlib_socket, "AF_NETLINK"), reason="Linux only")
async def test_addresses_of_other_families_are_passed_on() -> None:
    with stdlib_socket.socket(stdlib_socket.AF_NETLINK, stdlib_socket.SOCK_RAW) as sock:
        address = (0, 0)
        assert await resolve_address(sock, address, local=True) is address
