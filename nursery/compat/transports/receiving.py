"""How a transport hands data to its protocol: which function it calls for each piece.

Invariant: what the standard library's stream reader holds afterwards, and whom it has woken or paused, is what its own
`feed_data` would have left.  Only exact, unpatched instances get the short way; whatever else there is gets
`protocol.data_received`, or `feed_data` of a reader of its own kind.

The short way is one call where the standard library's takes six (the protocol, two properties, the reader, its waiter):
4 % of a stream echo of 1 KiB.  `adopt`, if it is set, does more: it makes a reader that nobody waits for one of ours.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, cast

DATA_RECEIVED: Final = asyncio.StreamReaderProtocol.data_received
FEED_DATA: Final = asyncio.StreamReader.feed_data

# Both are completed by compat/stream.py, which stands on the transports.
stream_protocols: Final[set[type]] = {asyncio.StreamReaderProtocol}
adopt: Callable[[Any], None] | None = None


def check_protocol(protocol: object) -> None:
    """Raise TypeError for what a factory returns that has forgotten to."""
    if protocol is None:
        raise TypeError("the protocol factory returned None: it has to return a protocol")


def buffered_of(protocol: asyncio.BaseProtocol) -> asyncio.BufferedProtocol | None:
    """Return `protocol` if it receives into buffers of its own, by its class or by the methods that it has.

    A class with the methods of both kinds that derives from neither gets `data_received`.
    """
    if isinstance(protocol, asyncio.BufferedProtocol):
        return protocol
    if not hasattr(protocol, "data_received") and hasattr(protocol, "get_buffer"):
        # As on uvloop (test_a_protocol_is_buffered_by_its_methods).
        duck: Any = protocol
        return cast(asyncio.BufferedProtocol, duck)
    return None


def receiver_of(protocol: asyncio.BaseProtocol) -> Any:
    """Return the function that takes data for `protocol`, None if it has none."""
    if type(protocol) in stream_protocols:
        feed = _feeder(protocol)
        if feed is not None:
            return feed
    return getattr(protocol, "data_received", None)


def _feeder(protocol: Any) -> Callable[[bytes], None] | None:
    # Weak, as with the protocol itself: a reader that the program has dropped ends its connection.
    reference: Any = getattr(protocol, "_stream_reader_wr", None)
    reader: Any = None if reference is None else reference()
    if (
        reader is None
        or asyncio.StreamReaderProtocol.data_received is not DATA_RECEIVED
        or "data_received" in vars(protocol)
    ):
        return None
    kind: type = type(reader)
    if (
        kind is asyncio.StreamReader
        and asyncio.StreamReader.feed_data is FEED_DATA
        and "feed_data" not in vars(reader)
    ):
        make_ours = adopt
        if make_ours is None or reader._waiter is not None:
            return _feeder_in_line(reference, 2 * reader._limit)
        make_ours(reader)

    # flat: once for every message
    def feed(data: bytes) -> None:
        reader = reference()
        if reader is not None:
            reader.feed_data(data)

    return feed


def _feeder_in_line(reference: Callable[[], Any], most: int) -> Callable[[bytes], None]:
    # flat: once for every message
    def feed(data: bytes) -> None:
        reader = reference()
        if reader is None:
            return
        buffer = reader._buffer
        buffer += data
        waiter = reader._waiter
        if waiter is not None:
            reader._waiter = None
            if not waiter.cancelled():
                waiter.set_result(None)
        if len(buffer) > most and not reader._paused and reader._transport is not None:
            reader._transport.pause_reading()
            reader._paused = True

    return feed


__all__ = ["adopt", "buffered_of", "check_protocol", "receiver_of"]
