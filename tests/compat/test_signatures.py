"""Every name of asyncio is in compat, on every Python; what is ours takes what asyncio's takes."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import sys
from types import ModuleType
from typing import Any

import pytest

from nursery import compat

# What asyncio offers today, of which older versions of Python lack some.
NEWER = (
    "EventLoop",
    "FrameCallGraphEntry",
    "FutureCallGraph",
    "QueueShutDown",
    "Runner",
    "TaskGroup",
    "Timeout",
    "capture_call_graph",
    "create_eager_task_factory",
    "eager_task_factory",
    "format_call_graph",
    "future_add_to_awaited_by",
    "future_discard_from_awaited_by",
    "print_call_graph",
    "timeout",
    "timeout_at",
)

# What programs reach into.
SUBMODULES = (
    "base_events",
    "base_futures",
    "base_subprocess",
    "base_tasks",
    "constants",
    "coroutines",
    "events",
    "exceptions",
    "format_helpers",
    "futures",
    "locks",
    "log",
    "mixins",
    "protocols",
    "queues",
    "runners",
    "selector_events",
    "sslproto",
    "staggered",
    "streams",
    "subprocess",
    "taskgroups",
    "tasks",
    "threads",
    "timeouts",
    "transports",
    "trsock",
    "unix_events",
)


# Nobody calls these classes: the one is made by create_server, the other by new_event_loop, and takes no selector.
MADE_BY_OTHERS = ("Server", "EventLoop")


def public_names(module: ModuleType) -> list[str]:
    """Return the names that a module offers, or defines itself if it does not say."""
    offered = getattr(module, "__all__", None)
    if offered is not None:
        return [name for name in offered if hasattr(module, name)]
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
    ]


@pytest.mark.parametrize("name", sorted({*asyncio.__all__, *NEWER}))
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_each_name_is_there_and_listed(name: str) -> None:
    assert hasattr(compat, name)
    assert name in compat.__all__


@pytest.mark.parametrize("name", SUBMODULES)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_each_submodule_can_be_imported_and_has_asyncios_names(name: str) -> None:
    theirs = importlib.import_module(f"asyncio.{name}")
    ours = importlib.import_module(f"nursery.compat.{name}")
    assert getattr(compat, name) is ours
    assert [each for each in public_names(theirs) if not hasattr(ours, each)] == []


def test_what_is_ours_is_the_same_in_compat_and_in_its_submodule() -> None:
    for module, name in [
        (compat.locks, "Lock"),
        (compat.queues, "Queue"),
        (compat.queues, "QueueShutDown"),
        (compat.tasks, "gather"),
        (compat.taskgroups, "TaskGroup"),
        (compat.timeouts, "timeout"),
        (compat.streams, "StreamReader"),
        (compat.subprocess, "create_subprocess_exec"),
        (compat.runners, "run"),
        (compat.events, "new_event_loop"),
        (compat.events, "get_event_loop"),
        (compat.coroutines, "iscoroutine"),
    ]:
        assert getattr(module, name) is getattr(compat, name)


def test_exceptions_are_asyncios_own() -> None:
    for name in asyncio.exceptions.__all__:
        assert getattr(compat, name) is getattr(asyncio, name)
        assert getattr(compat.exceptions, name) is getattr(asyncio, name)


# Signatures


def parameters(function: object) -> list[inspect.Parameter] | None:
    try:
        return list(inspect.signature(function).parameters.values())  # type: ignore[arg-type]  # that is tried
    except (TypeError, ValueError):
        return None


def missing_parameters(ours: object, theirs: object) -> list[str]:
    """Return the parameters of asyncio's that ours would not take."""
    wanted, offered = parameters(theirs), parameters(ours)
    if wanted is None or offered is None:
        return []
    kinds = {parameter.kind for parameter in offered}
    by_name = {parameter.name: parameter for parameter in offered}
    positional = [
        parameter.name
        for parameter in offered
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]
    missing = []
    for place, parameter in enumerate(wanted):
        name = parameter.name
        if parameter.kind is parameter.VAR_POSITIONAL or parameter.kind is parameter.VAR_KEYWORD:
            if parameter.kind not in kinds:
                missing.append(str(parameter))
        elif parameter.kind is parameter.POSITIONAL_ONLY:
            if place >= len(positional) and inspect.Parameter.VAR_POSITIONAL not in kinds:
                missing.append(name)
        elif name not in by_name:
            if inspect.Parameter.VAR_KEYWORD not in kinds:
                missing.append(name)
        elif parameter.kind is parameter.POSITIONAL_OR_KEYWORD and positional[place : place + 1] != [name]:
            missing.append(f"{name} at place {place}")
        elif parameter.default is not parameter.empty and by_name[name].default is parameter.empty:
            missing.append(f"default of {name}")
    return missing


@pytest.mark.parametrize("name", sorted(set(compat.__all__) & set(asyncio.__all__)))
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_is_ours_takes_what_asyncios_takes(name: str) -> None:
    ours: Any = getattr(compat, name)
    theirs: Any = getattr(asyncio, name)
    if ours is theirs:
        return
    if name not in MADE_BY_OTHERS:
        assert missing_parameters(ours, theirs) == []
    if not inspect.isclass(theirs):
        assert inspect.iscoroutinefunction(ours) == inspect.iscoroutinefunction(theirs)
        return
    for member, method in vars(theirs).items():
        if member.startswith("_") and member not in ("__aenter__", "__aexit__", "__enter__", "__exit__", "__await__"):
            continue
        assert hasattr(ours, member), f"{name}.{member}"
        if inspect.isfunction(method):
            own = inspect.getattr_static(ours, member)
            assert missing_parameters(own, method) == [], f"{name}.{member}"
            if not member.startswith("__"):
                # `async with` asks for something to await, and nobody else calls these.
                assert inspect.iscoroutinefunction(own) == inspect.iscoroutinefunction(method), f"{name}.{member}"


def test_the_comparison_of_signatures_finds_what_is_missing() -> None:
    def theirs(a: int, b: int = 1, *, c: int = 2, **d: int) -> None: ...

    def ours(b: int, *, c: int) -> None: ...

    assert missing_parameters(ours, theirs) == ["a", "b at place 1", "default of c", "**d: 'int'"]
    assert missing_parameters(theirs, theirs) == []


# Loops


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="policies are on their way out")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_classes_that_make_loops_make_ours() -> None:
    for make in (
        compat.new_event_loop,
        compat.EventLoop,
        compat.SelectorEventLoop,
        compat.BaseEventLoop,
        compat.DefaultEventLoopPolicy().new_event_loop,
    ):
        loop = make()
        assert isinstance(loop, compat.loop.EventLoop)
        loop.close()
