"""Pipe transports; what asyncio's own loop does with the same program is the measure where it is right."""

from __future__ import annotations

import asyncio
import errno
import gc
import io
import logging
import os
import pty
import socket
import termios
import tty
import warnings
import weakref
from typing import Any

import pytest

import nursery
from nursery import compat
from tests.processes.conftest import nothing_is_left  # noqa: F401  # every test here is checked for descriptors

from .pipe_ends import Recorder, drain, on_both_loops, on_ours, polls, reader, turns, writer

BIG = 1_000_000


# Reading


def test_data_then_the_end() -> None:
    async def main() -> list[str]:
        protocol, other = await reader()
        os.write(other, b"spam")
        assert await protocol.has(4) == b"spam"
        os.write(other, b"eggs")
        os.close(other)
        assert await protocol.lost is None
        assert protocol.data == b"spameggs"
        assert protocol.transport.is_closing()
        assert not protocol.transport.is_reading()
        return protocol.events

    assert on_both_loops(main) == ["made", "eof", "lost NoneType"]


def test_what_was_written_before_the_pipe_was_connected_is_read() -> None:
    async def main() -> str:
        read, write = os.pipe()
        os.write(write, b"early")
        os.close(write)
        protocol, _ = await reader(read)
        await protocol.lost
        return protocol.data.decode()

    assert on_both_loops(main) == "early"


def test_what_is_there_is_read_before_the_next_turn_but_one_also_if_the_loop_is_busy() -> None:
    async def main() -> str:
        read, write = os.pipe()
        os.write(write, b"early")
        protocol, _ = await reader(read)
        await asyncio.sleep(0)
        came = protocol.data.decode()
        os.close(write)
        await protocol.lost
        return came

    assert on_both_loops(main) == "early"


def test_nothing_is_received_while_reading_is_paused_and_nothing_is_lost() -> None:
    async def main() -> list[object]:
        protocol, other = await reader()
        transport = protocol.transport
        transport.pause_reading()
        transport.pause_reading()
        seen: list[object] = [transport.is_reading()]
        os.write(other, b"spam")
        await polls()
        seen.append(bytes(protocol.data))
        transport.resume_reading()
        transport.resume_reading()
        seen += [transport.is_reading(), await protocol.has(4)]
        transport.pause_reading()
        os.write(other, b"eggs")
        os.close(other)
        await polls()
        seen.append(bytes(protocol.data))
        transport.resume_reading()
        await protocol.lost
        return [*seen, bytes(protocol.data), *protocol.events]

    on_both_loops(main)


def test_pausing_and_resuming_in_one_turn_loses_no_edge() -> None:
    async def main() -> int:
        protocol, other = await reader()
        for _ in range(20):
            os.write(other, b"x")
            await asyncio.sleep(0)
            protocol.transport.pause_reading()
            protocol.transport.resume_reading()
            protocol.transport.pause_reading()
            await asyncio.sleep(0)
            protocol.transport.resume_reading()
        os.close(other)
        await protocol.lost
        return len(protocol.data)

    assert on_both_loops(main) == 20


def test_however_often_reading_is_paused_and_resumed_it_is_queued_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> int:
        protocol, other = await reader()
        os.write(other, b"spam")
        await protocol.has(4)
        calls = 0
        real = os.read

        def counted(fd: int, size: int) -> bytes:
            nonlocal calls
            calls += 1
            return real(fd, size)

        with monkeypatch.context() as patch:
            patch.setattr(os, "read", counted)
            os.write(other, b"eggs")
            protocol.transport._interest.readable = True
            for _ in range(100):
                protocol.transport.pause_reading()
                protocol.transport.resume_reading()
            await turns()
        os.close(other)
        await protocol.lost
        assert protocol.data == b"spameggs"
        return calls

    assert on_ours(main) <= 3


def test_more_than_one_read_is_received_whole() -> None:
    async def main() -> bool:
        read, write = os.pipe()
        receiving, _ = await reader(read)
        sending, _ = await writer(write)
        data = os.urandom(BIG)
        sending.transport.write(data)
        sending.transport.close()
        await receiving.lost
        return receiving.data == data

    on_both_loops(main)


