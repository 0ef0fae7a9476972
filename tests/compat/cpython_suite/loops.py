"""The loops that the interpreter's tests of asyncio make, exchanged for ours.

Invariant: whatever name a test makes its loop by, it gets one of ours: a policy's loop, asyncio.SelectorEventLoop with
any selector, asyncio.BaseEventLoop, and the loop of `test.test_asyncio.utils` whose time a generator moves.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import unittest.async_case
from asyncio import base_events, events, unix_events
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context
from types import ModuleType
from typing import Any

from nursery import compat
from nursery.compat import runners
from nursery.compat.future import Future as OurFuture
from nursery.compat.loop import EventLoop
from nursery.compat.loop.server import Server
from nursery.compat.transports.tls import SSLTransport, Wire
from nursery.kernel.clock import Clock
from nursery.kernel.deadlines import Deadlines, Entry
from nursery.kernel.io.epoll import EpollDriver
from nursery.kernel.io.interest import Driver, Interest
from nursery.kernel.io.selectors import SelectorsDriver
from nursery.kernel.loop import NOT_IDLE, digest, run_batch

# Timers that are due within this many seconds are due: the tests add up fractions.
RESOLUTION = 1e-9


class SuiteLoop(EventLoop):
    """Our loop with a few private names of asyncio's, which tests of behaviour use in passing."""

    _clock_resolution = RESOLUTION
    _selector = None

    def _run_once(self) -> None:
        with self._inside():
            digest(self.runner, self.runner.io.fetch(0.0), 0.0, NOT_IDLE)
            run_batch(self.runner)

    @property
    def _scheduled(self) -> list[Any]:
        return [entry for entry, _when in self.runner.deadlines]

    def _stop_serving(self, sock: Any) -> None:
        self.remove_reader(sock)
        sock.close()


class AnySelectorEventLoop(SuiteLoop):
    """Our loop under the name of asyncio.SelectorEventLoop: it takes a selector, and needs none."""

    def __init__(self, selector: object = None) -> None:
        close = getattr(selector, "close", None)
        if close is not None:
            close()
        super().__init__()


class HandClock(Clock):
    """A clock that stands still until somebody sets it."""

    def __init__(self) -> None:
        self.time: float = 0

    def start_clock(self) -> None:
        """Do nothing: it goes by hand."""

    def current_time(self) -> float:
        return self.time

    def deadline_to_sleep_time(self, deadline: float) -> float:
        return 0.0


class NotedDeadlines(Deadlines):
    """Deadlines that tell which were set."""

    __slots__ = ("_noted",)

    def __init__(self, noted: list[float]) -> None:
        super().__init__()
        self._noted = noted

    def add(self, entry: Entry, deadline: float) -> dict[Entry, float]:
        bucket = super().add(entry, deadline)
        self._noted.append(deadline)
        # Nothing is to go past this method into the recent bucket.
        self._forget_recent()
        return bucket


class TestLoop(SuiteLoop):
    """Our loop, with its time moved by a generator: `when = yield seconds` after each turn that set a timer."""

    def __init__(self, gen: Callable[[], Generator[float | None, float, None]] | None = None) -> None:
        self._hand = HandClock()
        super().__init__(self._hand)
        self._check_on_close = gen is not None
        self._gen = _no_time() if gen is None else gen()
        next(self._gen)
        self._set: list[float] = []
        self.runner.deadlines = NotedDeadlines(self._set)
        # One turn at a time.
        self.runner.debug = True

    @property
    def _time(self) -> float:
        return self._hand.time

    def advance_time(self, advance: float | None) -> None:
        """Move the time forward."""
        if advance:
            self._hand.time += advance

    def _drive(self) -> None:
        while True:
            self._turn()
            if self._stopping:
                break

    def _turn(self) -> None:
        runner = self.runner
        digest(runner, runner.io.fetch(0.0), 0.0, NOT_IDLE)
        runner.deadlines.expire(self._hand.time + RESOLUTION)
        run_batch(runner)
        for when in self._set:
            self.advance_time(self._gen.send(when))
        self._set.clear()

    def _run_once(self) -> None:
        with self._inside():
            self._turn()

    def close(self) -> None:
        super().close()
        if self._check_on_close:
            self._check_on_close = False
            try:
                self._gen.send(0)
            except StopIteration:
                pass
            else:
                raise AssertionError("Time generator is not finished")


