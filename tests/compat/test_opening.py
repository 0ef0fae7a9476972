"""An asyncio loop inside a native run."""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
import sys
from collections.abc import AsyncGenerator
from typing import Any

import pytest

import nursery
from nursery import compat
from nursery.compat.loop import EventLoop
from nursery.testing import wait_all_tasks_blocked


def test_asyncio_is_awaited_directly_inside_the_block() -> None:
    async def main() -> str:
        async with compat.open_loop() as loop:
            assert asyncio.get_running_loop() is loop
            native: Any = nursery.lowlevel.current_task()
            assert asyncio.current_task() is native
            assert native in asyncio.all_tasks()
            future: asyncio.Future[str] = loop.create_future()
            loop.call_later(0.001, future.set_result, "asyncio")
            answer: str = await future
        return answer

    assert nursery.run(main) == "asyncio"


def test_after_the_block_the_run_is_native_again() -> None:
    async def main() -> None:
        async with compat.open_loop():
            await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="no running event loop"):
            asyncio.get_running_loop()
        await nursery.sleep(0.001)
        async with nursery.open_nursery() as n:
            n.start_soon(nursery.sleep, 0.001)
        with nursery.move_on_after(0.001) as scope:
            await nursery.sleep_forever()
        assert scope.cancelled_caught

    nursery.run(main)


def test_a_loop_may_be_opened_again() -> None:
    async def main() -> None:
        for _ in range(2):
            async with compat.open_loop():
                assert await asyncio.create_task(asyncio.sleep(0, "x")) == "x"

    nursery.run(main)


def test_tasks_that_lived_before_speak_asyncio_too() -> None:
    heard: list[str] = []

    async def elder(opened: nursery.Event) -> None:
        await opened.wait()
        heard.append(await asyncio.sleep(0.001, "elder"))

    async def main() -> None:
        opened = nursery.Event()
        async with nursery.open_nursery() as n:
            n.start_soon(elder, opened)
            await wait_all_tasks_blocked()
            async with compat.open_loop():
                opened.set()
                await asyncio.sleep(0.01)

    nursery.run(main)
    assert heard == ["elder"]


def test_native_children_call_asyncio_under_scopes() -> None:
    ends: list[str] = []

    async def child(name: str) -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            await asyncio.sleep(0)
            ends.append(name)

    async def main() -> None:
        async with compat.open_loop():
            with nursery.move_on_after(0.001) as scope:
                async with nursery.open_nursery() as n:
                    n.start_soon(child, "one")
                    n.start_soon(child, "two")
            assert scope.cancelled_caught

    nursery.run(main)
    assert sorted(ends) == ["one", "two"]


def test_what_create_task_left_is_cancelled_and_awaited_at_the_end_of_the_block() -> None:
    log: list[str] = []

    async def left() -> None:
        try:
            await asyncio.sleep(100)
        finally:
            await asyncio.sleep(0.001)
            log.append("cleaned up")

    async def main() -> None:
        async with compat.open_loop():
            task = asyncio.create_task(left())
            await asyncio.sleep(0)
        log.append("left")
        assert task.cancelled()

    nursery.run(main)
    assert log == ["cleaned up", "left"]


def test_an_error_in_the_block_comes_out_as_from_a_nursery() -> None:
    async def main() -> None:
        async with compat.open_loop():
            raise KeyError("x")

    with pytest.raises(ExceptionGroup) as caught:
        nursery.run(main)
    assert caught.group_contains(KeyError)


def test_a_scope_around_the_block_cancels_it_and_its_tasks() -> None:
    async def main() -> None:
        with nursery.move_on_after(0.001) as scope:
            async with compat.open_loop():
                task = asyncio.create_task(asyncio.sleep(100))
                await asyncio.sleep(100)
        assert scope.cancelled_caught
        assert task.cancelled()

    nursery.run(main)


def test_a_loop_that_is_open_is_not_driven_by_hand() -> None:
    async def main() -> None:
        async with compat.open_loop() as loop:
            with pytest.raises(RuntimeError, match="open_loop"):
                loop.run_forever()
            with pytest.raises(RuntimeError, match="open_loop"):
                loop.stop()
            with pytest.raises(RuntimeError, match="open_loop"):
                loop.close()

    nursery.run(main)


def test_two_loops_cannot_be_open_at_once() -> None:
    async def main() -> None:
        async with compat.open_loop():
            with pytest.raises(RuntimeError, match="already"):
                async with compat.open_loop():
                    pass

    nursery.run(main)


def test_inside_a_loop_there_is_nothing_to_open() -> None:
    async def main() -> None:
        with pytest.raises(RuntimeError, match="already"):
            async with compat.open_loop():
                pass

    compat.run(main())


