"""pytest runs `async def` tests in a nursery run, and async fixtures in the same run as the test that uses them.

Invariant: an async fixture, and a fixture that uses one, is not evaluated while pytest sets up the test: pytest gets a
`Deferred` in its place.  The run of the test evaluates the deferred fixtures in pytest's order, each in a task of its
own, which sleeps at the fixture's `yield` until the test is over; then it tears them down in the opposite order.
So whatever a fixture has open across its `yield`, a nursery or a cancel scope, is left by the task that entered it.

Whose test it is: a test marked `nursery` is ours; one marked for another async framework never is; an unmarked
one is ours if the ini option `nursery_mode` is `auto`, the default, and not if it is `strict`.

Every pytest run of every user loads this file: it imports little, and what a test needs it imports when a test runs.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

if TYPE_CHECKING:
    from .kernel.nursery import Nursery
    from .kernel.scope import CancelScope

# The marks by which other async plugins claim a test.
FOREIGN_MARKS = ("anyio", "asyncio", "asyncio_cooperative", "curio", "gen_test", "inlineCallbacks", "tornado", "trio")

# The names under which this file may be registered: by its entry point, and by `-p` or `pytest_plugins`.
PLUGIN_NAMES = ("nursery", "nursery.pytest_plugin")

MODES = ("auto", "strict")


# What pytest is told


def pytest_plugin_registered(plugin: object, plugin_name: str, manager: pytest.PytestPluginManager) -> None:
    """Let nobody register this file a second time under its other name: pytest would end with an error."""
    if plugin is sys.modules[__name__] and plugin_name in PLUGIN_NAMES:
        for name in PLUGIN_NAMES:
            if name != plugin_name:
                manager.set_blocked(name)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `nursery_mode` and `--nursery-seed`."""
    parser.addini(
        "nursery_mode",
        help="auto: run every async test that is not marked for another framework; strict: only those marked 'nursery'",
        default="auto",
    )
    parser.getgroup("nursery").addoption(
        "--nursery-seed",
        type=int,
        default=None,
        metavar="N",
        help="step the tasks of each async test in an order drawn from the seed N, not first in, first out",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Check the options and describe the mark."""
    mode = config.getini("nursery_mode")
    if mode not in MODES:
        raise pytest.UsageError(f"nursery_mode must be one of {', '.join(MODES)}, not {mode!r}")
    config.addinivalue_line("markers", "nursery: an async test that runs on nursery, also in strict mode.")


def pytest_report_header(config: pytest.Config) -> str | None:
    """Print the seed, so that a failure can be repeated."""
    seed = config.getoption("--nursery-seed")
    return None if seed is None else f"nursery: schedules are permuted, --nursery-seed={seed}"


# Whose test is it


# The async function of a test that is ours; kept from the setup on, since other plugins replace what the item holds.
OURS = pytest.StashKey[Callable[..., Awaitable[object]]]()


def async_function_of(item: pytest.Item) -> Callable[..., Awaitable[object]] | None:
    """Return the async function that a test item is about, also behind hypothesis's `@given`; None if it is none."""
    if not isinstance(item, pytest.Function):
        return None
    # Whoever has a TestCase has imported unittest; those who have none need not pay for it.
    unittest = sys.modules.get("unittest")
    if unittest is not None and item.cls is not None and issubclass(item.cls, unittest.TestCase):
        return None
    function = item.obj
    hypothesis = getattr(function, "hypothesis", None)
    if hypothesis is not None:
        function = getattr(hypothesis, "inner_test", function)
    return function if inspect.iscoroutinefunction(function) else None


def is_ours(item: pytest.Item) -> bool:
    """Return whether this plugin runs the test that is being set up or run."""
    return OURS in item.stash


def decide_whose(item: pytest.Item) -> None:
    """Decide whether this plugin runs the test: not before its setup, when every plugin has had time to mark it."""
    function = async_function_of(item)
    if function is None:
        return
    assert isinstance(item, pytest.Function)
    if item.get_closest_marker("nursery") is None:
        # anyio's plugin also takes a test that uses its fixture, without a mark.
        if any(item.get_closest_marker(mark) for mark in FOREIGN_MARKS) or "anyio_backend" in item.fixturenames:
            return
        if item.config.getini("nursery_mode") == "strict":
            return
    item.stash[OURS] = function


# Fixtures


class Deferred:
    """Stands for the value of a fixture until the run of the test evaluates it."""

    def __init__(self, name: str, function: Callable[..., Any], kwargs: dict[str, Any]) -> None:
        self._name = name
        self._function = function
        self._kwargs = kwargs

    def __repr__(self) -> str:
        return f"<async fixture {self._name!r}, evaluated when the test runs>"

    def __getattr__(self, attribute: str) -> object:
        raise AttributeError(
            f"the async fixture {self._name!r} has no value yet, so no attribute {attribute!r}: it is evaluated when "
            "the test runs. Let the test or the fixture that needs it name it among its arguments"
        )


# Which test is being set up or run; the request of a fixture of a wider scope does not tell.
CURRENT = pytest.StashKey[pytest.Item]()
# The deferred fixtures of a test, in the order in which pytest asked for them.
DEFERRED = pytest.StashKey[list[Deferred]]()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, object, object]:
    """Remember which test is being set up."""
    item.config.stash[CURRENT] = item
    decide_whose(item)
    item.stash[DEFERRED] = []
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
) -> Generator[None, object, object]:
    """Give pytest a `Deferred` for a fixture that has to be evaluated inside the run."""
    item = request.config.stash.get(CURRENT, None)
    if item is None or not is_ours(item):
        return (yield)
    function: Callable[..., Any] = fixturedef.func
    stand_in: Callable[..., object]
    if function.__module__.partition(".")[0] == "pytest_trio" and fixturedef.argname in OWN_FIXTURES:
        # Two plugins with fixtures of the same names: each test gets those of the framework that it runs on.
        stand_in = functools.partial(_call_own, OWN_FIXTURES[fixturedef.argname], request)
    elif _is_async(function) or _uses_deferred(fixturedef, request):
        _check_deferrable(fixturedef, item)
        stand_in = functools.partial(_defer, item, fixturedef.argname, _bound(function, request))
    else:
        return (yield)
    # pytest itself looks the arguments up, calls, and keeps the value: it only finds another function to call.
    fixturedef.func = stand_in  # type: ignore[misc]  # declared Final, yet this is how async plugins do it
    try:
        return (yield)
    finally:
        fixturedef.func = function  # type: ignore[misc]  # as above


