"""The flat step of compat keeps in step with the kernel's, whose traced twin serves both."""

from __future__ import annotations

import ast
import asyncio
import inspect
import socket
from collections.abc import Callable
from typing import Any

import nursery
from nursery import compat
from nursery.abc import Instrument
from nursery.compat.loop import batch as compat_batch
from nursery.kernel import loop as kernel_loop


def cases(function: Callable[..., object]) -> list[str]:
    """What a batch function does with the message of a step: its if-chain, test by test, in order."""
    tree = ast.parse(inspect.getsource(function))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "message is None":
            found = []
            chain: ast.stmt | None = node
            while isinstance(chain, ast.If):
                found.append(ast.unparse(chain.test))
                chain = chain.orelse[0] if chain.orelse else None
            return found
    raise AssertionError("no case begins with 'message is None'")


def handlers(function: Callable[..., object]) -> list[str]:
    """The exceptions that the step of a batch function catches."""
    tree = ast.parse(inspect.getsource(function))
    for node in ast.walk(tree):
        if isinstance(node, ast.Try) and "message = task.context.run(task.send, None)" in ast.unparse(node.body[0]):
            return [ast.unparse(handler.type) for handler in node.handlers if handler.type is not None]
    raise AssertionError("no step found")


def test_the_cases_are_those_of_the_kernel_in_the_same_order() -> None:
    expected = cases(kernel_loop.plain_batch)
    assert len(expected) == 5
    *shared, promise = cases(compat_batch.batch)
    assert shared == expected
    # One more, the first case of what the kernel asks its door.
    assert promise.startswith("isinstance(message, Promise)")
    assert cases(kernel_loop.traced_batch) == expected


def test_a_step_catches_what_the_kernel_catches() -> None:
    expected = handlers(kernel_loop.plain_batch)
    assert handlers(compat_batch.batch) == expected
    assert handlers(kernel_loop.traced_batch) == expected


def test_with_an_instrument_the_same_program_takes_the_same_steps() -> None:
    class Count(Instrument):
        def __init__(self) -> None:
            self.steps = 0

        def after_task_step(self, task: nursery.lowlevel.Task) -> None:
            self.steps += 1

    async def program() -> list[str]:
        order: list[str] = []
        loop = asyncio.get_running_loop()

        async def child(name: str) -> None:
            for _ in range(2):
                order.append(name)
                task: Any = asyncio.current_task()
                assert task is nursery.lowlevel.current_task()
                await asyncio.sleep(0)

        loop.call_soon(order.append, "callback")
        await asyncio.gather(child("a"), child("b"), asyncio.sleep(0.001))
        async with nursery.open_nursery() as n:
            n.start_soon(child, "c")
        return order

    async def traced() -> list[str]:
        count = Count()
        nursery.lowlevel.add_instrument(count)
        order = await program()
        assert count.steps > 6
        return order

    assert compat.run(program()) == compat.run(traced())


def test_many_turns_in_one_call_do_not_starve_timers_or_io() -> None:
    async def spin(until: asyncio.Event) -> int:
        turns = 0
        while not until.is_set():
            turns += 1
            await asyncio.sleep(0)
        return turns

    async def main() -> None:
        loop = asyncio.get_running_loop()
        timer, readable = asyncio.Event(), asyncio.Event()
        loop.call_later(0.001, timer.set)
        assert await asyncio.wait_for(spin(timer), 1) > 0
        left, right = socket.socketpair()
        with left, right:
            loop.add_reader(left, readable.set)
            loop.call_later(0.001, right.send, b"x")
            assert await asyncio.wait_for(spin(readable), 1) > 0
            loop.remove_reader(left)

    compat.run(main())