@pytest.mark.parametrize("how", ["future", "lot", "native"])
def test_ctrl_c_interrupts_the_main_task_in_an_asyncio_await(how: str) -> None:
    async def main() -> None:
        async with compat.open_loop() as loop:
            loop.call_later(0.001, signal.raise_signal, signal.SIGINT)
            if how == "future":
                await loop.create_future()
            elif how == "lot":
                await compat.Event().wait()
            else:
                await nursery.sleep_forever()

    with pytest.raises((KeyboardInterrupt, BaseExceptionGroup)) as caught:
        nursery.run(main)
    if isinstance(caught.value, BaseExceptionGroup):
        assert caught.group_contains(KeyboardInterrupt)


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("by", ["callback", "task"])
def test_an_exit_raised_by_a_callback_or_a_task_leaves_the_block(
    by: str, error: type[BaseException], debug: bool, caplog: pytest.LogCaptureFixture
) -> None:
    def leave() -> None:
        raise error("on purpose")

    async def leave_from_task() -> None:
        leave()

    cleaned_up: list[bool] = []

    async def main() -> None:
        with pytest.raises(BaseExceptionGroup) as caught:
            async with compat.open_loop() as loop:
                loop.set_debug(debug)
                if by == "callback":
                    loop.call_soon(leave)
                else:
                    leaving = loop.create_task(leave_from_task())
                    assert not leaving.done()
                try:
                    await asyncio.sleep(60)
                finally:
                    cleaned_up.append(True)
        assert [type(each) for each in caught.value.exceptions] == [error]
        async with compat.open_loop():
            await asyncio.sleep(0)

    nursery.run(main)
    assert cleaned_up == [True]


def test_debug_mode_ends_with_the_block() -> None:
    async def main() -> None:
        async with compat.open_loop() as loop:
            loop.set_debug(True)
            await asyncio.sleep(0)
            assert sys.get_coroutine_origin_tracking_depth() > 0
        assert sys.get_coroutine_origin_tracking_depth() == 0

    nursery.run(main)


def test_a_closed_loop_that_is_asked_whether_it_runs_does_not_take_the_current_task_away() -> None:
    async def main() -> None:
        async with compat.open_loop() as loop:
            pass
        assert not loop.is_running()
        assert nursery.lowlevel.current_task().name.endswith("main")
        await nursery.lowlevel.checkpoint()

    nursery.run(main)


def test_a_server_and_a_client_of_asyncio_talk_inside_a_native_run() -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readline())
        await writer.drain()
        writer.close()

    async def main() -> bytes:
        async with compat.open_loop():
            server = await asyncio.start_server(echo, "127.0.0.1", 0)
            async with server:
                reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
                writer.write(b"hello\n")
                answer = await reader.readline()
                writer.close()
                await writer.wait_closed()
        return answer

    assert nursery.run(main) == b"hello\n"


def test_insisting_interrupts_again_what_swallowed_the_cancellation() -> None:
    interruptions = 0

    async def stubborn() -> None:
        nonlocal interruptions
        while interruptions < 3:
            try:
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                interruptions += 1
        await nursery.lowlevel.checkpoint()

    async def main() -> None:
        async with compat.open_loop(insist=0.001):
            with nursery.CancelScope() as scope:
                scope.cancel()
                await stubborn()
            assert scope.cancelled_caught

    nursery.run(main)
    assert interruptions == 3


def test_insist_is_checked() -> None:
    with pytest.raises(ValueError, match="insist"):
        EventLoop(insist=0)
    with pytest.raises(ValueError, match="insist"):
        compat.open_loop(insist=-1)


def test_an_async_generator_that_was_left_is_closed_in_peace_as_on_a_loop_of_asyncio() -> None:
    log: list[str] = []

    async def rows() -> AsyncGenerator[int, None]:
        try:
            yield 1
            yield 2
        finally:
            await asyncio.sleep(0.001)
            log.append("given back")

    async def main() -> None:
        async with compat.open_loop():
            async for _ in rows():
                break
            gc.collect()
            async with asyncio.timeout(10):
                while not log:
                    await asyncio.sleep(0.001)

    nursery.run(main)


def test_a_transport_that_the_block_left_open_is_not_called_any_more() -> None:
    received: list[bytes] = []

    class Collect(asyncio.Protocol):
        def data_received(self, data: bytes) -> None:
            received.append(data)

    async def main() -> None:
        ours, theirs = socket.socketpair()
        async with compat.open_loop() as loop:
            transport, _ = await loop.connect_accepted_socket(Collect, ours)
            theirs.send(b"before")
            await asyncio.sleep(0.005)
        theirs.send(b"after")
        await nursery.sleep(0.005)
        theirs.close()
        del transport
        gc.collect()

    with pytest.warns(ResourceWarning, match="unclosed transport"):
        nursery.run(main)
    assert received == [b"before"]
