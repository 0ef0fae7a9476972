"""Where failures go that nobody awaits: the loop's exception handler.

Invariant: a broken handler does not stop the loop; only KeyboardInterrupt and SystemExit leave it.
"""

from __future__ import annotations

import traceback
from asyncio.log import logger
from collections.abc import Callable
from typing import Any

from .state import LoopState


class Errors(LoopState):
    """set_exception_handler, call_exception_handler and their kin."""

    _exception_handler: Callable[[Any, dict[str, Any]], object] | None = None

    def get_exception_handler(self) -> Callable[[Any, dict[str, Any]], object] | None:
        """Return the handler that was set, None for the default one."""
        return self._exception_handler

    def set_exception_handler(self, handler: Callable[[Any, dict[str, Any]], object] | None) -> None:
        """Set `handler(loop, context)`; None for the default one."""
        if handler is not None and not callable(handler):
            raise TypeError(f"A callable object or None is expected, got {handler!r}")
        self._exception_handler = handler

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        """Log the message, every other item of the context, and the exception."""
        lines = [context.get("message") or "Unhandled exception in event loop"]
        exception = context.get("exception")
        for key in sorted(context):
            if key in ("message", "exception"):
                continue
            value = context[key]
            if key in ("source_traceback", "handle_traceback"):
                value = "Object created at (most recent call last):\n" + "".join(traceback.format_list(value)).rstrip()
            else:
                value = repr(value)
            lines.append(f"{key}: {value}")
        exc_info = (type(exception), exception, exception.__traceback__) if exception is not None else False
        logger.error("\n".join(lines), exc_info=exc_info)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Call the handler, in the context of the failed handle or task if there is one.

        Source: asyncio's documentation, `loop.call_exception_handler`.
        """
        handler = self._exception_handler
        if handler is None:
            self._log(context, "Exception in default exception handler")
            return
        try:
            origin: Any = context.get("task") or context.get("future") or context.get("handle")
            run_in = origin.get_context() if hasattr(origin, "get_context") else getattr(origin, "_context", None)
            if run_in is not None and hasattr(run_in, "run"):
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