def test_a_pipe_that_was_made_larger_is_read_whole_after_pauses() -> None:
    async def main() -> int:
        import fcntl

        protocol, other = await reader()
        fcntl.fcntl(other, getattr(fcntl, "F_SETPIPE_SZ", 1031), 1 << 20)
        protocol.transport.pause_reading()
        assert os.write(other, b"x" * 500_000) == 500_000
        await polls()
        protocol.transport.resume_reading()
        os.close(other)
        await protocol.lost
        return len(protocol.data)

    assert on_both_loops(main) == 500_000


def test_a_pipe_in_packet_mode_gives_one_packet_at_a_time_and_all_of_them() -> None:
    async def main() -> list[bytes]:
        read, write = os.pipe2(os.O_DIRECT | os.O_CLOEXEC)
        received: list[bytes] = []

        class Packets(Recorder):
            def data_received(self, data: bytes) -> None:
                received.append(data)

        _, protocol = await asyncio.get_running_loop().connect_read_pipe(Packets, open(read, "rb", 0))
        for packet in (b"one", b"two", b"three"):
            os.write(write, packet)
        while len(received) < 3:
            await asyncio.sleep(0)
        os.close(write)
        await protocol.lost
        return received

    assert on_both_loops(main) == [b"one", b"two", b"three"]


def test_close_tells_once_and_closes_the_pipe() -> None:
    async def main() -> list[str]:
        protocol, other = await reader()
        pipe = protocol.transport.get_extra_info("pipe")
        os.write(other, b"spam")
        protocol.transport.close()
        protocol.transport.close()
        protocol.transport.resume_reading()
        protocol.transport.pause_reading()
        assert protocol.events == ["made"]
        assert await protocol.lost is None
        await turns()
        assert pipe.closed
        with pytest.raises(BrokenPipeError):
            os.write(other, b"spam")
        os.close(other)
        protocol.transport.close()
        return [*protocol.events, repr(bytes(protocol.data))]

    on_both_loops(main)


def test_a_protocol_that_fails_is_reported_and_goes_on_receiving() -> None:
    async def main() -> list[str]:
        reports: list[str] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: reports.append(repr(context["exception"])))

        class Failing(Recorder):
            def data_received(self, data: bytes) -> None:
                super().data_received(data)
                raise ValueError(data)

        read, write = os.pipe()
        _, protocol = await loop.connect_read_pipe(Failing, open(read, "rb", 0))
        os.write(write, b"spam")
        await protocol.has(4)
        os.write(write, b"eggs")
        await protocol.has(8)
        os.close(write)
        await protocol.lost
        return [*protocol.events, *reports]

    on_both_loops(main)


def test_another_protocol_can_take_over() -> None:
    async def main() -> list[object]:
        first, other = await reader()
        os.write(other, b"spam")
        await first.has(4)
        second = Recorder()
        first.transport.set_protocol(second)
        assert first.transport.get_protocol() is second
        os.write(other, b"eggs")
        os.close(other)
        await second.lost
        return [bytes(first.data), bytes(second.data), *first.events, *second.events]

    on_both_loops(main)


class Buffered(asyncio.BufferedProtocol):
    """Receives into a small buffer of its own."""

    def __init__(self) -> None:
        self.buffer = bytearray(3)
        self.data = b""
        self.lost: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()

    def get_buffer(self, sizehint: int) -> bytearray:
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.data += self.buffer[:nbytes]

    def connection_lost(self, exc: BaseException | None) -> None:
        self.lost.set_result(exc)


def test_a_buffered_protocol_is_served() -> None:
    async def main() -> bytes:
        read, write = os.pipe()
        _, protocol = await asyncio.get_running_loop().connect_read_pipe(Buffered, open(read, "rb", 0))
        os.write(write, b"spam and eggs")
        await polls()
        os.write(write, b"!")
        os.close(write)
        assert await protocol.lost is None
        return protocol.data

    assert on_ours(main) == b"spam and eggs!"


