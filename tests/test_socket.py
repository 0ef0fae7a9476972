"""The namespace `nursery.socket`."""

from __future__ import annotations

import inspect
import socket as stdlib_socket

import pytest

import nursery.socket


def test_the_constants_of_the_standard_module_are_there() -> None:
    for name in stdlib_socket.__all__:
        if name.isupper():
            assert getattr(nursery.socket, name) is getattr(stdlib_socket, name), name


@pytest.mark.parametrize(
    "name",
    ["gaierror", "herror", "htons", "ntohs", "htonl", "ntohl", "inet_aton", "inet_ntop", "inet_pton", "if_nameindex"],
)
def test_what_does_not_wait_is_exported_unchanged(name: str) -> None:
    assert getattr(nursery.socket, name) is getattr(stdlib_socket, name)


@pytest.mark.parametrize(
    "name",
    ["create_connection", "create_server", "gethostbyname", "getfqdn", "setdefaulttimeout", "close", "dup", "timeout"],
)
def test_what_would_block_is_not_exported(name: str) -> None:
    assert not hasattr(nursery.socket, name)


@pytest.mark.parametrize("name", ["getaddrinfo", "getnameinfo", "getprotobyname"])
def test_look_ups_are_async(name: str) -> None:
    assert inspect.iscoroutinefunction(getattr(nursery.socket, name))


@pytest.mark.parametrize("name", ["socket", "socketpair", "fromfd", "from_stdlib_socket", "SocketType"])
def test_what_makes_sockets_makes_ours(name: str) -> None:
    assert getattr(nursery.socket, name).__module__.startswith("nursery.")


def test_all_names_exist_once() -> None:
    assert len(set(nursery.socket.__all__)) == len(nursery.socket.__all__)
    for name in nursery.socket.__all__:
        assert hasattr(nursery.socket, name), name
