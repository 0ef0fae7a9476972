"""A function that does nothing, run in another thread: what the way there and back costs."""

from __future__ import annotations

import asyncio
import os
import select
import threading

from benchmarks.dialect import Dialect
from benchmarks.expect import expect
from benchmarks.meter import Meter

HOPS = 500


def _answer() -> int:
    return 42


async def in_dialect(lib: Dialect, meter: Meter) -> None:
    for _ in meter.laps(HOPS):
        total = 0
        for _ in range(HOPS):
            total += await lib.to_thread.run_sync(_answer)
        expect("sum of the answers", total, 42 * HOPS)


async def in_asyncio(meter: Meter) -> None:
    for _ in meter.laps(HOPS):
        total = 0
        for _ in range(HOPS):
            total += await asyncio.to_thread(_answer)
        expect("sum of the answers", total, 42 * HOPS)


def in_epoll(meter: Meter) -> None:
    """The limit: one thread that waits for a lock, and an event descriptor that tells of its answer."""
    wake = threading.Lock()
    wake.acquire()
    bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
    answers: list[int] = []
    over = False

    def work() -> None:
        while wake.acquire() and not over:
            answers.append(_answer())
            os.eventfd_write(bell, 1)

    thread = threading.Thread(target=work)
    thread.start()
    with select.epoll() as epoll:
        epoll.register(bell, select.EPOLLIN)
        for _ in meter.laps(HOPS):
            total = 0
            for _ in range(HOPS):
                wake.release()
                epoll.poll()
                os.eventfd_read(bell)
                total += answers.pop()
            expect("sum of the answers", total, 42 * HOPS)
    over = True
    wake.release()
    thread.join()
    os.close(bell)