@pytest.mark.parametrize("failure", [b"", ZeroDivisionError()])
def test_a_buffered_protocol_without_a_buffer_loses_the_pipe(failure: object) -> None:
    class Broken(Buffered):
        def get_buffer(self, sizehint: int) -> bytearray:
            if isinstance(failure, Exception):
                raise failure
            return bytearray()

    async def main() -> list[str]:
        reports: list[str] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: reports.append(context["message"]))
        read, write = os.pipe()
        _, protocol = await loop.connect_read_pipe(Broken, open(read, "rb", 0))
        os.write(write, b"spam")
        assert await protocol.lost is not None
        os.close(write)
        return reports

    assert on_ours(main) == ["Fatal error: protocol.get_buffer() call failed."]


def test_the_end_of_a_terminal_is_an_error_that_nobody_reports() -> None:
    async def main() -> list[object]:
        reports: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: reports.append(context))
        master, slave = pty.openpty()
        protocol, _ = await reader(master)
        os.write(slave, b"spam")
        assert await protocol.has(4) == b"spam"
        os.close(slave)
        exc = await protocol.lost
        assert isinstance(exc, OSError)
        return [*protocol.events, *reports, exc.errno == errno.EIO]

    assert on_both_loops(main) == ["made", "lost OSError", True]


def test_a_terminal_gives_line_after_line() -> None:
    async def main() -> bytes:
        master, slave = pty.openpty()
        protocol, _ = await reader(slave)
        os.write(master, b"one\ntwo\nthree\n")
        data = await protocol.has(14)
        protocol.transport.close()
        await protocol.lost
        os.close(master)
        return data

    on_both_loops(main)


def test_another_error_is_reported_and_ends_the_transport(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> list[str]:
        reports: list[str] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: reports.append(context["message"]))
        protocol, other = await reader()
        real = os.read

        def broken(fd: int, size: int) -> bytes:
            if size > 4096:
                raise OSError(errno.ENOTCONN, "broken")
            return real(fd, size)

        with monkeypatch.context() as patch:
            patch.setattr(os, "read", broken)
            os.write(other, b"x")
            exc = await protocol.lost
        os.close(other)
        assert isinstance(exc, OSError)
        return [*protocol.events, *reports, errno.errorcode[exc.errno or 0]]

    assert on_both_loops(main) == ["made", "lost OSError", "Fatal read error on pipe transport", "ENOTCONN"]


# Devices that cannot be waited for


def test_dev_null_is_at_its_end_at_once() -> None:
    async def main() -> list[str]:
        protocol, _ = await reader(os.open("/dev/null", os.O_RDONLY))
        await protocol.lost
        return protocol.events

    assert on_ours(main) == ["made", "eof", "lost NoneType"]


def test_dev_zero_never_ends_but_lets_others_run() -> None:
    async def main() -> bytes:
        protocol, _ = await reader(os.open("/dev/zero", os.O_RDONLY))
        await protocol.has(1)
        protocol.transport.pause_reading()
        size = len(protocol.data)
        await turns()
        assert len(protocol.data) == size
        protocol.transport.resume_reading()
        await protocol.has(size + 1)
        protocol.transport.close()
        await protocol.lost
        return bytes(protocol.data[:3])

    assert on_ours(main) == b"\0\0\0"


def test_dev_null_takes_everything_and_dev_full_nothing() -> None:
    async def main() -> list[str]:
        null, _ = await writer(os.open("/dev/null", os.O_WRONLY))
        full, _ = await writer(os.open("/dev/full", os.O_WRONLY))
        for protocol in (null, full):
            protocol.transport.write(b"x" * BIG)
        assert null.transport.get_write_buffer_size() == 0
        null.transport.close()
        await null.lost
        exc = await full.lost
        assert isinstance(exc, OSError)
        assert exc.errno == errno.ENOSPC
        return null.events + full.events

    on_both_loops(main)


# Writing


def test_a_write_goes_out_at_once() -> None:
    async def main() -> bytes:
        protocol, other = await writer()
        protocol.transport.write(b"spam")
        protocol.transport.write(b"")
        protocol.transport.writelines([b"eg", bytearray(b"g"), memoryview(b"s")])
        assert protocol.transport.get_write_buffer_size() == 0
        data = drain(other)
        protocol.transport.close()
        await protocol.lost
        os.close(other)
        return data

    assert on_both_loops(main) == b"spameggs"


