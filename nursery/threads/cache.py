"""Threads that are kept for the next job, for starting one costs more than most jobs do.

Invariant: a worker is either in `_idle`, waiting for its lock, or it has a job.  Whoever takes it out of `_idle` (a
caller with a job, or the worker itself when nobody came for a while) is the only one who may decide about it.

The youngest idle worker gets the next job, so that the rest of them run out of time.  The threads are daemons: work
that was left behind does not hold up the end of the process.
"""

from __future__ import annotations

import contextvars
import os
import sys
import threading
from collections.abc import Callable
from itertools import count
from typing import Any, Final, TypeVar

import outcome

from .system_name import name_for_system

T = TypeVar("T")

# Long enough for a program that blocks now and then, short enough not to hoard memory.
SECONDS_IDLE: Final = 10.0

# How long a thread is called by the system after its last job: the next one has the same name, most likely, and to
# rename it twice a job would cost a tenth of what the job costs (4 of 46 us).
SECONDS_UNTIL_RENAMED: Final = 0.05

_idle: dict[Worker, None] = {}
_numbers: Final = count()

# Of another process: a fork takes along only the thread that called it.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_idle.clear)


class Worker:
    """One thread, and its next job."""

    __slots__ = ("_idle_name", "_job", "_system_name", "_thread", "_wake")

    def __init__(self) -> None:
        self._job: tuple[Callable[[], Any], Callable[[outcome.Outcome[Any]], object], str | None] | None = None
        # Held while there is nothing to do.
        self._wake = threading.Lock()
        self._wake.acquire()
        self._idle_name = f"nursery thread {next(_numbers)}"
        # What the system calls it.
        self._system_name = ""
        # Jobs know nothing of the context in which their thread was once started.
        options: dict[str, Any] = {"context": contextvars.Context()} if sys.version_info >= (3, 14) else {}
        self._thread = threading.Thread(target=self._work, name=self._idle_name, daemon=True, **options)
        self._thread.start()

    def give(self, fn: Callable[[], T], deliver: Callable[[outcome.Outcome[T]], object], name: str | None) -> None:
        """Let the thread do a job; only for a worker that is new or was taken out of `_idle`."""
        self._job = (fn, deliver, name)
        self._wake.release()

    def _be_called(self, name: str) -> None:
        if name != self._system_name:
            self._system_name = name
            name_for_system(name)

    def _work(self) -> None:
        while True:
            at_rest = self._system_name == self._idle_name
            if self._wake.acquire(timeout=SECONDS_IDLE if at_rest else SECONDS_UNTIL_RENAMED):
                self._do()
            elif not at_rest:
                self._be_called(self._idle_name)
            else:
                try:
                    del _idle[self]
                except KeyError:
                    # Somebody has just taken it: the job is on its way.
                    continue
                return

    def _do(self) -> None:
        assert self._job is not None
        (fn, deliver, name), self._job = self._job, None
        if name is not None:
            self._thread.name = name
        self._be_called(self._idle_name if name is None else name)
        result = outcome.capture(fn)
        # Whoever gets the result may wait for what `fn` holds to be gone.
        del fn
        if name is not None:
            self._thread.name = self._idle_name
        # Before the delivery: whoever gets the result may want a thread at once, and this one is free.
        _idle[self] = None
        try:
            deliver(result)
        except BaseException:
            kind, error, trace = sys.exc_info()
            assert kind is not None
            threading.excepthook(threading.ExceptHookArgs((kind, error, trace, self._thread)))
            del error, trace
        finally:
            # The frames of an error in it lead back to this one (tests/threads/test_worker.py).
            del result


def start_thread_soon(
    fn: Callable[[], T], deliver: Callable[[outcome.Outcome[T]], object], name: str | None = None
) -> None:
    """Call `deliver(outcome of fn())` in a daemon thread; outside any run, and without any limit on threads.

    Arguments: name is the thread's name meanwhile, for Python and for the system.  An error in `deliver` goes to
    `threading.excepthook`.
    Raises RuntimeError if no thread can be started, TypeError for a name that is no str.  `nursery.to_thread.run_sync`
    is what programs use.

    Source: trio's documentation, `trio.lowlevel.start_thread_soon`.
    """
    if name is not None and not isinstance(name, str):
        # In the thread it would be nobody's error, and whoever waits for the result would wait for ever.
        raise TypeError(f"the name of a thread must be a str, not {name!r}")
    try:
        worker, _ = _idle.popitem()
    except KeyError:
        worker = Worker()
    worker.give(fn, deliver, name)


__all__ = ["start_thread_soon"]
