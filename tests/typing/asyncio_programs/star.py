"""Every public name at once."""

# asyncio: 3.12
# ruff: noqa: F403, F405  # the point
# mypy: disable-error-code="unused-awaitable"

from typing import assert_type

from nursery.compat import *


async def number() -> int:
    return 1


async def main() -> None:
    assert_type(await gather(number(), sleep(1, "x")), tuple[int, str])
    queue: Queue[int] = Queue()
    async with TaskGroup() as group, timeout(5):
        task = group.create_task(queue.get())
        assert_type(task, Task[int])
    try:
        await wait_for(task, 5)
    except (CancelledError, IncompleteReadError):
        create_task(number())


run(main())
subprocess.run("ls")  # type: ignore[name-defined]  # a submodule is no public name