def test_the_protocol_is_told_to_pause_above_the_high_mark_and_to_resume_at_the_low_one() -> None:
    async def main() -> list[object]:
        protocol, other = await writer()
        transport = protocol.transport
        transport.set_write_buffer_limits(high=1000, low=100)
        limits = transport.get_write_buffer_limits()
        transport.write(b"x" * 65536)
        transport.write(b"y" * 1000)
        assert transport.get_write_buffer_size() == 1000
        events = list(protocol.events)
        transport.write(b"z")
        events += protocol.events
        drain(other)
        await protocol.resumed.wait()
        size = transport.get_write_buffer_size()
        transport.close()
        await protocol.lost
        os.close(other)
        return [limits, *events, *protocol.events, size]

    on_both_loops(main)


def test_everything_arrives_however_slowly_it_is_read() -> None:
    async def main() -> list[str]:
        protocol, other = await writer()
        sent = b"".join(bytes([n]) * 40_000 for n in range(20))
        for n in range(20):
            protocol.transport.write(bytes([n]) * 40_000)
        protocol.transport.write_eof()
        assert protocol.transport.is_closing()
        received = b""
        while not protocol.lost.done():
            received += drain(other, 7_000)
            await asyncio.sleep(0)
        received += drain(other)
        os.close(other)
        assert received == sent
        return protocol.events

    assert on_both_loops(main) == ["made", "pause", "resume", "lost NoneType"]


def test_more_pieces_than_one_call_takes_are_written_in_order() -> None:
    async def main() -> bool:
        protocol, other = await writer()
        protocol.transport.write(b"x" * 65536)
        pieces = [f"{n:06}".encode() for n in range(3000)]
        for piece in pieces:
            protocol.transport.write(piece)
        protocol.transport.close()
        received = b""
        while not protocol.lost.done():
            received += drain(other)
            await asyncio.sleep(0)
        received += drain(other)
        os.close(other)
        return received == b"x" * 65536 + b"".join(pieces)

    on_both_loops(main)


def test_what_was_given_may_be_changed_after_the_write() -> None:
    async def main() -> bytes:
        protocol, other = await writer()
        protocol.transport.write(b"x" * 65536)
        data = bytearray(b"spam")
        protocol.transport.write(data)
        protocol.transport.write(memoryview(data))
        data[:] = b"eggs and ham"
        drain(other)
        protocol.transport.close()
        await protocol.lost
        received = drain(other)
        os.close(other)
        return received

    assert on_both_loops(main) == b"spamspam"


def test_a_view_of_larger_items_is_written_in_bytes() -> None:
    async def main() -> bytes:
        protocol, other = await writer()
        view = memoryview(bytes(range(16))).cast("I")
        protocol.transport.write(view)
        protocol.transport.write(b"x" * 65536)
        protocol.transport.write(view)
        received = drain(other)
        protocol.transport.close()
        await protocol.lost
        received += drain(other)
        os.close(other)
        return received.replace(b"x", b"")

    assert on_ours(main) == bytes(range(16)) * 2


@pytest.mark.parametrize("data", ["text", 5, None, [b"bytes"]])
def test_only_bytes_can_be_written(data: Any) -> None:
    async def main() -> None:
        protocol, other = await writer()
        with pytest.raises(TypeError, match="data argument must be a bytes-like object"):
            protocol.transport.write(data)
        protocol.transport.close()
        await protocol.lost
        os.close(other)

    on_ours(main)


def test_a_transport_that_only_writes_says_so_to_whoever_wants_to_read() -> None:
    async def main() -> list[str]:
        protocol, other = await writer()
        transport = protocol.transport
        assert isinstance(transport, asyncio.Transport)
        for read in (transport.is_reading, transport.pause_reading, transport.resume_reading):
            with pytest.raises(NotImplementedError):
                read()
        os.close(other)
        transport.close()
        await protocol.lost
        return protocol.events

    on_both_loops(main)


