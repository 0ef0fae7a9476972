"""Does a stream keep the promises of its interface?  For users to run on streams of their own.

Invariant: each promise is one function below, whose name is the sentence that it checks; it gets a fresh pair of
streams, which are closed after it in any case.  What a check finds leaves as an AssertionError, or as the stream's
own error, with a note that says which promise was being checked.  A promise that is kept waiting counts as broken.

A clogged pair is one whose sending side waits: `send_all` and `wait_send_all_might_not_block` do not return until
`receive_some` is called.  Only with such pairs can be checked what happens to a sender that waits.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias, TypeVar

from ..kernel.errors import BrokenResourceError, BusyResourceError, Cancelled, ClosedResourceError
from ..kernel.idle import wait_all_tasks_blocked
from ..kernel.nursery import open_nursery
from ..kernel.scope import CancelScope
from ..resource import AsyncResource, aclose_forcefully
from ..streams.abstract import HalfCloseableStream, ReceiveStream, SendStream, Stream
from ..timeouts import move_on_after
from .checkpoints import assert_checkpoints

T = TypeVar("T")
LeftT = TypeVar("LeftT", bound=AsyncResource)
RightT = TypeVar("RightT", bound=AsyncResource)

StreamMaker: TypeAlias = Callable[[], Awaitable[tuple[LeftT, RightT]]]
Call: TypeAlias = Callable[[], Awaitable[object]]

# Seconds of the run's clock that one promise may take.
PATIENCE: Final = 30.0
# Bytes in a piece, and pieces: 20 MB are more than a stream's buffers take when nobody reads.
PIECE: Final = b"x" * 1000
PIECES_UNTIL_BROKEN: Final = 20_000
DUPLEX_BYTES: Final = 1 << 20
LARGEST_PIECE: Final = 1 << 14


async def check_one_way_stream(
    stream_maker: StreamMaker[SendStream, ReceiveStream],
    clogged_stream_maker: StreamMaker[SendStream, ReceiveStream] | None,
    *,
    patience: float = PATIENCE,
) -> None:
    """Check that a sending and a receiving stream keep the promises of SendStream and ReceiveStream.

    Arguments: stream_maker is an async function that returns a new connected pair, (sends, receives), each time.
    clogged_stream_maker is another whose pairs are clogged: sending on them waits until somebody receives; with None
    what needs that is not checked.  patience is how many seconds of the run's clock one promise may take; inf waits
    for ever.

    A cancel point.  Raises AssertionError, or what the stream raised, if a promise is broken; a note says which.

    Example::

        async def make() -> tuple[nursery.abc.SendStream, nursery.abc.ReceiveStream]:
            return my_pipe()

        await nursery.testing.check_one_way_stream(make, None)

    Source: trio's documentation, `trio.testing.check_one_way_stream`.
    """
    for promise in ONE_WAY:
        await _hold(promise, stream_maker, patience)
    if clogged_stream_maker is not None:
        for promise in CLOGGED_ONE_WAY:
            await _hold(promise, clogged_stream_maker, patience)


async def check_two_way_stream(
    stream_maker: StreamMaker[Stream, Stream],
    clogged_stream_maker: StreamMaker[Stream, Stream] | None,
    *,
    patience: float = PATIENCE,
) -> None:
    """Check that two connected streams keep the promises of Stream, in both directions.

    The arguments are those of `check_one_way_stream`, all of whose promises are checked as well.

    A cancel point.  Raises AssertionError, or what the stream raised, if a promise is broken; a note says which.
    Source: trio's documentation, `trio.testing.check_two_way_stream`.
    """
    await check_one_way_stream(stream_maker, clogged_stream_maker, patience=patience)
    await check_one_way_stream(
        _flipped(stream_maker),
        None if clogged_stream_maker is None else _flipped(clogged_stream_maker),
        patience=patience,
    )
    for promise in TWO_WAY:
        await _hold(promise, stream_maker, patience)


async def check_half_closeable_stream(
    stream_maker: StreamMaker[HalfCloseableStream, HalfCloseableStream],
    clogged_stream_maker: StreamMaker[HalfCloseableStream, HalfCloseableStream] | None,
    *,
    patience: float = PATIENCE,
) -> None:
    """Check that two connected streams keep the promises of HalfCloseableStream.

    The arguments are those of `check_one_way_stream`; all promises of `check_two_way_stream` are checked as well.

    A cancel point.  Raises AssertionError, or what the stream raised, if a promise is broken; a note says which.
    Source: trio's documentation, `trio.testing.check_half_closeable_stream`.
    """
    await check_two_way_stream(stream_maker, clogged_stream_maker, patience=patience)
    for promise in HALF_CLOSEABLE:
        await _hold(promise, stream_maker, patience)
    if clogged_stream_maker is not None:
        for promise in CLOGGED_HALF_CLOSEABLE:
            await _hold(promise, clogged_stream_maker, patience)


# How a promise is checked


async def _hold(
    promise: Callable[[Any, Any], Awaitable[None]], maker: StreamMaker[LeftT, RightT], patience: float
) -> None:
    """Check one promise on a fresh pair, within the limit, and say which one it was if it fails."""
    sentence = promise.__name__.strip("_").replace("_", " ")
    with move_on_after(patience) as limit:
        try:
            left, right = await maker()
            try:
                await promise(left, right)
            finally:
                try:
                    await aclose_forcefully(left)
                finally:
                    await aclose_forcefully(right)
        except BaseExceptionGroup as group:
            group.add_note(f"while checking that {sentence}")
            _raise_the_only_one(group)
        except BaseException as exc:
            if not isinstance(exc, Cancelled):
                exc.add_note(f"while checking that {sentence}")
            raise
    if limit.cancelled_caught:
        raise AssertionError(f"the stream does not keep its promise that {sentence}: after {patience} s it waits still")


def _raise_the_only_one(group: BaseExceptionGroup[BaseException]) -> None:
    """Raise what a group is about, if that is one thing that did not come from a cancellation; else the group."""
    _, rest = group.split(Cancelled)
    inner: BaseException | None = rest
    while isinstance(inner, BaseExceptionGroup) and len(inner.exceptions) == 1:
        inner = inner.exceptions[0]
    if inner is None or isinstance(inner, BaseExceptionGroup):
        raise group
    for note in group.__notes__:
        inner.add_note(note)
    context = inner.__context__
    try:
        raise inner
    finally:
        # Not the group: it holds this very error.
        inner.__context__ = context


def _flipped(maker: StreamMaker[LeftT, RightT]) -> StreamMaker[RightT, LeftT]:
    async def flipped() -> tuple[RightT, LeftT]:
        left, right = await maker()
        return right, left

    return flipped


def _claim(condition: object, otherwise: str) -> None:
    # Not `assert`: these checks must not vanish with `python -O`.
    if not condition:
        raise AssertionError(otherwise)


async def _raises(expected: type[BaseException], call: Call, what: str) -> None:
    """Claim that the call raises just that."""
    try:
        answer = await call()
    except expected:
        return
    except Cancelled:
        # Of the limit, most likely: not what the stream made of the call.
        raise
    except BaseException as exc:
        raise AssertionError(f"{what} must raise {expected.__name__}, but raised {exc!r}") from exc
    raise AssertionError(f"{what} must raise {expected.__name__}, but returned {answer!r}")


async def _together(*calls: Call) -> None:
    async with open_nursery() as n:
        for call in calls:
            n.start_soon(call)


async def _one_is_refused(first: Call, second: Call, what: str) -> None:
    """Claim that of two calls at the same time exactly one raises BusyResourceError; the other is then cancelled."""
    refused = 0

    async def attempt(call: Call, everything: CancelScope) -> None:
        nonlocal refused
        try:
            await call()
        except BusyResourceError:
            refused += 1
            everything.cancel(reason="the other call was refused, as it should be")

    async with open_nursery() as n:
        n.start_soon(attempt, first, n.cancel_scope)
        n.start_soon(attempt, second, n.cancel_scope)
    _claim(refused == 1, f"of {what} one must raise BusyResourceError, {('none', '', 'both')[refused]} did")


async def _send(s: SendStream, data: bytes | bytearray | memoryview) -> None:
    with assert_checkpoints():
        answer: object = await s.send_all(data)  # type: ignore[func-returns-value]  # that is the question
    _claim(answer is None, f"send_all must return None, not {answer!r}")


async def _wait_to_send(s: SendStream) -> None:
    with assert_checkpoints():
        await s.wait_send_all_might_not_block()


async def _receive(r: ReceiveStream, max_bytes: int | None = None) -> bytes | bytearray:
    with assert_checkpoints():
        data = await r.receive_some(max_bytes)
    _claim(isinstance(data, bytes | bytearray), f"receive_some must return bytes or bytearray, not {data!r}")
    _claim(max_bytes is None or len(data) <= max_bytes, f"receive_some({max_bytes}) returned {len(data)} bytes")
    return data


async def _receive_exactly(r: ReceiveStream, expected: bytes, max_bytes: int | None = 1) -> None:
    data = await _receive(r, max_bytes)
    _claim(data == expected, f"receive_some should have returned {expected!r}, but returned {bytes(data)!r}")


async def _close(resource: AsyncResource) -> None:
    with assert_checkpoints():
        await resource.aclose()


async def _cancelled_close(resource: AsyncResource) -> None:
    with CancelScope() as scope:
        scope.cancel()
        await resource.aclose()


async def _send_until_it_raises(s: SendStream) -> None:
    for _ in range(PIECES_UNTIL_BROKEN):
        await _send(s, PIECE)


async def _until_blocked(then: Call) -> None:
    """Give everybody else time to get stuck, then make the call."""
    await wait_all_tasks_blocked()
    await then()


# One way


async def _the_streams_have_the_right_types(s: SendStream, r: ReceiveStream) -> None:
    _claim(isinstance(s, SendStream), f"the first must be a SendStream, {s!r} is not")
    _claim(isinstance(r, ReceiveStream), f"the second must be a ReceiveStream, {r!r} is not")


async def _what_is_sent_is_received(s: SendStream, r: ReceiveStream) -> None:
    await _together(lambda: _send(s, b"x"), lambda: _receive_exactly(r, b"x"))


async def _sending_nothing_is_allowed_and_means_nothing(s: SendStream, r: ReceiveStream) -> None:
    async def nothing_and_then_something() -> None:
        await _send(s, b"")
        await _send(s, b"y")

    await _together(nothing_and_then_something, lambda: _receive_exactly(r, b"y"))


async def _bytearrays_and_memoryviews_can_be_sent(s: SendStream, r: ReceiveStream) -> None:
    await _together(lambda: _send(s, bytearray(b"1")), lambda: _receive_exactly(r, b"1"))
    await _together(lambda: _send(s, memoryview(b"2")), lambda: _receive_exactly(r, b"2"))


async def _max_bytes_is_a_positive_integer_or_None(s: SendStream, r: ReceiveStream) -> None:
    await _raises(ValueError, lambda: r.receive_some(-1), "receive_some(-1)")
    await _raises(ValueError, lambda: r.receive_some(0), "receive_some(0)")
    wrong: Any = 1.5
    await _raises(TypeError, lambda: r.receive_some(wrong), "receive_some(1.5)")
    await _together(lambda: _send(s, b"x"), lambda: _receive_exactly(r, b"x", None))


async def _data_keeps_its_order_when_it_is_received_byte_by_byte(s: SendStream, r: ReceiveStream) -> None:
    data = bytes(range(50))

    async def receive_all() -> None:
        for number in data:
            await _receive_exactly(r, bytes([number]))

    await _together(lambda: _send(s, data), receive_all)


async def _only_one_task_at_a_time_may_receive(s: SendStream, r: ReceiveStream) -> None:
    await _one_is_refused(lambda: r.receive_some(1), lambda: r.receive_some(1), "two calls of receive_some")


async def _an_empty_stream_with_a_receiver_might_be_sent_to(s: SendStream, r: ReceiveStream) -> None:
    async with open_nursery() as n:
        n.start_soon(_receive, r, 1)
        await _wait_to_send(s)
        n.cancel_scope.cancel(reason="the sender might send, that was all")


async def _a_receiver_that_is_cancelled_takes_nothing(s: SendStream, r: ReceiveStream) -> None:
    # Past whatever the two have to agree on first: a handshake that is cut short may break a stream.
    await _together(lambda: _send(s, b"w"), lambda: _receive_exactly(r, b"w"))
    async with open_nursery() as n:
        n.start_soon(r.receive_some, 1)
        await wait_all_tasks_blocked()
        n.cancel_scope.cancel(reason="checking that nothing is taken")
    await _together(lambda: _send(s, b"x"), lambda: _receive_exactly(r, b"x"))


async def _closing_the_receiver_breaks_the_sender_for_good(s: SendStream, r: ReceiveStream) -> None:
    async def expect_broken() -> None:
        what = "send_all, again and again, after the receiving stream was closed,"
        await _raises(BrokenResourceError, lambda: _send_until_it_raises(s), what)

    await _together(expect_broken, lambda: _close(r))
    await _raises(BrokenResourceError, lambda: _send(s, b"x" * 100), "send_all on a stream that was found broken")


async def _closing_the_receiver_by_force_breaks_the_sender(s: SendStream, r: ReceiveStream) -> None:
    await aclose_forcefully(r)
    what = "send_all, again and again, after the receiving stream was closed forcefully,"
    await _raises(BrokenResourceError, lambda: _send_until_it_raises(s), what)


async def _a_closed_stream_cannot_be_received_from(s: SendStream, r: ReceiveStream) -> None:
    await _together(lambda: _close(r), lambda: _ignore_broken(lambda: _send_until_it_raises(s)))
    await _raises(ClosedResourceError, lambda: _receive(r, 4096), "receive_some on a closed stream")
    await _close(r)
    await _close(r)


async def _a_stream_closed_by_force_cannot_be_received_from(s: SendStream, r: ReceiveStream) -> None:
    await aclose_forcefully(r)
    await _raises(ClosedResourceError, lambda: _receive(r, 4096), "receive_some on a closed stream")


async def _a_closed_stream_cannot_be_sent_to(s: SendStream, r: ReceiveStream) -> None:
    # The receiver first: a sender may want to say goodbye, and nobody would listen.
    await aclose_forcefully(r)
    # One that needs a handshake for its goodbye finds out.
    await _ignore_broken(lambda: _close(s))
    await _raises(ClosedResourceError, lambda: _send(s, b"x" * 100), "send_all on a closed stream")
    await _raises(ClosedResourceError, lambda: _send(s, b""), "send_all of nothing on a closed stream")
    await _raises(ClosedResourceError, lambda: _wait_to_send(s), "wait_send_all_might_not_block on a closed stream")
    await _close(s)
    await _close(s)


async def _what_was_sent_before_closing_is_received_and_then_the_end(s: SendStream, r: ReceiveStream) -> None:
    async def send_and_close() -> None:
        await _send(s, b"y")
        await _close(s)

    async def receive_late() -> None:
        # Let the sender get as far as it can; on some streams that is all the way.
        await wait_all_tasks_blocked()
        await _receive_exactly(r, b"y")
        await _receive_exactly(r, b"")
        await _close(r)

    await _together(send_and_close, receive_late)


async def _closing_the_sender_by_force_ends_or_breaks_the_receiver(s: SendStream, r: ReceiveStream) -> None:
    await aclose_forcefully(s)
    await _raises(ClosedResourceError, lambda: _send(s, b"123"), "send_all on a stream that was closed forcefully")
    await _ignore_broken(lambda: _receive_exactly(r, b""))


async def _closing_closes_even_if_it_is_cancelled(s: SendStream, r: ReceiveStream) -> None:
    await _cancelled_close(r)
    await _cancelled_close(s)
    await _raises(ClosedResourceError, lambda: _send(s, b"123"), "send_all on a stream whose closing was cancelled")
    await _raises(
        ClosedResourceError, lambda: _receive(r, 4096), "receive_some on a stream whose closing was cancelled"
    )


async def _a_stream_can_be_closed_in_good_order_after_cancelled_calls(s: SendStream, r: ReceiveStream) -> None:
    with CancelScope() as scope:
        scope.cancel()
        await _together(
            lambda: _raises_cancelled(lambda: _send(s, b"x"), "send_all in a cancelled scope"),
            lambda: _raises_cancelled(lambda: _receive(r, 1), "receive_some in a cancelled scope"),
        )
    await _together(lambda: _close(s), lambda: _close(r))


async def _closing_a_stream_wakes_its_receiver(s: SendStream, r: ReceiveStream) -> None:
    async def receive() -> None:
        await _raises(ClosedResourceError, lambda: r.receive_some(10), "receive_some, when the stream gets closed,")

    await _together(receive, lambda: _until_blocked(lambda: aclose_forcefully(r)))


async def _raises_cancelled(call: Call, what: str) -> None:
    try:
        await call()
    except Cancelled:
        return
    raise AssertionError(f"{what} must raise Cancelled: it is a cancel point")


async def _ignore_broken(call: Call) -> None:
    try:
        await call()
    except BrokenResourceError:
        pass


# One way, clogged


async def _a_clogged_sender_waits_until_somebody_receives(s: SendStream, r: ReceiveStream) -> None:
    receiving = False

    async def receive_all() -> None:
        nonlocal receiving
        await wait_all_tasks_blocked()
        receiving = True
        while True:
            await r.receive_some(LARGEST_PIECE)

    async with open_nursery() as n:
        n.start_soon(receive_all)
        await _wait_to_send(s)
        _claim(receiving, "wait_send_all_might_not_block returned on a clogged stream before anybody received")
        n.cancel_scope.cancel(reason="the sender was woken, that was all")


async def _only_one_task_at_a_time_may_wait_to_send(s: SendStream, r: ReceiveStream) -> None:
    wait = s.wait_send_all_might_not_block
    await _one_is_refused(wait, wait, "two calls of wait_send_all_might_not_block")


async def _waiting_to_send_and_sending_exclude_each_other(s: SendStream, r: ReceiveStream) -> None:
    await _one_is_refused(
        s.wait_send_all_might_not_block,
        lambda: s.send_all(b"123"),
        "calls of wait_send_all_might_not_block and send_all",
    )


async def _only_one_task_at_a_time_may_send(s: SendStream, r: ReceiveStream) -> None:
    await _one_is_refused(lambda: s.send_all(b"123"), lambda: s.send_all(b"123"), "two calls of send_all")


async def _closing_the_receiver_ends_the_wait_to_send(s: SendStream, r: ReceiveStream) -> None:
    await _together(
        lambda: _ignore_broken(lambda: _wait_to_send(s)), lambda: _until_blocked(lambda: aclose_forcefully(r))
    )


async def _nobody_waits_to_send_when_the_receiver_is_closed(s: SendStream, r: ReceiveStream) -> None:
    await aclose_forcefully(r)
    await _ignore_broken(lambda: _wait_to_send(s))


async def _closing_a_stream_wakes_its_sender(s: SendStream, r: ReceiveStream) -> None:
    async def send() -> None:
        await _raises(ClosedResourceError, lambda: s.send_all(b"xyz"), "send_all, when the stream gets closed,")

    await _together(send, lambda: _until_blocked(lambda: aclose_forcefully(s)))


async def _closing_a_stream_wakes_who_waits_to_send(s: SendStream, r: ReceiveStream) -> None:
    async def wait() -> None:
        await _raises(
            ClosedResourceError,
            s.wait_send_all_might_not_block,
            "wait_send_all_might_not_block, when the stream gets closed,",
        )

    await _together(wait, lambda: _until_blocked(lambda: aclose_forcefully(s)))


# Two ways


async def _both_are_two_way_streams(left: Stream, right: Stream) -> None:
    _claim(isinstance(left, Stream), f"the first must be a Stream, {left!r} is not")
    _claim(isinstance(right, Stream), f"the second must be a Stream, {right!r} is not")


async def _the_two_directions_do_not_hinder_each_other(left: Stream, right: Stream) -> None:
    # The same in every run, so that a failure can be repeated.
    forth = random.Random(0).randbytes(DUPLEX_BYTES)
    back = forth[::-1]

    async def send(s: Stream, data: bytes, seed: int) -> None:
        sizes = random.Random(seed)
        rest = memoryview(data)
        while rest:
            size = sizes.randint(1, LARGEST_PIECE)
            await s.send_all(rest[:size])
            rest = rest[size:]

    async def receive(r: Stream, data: bytes, seed: int, name: str) -> None:
        sizes = random.Random(seed)
        received = bytearray()
        while len(received) < len(data):
            piece = await r.receive_some(sizes.randint(1, LARGEST_PIECE))
            _claim(piece, f"the {name} stream ended after {len(received)} of {len(data)} bytes")
            received += piece
        _claim(received == data, f"what the {name} stream received is not what was sent")

    await _together(
        lambda: send(left, forth, 1),
        lambda: send(right, back, 2),
        lambda: receive(left, back, 3, "first"),
        lambda: receive(right, forth, 4, "second"),
    )


async def _closing_one_stream_ends_the_other(left: Stream, right: Stream) -> None:
    async def expect_end() -> None:
        await _receive_exactly(right, b"", 10)
        await right.aclose()

    await _together(expect_end, left.aclose)


# Half-closeable


async def _both_are_half_closeable_streams(left: HalfCloseableStream, right: HalfCloseableStream) -> None:
    _claim(isinstance(left, HalfCloseableStream), f"the first must be a HalfCloseableStream, {left!r} is not")
    _claim(isinstance(right, HalfCloseableStream), f"the second must be a HalfCloseableStream, {right!r} is not")


async def _each_direction_can_be_ended_on_its_own(left: HalfCloseableStream, right: HalfCloseableStream) -> None:
    async def send_and_end(s: HalfCloseableStream) -> None:
        await _send(s, b"x")
        with assert_checkpoints():
            await s.send_eof()

    async def expect_end(r: HalfCloseableStream) -> None:
        await wait_all_tasks_blocked()
        await _receive_exactly(r, b"x", 10)
        await _receive_exactly(r, b"", 10)

    await _together(lambda: send_and_end(left), lambda: expect_end(right))
    await _raises(ClosedResourceError, lambda: left.send_all(b"y"), "send_all after send_eof")
    with assert_checkpoints():
        await left.send_eof()
    await _together(lambda: send_and_end(right), lambda: expect_end(left))


async def _sending_and_ending_exclude_each_other(left: HalfCloseableStream, right: HalfCloseableStream) -> None:
    await _second_is_refused(lambda: left.send_all(b"x"), left.send_eof, "send_eof while another task is in send_all")


async def _waiting_to_send_and_ending_exclude_each_other(
    left: HalfCloseableStream, right: HalfCloseableStream
) -> None:
    await _second_is_refused(
        left.wait_send_all_might_not_block,
        left.send_eof,
        "send_eof while another task is in wait_send_all_might_not_block",
    )


async def _second_is_refused(first: Call, second: Call, what: str) -> None:
    async with open_nursery() as n:
        n.start_soon(first)
        await wait_all_tasks_blocked()
        await _raises(BusyResourceError, second, what)
        n.cancel_scope.cancel(reason="the second call was refused, as it should be")


ONE_WAY: Final = (
    _the_streams_have_the_right_types,
    _what_is_sent_is_received,
    _sending_nothing_is_allowed_and_means_nothing,
    _bytearrays_and_memoryviews_can_be_sent,
    _max_bytes_is_a_positive_integer_or_None,
    _data_keeps_its_order_when_it_is_received_byte_by_byte,
    _only_one_task_at_a_time_may_receive,
    _an_empty_stream_with_a_receiver_might_be_sent_to,
    _a_receiver_that_is_cancelled_takes_nothing,
    _closing_the_receiver_breaks_the_sender_for_good,
    _closing_the_receiver_by_force_breaks_the_sender,
    _a_closed_stream_cannot_be_received_from,
    _a_stream_closed_by_force_cannot_be_received_from,
    _a_closed_stream_cannot_be_sent_to,
    _what_was_sent_before_closing_is_received_and_then_the_end,
    _closing_the_sender_by_force_ends_or_breaks_the_receiver,
    _closing_closes_even_if_it_is_cancelled,
    _a_stream_can_be_closed_in_good_order_after_cancelled_calls,
    _closing_a_stream_wakes_its_receiver,
)
CLOGGED_ONE_WAY: Final = (
    _a_clogged_sender_waits_until_somebody_receives,
    _only_one_task_at_a_time_may_wait_to_send,
    _waiting_to_send_and_sending_exclude_each_other,
    _only_one_task_at_a_time_may_send,
    _closing_the_receiver_ends_the_wait_to_send,
    _nobody_waits_to_send_when_the_receiver_is_closed,
    _closing_a_stream_wakes_its_sender,
    _closing_a_stream_wakes_who_waits_to_send,
)
TWO_WAY: Final = (
    _both_are_two_way_streams,
    _the_two_directions_do_not_hinder_each_other,
    _closing_one_stream_ends_the_other,
)
HALF_CLOSEABLE: Final = (
    _both_are_half_closeable_streams,
    _each_direction_can_be_ended_on_its_own,
)
CLOGGED_HALF_CLOSEABLE: Final = (
    _sending_and_ending_exclude_each_other,
    _waiting_to_send_and_ending_exclude_each_other,
)

__all__ = ["StreamMaker", "check_half_closeable_stream", "check_one_way_stream", "check_two_way_stream"]
