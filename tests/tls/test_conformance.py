"""TLS streams keep the promises of streams."""

from __future__ import annotations

import ssl

import pytest

import nursery
from nursery.abc import Stream
from nursery.testing.lockstep_streams import lockstep_stream_pair
from nursery.testing.memory_streams import memory_stream_pair
from nursery.testing.stream_checks import check_two_way_stream
from nursery.tls.stream import SSLStream
from tests.tls.certificates import HOST, VERSIONS, client_context, server_context


def tls_over(
    transports: tuple[Stream, Stream], version: ssl.TLSVersion, *, https_compatible: bool
) -> tuple[SSLStream[Stream], SSLStream[Stream]]:
    left, right = transports
    client = SSLStream(left, client_context(version), server_hostname=HOST, https_compatible=https_compatible)
    server = SSLStream(right, server_context(), server_side=True, https_compatible=https_compatible)
    return client, server


async def shake_hands(
    client: SSLStream[Stream], server: SSLStream[Stream]
) -> tuple[SSLStream[Stream], SSLStream[Stream]]:
    """What is clogged has shaken hands before: in the handshake a receiver is a sender as well."""
    async with nursery.open_nursery() as n:
        n.start_soon(client.do_handshake)
        n.start_soon(server.do_handshake)
    return client, server


@pytest.mark.parametrize("https_compatible", [False, True])
@pytest.mark.parametrize("version", VERSIONS)
async def test_a_tls_stream_is_a_stream(version: ssl.TLSVersion, https_compatible: bool) -> None:
    async def make() -> tuple[Stream, Stream]:
        return tls_over(memory_stream_pair(), version, https_compatible=https_compatible)

    async def make_with_hands_shaken() -> tuple[Stream, Stream]:
        return await shake_hands(*tls_over(memory_stream_pair(), version, https_compatible=https_compatible))

    async def make_clogged() -> tuple[Stream, Stream]:
        return await shake_hands(*tls_over(lockstep_stream_pair(), version, https_compatible=https_compatible))

    await check_two_way_stream(make, make_clogged)
    await check_two_way_stream(make_with_hands_shaken, None)
