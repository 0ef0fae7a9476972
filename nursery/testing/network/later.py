"""A call that is made when its time on the run's clock has come.

Invariant: it is an entry among the run's deadlines, so a clock that jumps goes to it like to any other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Later:
    """A call that stands among the deadlines of the run."""

    __slots__ = ("_args", "_call")

    def __init__(self, call: Callable[..., object], args: tuple[Any, ...]) -> None:
        self._call = call
        self._args = args

    def expire(self) -> None:
        """Make the call."""
        self._call(*self._args)
