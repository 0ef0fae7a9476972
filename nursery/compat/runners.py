"""run and Runner: asyncio's own, on our loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from .loop import new_event_loop

T = TypeVar("T")


class Runner(asyncio.Runner):  # type: ignore[misc]  # final for typeshed alone: only the default factory differs
    """Runs several coroutines in one loop and one context; Ctrl-C cancels the main task.

    Arguments: debug turns the loop's debug mode on or off; loop_factory replaces our `new_event_loop`.

    Example::

        with compat.Runner() as runner:
            runner.run(main())

    Source: asyncio's documentation, `asyncio.Runner`.
    """

    def __init__(
        self, *, debug: bool | None = None, loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    ) -> None:
        super().__init__(debug=debug, loop_factory=new_event_loop if loop_factory is None else loop_factory)


def run(
    main: Coroutine[Any, Any, T],
    *,
    debug: bool | None = None,
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
) -> T:
    """Run a coroutine on a new loop of ours, cancel what it left behind, and return its result.

    Raises RuntimeError inside a running loop.
    Source: asyncio's documentation, `asyncio.run`.
    """
    if asyncio._get_running_loop() is not None:
        raise RuntimeError("asyncio.run() cannot be called from a running event loop")
    with Runner(debug=debug, loop_factory=loop_factory) as runner:
        return runner.run(main)