def _no_time() -> Generator[float | None, float, None]:
    yield None


class OurNames:
    """A module with some of its names exchanged."""

    def __init__(self, module: ModuleType, **exchanged: object) -> None:
        self.__dict__.update(exchanged)
        self._module = module

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)


class Forwarded:
    """Stands in a module of ours for a module that asyncio's imports too, so that a test may put a mock there."""

    def __init__(self, module: ModuleType, name: str) -> None:
        self._module = module
        self._name = name

    def __getattr__(self, name: str) -> Any:
        return getattr(getattr(self._module, self._name), name)


# Ours, asyncio's, and what both import.
FORWARDED = (
    ("callbacks connections datagrams debugging errors executors names running server signals", base_events, "logger"),
    ("connections datagrams names server sockets", base_events, "socket"),
    ("unix", unix_events, "socket"),
    ("signals signal_pipe", unix_events, "signal"),
    ("signals signal_pipe", unix_events, "sys"),
    ("sendfile", unix_events, "os"),
    ("unix socket_files", unix_events, "os"),
)


def forward_modules() -> None:
    """Let our loop use the modules that asyncio's has, through asyncio's names for them."""
    for ours, theirs, name in FORWARDED:
        for module_name in ours.split():
            module = importlib.import_module(f"nursery.compat.loop.{module_name}")
            if hasattr(module, name):
                setattr(module, name, Forwarded(theirs, name))


def give_mocks_descriptors(driver: type[Driver]) -> None:
    """Let a mocked socket have a descriptor, on which nothing ever arrives, and which lives as long as the process."""
    register: Any = driver.open

    def open_one(self: Driver, fd: Any) -> Interest:
        interest: Interest = register(self, fd if isinstance(fd, int) else os.eventfd(0))
        return interest

    driver.open = open_one  # type: ignore[method-assign]  # that is the purpose


def let_connections_be_counted() -> None:
    """Let a test say that a server has a connection more or less, and not which, as before 3.13."""
    attach: Any = Server._attach
    detach: Any = Server._detach
    Server._attach = lambda self, transport=None: attach(self, transport or self)  # type: ignore[method-assign, misc]  # that is the purpose
    Server._detach = lambda self, transport=None: detach(self, transport or self)  # type: ignore[method-assign, misc]  # that is the purpose


def exchange_loops() -> None:
    """Let every name in asyncio that makes a loop make ours."""
    for module in (asyncio, unix_events):
        for name in ("SelectorEventLoop", "_UnixSelectorEventLoop", "EventLoop"):
            if hasattr(module, name):
                setattr(module, name, AnySelectorEventLoop)
    for policy in ("_UnixDefaultEventLoopPolicy", "DefaultEventLoopPolicy"):
        if hasattr(unix_events, policy):
            getattr(unix_events, policy)._loop_factory = AnySelectorEventLoop
    asyncio.BaseEventLoop = SuiteLoop  # type: ignore[misc, assignment]  # that is the purpose
    if not hasattr(events, "get_event_loop_policy") and not hasattr(events, "_get_event_loop_policy"):
        asyncio.new_event_loop = events.new_event_loop = AnySelectorEventLoop
    forward_modules()
    give_mocks_descriptors(EpollDriver)
    give_mocks_descriptors(SelectorsDriver)
    let_connections_be_counted()
    # A hook for tests in asyncio's own class, and a look at whether reading is paused.
    SSLTransport._test__append_write_backlog = SSLTransport.write  # type: ignore[attr-defined]  # made here
    Wire._app_reading_paused = property(lambda wire: wire.transport._paused)  # type: ignore[attr-defined]  # made here


