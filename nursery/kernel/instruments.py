"""Hooks for tools that watch a run.

Invariant: a run without instruments executes no line of this file.  With them the loop uses its traced twin
(loop.py) and the run queue its watched class (runner.py).  An instrument that raises is removed and logged; the
run goes on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from .current import current_runner

if TYPE_CHECKING:
    from .task import Task

_logger = logging.getLogger("nursery.abc.Instrument")

HOOKS = (
    "before_run",
    "after_run",
    "task_spawned",
    "task_scheduled",
    "before_task_step",
    "after_task_step",
    "task_exited",
    "before_io_wait",
    "after_io_wait",
)


class Instrument:
    """The interface of instruments: override what you want to see (trio's `trio.abc.Instrument`).

    Hooks run inside the loop: they must be quick, and must not call async functions.
    """

    __slots__ = ()

    def before_run(self) -> None:
        """The run is about to begin."""

    def after_run(self) -> None:
        """The run is over."""

    def task_spawned(self, task: Task) -> None:
        """A task was made."""

    def task_scheduled(self, task: Task) -> None:
        """A task became runnable."""

    def before_task_step(self, task: Task) -> None:
        """A task is about to run until it next yields."""

    def after_task_step(self, task: Task) -> None:
        """A task has yielded or ended."""

    def task_exited(self, task: Task) -> None:
        """A task has ended."""

    def before_io_wait(self, timeout: float) -> None:
        """The loop is about to ask for I/O, and waits for `timeout` seconds at most."""

    def after_io_wait(self, timeout: float) -> None:
        """The loop has asked for I/O."""


class Instruments:
    """The instruments of one run, sorted by the hooks that they really override."""

    __slots__ = ("_by_hook", "_all")

    def __init__(self, instruments: Sequence[Instrument] = ()) -> None:
        self._all: dict[Instrument, None] = {}
        self._by_hook: dict[str, dict[Instrument, Callable[..., object]]] = {}
        for instrument in instruments:
            self.add(instrument)

    def __bool__(self) -> bool:
        return bool(self._all)

    def __contains__(self, instrument: Instrument) -> bool:
        return instrument in self._all

    def add(self, instrument: Instrument) -> None:
        """Begin to call the hooks of `instrument`; adding it twice changes nothing."""
        if instrument in self._all:
            return
        hooks: dict[str, Callable[..., object]] = {}
        for name in HOOKS:
            method = getattr(instrument, name, None)
            if method is None or getattr(method, "__func__", None) is getattr(Instrument, name):
                continue
            if not callable(method):
                raise TypeError(f"instrument {instrument!r} has a {name} that cannot be called")
            hooks[name] = method
        self._all[instrument] = None
        for name, method in hooks.items():
            self._by_hook.setdefault(name, {})[instrument] = method

    def remove(self, instrument: Instrument) -> None:
        """Stop calling `instrument`; KeyError if it is not installed."""
        del self._all[instrument]
        for name in list(self._by_hook):
            self._by_hook[name].pop(instrument, None)
            if not self._by_hook[name]:
                del self._by_hook[name]

    def call(self, hook: str, *args: Any) -> None:
        """Call one hook of each instrument that has it."""
        methods = self._by_hook.get(hook)
        if methods is None:
            return
        for instrument, method in list(methods.items()):
            try:
                method(*args)
            except BaseException:
                self.remove(instrument)
                _logger.exception(
                    "exception raised when calling %r on instrument %r; the instrument has been removed",
                    hook,
                    instrument,
                )


def add_instrument(instrument: Instrument) -> None:
    """Begin to watch the current run with `instrument`; adding it twice changes nothing.

    Source: trio's documentation, `trio.lowlevel.add_instrument`.
    """
    current_runner().add_instrument(instrument)


def remove_instrument(instrument: Instrument) -> None:
    """Stop watching the current run with `instrument`.

    Raises KeyError if it is not installed, or was removed because it raised.
    Source: trio's documentation, `trio.lowlevel.remove_instrument`.
    """
    current_runner().remove_instrument(instrument)