def _is_async(function: Callable[..., object]) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)


def _uses_deferred(fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest) -> bool:
    """Return whether an argument of the fixture is deferred, so that it must be too."""
    return fixturedef.scope == "function" and any(
        isinstance(request.getfixturevalue(name), Deferred) for name in fixturedef.argnames
    )


def _check_deferrable(fixturedef: pytest.FixtureDef[Any], item: pytest.Item) -> None:
    """Fail with a clear word where a fixture cannot be evaluated in the run of one test."""
    name = fixturedef.argname
    if fixturedef.scope != "function":
        pytest.fail(
            f"the async fixture {name!r} has the scope {fixturedef.scope!r}, but every async test is a run of its own: "
            "async fixtures must have the scope 'function'",
            pytrace=False,
        )
    if DEFERRED not in item.stash:
        pytest.fail(
            f"the async fixture {name!r} was asked for by request.getfixturevalue() while the test was running, which "
            "is too late: let the test name it among its arguments",
            pytrace=False,
        )


def _bound(function: Callable[..., Any], request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Return a fixture that is a method of the test's class bound to the test's own instance, as pytest does."""
    plain = getattr(function, "__func__", function)
    if plain is function or not isinstance(request.instance, type(getattr(function, "__self__", None))):
        return function
    bound: Callable[..., Any] = plain.__get__(request.instance)
    return bound


# Positional-only: the keywords are the names of fixtures, which may be anything.
def _defer(item: pytest.Item, name: str, function: Callable[..., Any], /, **kwargs: object) -> Deferred:
    deferred = Deferred(name, function, kwargs)
    item.stash[DEFERRED].append(deferred)
    return deferred


def _call_own(function: Callable[..., object], request: pytest.FixtureRequest, /, **kwargs: object) -> object:
    return function(request)


def _mock_clock(request: pytest.FixtureRequest) -> object:
    return _clock(request, "mock_clock", float("inf"))


def _autojump_clock(request: pytest.FixtureRequest) -> object:
    return _clock(request, "autojump_clock", 0.0)


def _clock(request: pytest.FixtureRequest, name: str, autojump_threshold: float) -> object:
    if not is_ours(request.node):
        # Another plugin may have a clock of this name for the tests that it runs.
        try:
            return request.getfixturevalue(name)
        except pytest.FixtureLookupError:
            pass
    from .testing.clock import MockClock

    return MockClock(autojump_threshold=autojump_threshold)


def _nursery(request: pytest.FixtureRequest) -> object:
    if is_ours(request.node):
        return _defer(request.node, "nursery", _open_nursery)
    try:
        return request.getfixturevalue("nursery")
    except pytest.FixtureLookupError:
        pytest.fail("the fixture 'nursery' is for async tests that run on nursery, and this is none", pytrace=False)


async def _open_nursery() -> AsyncGenerator[Nursery, None]:
    from .kernel.nursery import open_nursery

    alone: BaseException | None = None
    try:
        async with open_nursery() as opened:
            try:
                yield opened
            finally:
                opened.cancel_scope.cancel("the test is over")
    except BaseExceptionGroup as group:
        if len(group.exceptions) > 1:
            raise
        alone = group.exceptions[0]
    if alone is not None:
        try:
            raise alone
        finally:
            del alone


OWN_FIXTURES = {"mock_clock": _mock_clock, "autojump_clock": _autojump_clock, "nursery": _nursery}


@pytest.fixture
def mock_clock(request: pytest.FixtureRequest) -> object:
    """A `nursery.testing.MockClock`; the test that uses it runs on it."""
    return _mock_clock(request)


@pytest.fixture
def autojump_clock(request: pytest.FixtureRequest) -> object:
    """A `nursery.testing.MockClock` that jumps when every task is blocked; the test that uses it runs on it."""
    return _autojump_clock(request)


@pytest.fixture
def nursery(request: pytest.FixtureRequest) -> object:
    """A nursery around the test: cancelled when the test is over; a child that fails makes the test fail."""
    return _nursery(request)


# Running a test


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """Let pytest find a synchronous function where the async test stands."""
    if not is_ours(pyfuncitem):
        return (yield)
    function = pyfuncitem.stash[OURS]
    deferred = pyfuncitem.stash[DEFERRED]
    del pyfuncitem.stash[DEFERRED]

    @functools.wraps(function)
    def run_it(*args: Any, **kwargs: Any) -> object:
        __tracebackhide__ = True
        return _run_test(pyfuncitem, deferred, function, args, kwargs)

    test = pyfuncitem.obj
    if hasattr(test, "hypothesis"):
        # Each example is a run of its own, with fixtures of its own.
        inner = test.hypothesis.inner_test
        test.hypothesis.inner_test = run_it
        try:
            return (yield)
        finally:
            test.hypothesis.inner_test = inner
    pyfuncitem.obj = run_it
    try:
        return (yield)
    finally:
        pyfuncitem.obj = test


def _run_test(
    item: pytest.Function,
    deferred: list[Deferred],
    function: Callable[..., Awaitable[object]],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> object:
    """Run a test and its deferred fixtures in one run; return what the test returns, raise what failed."""
    __tracebackhide__ = True
    from .kernel.clock import Clock
    from .kernel.entry import run
    from .kernel.instruments import Instrument
    from .testing.schedule import SeededSchedule

    clocks = {id(value): value for value in item.funcargs.values() if isinstance(value, Clock)}
    if len(clocks) > 1:
        pytest.fail(f"a test runs on one clock, and its fixtures give it {list(clocks.values())}", pytrace=False)
    seed: int | None = item.config.getoption("--nursery-seed")
    the_run = TestRun(deferred)

    async def main() -> object:
        __tracebackhide__ = True
        if seed is None:
            return await the_run.run(function, args, kwargs)
        with SeededSchedule(seed):
            return await the_run.run(function, args, kwargs)

    return run(
        main,
        clock=next(iter(clocks.values()), None),
        instruments=[value for value in item.funcargs.values() if isinstance(value, Instrument)],
    )


class TestRun:
    """One test in one run, with its deferred fixtures around it.

    Invariant: a crash of a fixture, whether in its setup, in its background tasks or in its teardown, cancels what is
    under way, be it the test or the setup of a later fixture.  Every fixture that was begun is torn down, the last one
    first, before the run ends; errors are collected on the way.
    """

    __test__ = False

    def __init__(self, deferred: list[Deferred]) -> None:
        self._deferred = deferred
        self._evaluations: dict[Deferred, Evaluation] = {}
        self._errors: list[BaseException] = []
        self._crashed_by: str | None = None
        # Around what a crash has to cancel: the setup or the test that is under way.
        self._under_way: CancelScope | None = None

    async def run(
        self, function: Callable[..., Awaitable[object]], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> object:
        """Set up, run the test, tear down; then return the test's value or raise what went wrong."""
        __tracebackhide__ = True
        from .kernel.nursery import open_nursery

        value: object = None
        async with open_nursery() as tasks:
            try:
                for deferred in self._deferred:
                    if self._crashed_by is None:
                        await self._set_up(deferred, tasks)
                if self._crashed_by is None:
                    value = await self._call(function, args, kwargs)
            except BaseException as exc:
                self.crash("the test", exc)
            try:
                for evaluation in reversed(self._evaluations.values()):
                    evaluation.release.set()
                    await evaluation.finished.wait()
            finally:
                # An interrupt came: nobody may sleep on.
                for evaluation in self._evaluations.values():
                    evaluation.release.set()
        self._raise_errors()
        return value

    async def _set_up(self, deferred: Deferred, tasks: Nursery) -> None:
        from .kernel.current import current_task
        from .kernel.nursery import start_task

        evaluation = Evaluation(self, deferred)
        test_task = current_task()
        task = start_task(test_task.runner, evaluation.live, (), tasks, f"<fixture {deferred._name!r}>")
        # The test's own context, not a copy: the test sees the context variables that its fixtures set.
        task.context = test_task.context
        self._evaluations[deferred] = evaluation
        self._under_way = evaluation.scope
        await evaluation.ready.wait()
        self._under_way = None

    async def _call(
        self, function: Callable[..., Awaitable[object]], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> object:
        __tracebackhide__ = True
        from .kernel.scope import CancelScope

        with CancelScope() as self._under_way:
            return await function(*args, **self.evaluated(kwargs))
        # Only a crash cancels this scope.
        return None

    def evaluated(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        """Return arguments with the values of deferred fixtures in their places."""
        return {
            name: self._evaluations[value].value if isinstance(value, Deferred) else value
            for name, value in kwargs.items()
        }

    def crash(self, who: str, error: BaseException | None) -> None:
        """Take note of a failure, and cancel what is under way."""
        if error is not None:
            self._errors.append(error)
        if self._crashed_by is None:
            self._crashed_by = who
        if self._under_way is not None:
            self._under_way.cancel(f"{who} failed")

    def _raise_errors(self) -> None:
        """Raise what went wrong: a single error as it is, several in a group, an interrupt before all others."""
        __tracebackhide__ = True
        errors, self._errors = self._errors, []
        # An interrupt is what pytest has to see, whatever else went wrong on the way out.
        errors.sort(key=lambda error: not isinstance(error, (KeyboardInterrupt, SystemExit)))
        if errors and isinstance(errors[0], (KeyboardInterrupt, SystemExit)):
            del errors[1:]
        try:
            if len(errors) == 1:
                raise errors[0]
            if errors:
                raise BaseExceptionGroup("the test and its fixtures failed", errors)
            if self._crashed_by is not None:
                raise RuntimeError(
                    f"{self._crashed_by} was cancelled before the test was over, and so was the test, but no error "
                    "says why: a cancel scope that the fixture holds open across its yield was cancelled or timed out"
                )
        finally:
            # The errors' tracebacks hold this frame.
            errors.clear()


class Evaluation:
    """A deferred fixture in one run: a task that sets it up, sleeps at its `yield`, and tears it down."""

    def __init__(self, run: TestRun, deferred: Deferred) -> None:
        from .kernel.scope import CancelScope
        from .sync.event import Event

        self._run = run
        self._deferred = deferred
        self._who = f"the fixture {deferred._name!r}"
        self.value: Any = None
        # `value` is there, or the run has crashed.
        self.ready = Event()
        # Everything that uses the value is over.
        self.release = Event()
        self.finished = Event()
        self.scope = CancelScope()

    async def live(self) -> None:
        """Be the fixture's task."""
        from .kernel.errors import Cancelled

        try:
            with self.scope:
                await self._evaluate(self._deferred._function, self._run.evaluated(self._deferred._kwargs))
        except Cancelled:
            raise
        except BaseException as exc:
            self._run.crash(self._who, exc)
        finally:
            self.ready.set()
            self.finished.set()

    async def _evaluate(self, function: Callable[..., Any], kwargs: dict[str, Any]) -> None:
        if inspect.isasyncgenfunction(function):
            await self._yield_asynchronously(function(**kwargs))
        elif inspect.iscoroutinefunction(function):
            self.value = await function(**kwargs)
        elif inspect.isgeneratorfunction(function):
            await self._yield(function(**kwargs))
        else:
            self.value = function(**kwargs)

    async def _yield_asynchronously(self, generator: AsyncGenerator[Any, None]) -> None:
        try:
            self.value = await anext(generator)
        except StopAsyncIteration:
            self._complain_of_no_yield()
        cancelled = await self._until_released()
        try:
            if cancelled is None:
                await anext(generator)
            else:
                await generator.athrow(cancelled)
        except StopAsyncIteration:
            return
        finally:
            del cancelled
        await generator.aclose()
        self._complain_of_second_yield()

    async def _yield(self, generator: Generator[Any, None, None]) -> None:
        try:
            self.value = next(generator)
        except StopIteration:
            self._complain_of_no_yield()
        await self._until_released()
        try:
            next(generator)
        except StopIteration:
            return
        generator.close()
        self._complain_of_second_yield()

    async def _until_released(self) -> BaseException | None:
        """Sleep until the fixture may be torn down; return the cancellation that came meanwhile.

        The task is still inside whatever the fixture has open at its `yield`.  If that is cancelled, a background task
        of the fixture has failed, for one: the test has to end first, and only then may the fixture see it.
        """
        from .kernel.errors import Cancelled
        from .kernel.scope import CancelScope

        self.ready.set()
        try:
            await self.release.wait()
        except Cancelled as exc:
            self._run.crash(self._who, None)
            with CancelScope(shield=True):
                await self.release.wait()
            return exc
        return None

    def _complain_of_no_yield(self) -> NoReturn:
        raise RuntimeError(f"{self._who} did not yield a value: a generator fixture yields once") from None

    def _complain_of_second_yield(self) -> NoReturn:
        raise RuntimeError(f"{self._who} has more than one yield: after the first one it tears down and ends")