def exchange_names(module: ModuleType, *, facade: bool) -> None:
    """Exchange what a test module has imported of asyncio."""
    if module.__name__.endswith(".test_base_events"):
        vars(module)["base_events"] = OurNames(base_events, BaseEventLoop=SuiteLoop)
    if facade:
        vars(compat).update(
            BaseEventLoop=SuiteLoop, SelectorEventLoop=AnySelectorEventLoop, EventLoop=AnySelectorEventLoop
        )
        # Tests of runners set a policy, and look at the loop that it makes.
        vars(runners)["new_event_loop"] = events.new_event_loop
        for holder in (module, unittest.async_case):
            for name, value in list(vars(holder).items()):
                if value is asyncio:
                    setattr(holder, name, compat)
                elif isinstance(value, ModuleType) and value.__name__.startswith("asyncio."):
                    ours = getattr(compat, value.__name__.rpartition(".")[2], value)
                    setattr(holder, name, ours)


# The kernel's task, in the place of the classes that the tests take


def make_kernel_task(
    coro: Coroutine[Any, Any, Any],
    *,
    loop: asyncio.AbstractEventLoop | None = None,
    name: str | None = None,
    context: Context | None = None,
    **options: Any,
) -> Any:
    """Make a task as `asyncio.Task(coro, loop=loop)` does, but the kernel's."""
    ours: Any = asyncio.get_event_loop() if loop is None else loop
    if options.pop("eager_start", False):
        return asyncio.Task(coro, loop=loop, name=name, context=context, eager_start=True)  # type: ignore[call-arg]  # 3.12
    factory, ours._task_factory = ours._task_factory, None
    try:
        made = ours.create_task(coro, name=name, context=context)
    finally:
        ours._task_factory = factory
    while made._source_traceback and made._source_traceback[-1].filename == __file__:
        del made._source_traceback[-1]
    return made


def make_kernel_future(*, loop: asyncio.AbstractEventLoop | None = None) -> Any:
    """Make a future as `asyncio.Future(loop=loop)` does, but ours."""
    # Not the loop's own method: the tests of tasks put another one into the loop.
    return OurFuture((asyncio.get_event_loop() if loop is None else loop).runner)  # type: ignore[attr-defined]  # it is ours


class _KernelTaskType(type):
    def __call__(cls, *args: Any, **options: Any) -> Any:
        return make_kernel_task(*args, **options)

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, asyncio.Task)

    def __getattr__(cls, name: str) -> Any:
        return getattr(compat.task.Task, name)


class KernelTask(metaclass=_KernelTaskType):
    """Stands for the class of the kernel's tasks."""


def add_kernel_tests(module: ModuleType, case: type) -> None:
    """Add classes to a module that run its tests of tasks on the kernel's task as well."""
    name = module.__name__.rpartition(".")[2]
    added: dict[str, type] = {}
    if name == "test_tasks":
        bases = (vars(module)["BaseTaskTests"], case)
        # From 3.14 on the tests ask for the current task by a name of their own.
        names = {"Task": KernelTask, "current_task": staticmethod(asyncio.current_task)}
        futures: dict[str, object] = {
            "CFuture": asyncio.Future,
            "KernelFuture": staticmethod(make_kernel_future),
            "PyFuture": asyncio.futures._PyFuture,  # type: ignore[attr-defined]  # not in typeshed
        }
        for future_name, future in futures.items():
            class_name = f"KernelTask_{future_name}_Tests"
            added[class_name] = type(class_name, bases, {**names, "Future": future})
    elif name == "test_futures2":
        base = vars(module).get("FutureTests")
        if base is not None:
            added["KernelFutureTests"] = type(
                "KernelFutureTests", (base, unittest.IsolatedAsyncioTestCase), {"cls": KernelTask}
            )
    elif name == "test_eager_task_factory":
        base = vars(module)["BaseNonEagerTaskFactoryTests"]
        added["NonEagerKernelTaskTests"] = type("NonEagerKernelTaskTests", (base, case), {"Task": KernelTask})
    for cls in added.values():
        cls.__module__ = module.__name__
    vars(module).update(added)


__all__ = ["add_kernel_tests", "exchange_loops", "exchange_names"]
