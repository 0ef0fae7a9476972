"""The facade's StreamReader: what it holds, hands out and refuses; how its waits end."""

from __future__ import annotations

import asyncio
import inspect
from asyncio import streams as stdlib_streams
from collections.abc import Awaitable, Callable, Coroutine
from random import Random
from typing import Any, cast

import pytest

import nursery
from nursery import compat
from nursery.compat import streams as facade
from nursery.compat.stream import StreamReader, StreamReaderProtocol, StreamWriter

Read = Callable[[StreamReader], Coroutine[Any, Any, bytes]]

# Each way to read, and what it gets of `MESSAGE` once that and the end are there.
MESSAGE = b"to begin with\nand on it goes"
READS = [
    pytest.param(lambda reader: reader.read(100), MESSAGE, id="read"),
    pytest.param(lambda reader: reader.read(), MESSAGE, id="read-all"),
    pytest.param(lambda reader: reader.readexactly(20), MESSAGE[:20], id="readexactly"),
    pytest.param(lambda reader: reader.readline(), b"to begin with\n", id="readline"),
    pytest.param(lambda reader: reader.readuntil(b"on it"), b"to begin with\nand on it", id="readuntil"),
    pytest.param(lambda reader: reader.readuntil((b"??", b"with")), b"to begin with", id="readuntil-several"),
    pytest.param(lambda reader: anext(reader), b"to begin with\n", id="anext"),
]
reads = pytest.mark.parametrize(("read", "expected"), READS)


def on_ours(main: Callable[[], Awaitable[Any]]) -> None:
    """Run `main` by the facade, as a program does."""

    async def limited() -> None:
        async with compat.timeout(10):
            await main()

    compat.run(limited())


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def a_reader(*pieces: bytes, end: bool = False, limit: int = 2**16) -> StreamReader:
    reader = StreamReader(limit=limit)
    for piece in pieces:
        reader.feed_data(piece)
    if end:
        reader.feed_eof()
    return reader


