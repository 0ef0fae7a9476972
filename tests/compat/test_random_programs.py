"""Random programs of tasks, groups, time limits and cancellations: what happens, and when, is as on asyncio's own loop.

The clock of both loops is virtual, and every wait lasts for a random time, so that nothing happens at one and the same
instant but as cause and effect; within an instant the order is left open.
"""

from __future__ import annotations

import asyncio as stdlib
import random
import sys
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any, Final, TypeAlias

import pytest

from nursery import compat
from nursery.testing import MockClock

# What kind it is, its number, and what belongs to the kind.
Step: TypeAlias = tuple[Any, ...]
History: TypeAlias = dict[float, Counter[str]]

SIMPLE: Final = ("sleep", "sleep", "sleep", "sleep", "yield", "raise", "cancel itself")
NESTED: Final = (
    "timeout",
    "wait_for",
    "group",
    "group with a body",
    "gather",
    "gather exceptions",
    "wait",
    "as_completed",
    "shield",
    "finally",
    "swallow",
    "raise again",
    "uncancel",
    "cancel",
    "await a task",
)


class Author:
    """Writes the program of a seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.count = 0

    def program(self) -> list[Step]:
        return [self.step(self.random.randint(1, 4)) for _ in range(2)]

    def block(self, depth: int) -> list[Step]:
        return [self.step(depth) for _ in range(self.random.randint(1, 3))]

    def blocks(self, depth: int) -> list[list[Step]]:
        return [self.block(depth) for _ in range(self.random.randint(1, 3))]

    def seconds(self) -> float:
        return round(self.random.uniform(0.01, 1), 6)

    def step(self, depth: int) -> Step:
        self.count += 1
        number = self.count
        if depth <= 0:
            return self.random.choice(SIMPLE), number, self.seconds()
        kind = self.random.choice(NESTED)
        if kind in ("timeout", "wait_for"):
            return kind, number, self.seconds(), self.block(depth - 1)
        if kind in ("group", "group with a body", "gather", "gather exceptions"):
            return kind, number, self.blocks(depth - 1), self.block(depth - 1)
        if kind in ("wait", "as_completed"):
            when = self.random.choice(["FIRST_COMPLETED", "FIRST_EXCEPTION", "ALL_COMPLETED"])
            return kind, number, self.blocks(depth - 1), self.random.choice([None, self.seconds()]), when
        if kind in ("finally", "swallow", "raise again"):
            return kind, number, self.block(depth - 1), self.block(depth - 1)
        if kind == "cancel":
            return kind, number, self.block(depth - 1), [self.seconds() for _ in range(self.random.randint(1, 3))]
        return kind, number, self.block(depth - 1)


def described(error: BaseException) -> str:
    """Return an error without its message: which of several requests gives it is left open."""
    if isinstance(error, BaseExceptionGroup):
        return f"{type(error).__name__}[{', '.join(sorted(map(described, error.exceptions)))}]"
    return type(error).__name__ + (str(error.args) if type(error) is ValueError else "")


class Performance:
    """Runs a program with one API, and keeps what happens."""

    def __init__(self, api: Any) -> None:
        self.api = api
        self.history: History = defaultdict(Counter)
        self.tasks: list[Any] = []

    def note(self, *what: object) -> None:
        now = self.api.get_running_loop().time() - self.began
        self.history[round(now, 4)][" ".join(map(str, what))] += 1

    def start(self, block: list[Step]) -> Any:
        task = self.api.create_task(self.block(block))
        self.tasks.append(task)
        return task

    async def block(self, block: list[Step]) -> None:
        for step in block:
            this = self.api.current_task()
            kind, number, *rest = step
            try:
                await getattr(self, f"do_{kind.replace(' ', '_')}")(number, *rest)
            except BaseException as exc:
                self.note(number, kind, "raised", described(exc), this.cancelling())
                raise
            self.note(number, kind, "done", this.cancelling())

    async def main(self, program: list[Step]) -> None:
        self.began = self.api.get_running_loop().time()
        task = self.start(program)
        await self.api.wait([task])
        while others := self.api.all_tasks() - {self.api.current_task()}:
            await self.api.wait(others)
        for task in self.tasks:
            error = None if task.cancelled() else task.exception()
            self.note("ended", task.cancelled(), task.cancelling(), error and described(error))

    # The kinds of step, by name

    async def do_sleep(self, number: int, seconds: float) -> None:
        await self.api.sleep(seconds)

    async def do_yield(self, number: int, seconds: float) -> None:
        await self.api.sleep(0)

    async def do_raise(self, number: int, seconds: float) -> None:
        await self.api.sleep(seconds)
        raise ValueError(number)

    async def do_cancel_itself(self, number: int, seconds: float) -> None:
        await self.api.sleep(seconds)
        self.api.current_task().cancel()
        await self.api.sleep(0.001)

    async def do_timeout(self, number: int, seconds: float, block: list[Step]) -> None:
        try:
            async with self.api.timeout(seconds) as limit:
                await self.block(block)
        except TimeoutError:
            self.note(number, "is over", limit.expired())

    async def do_wait_for(self, number: int, seconds: float, block: list[Step]) -> None:
        try:
            await self.api.wait_for(self.block(block), seconds)
        except TimeoutError:
            self.note(number, "is over")

    async def do_group(self, number: int, blocks: list[list[Step]], body: list[Step]) -> None:
        await self.do_group_with_a_body(number, blocks, [])

    async def do_group_with_a_body(self, number: int, blocks: list[list[Step]], body: list[Step]) -> None:
        try:
            async with self.api.TaskGroup() as group:
                for block in blocks:
                    group.create_task(self.block(block))
                await self.block(body)
        except* ValueError as exc:
            self.note(number, described(exc))

    async def do_gather(self, number: int, blocks: list[list[Step]], _: list[Step], exceptions: bool = False) -> None:
        try:
            results = await self.api.gather(*map(self.block, blocks), return_exceptions=exceptions)
            self.note(number, [result and described(result) for result in results])
        except ValueError as exc:
            self.note(number, described(exc))

    async def do_gather_exceptions(self, number: int, blocks: list[list[Step]], _: list[Step]) -> None:
        await self.do_gather(number, blocks, _, exceptions=True)

    async def do_wait(self, number: int, blocks: list[list[Step]], seconds: float | None, when: str) -> None:
        done, pending = await self.api.wait(list(map(self.start, blocks)), timeout=seconds, return_when=when)
        self.note(number, len(done), len(pending))

    async def do_as_completed(self, number: int, blocks: list[list[Step]], seconds: float | None, when: str) -> None:
        for each in self.api.as_completed(list(map(self.start, blocks)), timeout=seconds):
            try:
                await each
            except (ValueError, TimeoutError) as exc:
                self.note(number, described(exc))

    async def do_shield(self, number: int, block: list[Step]) -> None:
        await self.api.shield(self.start(block))

    async def do_finally(self, number: int, block: list[Step], clean_up: list[Step]) -> None:
        try:
            await self.block(block)
        finally:
            await self.block(clean_up)

    async def do_swallow(self, number: int, block: list[Step], clean_up: list[Step], again: bool = False) -> None:
        try:
            await self.block(block)
        except self.api.CancelledError:
            await self.block(clean_up)
            if again:
                raise

    async def do_raise_again(self, number: int, block: list[Step], clean_up: list[Step]) -> None:
        await self.do_swallow(number, block, clean_up, again=True)

    async def do_uncancel(self, number: int, block: list[Step]) -> None:
        try:
            await self.block(block)
        except self.api.CancelledError:
            self.note(number, "uncancel", self.api.current_task().uncancel())

    async def do_cancel(self, number: int, block: list[Step], times: list[float]) -> None:
        task = self.start(block)
        for seconds in times:
            self.api.get_running_loop().call_later(
                seconds, lambda: self.note(number, "cancel", task.cancel(), task.cancelling())
            )
        await task

    async def do_await_a_task(self, number: int, block: list[Step]) -> None:
        await self.start(block)


class JumpingLoop(stdlib.SelectorEventLoop):
    """asyncio's own loop, whose clock jumps to the next timer."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        selector: Any = self._selector  # type: ignore[attr-defined]  # not in typeshed
        select = selector.select

        def jump(timeout: float | None) -> Any:
            events = select(0)
            if not events and timeout:
                self.now += timeout
            return events

        selector.select = jump

    def time(self) -> float:
        return self.now


