"""What is said when a function and its arguments do not lead to a coroutine."""

from __future__ import annotations

import types
from collections.abc import AsyncGenerator, Generator
from typing import Any

import pytest

import nursery


async def proper(value: int = 0) -> int:
    await nursery.lowlevel.checkpoint()
    return value


def plain() -> int:
    return 1


async def generator() -> AsyncGenerator[int, None]:
    yield 1


def start(what: Any, *args: Any) -> None:
    async def main() -> None:
        async with nursery.open_nursery() as n:
            n.start_soon(what, *args)

    nursery.run(main)


def test_a_coroutine_object_is_refused_with_the_form_that_is_meant() -> None:
    with pytest.raises(BaseExceptionGroup) as caught:
        start(proper())
    assert caught.group_contains(TypeError, match=r"start_soon\(fn, arg\), not start_soon\(fn\(arg\)\)")


@pytest.mark.parametrize(
    ("what", "text"), [(5, "got 5"), (plain, "plain function"), (generator, "async generator")]
)
def test_the_usual_mistakes_are_named(what: object, text: str) -> None:
    with pytest.raises(BaseExceptionGroup) as caught:
        start(what)
    assert caught.group_contains(TypeError, match=text)


def test_a_generator_marked_as_coroutine_is_one() -> None:
    @types.coroutine
    def marked() -> Generator[Any, Any, None]:
        yield from proper().__await__()

    start(marked)


def test_any_awaitable_object_of_another_make_is_driven() -> None:
    class Foreign:
        def __init__(self) -> None:
            self.inner = proper(1)

        def __await__(self) -> Generator[Any, Any, int]:
            return self.inner.__await__()

        def send(self, value: object) -> object:
            return self.inner.send(value)

        def throw(self, error: BaseException) -> object:
            return self.inner.throw(error)

    start(Foreign)