def test_abort_drops_what_is_buffered() -> None:
    async def main() -> list[object]:
        protocol, other = await writer()
        protocol.transport.write(b"x" * BIG)
        protocol.transport.abort()
        assert protocol.events == ["made", "pause"]
        assert await protocol.lost is None
        size = protocol.transport.get_write_buffer_size()
        received = len(drain(other))
        os.close(other)
        return [*protocol.events, size, received == 65536, protocol.transport.is_closing()]

    on_both_loops(main)


def test_whatever_is_called_after_the_end_does_no_harm() -> None:
    async def main() -> list[str]:
        protocol, other = await writer()
        transport = protocol.transport
        transport.write(b"x" * BIG)
        transport.close()
        for method in (transport.abort, transport.abort, transport.close, transport.write_eof):
            method()
        await protocol.lost
        for method in (transport.abort, transport.close, transport.write_eof):
            method()
        transport.write(b"spam")
        transport.set_write_buffer_limits()
        await turns()
        os.close(other)
        assert repr(transport).startswith("<WritePipeTransport closed fd=")
        return protocol.events

    assert on_ours(main) == ["made", "pause", "lost NoneType"]


def test_that_the_reader_is_gone_is_noticed_without_a_write() -> None:
    async def main() -> list[str]:
        protocol, other = await writer()
        protocol.transport.write(b"spam")
        await polls()
        os.close(other)
        assert await protocol.lost is None
        return protocol.events

    assert on_both_loops(main) == ["made", "lost NoneType"]


def test_that_the_reader_is_gone_is_an_error_if_something_was_left_to_write() -> None:
    async def main() -> list[str]:
        protocol, other = await writer()
        protocol.transport.write(b"x" * BIG)
        await polls()
        os.close(other)
        assert isinstance(await protocol.lost, BrokenPipeError)
        return protocol.events

    assert on_both_loops(main) == ["made", "pause", "lost BrokenPipeError"]


def test_that_the_reader_is_gone_ends_a_transport_that_was_closed_with_a_full_buffer() -> None:
    async def main() -> list[str]:
        protocol, other = await writer()
        protocol.transport.write(b"x" * BIG)
        protocol.transport.close()
        await polls()
        os.close(other)
        await protocol.lost
        return protocol.events

    assert on_both_loops(main) == ["made", "pause", "lost BrokenPipeError"]


def test_a_reader_that_was_never_there_is_noticed() -> None:
    async def main() -> list[str]:
        read, write = os.pipe()
        os.close(read)
        protocol, _ = await writer(write)
        assert await protocol.lost is None
        return protocol.events

    on_both_loops(main)


def test_a_write_to_nobody_ends_the_transport() -> None:
    async def main() -> list[str]:
        protocol, other = await writer()
        os.close(other)
        protocol.transport.write(b"spam")
        assert isinstance(await protocol.lost, BrokenPipeError)
        return protocol.events

    assert on_both_loops(main) == ["made", "lost BrokenPipeError"]