def our_loop() -> stdlib.AbstractEventLoop:
    return compat.EventLoop(MockClock(autojump_threshold=0))


def history_of(seed: int, api: Any, loop_factory: Callable[[], stdlib.AbstractEventLoop]) -> History:
    performance = Performance(api)
    with stdlib.Runner(loop_factory=loop_factory) as runner:
        runner.get_loop().set_exception_handler(lambda loop, context: None)
        runner.run(performance.main(Author(seed).program()))
    return dict(performance.history)


@pytest.mark.skipif(sys.version_info < (3, 13), reason="the asyncio of 3.13 is the measure")
@pytest.mark.parametrize("api", [compat, stdlib], ids=["facade", "asyncio on our loop"])
@pytest.mark.parametrize("seed", range(40))
def test_a_random_program_does_what_it_does_on_asyncio(seed: int, api: Any) -> None:
    assert history_of(seed, api, our_loop) == history_of(seed, stdlib, JumpingLoop)


def test_random_programs_use_every_kind_of_step() -> None:
    used: set[str] = set()

    def look(steps: Any) -> None:
        if isinstance(steps, list):
            for step in steps:
                look(step)
        elif isinstance(steps, tuple):
            used.add(steps[0])
            for part in steps[2:]:
                look(part)

    for seed in range(40):
        look(Author(seed).program())
    assert used == {*SIMPLE, *NESTED}