class Brake:
    """The part of a transport that a reader uses."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def pause_reading(self) -> None:
        self.calls.append("pause")

    def resume_reading(self) -> None:
        self.calls.append("resume")


def with_brake(limit: int) -> tuple[Any, Brake]:
    reader: Any = a_reader(limit=limit)
    brake = Brake()
    reader.set_transport(brake)
    return reader, brake


# Names


def test_the_module_has_the_names_of_asyncios() -> None:
    assert sorted(facade.__all__) == sorted(stdlib_streams.__all__)
    assert facade.FlowControlMixin is stdlib_streams.FlowControlMixin
    with pytest.raises(AttributeError, match="no_such_name"):
        getattr(facade, "no_such_name")  # noqa: B009  # mypy knows better


@pytest.mark.parametrize("name", ["open_connection", "open_unix_connection", "start_server", "start_unix_server"])
def test_the_signatures_of_functions_are_those_of_asyncio(name: str) -> None:
    ours = inspect.signature(getattr(facade, name)).parameters
    asyncios = inspect.signature(getattr(stdlib_streams, name)).parameters
    assert list(ours) == list(asyncios)
    for each, parameter in asyncios.items():
        assert (ours[each].kind, ours[each].default) == (parameter.kind, parameter.default)


@pytest.mark.parametrize("ours", [StreamReader, StreamReaderProtocol, StreamWriter])
def test_the_classes_extend_asyncios_and_take_its_arguments(ours: type) -> None:
    theirs = getattr(asyncio, ours.__name__)
    assert issubclass(ours, theirs)
    for name, method in inspect.getmembers(theirs, inspect.isfunction):
        if not name.startswith("_") or name == "__init__":
            taken = list(inspect.signature(getattr(ours, name)).parameters)
            assert set(inspect.signature(method).parameters) <= set(taken), name


def test_start_tls_takes_the_time_limits_of_3_13_on_every_version() -> None:
    parameters = inspect.signature(StreamWriter.start_tls).parameters
    assert list(parameters) == [
        "self", "sslcontext", "server_hostname", "ssl_handshake_timeout", "ssl_shutdown_timeout"
    ]


# What is handed out


@reads
def test_what_is_there_is_read_at_once(read: Read, expected: bytes) -> None:
    async def main() -> None:
        reader = a_reader(MESSAGE, end=True)
        assert await read(reader) == expected
        assert await reader.read() == MESSAGE[len(expected) :]
        assert reader.at_eof()

    on_ours(main)


@reads
def test_what_comes_byte_by_byte_is_waited_for(read: Read, expected: bytes) -> None:
    async def main() -> None:
        # read(n) is content with one byte.
        expects = MESSAGE[:1] if read is READS[0].values[0] else expected
        reader = a_reader()
        task = asyncio.create_task(read(reader))
        await turns(2)
        for at in range(len(MESSAGE)):
            assert task.done() == (at >= len(expects))
            reader.feed_data(MESSAGE[at : at + 1])
            await turns(2)
        reader.feed_eof()
        assert await task == expects
        assert await reader.read() == MESSAGE[len(expects) :]

    on_ours(main)


def test_a_whole_message_is_the_very_object_that_was_received() -> None:
    async def main() -> None:
        message = b"a line of some length\n"
        reader = a_reader(message)
        assert await reader.read(100) is message
        reader.feed_data(message)
        assert await reader.readexactly(len(message)) is message
        reader.feed_data(message)
        assert await reader.readline() is message
        reader.feed_data(message)
        reader.feed_eof()
        assert await reader.read() is message

    on_ours(main)


def test_what_was_fed_may_change_afterwards() -> None:
    async def main() -> None:
        buffer = bytearray(b"abc")
        reader = a_reader()
        reader.feed_data(buffer)
        reader.feed_data(memoryview(b"def"))
        buffer[:] = b"xyz"
        got = await reader.read(100)
        assert got == b"abcdef"
        assert type(got) is bytes

    on_ours(main)


def test_read_returns_at_most_so_many_bytes() -> None:
    async def main() -> None:
        reader = a_reader(b"abcdef", b"ghi")
        assert [await reader.read(4), await reader.read(4), await reader.read(4)] == [b"abcd", b"efgh", b"i"]

    on_ours(main)


def test_nothing_is_read_at_once_even_if_nothing_is_there() -> None:
    async def main() -> None:
        reader = a_reader()
        assert await reader.read(0) == b""
        assert await reader.readexactly(0) == b""

    on_ours(main)


def test_read_without_a_size_gets_more_than_the_limit_lets_be_buffered() -> None:
    async def main() -> None:
        reader, brake = with_brake(4)
        task = asyncio.create_task(reader.read(-1))
        await turns(2)
        for piece in (b"0123456789", b"abcdefghij"):
            reader.feed_data(piece)
            assert brake.calls[-1] == "pause"
            await turns(2)
            assert brake.calls[-1] == "resume"
        reader.feed_eof()
        assert await task == b"0123456789abcdefghij"

    on_ours(main)


def test_the_end_is_read_as_empty_bytes_again_and_again() -> None:
    async def main() -> None:
        reader = a_reader(b"x", end=True)
        assert not reader.at_eof()
        assert await reader.read(10) == b"x"
        assert reader.at_eof()
        assert [await reader.read(10), await reader.read(), await reader.readline()] == [b"", b"", b""]

    on_ours(main)


def test_readexactly_says_what_there_was_before_the_end() -> None:
    async def main() -> None:
        reader = a_reader(b"abc", end=True)
        with pytest.raises(asyncio.IncompleteReadError) as caught:
            await reader.readexactly(4)
        assert (caught.value.partial, caught.value.expected) == (b"abc", 4)
        assert reader.at_eof()

    on_ours(main)


def test_readexactly_refuses_a_negative_size() -> None:
    async def main() -> None:
        with pytest.raises(ValueError, match="less than zero, not -2"):
            await a_reader().readexactly(-2)

    on_ours(main)


def test_readexactly_waits_for_more_than_the_limit_lets_be_buffered() -> None:
    async def main() -> None:
        reader, brake = with_brake(4)
        task = asyncio.create_task(reader.readexactly(25))
        await turns(2)
        for _ in range(3):
            reader.feed_data(b"0123456789")
            await turns(2)
        assert await task == b"0123456789012345678901234"
        assert await reader.read(100) == b"56789"
        assert brake.calls.count("pause") == brake.calls.count("resume")

    on_ours(main)


def test_the_last_line_may_lack_its_end() -> None:
    async def main() -> None:
        reader = a_reader(b"one\ntwo", end=True)
        assert [await reader.readline() for _ in range(3)] == [b"one\n", b"two", b""]

    on_ours(main)


def test_the_lines_can_be_iterated_over() -> None:
    async def main() -> None:
        reader = a_reader(b"one\ntw", b"o\nth", b"ree", end=True)
        assert [line async for line in reader] == [b"one\n", b"two\n", b"three"]

    on_ours(main)


def test_a_line_above_the_limit_is_dropped_and_the_next_one_read() -> None:
    async def main() -> None:
        reader = a_reader(b"a line too long\nfine\n", limit=10)
        with pytest.raises(ValueError, match="longer than limit"):
            await reader.readline()
        assert await reader.readline() == b"fine\n"

    on_ours(main)


def test_what_is_there_of_a_line_above_the_limit_is_dropped() -> None:
    async def main() -> None:
        reader, brake = with_brake(10)
        reader.feed_data(b"a line that has come no farther")
        with pytest.raises(ValueError, match="exceed the limit"):
            await reader.readline()
        assert brake.calls == ["pause", "resume"]
        reader.feed_data(b"rest\n")
        assert await reader.readline() == b"rest\n"

    on_ours(main)


def test_a_line_as_long_as_the_limit_is_read() -> None:
    async def main() -> None:
        reader = a_reader(b"0123456789\n", limit=10)
        assert await reader.readline() == b"0123456789\n"

    on_ours(main)


@pytest.mark.parametrize("data", [b"0123456789ab??", b"0123456789abc"], ids=["found", "not-found"])
def test_readuntil_leaves_what_is_above_the_limit_there(data: bytes) -> None:
    async def main() -> None:
        reader = a_reader(data, limit=10)
        with pytest.raises(asyncio.LimitOverrunError) as caught:
            await reader.readuntil(b"??")
        assert caught.value.consumed == 12
        assert await reader.readexactly(caught.value.consumed) == b"0123456789ab" if b"?" in data else data[:12]

    on_ours(main)


def test_readuntil_says_what_there_was_before_the_end() -> None:
    async def main() -> None:
        reader = a_reader(b"abc\r", end=True)
        with pytest.raises(asyncio.IncompleteReadError) as caught:
            await reader.readuntil(b"\r\n")
        assert (caught.value.partial, caught.value.expected) == (b"abc\r", None)
        assert reader.at_eof()

    on_ours(main)


def test_a_separator_may_come_in_pieces() -> None:
    async def main() -> None:
        reader = a_reader()
        task = asyncio.create_task(reader.readuntil(b"END"))
        for piece in (b"abcE", b"N", b"EN", b"Dxy"):
            await turns(2)
            assert not task.done()
            reader.feed_data(piece)
        assert await task == b"abcENEND"
        assert await reader.read(10) == b"xy"

    on_ours(main)


@pytest.mark.parametrize(
    ("separators", "expected"),
    [
        ((b"\n", b"\r\n"), b"one\r\n"),
        ((b"\r\n", b"\r"), b"one\r"),
        ((b"two", b"e"), b"one"),
        ((b"\n", b"one"), b"one"),
        ((b"one\r\ntwo", b"two"), b"one\r\ntwo"),
        ((b"?", b"two"), b"one\r\ntwo"),
    ],
)
def test_of_several_separators_the_one_that_ends_first_ends_the_message(
    separators: tuple[bytes, ...], expected: bytes
) -> None:
    async def main() -> None:
        whole = a_reader(b"one\r\ntwo\n")
        assert await whole.readuntil(separators) == expected
        by_bytes = a_reader()
        task = asyncio.create_task(by_bytes.readuntil(separators))
        for byte in b"one\r\ntwo\n":
            await turns(2)
            by_bytes.feed_data(bytes([byte]))
        assert await task == expected

    on_ours(main)


def test_a_message_shorter_than_some_separators_is_read_at_once() -> None:
    async def main() -> None:
        reader = a_reader(b"a|")
        assert await reader.readuntil((b"-----", b"|")) == b"a|"

    on_ours(main)


@pytest.mark.parametrize(
    ("separator", "message"), [((), "at least one element"), (b"", "one-byte"), ((b"", b"x"), "one-byte")]
)
def test_an_empty_separator_is_refused(separator: Any, message: str) -> None:
    async def main() -> None:
        with pytest.raises(ValueError, match=message):
            await a_reader(b"abc").readuntil(separator)

    on_ours(main)


def test_a_separator_that_is_no_bytes_is_refused() -> None:
    async def main() -> None:
        wrong: Any = "\n"
        with pytest.raises(TypeError):
            await a_reader(b"abc").readuntil(wrong)
        assert await a_reader(b"abc").read(10) == b"abc"

    on_ours(main)


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_that_is_not_positive_is_refused(limit: int) -> None:
    async def main() -> None:
        with pytest.raises(ValueError, match="Limit cannot be <= 0"):
            StreamReader(limit=limit)

    on_ours(main)


def test_nothing_may_come_after_the_end() -> None:
    async def main() -> None:
        with pytest.raises(AssertionError, match="feed_data after feed_eof"):
            a_reader(end=True).feed_data(b"x")

    on_ours(main)


def test_what_a_library_finds_in_the_buffer_is_what_is_unread() -> None:
    async def main() -> None:
        reader: Any = a_reader(b"abc")
        assert reader._buffer == b"abc"
        reader._buffer += b"def"
        del reader._buffer[0]
        assert await reader.read(100) == b"bcdef"
        reader.feed_data(b"xyz")
        reader._buffer.clear()
        reader.feed_eof()
        assert reader.at_eof()
        reader._buffer = bytearray(b"put back")
        assert await reader.read(100) == b"put back"

    on_ours(main)


def test_the_repr_says_what_there_is() -> None:
    async def main() -> None:
        assert repr(a_reader()) == "<StreamReader>"
        assert repr(a_reader(b"abc", end=True, limit=7)) == "<StreamReader 3 bytes eof limit=7>"
        reader = a_reader()
        task = asyncio.create_task(reader.readline())
        await turns(2)
        assert repr(reader) == "<StreamReader waiting>"
        reader.set_exception(ValueError("broken"))
        with pytest.raises(ValueError, match="broken"):
            await task
        assert repr(reader) == "<StreamReader exception=ValueError('broken')>"

    on_ours(main)


def test_debug_mode_remembers_where_a_reader_was_made() -> None:
    async def main() -> None:
        reader: Any = StreamReader()
        assert reader._source_traceback[-1].name == "main"

    compat.run(main(), debug=True)


def ask(random: Random) -> Read:
    """Return some way to read."""
    size = random.choice([0, 1, 2, 3, 5, 8, 40])
    separator: Any = random.choice([b"\n", b"ab", b"aab", b"ba\n"])
    return random.choice(
        cast(
            "list[Read]",
            [
                lambda reader: reader.read(size),
                lambda reader: reader.readexactly(size),
                lambda reader: reader.readline(),
                lambda reader: reader.readuntil(separator),
            ],
        )
    )


async def answer(reader: Any, read: Read) -> object:
    try:
        return await read(reader)
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError) as exc:
        return repr(exc), getattr(exc, "partial", None)


def test_whatever_comes_and_is_asked_for_the_answers_are_those_of_asyncio(long_form: bool) -> None:
    async def both(seed: int) -> None:
        random = Random(seed)
        readers: list[Any] = [StreamReader(limit=6), asyncio.StreamReader(limit=6)]
        brakes = [Brake(), Brake()]
        for reader, brake in zip(readers, brakes, strict=True):
            reader.set_transport(brake)
        for _ in range(30):
            asked = ask(random)
            tasks = [asyncio.create_task(answer(reader, asked)) for reader in readers]
            await turns(3)
            while not tasks[0].done() or random.random() < 0.3:
                if readers[0]._eof:
                    break
                piece = bytes(random.choices(b"ab\n", k=random.randrange(1, 9)))
                last = random.random() < 0.02
                for reader in readers:
                    reader.feed_data(piece)
                    if last:
                        reader.feed_eof()
                await turns(3)
            ours, asyncios = [await task for task in tasks]
            assert ours == asyncios
            assert readers[0]._buffer == readers[1]._buffer
            assert readers[0].at_eof() == readers[1].at_eof()
            assert brakes[0].calls == brakes[1].calls

    async def main() -> None:
        for seed in range(5000 if long_form else 60):
            await both(seed)

    compat.run(main())


# The limit


def test_above_twice_the_limit_reading_is_paused_and_at_the_limit_resumed() -> None:
    async def main() -> None:
        reader, brake = with_brake(10)
        reader.feed_data(b"x" * 20)
        assert brake.calls == []
        reader.feed_data(b"x")
        assert brake.calls == ["pause"]
        await reader.readexactly(10)
        assert brake.calls == ["pause"]
        await reader.read(1)
        assert brake.calls == ["pause", "resume"]

    on_ours(main)


def test_a_transport_that_cannot_pause_is_not_asked_again() -> None:
    class NoBrake:
        asked = 0

        def pause_reading(self) -> None:
            self.asked += 1
            raise NotImplementedError

    async def main() -> None:
        reader: Any = a_reader(limit=2)
        transport = NoBrake()
        reader.set_transport(transport)
        for _ in range(3):
            reader.feed_data(b"abcdef")
        assert transport.asked == 1
        assert await reader.read(100) == b"abcdef" * 3

    on_ours(main)


def test_a_second_transport_is_refused() -> None:
    async def main() -> None:
        reader, _ = with_brake(10)
        with pytest.raises(AssertionError, match="Transport already set"):
            reader.set_transport(Brake())

    on_ours(main)


def test_a_reader_that_has_paused_one_transport_pauses_the_one_upon_it_in_its_place() -> None:
    async def main() -> None:
        reader, below = with_brake(4)
        protocol: Any = StreamReaderProtocol(reader)
        protocol._transport = below
        reader.feed_data(b"0123456789")
        upon: Any = Brake()
        upon.get_extra_info = {"sslcontext": "some"}.get
        protocol._replace_transport(upon)
        assert (below.calls, upon.calls) == (["pause", "resume"], ["pause"])
        await reader.read(100)
        assert (below.calls, upon.calls) == (["pause", "resume"], ["pause", "resume"])

    on_ours(main)


# Errors


@reads
def test_an_error_is_raised_by_every_read(read: Read, expected: bytes) -> None:
    async def main() -> None:
        reader = a_reader(MESSAGE)
        error = ConnectionResetError("gone")
        assert reader.exception() is None
        reader.set_exception(error)
        assert reader.exception() is error
        for _ in range(2):
            with pytest.raises(ConnectionResetError, match="gone"):
                await read(reader)

    on_ours(main)


@reads
def test_an_error_is_raised_by_a_read_that_waits(read: Read, expected: bytes) -> None:
    async def main() -> None:
        reader = a_reader()
        task = asyncio.create_task(read(reader))
        await turns(2)
        reader.set_exception(ConnectionResetError("gone"))
        with pytest.raises(ConnectionResetError, match="gone"):
            await task

    on_ours(main)


@reads
def test_a_read_that_was_given_enough_before_the_error_returns_it(read: Read, expected: bytes) -> None:
    async def main() -> None:
        reader = a_reader()
        task = asyncio.create_task(read(reader))
        await turns(2)
        reader.feed_data(MESSAGE)
        reader.set_exception(ConnectionResetError("gone"))
        if read is READS[1].values[0]:
            # It waits for the end, which does not come.
            with pytest.raises(ConnectionResetError):
                await task
        else:
            assert await task == expected

    on_ours(main)


@pytest.mark.parametrize("read", [lambda r: r.readexactly(10), lambda r: r.readline(), lambda r: r.read()])
def test_a_read_that_was_given_too_little_before_the_error_does_not_wait_on(read: Read) -> None:
    async def main() -> None:
        reader = a_reader()
        task = asyncio.create_task(read(reader))
        await turns(2)
        reader.feed_data(b"abc")
        reader.set_exception(ConnectionResetError("gone"))
        with pytest.raises(ConnectionResetError, match="gone"):
            await task

    on_ours(main)


# Waits, and what ends them


@reads
def test_two_reads_at_once_are_refused(read: Read, expected: bytes) -> None:
    async def main() -> None:
        reader = a_reader()
        first = asyncio.create_task(reader.readuntil(b"goes"))
        await turns(2)
        with pytest.raises(RuntimeError, match="already waiting for incoming data: one task reads"):
            await read(reader)
        reader.feed_data(MESSAGE)
        assert await first == MESSAGE

    on_ours(main)


def test_a_reader_that_was_overtaken_waits_on() -> None:
    async def main() -> None:
        reader = a_reader()
        slow = asyncio.create_task(reader.read(10))
        await turns(2)
        reader.feed_data(b"first")
        # Woken, and not run yet: in asyncio the slow one would now read b"", which means the end.
        assert await reader.read(10) == b"first"
        await turns(2)
        assert not slow.done()
        reader.feed_data(b"second")
        assert await slow == b"second"

    on_ours(main)


@reads
@pytest.mark.parametrize("wake", [False, True], ids=["asleep", "woken"])
def test_a_read_that_a_scope_ends_has_taken_nothing(read: Read, expected: bytes, wake: bool) -> None:
    async def main() -> None:
        reader = a_reader()
        with nursery.CancelScope() as scope:
            async with nursery.open_nursery() as group:
                group.start_soon(read, reader)
                await turns(3)
                reader.feed_data(MESSAGE[:1])
                if not wake:
                    await turns(3)
                scope.cancel()
        left = reader_holds(reader)
        # read(n) may have been content with that byte, before it was told.
        assert left in (MESSAGE[:1], b"") if read is READS[0].values[0] else left == MESSAGE[:1]
        reader.feed_data(MESSAGE[1:])
        reader.feed_eof()
        assert await read(reader) == (expected if left else MESSAGE[1:])

    on_ours(main)


def reader_holds(reader: Any) -> bytes:
    return bytes(reader._buffer)


@reads
def test_a_read_that_an_edge_ends_has_taken_nothing(read: Read, expected: bytes) -> None:
    async def main() -> None:
        reader = a_reader()
        for wake in (False, True):
            task = asyncio.create_task(read(reader))
            await turns(2)
            if wake:
                reader.feed_data(MESSAGE)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        reader.feed_eof()
        assert await read(reader) == expected
        assert await reader.read() == MESSAGE[len(expected) :]

    on_ours(main)


def test_a_read_until_the_end_that_is_cancelled_gives_back_what_it_has() -> None:
    async def main() -> None:
        reader, brake = with_brake(4)
        task = asyncio.create_task(reader.read())
        for piece in (b"0123456789", b"abcdefghij", b"xy"):
            await turns(2)
            reader.feed_data(piece)
        await turns(2)
        task.cancel()
        await asyncio.wait([task])
        assert brake.calls[-1] == "resume"
        reader.feed_data(b"z")
        assert brake.calls[-1] == "pause"
        reader.feed_eof()
        assert await reader.readexactly(3) == b"012"
        assert await reader.read() == b"3456789abcdefghijxyz"

    on_ours(main)


@reads
def test_a_read_under_a_time_limit_goes_on_afterwards(read: Read, expected: bytes) -> None:
    async def main() -> None:
        reader = a_reader()
        with pytest.raises(TimeoutError):
            await compat.wait_for(read(reader), 0.001)
        with nursery.move_on_after(0.001) as scope:
            await read(reader)
        assert scope.cancelled_caught
        reader.feed_data(MESSAGE)
        reader.feed_eof()
        assert await read(reader) == expected

    on_ours(main)


@reads
def test_tasks_of_asyncios_own_class_can_read(read: Read, expected: bytes) -> None:
    async def main() -> None:
        reader = a_reader()
        task = asyncio.Task(read(reader), loop=asyncio.get_running_loop())
        await turns(3)
        with pytest.raises(RuntimeError, match="already waiting"):
            await reader.read(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        task = asyncio.Task(read(reader), loop=asyncio.get_running_loop())
        await turns(3)
        reader.feed_data(MESSAGE)
        reader.feed_eof()
        assert await task == expected

    on_ours(main)


def test_a_native_child_reads_until_its_time_is_over() -> None:
    async def main() -> None:
        reader = a_reader()
        lines: list[bytes] = []

        async def child() -> None:
            with nursery.move_on_after(0.01) as scope:
                async for line in reader:
                    lines.append(line)
            assert scope.cancelled_caught

        async with nursery.open_nursery() as group:
            group.start_soon(child)
            for line in (b"one\n", b"two\nthr"):
                await turns(2)
                reader.feed_data(line)
        reader.feed_data(b"ee\n")
        assert lines == [b"one\n", b"two\n"]
        assert await reader.readline() == b"three\n"

    on_ours(main)


def test_a_reader_on_another_loop_says_so_when_it_has_to_wait() -> None:
    async def main() -> None:
        reader = StreamReader()
        reader.feed_data(b"abc")
        assert await reader.read(10) == b"abc"
        with pytest.raises(RuntimeError, match=r"compat\.run"):
            await reader.read(10)

    asyncio.run(main())
