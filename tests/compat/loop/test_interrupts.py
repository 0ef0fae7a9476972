"""Ctrl-C while the loop runs: at once in a user's code, between two callbacks in the kernel's."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

import pytest

import nursery
from nursery import compat
from nursery.compat.loop.interrupts import hits_user_code

from ..two_loops import LoopFactory, on_both


@pytest.fixture(autouse=True)
def _the_handler_is_put_back() -> Iterator[None]:
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def ctrl_c() -> None:
    signal.raise_signal(signal.SIGINT)


@on_both
def test_ctrl_c_in_a_callback_leaves_the_loop_at_once(loop_factory: LoopFactory) -> None:
    loop = loop_factory()
    reached: list[str] = []

    def callback() -> None:
        reached.append("before")
        ctrl_c()
        reached.append("after")

    loop.call_soon(callback)
    with pytest.raises(KeyboardInterrupt):
        loop.run_forever()
    assert reached == ["before"]
    assert not loop.is_running()
    loop.close()


@on_both
def test_ctrl_c_in_a_task_leaves_the_loop_at_once(loop_factory: LoopFactory) -> None:
    loop = loop_factory()
    reached: list[str] = []

    async def main() -> None:
        try:
            ctrl_c()
            reached.append("after")
        except KeyboardInterrupt:
            reached.append("seen")
            raise

    with pytest.raises(KeyboardInterrupt):
        loop.run_until_complete(main())
    assert reached == ["seen"]
    loop.close()


@on_both
def test_ctrl_c_wakes_a_sleeping_loop(loop_factory: LoopFactory) -> None:
    loop = loop_factory()
    timer = threading.Timer(0.005, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        loop.run_until_complete(asyncio.sleep(5))
    timer.join()
    loop.close()


def test_ctrl_c_in_the_kernel_waits_until_no_task_is_half_stepped(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = compat.EventLoop()
    steps: list[int] = []
    original = type(loop.runner.deadlines).add
    interrupted: list[bool] = []

    def add(self: Any, entry: Any, deadline: float) -> None:
        # As if the signal hit the middle of the kernel's code.
        if steps and not interrupted:
            interrupted.append(True)
            handler: Any = signal.getsignal(signal.SIGINT)
            handler(signal.SIGINT, sys._getframe(1))
        original(self, entry, deadline)

    async def worker() -> None:
        while True:
            steps.append(len(steps))
            await nursery.sleep(0.0001)

    task = loop.create_task(worker())
    monkeypatch.setattr(type(loop.runner.deadlines), "add", add)
    with pytest.raises(KeyboardInterrupt):
        loop.run_forever()
    assert interrupted
    before = len(steps)
    # The task is intact: it goes on, and can be cancelled.
    loop.run_until_complete(asyncio.sleep(0.002))
    assert len(steps) > before
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(task)
    loop.close()


def test_ctrl_c_that_comes_when_the_loop_stops_is_raised_by_it() -> None:
    loop = compat.new_event_loop()

    def stop() -> None:
        loop.stop()
        handler: Any = signal.getsignal(signal.SIGINT)
        # None stands for a frame of the loop's own.
        handler(signal.SIGINT, None)

    loop.call_soon(stop)
    with pytest.raises(KeyboardInterrupt):
        loop.run_forever()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()


def test_a_handler_of_ones_own_is_left_alone() -> None:
    seen: list[int] = []

    def handler(signum: int, frame: FrameType | None) -> None:
        seen.append(signum)

    async def main() -> None:
        assert signal.getsignal(signal.SIGINT) is handler
        ctrl_c()

    signal.signal(signal.SIGINT, handler)
    try:
        compat.run(main())
        assert signal.getsignal(signal.SIGINT) is handler
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    assert seen == [signal.SIGINT]


def test_a_handler_installed_by_the_program_stays() -> None:
    def handler(signum: int, frame: FrameType | None) -> None:
        pass

    async def main() -> None:
        signal.signal(signal.SIGINT, handler)

    loop = compat.new_event_loop()
    try:
        loop.run_until_complete(main())
        assert signal.getsignal(signal.SIGINT) is handler
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        loop.close()


def test_in_another_thread_nothing_is_installed() -> None:
    seen: list[object] = []

    async def main() -> None:
        seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=lambda: compat.run(main()))
    thread.start()
    thread.join()
    assert seen == [signal.default_int_handler]


def test_whose_code_a_frame_is_is_told_by_the_first_that_is_not_the_librarys() -> None:
    assert hits_user_code(sys._getframe())
    frames: list[FrameType] = []

    class Spy(dict[str, int]):
        def __missing__(self, key: str) -> int:
            frames.append(sys._getframe(1))
            return 0

    import string

    # Called from the standard library, called from here.
    string.Formatter().vformat("{x}", (), Spy())
    assert hits_user_code(frames[0])
    assert not hits_user_code(None)


@on_both
def test_the_first_ctrl_c_cancels_the_main_task_and_lets_it_clean_up(loop_factory: LoopFactory) -> None:
    cleaned: list[str] = []

    async def main() -> None:
        try:
            ctrl_c()
            await asyncio.sleep(5)
        finally:
            await asyncio.sleep(0.001)
            cleaned.append("up")

    with pytest.raises(KeyboardInterrupt), asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(main())
    assert cleaned == ["up"]


@on_both
def test_a_second_ctrl_c_does_not_wait_for_the_clean_up(loop_factory: LoopFactory) -> None:
    cleaned: list[str] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        try:
            loop.call_later(0.001, os.kill, os.getpid(), signal.SIGINT)
            await asyncio.sleep(5)
        except asyncio.CancelledError:
            cleaned.append("began")
            loop.call_later(0.001, os.kill, os.getpid(), signal.SIGINT)
            await asyncio.sleep(5)

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt), asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(main())
    assert time.monotonic() - began < 2
    assert cleaned == ["began"]


STORM = """
import asyncio, os, signal, sys, threading, time
from nursery import compat

async def worker():
    while True:
        await asyncio.sleep(0)

async def main():
    tasks = [asyncio.create_task(worker()) for _ in range(20)]
    print("ready", flush=True)
    try:
        await asyncio.gather(*tasks)
    except asyncio.CancelledError:
        # Swallowed: the second Ctrl-C has to do it.
        await asyncio.gather(*[asyncio.create_task(worker()) for _ in range(20)])

asyncio.run(main(), loop_factory=compat.new_event_loop) if sys.version_info >= (3, 12) else compat.run(main())
"""


def test_a_busy_program_ends_by_two_ctrl_c_wherever_they_hit() -> None:
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", STORM], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.003)
        process.send_signal(signal.SIGINT)
        time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, printed = process.communicate(timeout=20)
        assert process.returncode == -signal.SIGINT, printed
        assert printed.rstrip().endswith("KeyboardInterrupt")
