"""connect_read_pipe and connect_write_pipe."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest

from nursery import compat
from tests.compat.transports.pipe_ends import Recorder, on_both_loops, on_ours, turns
from tests.processes.conftest import nothing_is_left  # noqa: F401  # every test here is checked for descriptors


@pytest.mark.parametrize("method", ["connect_read_pipe", "connect_write_pipe"])
def test_a_regular_file_is_refused_and_left_alone(method: str, tmp_path: Any) -> None:
    async def main() -> str:
        loop: Any = asyncio.get_running_loop()
        with open(tmp_path / "file", "w+b") as file:
            with pytest.raises(ValueError, match=r"Pipe transport is (only )?for pipes") as info:
                await getattr(loop, method)(Recorder, file)
            assert not file.closed
            assert os.get_blocking(file.fileno())
        return type(info.value).__name__

    on_both_loops(main)


def test_the_refusal_names_the_remedy(tmp_path: Any) -> None:
    async def main() -> None:
        with open(tmp_path / "file", "w+b") as file:
            with pytest.raises(ValueError, match="is a regular file, which cannot be waited for; use a thread"):
                await asyncio.get_running_loop().connect_read_pipe(Recorder, file)

    on_ours(main)


def test_a_folder_is_refused(tmp_path: Any) -> None:
    class Folder:
        def fileno(self) -> int:
            return fd

    fd = os.open(tmp_path, os.O_RDONLY)

    async def main() -> None:
        with pytest.raises(ValueError, match="Pipe transport is for pipes/sockets only"):
            await asyncio.get_running_loop().connect_read_pipe(Recorder, Folder())

    on_ours(main)
    os.close(fd)


def test_transport_and_protocol_are_returned_after_connection_made() -> None:
    async def main() -> list[object]:
        loop = asyncio.get_running_loop()
        read, write = os.pipe()
        pipe, far = open(read, "rb", 0), open(write, "wb", 0)
        reading, protocol = await loop.connect_read_pipe(Recorder, pipe)
        writing, second = await loop.connect_write_pipe(Recorder, far)
        assert protocol.transport is reading
        assert second.transport is writing
        assert reading.get_protocol() is protocol
        assert reading.get_extra_info("pipe") is pipe
        assert writing.get_extra_info("pipe") is far
        assert writing.get_extra_info("nothing", 5) == 5
        assert isinstance(reading, asyncio.ReadTransport)
        assert isinstance(writing, asyncio.WriteTransport)
        assert not os.get_blocking(read)
        assert not os.get_blocking(write)
        assert writing.can_write_eof()
        writing.close()
        await protocol.lost
        return [*protocol.events, *second.events]

    on_both_loops(main)


def test_what_connection_made_schedules_comes_after_the_connect_call() -> None:
    async def main() -> list[str]:
        loop = asyncio.get_running_loop()
        order: list[str] = []

        class Scheduling(Recorder):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                super().connection_made(transport)
                loop.call_soon(order.append, "scheduled")

        read, write = os.pipe()
        _, protocol = await loop.connect_read_pipe(Scheduling, open(read, "rb", 0))
        order.append("returned")
        await turns()
        os.close(write)
        await protocol.lost
        return order

    on_both_loops(main)


def test_a_protocol_that_fails_at_once_is_reported_and_the_call_returns() -> None:
    async def main() -> list[str]:
        loop = asyncio.get_running_loop()
        reports: list[str] = []
        loop.set_exception_handler(lambda loop, context: reports.append(repr(context["exception"])))

        class Failing(Recorder):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                super().connection_made(transport)
                raise ValueError("no")

        read, write = os.pipe()
        _, protocol = await loop.connect_read_pipe(Failing, open(read, "rb", 0))
        os.close(write)
        await protocol.lost
        return [*reports, *protocol.events]

    on_both_loops(main)


def test_a_factory_that_fails_leaves_the_pipe_alone() -> None:
    async def main() -> list[bool]:
        def factory() -> asyncio.Protocol:
            raise ValueError("no")

        read, write = os.pipe()
        with open(read, "rb", 0) as pipe:
            with pytest.raises(ValueError, match="no"):
                await asyncio.get_running_loop().connect_read_pipe(factory, pipe)
            open_still = not pipe.closed
        os.close(write)
        return [open_still]

    on_both_loops(main)


def test_a_transport_that_connection_made_closes_is_returned_closing() -> None:
    async def main() -> list[object]:
        class Closing(Recorder):
            def connection_made(self, transport: Any) -> None:
                super().connection_made(transport)
                transport.close()

        read, write = os.pipe()
        transport, protocol = await asyncio.get_running_loop().connect_read_pipe(Closing, open(read, "rb", 0))
        closing = transport.is_closing()
        await protocol.lost
        os.close(write)
        return [closing, *protocol.events]

    # In debug mode asyncio's own loop looks at the closed pipe, and fails.
    assert on_ours(main) == [True, "made", "lost NoneType"]


@pytest.mark.parametrize("method", ["connect_read_pipe", "connect_write_pipe"])
def test_a_cancelled_call_closes_the_pipe(method: str) -> None:
    async def main() -> list[object]:
        loop: Any = asyncio.get_running_loop()
        read, write = os.pipe()
        pipe, other = (open(read, "rb", 0), write) if method == "connect_read_pipe" else (open(write, "wb", 0), read)
        protocol = Recorder()
        task = asyncio.create_task(getattr(loop, method)(lambda: protocol, pipe))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await protocol.lost
        await turns()
        os.close(other)
        return [pipe.closed, *protocol.events]

    on_both_loops(main)


def test_streams_work_on_pipes() -> None:
    async def main() -> list[object]:
        loop = asyncio.get_running_loop()
        read, write = os.pipe()
        stream = asyncio.StreamReader(limit=4096)
        reading, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stream), open(read, "rb", 0))
        transport, protocol = await loop.connect_write_pipe(
            asyncio.streams.FlowControlMixin, open(write, "wb", 0)
        )
        out = asyncio.StreamWriter(transport, protocol, None, loop)

        async def send() -> None:
            for n in range(2000):
                out.write(b"%d " % n * 50 + b"\n")
                await out.drain()
            out.close()

        task = asyncio.create_task(send())
        lines = [line async for line in stream]
        await task
        reading.close()
        await turns()
        return [len(lines), lines[-1]]

    on_both_loops(main)


def test_the_call_needs_no_main_thread() -> None:
    results: list[bytes] = []

    async def main() -> bytes:
        read, write = os.pipe()
        _, protocol = await asyncio.get_running_loop().connect_read_pipe(Recorder, open(read, "rb", 0))
        os.write(write, b"spam")
        os.close(write)
        await protocol.lost
        return bytes(protocol.data)

    thread = threading.Thread(target=lambda: results.append(compat.run(main())))
    thread.start()
    thread.join()
    assert results == [b"spam"]


def test_a_descriptor_that_cannot_be_registered_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        ours, peer = socket.socketpair()
        monkeypatch.setattr(loop.io, "open", full)
        with pytest.raises(OSError, match="No space left"):
            await loop.connect_read_pipe(Recorder, ours)
        ours.close()
        peer.close()

    on_ours(main)


@pytest.mark.parametrize("connect", [lambda loop: loop.connect_read_pipe, lambda loop: loop.connect_write_pipe])
def test_what_has_no_descriptor_is_refused(connect: Callable[[Any], Any]) -> None:
    async def main() -> None:
        with pytest.raises(AttributeError, match="fileno"):
            await connect(asyncio.get_running_loop())(Recorder, 5)

    on_ours(main)