def test_writes_to_a_lost_pipe_are_warned_of_in_the_end(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> list[str]:
        protocol, other = await writer()
        protocol.transport.close()
        await protocol.lost
        os.close(other)
        caplog.clear()
        for _ in range(7):
            protocol.transport.write(b"spam")
        return [record.getMessage() for record in caplog.records]

    assert len(on_both_loops(main)) == 2


def test_a_terminal_takes_everything_however_slowly_it_is_read() -> None:
    async def main() -> int:
        master, slave = pty.openpty()
        tty.setraw(slave, termios.TCSANOW)
        os.set_blocking(master, False)
        protocol, _ = await writer(slave)
        protocol.transport.write(b"x" * 100_000)
        assert protocol.transport.get_write_buffer_size()
        received = 0
        while received < 100_000:
            received += len(drain(master, 3_000))
            await asyncio.sleep(0)
        protocol.transport.close()
        await protocol.lost
        os.close(master)
        return received

    on_both_loops(main)


# Sockets


def test_a_socket_can_be_written_to_and_its_peer_is_noticed() -> None:
    async def main() -> list[str]:
        ours, peer = socket.socketpair()
        protocol, _ = await writer(ours.detach())
        protocol.transport.write(b"spam")
        assert peer.recv(10) == b"spam"
        peer.close()
        assert await protocol.lost is None
        return protocol.events

    assert on_both_loops(main) == ["made", "lost NoneType"]


def test_a_socket_whose_peer_writes_is_not_taken_for_lost() -> None:
    async def main() -> list[str]:
        ours, peer = socket.socketpair()
        protocol, _ = await writer(ours.detach())
        peer.send(b"not for you")
        await polls()
        assert not protocol.transport.is_closing()
        protocol.transport.write(b"spam")
        assert peer.recv(10) == b"spam"
        protocol.transport.close()
        await protocol.lost
        peer.close()
        return protocol.events

    assert on_ours(main) == ["made", "lost NoneType"]


def test_a_fifo_that_is_open_both_ways_is_not_taken_for_lost(tmp_path: Any) -> None:
    async def main() -> list[str]:
        path = tmp_path / "fifo"
        os.mkfifo(path)
        protocol, _ = await writer(os.open(path, os.O_RDWR))
        protocol.transport.write(b"spam")
        await polls()
        assert not protocol.transport.is_closing()
        protocol.transport.close()
        await protocol.lost
        return protocol.events

    assert on_ours(main) == ["made", "lost NoneType"]


def test_a_socket_can_be_read_from() -> None:
    async def main() -> list[str]:
        ours, peer = socket.socketpair()
        protocol, _ = await reader(ours.detach())
        peer.send(b"spam")
        await protocol.has(4)
        peer.close()
        await protocol.lost
        return protocol.events

    assert on_both_loops(main) == ["made", "eof", "lost NoneType"]


# One descriptor for two


def test_one_terminal_serves_both_directions_under_one_number() -> None:
    async def main() -> list[object]:
        loop = asyncio.get_running_loop()
        master, slave = pty.openpty()
        tty.setraw(slave, termios.TCSANOW)
        os.set_blocking(master, False)
        _, reading = await loop.connect_read_pipe(Recorder, io.FileIO(slave, "rb", closefd=False))
        _, writing = await loop.connect_write_pipe(Recorder, io.FileIO(slave, "wb", closefd=False))
        writing.transport.write(b"out" * 10_000)
        os.write(master, b"in")
        data = await reading.has(2)
        sent = b""
        while len(sent) < 30_000:
            sent += drain(master)
            await asyncio.sleep(0)
        reading.transport.close()
        await reading.lost
        writing.transport.write(b"more")
        sent = drain(master)
        writing.transport.close()
        await writing.lost
        os.close(slave)
        os.close(master)
        return [data, sent, *reading.events, *writing.events]

    on_both_loops(main)


def test_two_writers_under_one_number_both_get_through() -> None:
    async def main() -> list[int]:
        loop = asyncio.get_running_loop()
        read, write = os.pipe()
        os.set_blocking(read, False)
        both = [
            (await loop.connect_write_pipe(Recorder, io.FileIO(write, "wb", closefd=False)))[1] for _ in range(2)
        ]
        for n, protocol in enumerate(both):
            protocol.transport.write(str(n).encode() * 100_000)
        received = b""
        while len(received) < 200_000:
            received += drain(read)
            await asyncio.sleep(0)
        for protocol in both:
            protocol.transport.close()
            await protocol.lost
        os.close(write)
        os.close(read)
        return [received.count(b"0"), received.count(b"1")]

    assert on_ours(main) == [100_000, 100_000]


# Descriptors that others touch


def test_who_announces_that_the_descriptor_goes_ends_the_transport() -> None:
    async def main() -> list[str]:
        reading, other = await reader()
        writing, far = await writer()
        writing.transport.write(b"x" * BIG)
        for protocol in (reading, writing):
            nursery.lowlevel.notify_closing(protocol.transport.get_extra_info("pipe"))
        for protocol in (reading, writing):
            exc = await protocol.lost
            assert isinstance(exc, OSError)
            assert exc.errno == errno.EBADF
        os.close(other)
        os.close(far)
        return reading.events + writing.events

    assert on_ours(main) == ["made", "lost OSError", "made", "pause", "lost OSError"]


def test_watching_the_descriptor_of_a_paused_transport_does_not_disable_it() -> None:
    async def main() -> bytes:
        loop = asyncio.get_running_loop()
        protocol, other = await reader()
        fd = protocol.transport.get_extra_info("pipe").fileno()
        await polls()
        protocol.transport.pause_reading()
        loop.add_reader(fd, print)
        assert loop.remove_reader(fd)
        protocol.transport.resume_reading()
        await polls()
        os.write(other, b"spam")
        data = await protocol.has(4)
        os.close(other)
        await protocol.lost
        return data

    assert on_ours(main) == b"spam"


# Being forgotten


def test_a_forgotten_transport_warns_and_closes_its_pipe() -> None:
    async def main() -> None:
        protocol, other = await reader()
        protocol.transport.pause_reading()
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            del protocol
            gc.collect()
        assert "unclosed transport <ReadPipeTransport open" in str([str(each.message) for each in warned])
        with pytest.raises(BrokenPipeError):
            os.write(other, b"spam")
        os.close(other)

    on_ours(main)


def test_a_transport_that_outlives_its_loop_warns_and_closes_its_pipe() -> None:
    loop = compat.new_event_loop()
    reading, other = loop.run_until_complete(reader())
    writing, far = loop.run_until_complete(writer())
    loop.close()
    for protocol, word in ((reading, "ReadPipe"), (writing, "WritePipe")):
        assert f"<{word}Transport open" in repr(protocol.transport)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        del reading, writing, protocol, loop
        gc.collect()
    text = str([str(each.message) for each in warned])
    assert "unclosed transport <ReadPipeTransport open" in text
    assert "unclosed transport <WritePipeTransport open" in text
    with pytest.raises(BrokenPipeError):
        os.write(other, b"spam")
    assert os.read(far, 1) == b""
    os.close(other)
    os.close(far)


def test_a_transport_can_be_closed_after_its_loop() -> None:
    loop = compat.new_event_loop()
    reading, other = loop.run_until_complete(reader())
    writing, far = loop.run_until_complete(writer())
    loop.close()
    reading.transport.close()
    writing.transport.abort()
    with pytest.raises(BrokenPipeError):
        os.write(other, b"spam")
    assert os.read(far, 1) == b""
    assert reading.events == writing.events == ["made"]
    os.close(other)
    os.close(far)


def test_a_transport_that_ended_is_no_garbage() -> None:
    async def main() -> None:
        read, write = os.pipe()
        receiving, _ = await reader(read)
        sending, _ = await writer(write)
        sending.transport.write(b"spam")
        sending.transport.close()
        await receiving.lost
        await turns()
        gone = [weakref.ref(receiving.transport), weakref.ref(sending.transport)]
        del receiving, sending
        assert [ref() for ref in gone] == [None, None]

    gc.disable()
    try:
        on_ours(main)
    finally:
        gc.enable()


# Looks


def test_the_repr_tells_what_goes_on() -> None:
    async def main() -> None:
        reading, other = await reader()
        writing, far = await writer()
        assert repr(reading.transport).endswith(" polling>")
        reading.transport.pause_reading()
        assert repr(reading.transport).endswith(" idle>")
        assert repr(writing.transport).endswith(" idle bufsize=0>")
        writing.transport.write(b"x" * 70_000)
        assert repr(writing.transport).endswith(f" polling bufsize={70_000 - 65536}>")
        writing.transport.close()
        assert repr(writing.transport).startswith("<WritePipeTransport closing fd=")
        drain(far)
        reading.transport.close()
        await reading.lost
        await writing.lost
        await turns()
        assert repr(reading.transport).startswith("<ReadPipeTransport closed fd=")
        os.close(other)
        os.close(far)

    on_ours(main)


def test_debug_mode_logs_pauses_and_ends(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> list[str]:
        asyncio.get_running_loop().set_debug(True)
        caplog.set_level(logging.DEBUG, "asyncio")
        reading, other = await reader()
        writing, far = await writer()
        reading.transport.pause_reading()
        reading.transport.resume_reading()
        os.close(other)
        os.close(far)
        await reading.lost
        await writing.lost
        messages = [record.getMessage() for record in caplog.records]
        words = ("pauses reading", "resumes reading", "was closed by peer", "Read pipe", "Write pipe")
        found = [word for message in messages for word in words if word in message]
        caplog.clear()
        return sorted(found)

    on_both_loops(main)
