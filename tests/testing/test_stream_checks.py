"""The checks of streams: good streams pass them, and each kind of broken stream fails the check that is about it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

import nursery
from nursery import BrokenResourceError, ClosedResourceError
from nursery.abc import HalfCloseableStream, ReceiveStream, SendStream, Stream
from nursery.testing import MockClock, stream_checks
from nursery.testing.lockstep_streams import lockstep_stream_one_way_pair, lockstep_stream_pair
from nursery.testing.memory_streams import memory_stream_one_way_pair, memory_stream_pair
from nursery.testing.stream_checks import (
    check_half_closeable_stream,
    check_one_way_stream,
    check_two_way_stream,
)


async def memory_one_way() -> tuple[SendStream, ReceiveStream]:
    return memory_stream_one_way_pair()


async def lockstep_one_way() -> tuple[SendStream, ReceiveStream]:
    return lockstep_stream_one_way_pair()


async def memory_two_way() -> tuple[HalfCloseableStream, HalfCloseableStream]:
    return memory_stream_pair()


async def lockstep_two_way() -> tuple[HalfCloseableStream, HalfCloseableStream]:
    return lockstep_stream_pair()


# Good streams


async def test_memory_streams_keep_their_promises(autojump_clock: MockClock) -> None:
    await check_one_way_stream(memory_one_way, None)
    await check_half_closeable_stream(memory_two_way, None)


async def test_lockstep_streams_keep_their_promises(autojump_clock: MockClock) -> None:
    await check_one_way_stream(lockstep_one_way, lockstep_one_way)
    # Closing a lockstep stream waits for nobody, so a half of it is ended by closing.
    await check_two_way_stream(lockstep_two_way, lockstep_two_way)


async def test_socket_streams_keep_their_promises() -> None:
    async def sockets() -> tuple[HalfCloseableStream, HalfCloseableStream]:
        left, right = nursery.socket.socketpair()
        return nursery.SocketStream(left), nursery.SocketStream(right)

    async def clogged() -> tuple[HalfCloseableStream, HalfCloseableStream]:
        left, right = await sockets()
        for stream in (left, right):
            with nursery.move_on_after(0.001):
                while True:
                    await stream.send_all(b"x" * 65536)
        return left, right

    await check_half_closeable_stream(sockets, clogged)


# Broken streams: good ones, of whose methods one is replaced


class Sends(SendStream):
    """Passes everything on; what a test overrides is broken."""

    def __init__(self, inner: SendStream) -> None:
        self.inner = inner
        self.closed = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self.inner.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self.inner.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        self.closed = True
        await self.inner.aclose()


class Receives(ReceiveStream):
    """Passes everything on; what a test overrides is broken."""

    def __init__(self, inner: ReceiveStream) -> None:
        self.inner = inner
        self.closed = False

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self.inner.receive_some(max_bytes)

    async def aclose(self) -> None:
        self.closed = True
        await self.inner.aclose()


class SendsWithoutCheckpoint(Sends):
    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if self.closed:
            raise ClosedResourceError
        inner = self.inner
        # Behind the stream's back, without a checkpoint.
        inner._buffer.put(data)  # type: ignore[attr-defined]  # a MemorySendStream
        await inner.send_all_hook()  # type: ignore[attr-defined]  # the same


class SendsReturningTheNumber(Sends):
    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self.inner.send_all(data)
        return len(data)  # type: ignore[return-value]  # broken on purpose


class SendsNothingAsTheEnd(Sends):
    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if data:
            await self.inner.send_all(data)
        else:
            await self.inner.aclose()


class SendsOnlyBytes(Sends):
    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if not isinstance(data, bytes):
            raise TypeError("I want bytes")
        await self.inner.send_all(data)


class SendsWithinTheFirstByte(Sends):
    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self.inner.send_all(data[:1])


class SendsBackwards(Sends):
    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self.inner.send_all(bytes(data)[::-1])


class SendsIntoTheVoid(Sends):
    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        try:
            await self.inner.send_all(data)
        except BrokenResourceError:
            pass


class SendsRepairingItself(Sends):
    broken = 0

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        try:
            await self.inner.send_all(data)
        except BrokenResourceError:
            self.broken += 1
            if self.broken == 1:
                raise


class SendsNothingAfterClosing(Sends):
    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if not data:
            await nursery.lowlevel.checkpoint()
        else:
            await self.inner.send_all(data)


class SendsRaisingTheWrongError(Sends):
    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if self.closed:
            raise BrokenResourceError("closed here, not there")
        await self.inner.send_all(data)


class WaitsOnAClosedStream(Sends):
    async def wait_send_all_might_not_block(self) -> None:
        await nursery.lowlevel.checkpoint()


class NeverMightSend(Sends):
    async def wait_send_all_might_not_block(self) -> None:
        await nursery.sleep_forever()


class SendsWithoutBeingCancelled(Sends):
    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        with nursery.CancelScope(shield=True):
            await self.inner.send_all(data)


class ForgetsToCloseWhenCancelled(Sends):
    async def aclose(self) -> None:
        await nursery.lowlevel.checkpoint()
        await super().aclose()


class ClosesOnce(Sends):
    async def aclose(self) -> None:
        if self.closed:
            raise ClosedResourceError("closed already")
        await super().aclose()


class ClosesWithoutCheckpoint(Sends):
    async def aclose(self) -> None:
        self.closed = True
        self.inner.close()  # type: ignore[attr-defined]  # a MemorySendStream


class CannotEnd(Sends):
    async def aclose(self) -> None:
        # The other side is never told.
        self.closed = True
        await nursery.lowlevel.checkpoint()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if self.closed:
            raise ClosedResourceError
        await self.inner.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        if self.closed:
            raise ClosedResourceError
        await self.inner.wait_send_all_might_not_block()


class ReceivesTooMuch(Receives):
    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        await self.inner.receive_some(max_bytes)
        return b"xyz"


class ReceivesText(Receives):
    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        data = await self.inner.receive_some(max_bytes)
        return data.decode()  # type: ignore[return-value]  # broken on purpose


class ReceivesNothingForZero(Receives):
    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        if max_bytes == 0:
            return b""
        return await self.inner.receive_some(max_bytes)


class ReceivesAnyNumber(Receives):
    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self.inner.receive_some(None if max_bytes is None else int(max_bytes))


class ReceivesForTwo(Receives):
    def __init__(self, inner: ReceiveStream) -> None:
        super().__init__(inner)
        self.lock = nursery.Lock()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        if max_bytes is not None and not max_bytes > 0:
            raise ValueError
        if isinstance(max_bytes, float):
            raise TypeError
        if self.closed:
            raise ClosedResourceError
        async with self.lock:
            return await self.inner.receive_some(max_bytes)


class LosesDataWhenCancelled(Receives):
    skip = 0

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        try:
            data = await self.inner.receive_some(max_bytes)
        except nursery.Cancelled:
            self.skip += 1
            raise
        if self.skip and data:
            self.skip -= 1
            return await self.inner.receive_some(max_bytes)
        return data


class ReceivesWhenClosed(Receives):
    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        if self.closed and (max_bytes is None or max_bytes > 10):
            await nursery.lowlevel.checkpoint()
            return b""
        return await self.inner.receive_some(max_bytes)


class SleepsThroughItsClosing(Receives):
    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        if max_bytes == 10:
            await nursery.sleep_forever()
        return await self.inner.receive_some(max_bytes)


class TakesTheEndForAnError(Receives):
    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        data = await self.inner.receive_some(max_bytes)
        if not data:
            raise EOFError
        return data


ONE_WAY_CASES: list[tuple[type[Sends], type[Receives], str]] = [
    (SendsWithoutCheckpoint, Receives, "what is sent is received"),
    (SendsReturningTheNumber, Receives, "what is sent is received"),
    (SendsNothingAsTheEnd, Receives, "sending nothing is allowed and means nothing"),
    (SendsOnlyBytes, Receives, "bytearrays and memoryviews can be sent"),
    (SendsWithinTheFirstByte, Receives, "data keeps its order when it is received byte by byte"),
    (SendsBackwards, Receives, "data keeps its order when it is received byte by byte"),
    (SendsIntoTheVoid, Receives, "closing the receiver breaks the sender for good"),
    (SendsRepairingItself, Receives, "closing the receiver breaks the sender for good"),
    (SendsNothingAfterClosing, Receives, "a closed stream cannot be sent to"),
    (SendsRaisingTheWrongError, Receives, "a closed stream cannot be sent to"),
    (WaitsOnAClosedStream, Receives, "a closed stream cannot be sent to"),
    (NeverMightSend, Receives, "an empty stream with a receiver might be sent to"),
    (SendsWithoutBeingCancelled, Receives, "a stream can be closed in good order after cancelled calls"),
    (ForgetsToCloseWhenCancelled, Receives, "closing the sender by force ends or breaks the receiver"),
    (ClosesOnce, Receives, "a closed stream cannot be sent to"),
    (ClosesWithoutCheckpoint, Receives, "a closed stream cannot be sent to"),
    (CannotEnd, Receives, "what was sent before closing is received and then the end"),
    (Sends, ReceivesTooMuch, "what is sent is received"),
    (Sends, ReceivesText, "what is sent is received"),
    (Sends, ReceivesNothingForZero, "max bytes is a positive integer or None"),
    (Sends, ReceivesAnyNumber, "max bytes is a positive integer or None"),
    (Sends, ReceivesForTwo, "only one task at a time may receive"),
    (Sends, LosesDataWhenCancelled, "a receiver that is cancelled takes nothing"),
    (Sends, ReceivesWhenClosed, "a closed stream cannot be received from"),
    (Sends, SleepsThroughItsClosing, "closing a stream wakes its receiver"),
    (Sends, TakesTheEndForAnError, "what was sent before closing is received and then the end"),
]


def says(error: BaseException, promise: str) -> bool:
    return promise in "\n".join([str(error), *getattr(error, "__notes__", [])])


@pytest.mark.parametrize(("sends", "receives", "promise"), ONE_WAY_CASES)
async def test_a_broken_stream_fails_the_check_that_is_about_it(
    autojump_clock: MockClock, sends: type[Sends], receives: type[Receives], promise: str
) -> None:
    async def make() -> tuple[SendStream, ReceiveStream]:
        send, receive = memory_stream_one_way_pair()
        return sends(send), receives(receive)

    # The errors of the stream itself (TypeError, EOFError ...) come out as they are, with the same note.
    with pytest.raises((AssertionError, TypeError, EOFError, ClosedResourceError)) as caught:
        await check_one_way_stream(make, None)
    assert says(caught.value, promise)


async def test_the_stream_that_only_passes_on_is_not_broken(autojump_clock: MockClock) -> None:
    async def make() -> tuple[SendStream, ReceiveStream]:
        send, receive = lockstep_stream_one_way_pair()
        return Sends(send), Receives(receive)

    await check_one_way_stream(make, make)


async def test_what_is_found_comes_without_the_groups_that_it_came_in(autojump_clock: MockClock) -> None:
    async def make() -> tuple[SendStream, ReceiveStream]:
        send, receive = memory_stream_one_way_pair()
        return send, ReceivesTooMuch(receive)

    with pytest.raises(AssertionError) as info:
        await check_one_way_stream(make, None)
    # Otherwise it would be its own context, by way of the group, and be shown twice.
    assert not isinstance(info.value.__context__, ExceptionGroup)


async def test_what_is_no_stream_at_all_fails() -> None:
    async def make() -> tuple[SendStream, ReceiveStream]:
        send, receive = memory_stream_one_way_pair()
        return receive, send  # type: ignore[return-value]  # the wrong way round, on purpose

    with pytest.raises(AssertionError, match="must be a SendStream"):
        await check_one_way_stream(make, None)


# Clogged streams


class ClogOpensItself(Sends):
    async def wait_send_all_might_not_block(self) -> None:
        await nursery.lowlevel.checkpoint()


class WaitsForTwo(Sends):
    def __init__(self, inner: SendStream) -> None:
        super().__init__(inner)
        self.lock = nursery.Lock()

    async def wait_send_all_might_not_block(self) -> None:
        async with self.lock:
            await self.inner.wait_send_all_might_not_block()


class WaitsAndSends(Sends):
    doing: str | None = None

    async def wait_send_all_might_not_block(self) -> None:
        await self.unless("sending", "waiting", self.inner.wait_send_all_might_not_block)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self.unless("waiting", "sending", lambda: self.inner.send_all(data))

    async def unless(self, other: str, this: str, call: Callable[[], Awaitable[None]]) -> None:
        if self.doing == other:
            # It should be refused.
            await nursery.sleep_forever()
        self.doing = this
        await call()


class SendsForTwo(Sends):
    def __init__(self, inner: SendStream) -> None:
        super().__init__(inner)
        self.lock = nursery.Lock()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if self.lock.locked():
            await nursery.sleep_forever()
        async with self.lock:
            await self.inner.send_all(data)


class WaitsForAClosedReceiver(Sends):
    # The next two promises are about it; the first one is found broken.
    calls = 0

    async def wait_send_all_might_not_block(self) -> None:
        self.calls += 1
        with_receiver = self.inner._pipe.receiver_waits  # type: ignore[attr-defined]  # a LockstepSendStream
        await self.inner.wait_send_all_might_not_block()
        if not with_receiver and self.inner._pipe.receiving_end_closed:  # type: ignore[attr-defined]  # the same
            await nursery.sleep_forever()


class SleepsThroughItsClosingWhenSending(Sends):
    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        try:
            await self.inner.send_all(data)
        except ClosedResourceError:
            if bytes(data) == b"xyz":
                await nursery.sleep_forever()
            raise


class SleepsThroughItsClosingWhenWaiting(Sends):
    async def wait_send_all_might_not_block(self) -> None:
        was_closed = self.closed
        try:
            await self.inner.wait_send_all_might_not_block()
        except ClosedResourceError:
            if not was_closed:
                await nursery.sleep_forever()
            raise


@pytest.mark.parametrize(
    ("sends", "promise"),
    [
        (ClogOpensItself, "a clogged sender waits until somebody receives"),
        (WaitsForTwo, "only one task at a time may wait to send"),
        (WaitsAndSends, "waiting to send and sending exclude each other"),
        (SendsForTwo, "only one task at a time may send"),
        (WaitsForAClosedReceiver, "closing the receiver ends the wait to send"),
        (SleepsThroughItsClosingWhenSending, "closing a stream wakes its sender"),
        (SleepsThroughItsClosingWhenWaiting, "closing a stream wakes who waits to send"),
    ],
)
async def test_a_broken_clogged_stream_fails_the_check_that_is_about_it(
    autojump_clock: MockClock, sends: type[Sends], promise: str
) -> None:
    async def make() -> tuple[SendStream, ReceiveStream]:
        send, receive = lockstep_stream_one_way_pair()
        return sends(send), receive

    with pytest.raises(AssertionError) as caught:
        await check_one_way_stream(lockstep_one_way, make)
    assert says(caught.value, promise)


# Two ways


class TwoWay(HalfCloseableStream):
    """Passes everything on; what a test overrides is broken."""

    def __init__(self, inner: HalfCloseableStream) -> None:
        self.inner = inner

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self.inner.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self.inner.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self.inner.receive_some(max_bytes)

    async def send_eof(self) -> None:
        await self.inner.send_eof()

    async def aclose(self) -> None:
        await self.inner.aclose()


class CorruptsLargePieces(TwoWay):
    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if len(data) > 1000:
            data = bytes(data[:-1]) + b"!"
        await self.inner.send_all(data)


class SendsThroughOneGate(TwoWay):
    gate: nursery.Lock

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        # While it receives it cannot send: two of them wait for each other.
        if max_bytes is not None and max_bytes > 4096:
            await nursery.sleep_forever()
        return await self.inner.receive_some(max_bytes)


class EndsBothWays(TwoWay):
    async def send_eof(self) -> None:
        await self.inner.aclose()


class SendsAfterTheEnd(TwoWay):
    ended = False

    async def send_eof(self) -> None:
        if not self.ended:
            self.ended = True
            await self.inner.send_eof()
        else:
            await nursery.lowlevel.checkpoint()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if not self.ended:
            await self.inner.send_all(data)


class EndsOnce(TwoWay):
    ended = False

    async def send_eof(self) -> None:
        if self.ended:
            raise ClosedResourceError("ended already")
        self.ended = True
        await self.inner.send_eof()


def makes(
    broken: type[TwoWay], pair: Callable[[], Awaitable[tuple[HalfCloseableStream, HalfCloseableStream]]]
) -> Callable[[], Awaitable[tuple[HalfCloseableStream, HalfCloseableStream]]]:
    async def make() -> tuple[HalfCloseableStream, HalfCloseableStream]:
        left, right = await pair()
        return broken(left), TwoWay(right)

    return make


@pytest.mark.parametrize(
    ("broken", "promise"),
    [
        (CorruptsLargePieces, "the two directions do not hinder each other"),
        (SendsThroughOneGate, "the two directions do not hinder each other"),
        (EndsBothWays, "each direction can be ended on its own"),
        (SendsAfterTheEnd, "each direction can be ended on its own"),
        (EndsOnce, "each direction can be ended on its own"),
    ],
)
async def test_a_broken_two_way_stream_fails_the_check_that_is_about_it(
    autojump_clock: MockClock, broken: type[TwoWay], promise: str
) -> None:
    with pytest.raises((AssertionError, ClosedResourceError, BrokenResourceError)) as caught:
        await check_half_closeable_stream(makes(broken, memory_two_way), None)
    assert says(caught.value, promise)


async def test_the_two_way_stream_that_only_passes_on_is_not_broken(autojump_clock: MockClock) -> None:
    await check_half_closeable_stream(makes(TwoWay, memory_two_way), None)


async def test_both_directions_are_checked(autojump_clock: MockClock) -> None:
    class SendsOnlyBytesBack(TwoWay):
        async def send_all(self, data: bytes | bytearray | memoryview) -> None:
            if not isinstance(data, bytes):
                raise TypeError("I want bytes")
            await self.inner.send_all(data)

    async def make() -> tuple[Stream, Stream]:
        left, right = await memory_two_way()
        return left, SendsOnlyBytesBack(right)

    await check_one_way_stream(make, None)
    with pytest.raises(TypeError, match="I want bytes"):
        await check_two_way_stream(make, None)


@pytest.mark.parametrize(
    ("method", "promise"),
    [
        ("send_all", "sending and ending exclude each other"),
        ("wait_send_all_might_not_block", "waiting to send and ending exclude each other"),
    ],
)
async def test_ending_while_another_task_sends_must_be_refused(
    autojump_clock: MockClock, method: str, promise: str
) -> None:
    # A lockstep pair's send_eof closes its half, which refuses nobody; here it is refused but for one case.
    class Guarded(TwoWay):
        busy: str | None = None

        async def send_all(self, data: bytes | bytearray | memoryview) -> None:
            await self._guard("send_all", lambda: self.inner.send_all(data))

        async def wait_send_all_might_not_block(self) -> None:
            await self._guard("wait_send_all_might_not_block", self.inner.wait_send_all_might_not_block)

        async def _guard(self, name: str, call: Callable[[], Awaitable[None]]) -> None:
            if self.busy:
                raise nursery.BusyResourceError
            self.busy = name
            try:
                await call()
            finally:
                self.busy = None

        async def send_eof(self) -> None:
            if self.busy and self.busy != method:
                raise nursery.BusyResourceError
            await self.inner.send_eof()

    make = makes(Guarded, lockstep_two_way)
    for check in stream_checks.CLOGGED_HALF_CLOSEABLE:
        about = check.__name__.strip("_").replace("_", " ")
        if about == promise:
            with pytest.raises(AssertionError) as caught:
                await stream_checks._hold(check, make, 30)
            assert says(caught.value, promise)
        else:
            await stream_checks._hold(check, make, 30)


# What the checks promise about themselves


async def test_both_streams_are_closed_after_each_check(autojump_clock: MockClock) -> None:
    made: list[Sends | Receives] = []

    async def make() -> tuple[SendStream, ReceiveStream]:
        send, receive = memory_stream_one_way_pair()
        made.extend((Sends(send), Receives(receive)))
        return made[-2], made[-1]  # type: ignore[return-value]  # one of each

    await check_one_way_stream(make, None)
    assert len(made) == 2 * len(stream_checks.ONE_WAY)
    assert all(stream.closed for stream in made)


async def test_a_promise_may_take_as_long_as_the_caller_has_patience(autojump_clock: MockClock) -> None:
    class Slow(Sends):
        async def send_all(self, data: bytes | bytearray | memoryview) -> None:
            await nursery.sleep(40)
            await self.inner.send_all(data)

    async def make() -> tuple[SendStream, ReceiveStream]:
        send, receive = memory_stream_one_way_pair()
        return Slow(send), receive

    with pytest.raises(AssertionError, match=r"after 30\.0 s it waits still"):
        await check_one_way_stream(make, None)
    await check_one_way_stream(make, None, patience=1e6)


async def test_a_check_can_be_cancelled() -> None:
    with nursery.CancelScope() as scope:
        scope.cancel()
        await check_one_way_stream(memory_one_way, None)
    assert scope.cancelled_caught
