"""Where failures go that nobody awaits: the loop's exception handler.

Invariant: a broken handler does not stop the loop; only KeyboardInterrupt and SystemExit leave it.  Under
`run(strict=True)` the failure of a task, a future or a callback is kept for the end of the run instead of being
reported (`_keep_failure`).
"""

from __future__ import annotations

import traceback
from asyncio.log import logger
from collections.abc import Callable
from typing import Any, Final

from .state import LoopState

# Where a handler finds the one that failed, and so the context to run in; the first that is there counts.
ORIGINS: Final = ("task", "future", "handle")


class Errors(LoopState):
    """set_exception_handler, call_exception_handler and their kin."""

    _exception_handler: Callable[[Any, dict[str, Any]], object] | None = None

    def get_exception_handler(self) -> Callable[[Any, dict[str, Any]], object] | None:
        """Return the handler that was set, None for the default one."""
        return self._exception_handler

    def set_exception_handler(self, handler: Callable[[Any, dict[str, Any]], object] | None) -> None:
        """Set `handler(loop, context)`; None for the default one.

        Raises TypeError if it cannot be called.
        Source: asyncio's documentation, `loop.set_exception_handler`.
        """
        if handler is not None and not callable(handler):
            raise TypeError(f"A callable object or None is expected, got {handler!r}")
        self._exception_handler = handler

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        """Log the message, every other item of the context by its name, and the exception with its traceback.

        In debug mode it also logs where the failed object was made, or if that is not known the callback under way.
        Source: asyncio's documentation, `loop.default_exception_handler`.
        """
        lines = [context.get("message") or "Unhandled exception in event loop"]
        exception = context.get("exception")
        items = dict(context)
        if "source_traceback" not in items:
            under_way = getattr(self._current_handle, "_source_traceback", None)
            if under_way:
                items["handle_traceback"] = under_way
        for key in sorted(items):
            if key in ("message", "exception"):
                continue
            value = items[key]
            if key in ("source_traceback", "handle_traceback"):
                made = "Object" if key == "source_traceback" else "Handle"
                frames = "".join(traceback.format_list(value)).rstrip()
                value = f"{made} created at (most recent call last):\n{frames}"
            else:
                value = repr(value)
            lines.append(f"{key}: {value}")
        exc_info = (type(exception), exception, exception.__traceback__) if exception is not None else False
        logger.error("\n".join(lines), exc_info=exc_info)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Call the handler, in the context of the failed task or handle if there is one.

        Arguments: context has `message` and, as far as they are known, `exception`, `future`, `task`, `handle`,
        `protocol`, `transport`, `socket`, `asyncgen` and `source_traceback`.

        Source: asyncio's documentation, `loop.call_exception_handler`.
        """
        if self._keep_failure is not None and self._keep_failure(context):
            return
        handler = self._exception_handler
        if handler is None:
            self._log(context, "Exception in default exception handler")
            return
        try:
            origin: Any = next((context[key] for key in ORIGINS if context.get(key) is not None), None)
            run_in: Any = origin.get_context() if hasattr(origin, "get_context") else getattr(origin, "_context", None)
            if hasattr(run_in, "run"):
                run_in.run(handler, self, context)
            else:
                handler(self, context)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self._log(
                {"message": "Unhandled error in exception handler", "exception": exc, "context": context},
                "Exception in default exception handler while handling an unexpected error in custom exception handler",
            )

    def _log(self, context: dict[str, Any], when_that_fails: str) -> None:
        try:
            self.default_exception_handler(context)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException:
            logger.error(when_that_fails, exc_info=True)
