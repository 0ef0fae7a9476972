"""The pytest plugin, seen from outside: small test files are run by a pytest of their own."""

from __future__ import annotations

import subprocess
import sys

import hypothesis  # noqa: F401  # loaded here, once, and not in the time of each test whose program needs it
import pytest

import nursery.pytest_plugin as plugin

# Where the package is installed the plugin is loaded by its entry point, and asking for it again is harmless.
ALWAYS = ("-p", plugin.__name__, "-p", "no:cacheprovider", "-p", "no:asyncio", "-W", "error")
# Loading these costs more than most tests here.
WITHOUT = {"hypothesis": ("-p", "no:hypothesispytest"), "anyio": ("-p", "no:anyio")}
ALONE = (*WITHOUT["hypothesis"], *WITHOUT["anyio"])


def run(pytester: pytest.Pytester, source: str, *options: str) -> pytest.RunResult:
    """Run pytest on one file, without the plugins of other packages unless the file needs them."""
    pytester.makepyfile("import nursery, pytest\nfrom nursery.testing import *\n" + source)
    without = [option for name in ("hypothesis", "anyio") if name not in source for option in WITHOUT[name]]
    return pytester.runpytest_inprocess(*ALWAYS, *without, *options)


# Tests


def test_an_async_test_runs_natively(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
async def test_one():
    await nursery.sleep(0)
    assert nursery.lowlevel.in_nursery_task()

class TestClass:
    async def test_method(self):
        assert isinstance(self, TestClass)
        await nursery.sleep(0)

def test_sync():
    assert not nursery.lowlevel.in_nursery_run()
""",
    )
    result.assert_outcomes(passed=3)


def test_a_failing_async_test_fails_with_the_bare_error(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
async def test_it():
    await nursery.sleep(0)
    assert 1 + 1 == 3
""",
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*assert (1 + 1) == 3"])
    result.stdout.no_fnmatch_line("*Group*")
    # The traceback begins in the test and shows no line of the machinery.
    result.stdout.no_fnmatch_line("*pytest_plugin.py*")
    result.stdout.no_fnmatch_line("*kernel*")


def test_skip_and_xfail_work_inside_an_async_test(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
async def test_skip():
    pytest.skip("not here")

async def test_xfail():
    pytest.xfail("known")

@pytest.mark.xfail(strict=True)
async def test_marked():
    raise ValueError
""",
    )
    result.assert_outcomes(skipped=1, xfailed=2)


def test_parametrize_works(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
@pytest.mark.parametrize("a", [1, 2])
@pytest.mark.parametrize("b", [3, 4])
async def test_it(a, b):
    await nursery.sleep(0)
    assert (a, b) != (2, 4)
""",
    )
    result.assert_outcomes(passed=3, failed=1)


def test_given_runs_each_example_in_a_run_of_its_own(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
from hypothesis import given, settings, strategies as st

tokens = []

@pytest.mark.parametrize("p", [1, 2])
@settings(max_examples=10, deadline=None, database=None)
@given(n=st.integers())
async def test_it(n, p):
    await nursery.sleep(0)
    token = nursery.lowlevel.current_run_token()
    assert token not in tokens
    tokens.append(token)

@settings(max_examples=10, deadline=None, database=None)
@given(n=st.integers())
async def test_wrong(n):
    await nursery.sleep(0)
    assert n < 0

def test_enough():
    assert len(tokens) == 20
""",
    )
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines(["*test_wrong(", "*n=0,"])


def test_a_test_that_returns_a_value_is_warned_about_by_pytest(pytester: pytest.Pytester) -> None:
    result = run(pytester, "async def test_it(): return 1\n")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*PytestReturnNotNoneWarning*"])


def test_a_forgotten_await_fails_when_warnings_are_errors(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
async def test_it():
    nursery.sleep(0)
""",
    )
    assert result.ret != 0
    result.stdout.fnmatch_lines(["*coroutine 'sleep' was never awaited*"])


# Whose test


def test_strict_mode_runs_only_marked_tests(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nnursery_mode = strict\n")
    result = run(
        pytester,
        """
@pytest.mark.nursery
async def test_marked():
    await nursery.sleep(0)

async def test_unmarked():
    await nursery.sleep(0)
""",
        "--strict-markers",
    )
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*async def functions are not natively supported*"])


def test_an_unknown_mode_is_a_usage_error(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nnursery_mode = always\n")
    result = run(pytester, "def test_it(): pass\n")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*nursery_mode must be one of auto, strict, not 'always'*"])


@pytest.mark.parametrize("mark", plugin.FOREIGN_MARKS)
def test_a_test_that_is_marked_for_another_framework_is_left_alone(pytester: pytest.Pytester, mark: str) -> None:
    pytester.makeconftest(
        f"""
import inspect, pytest

def pytest_configure(config):
    config.addinivalue_line("markers", "{mark}: mine")

@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    if pyfuncitem.get_closest_marker("{mark}") and inspect.iscoroutinefunction(pyfuncitem.obj):
        with pytest.raises(StopIteration):
            pyfuncitem.obj().send(None)
        return True
"""
    )
    result = run(
        pytester,
        f"""
@pytest.mark.{mark}
async def test_theirs():
    assert not nursery.lowlevel.in_nursery_run()

async def test_ours():
    assert nursery.lowlevel.in_nursery_run()
""",
        *ALONE,
    )
    result.assert_outcomes(passed=2)


def test_the_mark_of_nursery_wins_over_a_plugin_that_takes_every_test(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        """
import pytest

def pytest_configure(config):
    config.addinivalue_line("markers", "asyncio: mine")

def pytest_collection_modifyitems(items):
    for item in items:
        item.add_marker("asyncio")

@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    obj = item.obj
    def synchronous(**kwargs):
        assert item.name == "test_theirs"
    item.obj = synchronous
    try:
        return (yield)
    finally:
        item.obj = obj
"""
    )
    result = run(
        pytester,
        """
@pytest.mark.nursery
async def test_ours():
    assert nursery.lowlevel.in_nursery_run()

async def test_theirs():
    assert False, "replaced"
""",
    )
    result.assert_outcomes(passed=2)


def test_fixtures_of_tests_on_another_framework_are_left_alone(pytester: pytest.Pytester) -> None:
    pytest.importorskip("anyio")
    result = run(
        pytester,
        """
@pytest.fixture
def anyio_backend():
    return "asyncio"

@pytest.fixture
async def value():
    assert not nursery.lowlevel.in_nursery_run()
    yield 1

@pytest.mark.anyio
async def test_theirs(value):
    assert value == 1

async def test_theirs_too(value, anyio_backend):
    assert value == 1
""",
    )
    result.assert_outcomes(passed=2)


def test_each_test_gets_the_fixtures_of_its_own_framework_where_names_clash(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        pytest_trio="""
import pytest

@pytest.fixture
def mock_clock():
    return "theirs"

@pytest.fixture
def autojump_clock():
    return "theirs"

@pytest.fixture
def nursery(request):
    return "theirs"

@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    if pyfuncitem.get_closest_marker("trio"):
        with pytest.raises(StopIteration):
            pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}).send(None)
        return True
"""
    )
    pytester.makepyfile(
        test_it="""
import pytest
from nursery import Nursery
from nursery.testing import MockClock

async def test_ours(mock_clock, nursery):
    assert isinstance(mock_clock, MockClock)
    assert isinstance(nursery, Nursery)

@pytest.mark.trio
async def test_theirs(mock_clock, autojump_clock, nursery):
    assert mock_clock == autojump_clock == nursery == "theirs"
"""
    )
    pytester.syspathinsert()
    for order in [(plugin.__name__, "pytest_trio"), ("pytest_trio", plugin.__name__)]:
        finished = subprocess.run(
            [sys.executable, "-m", "pytest", "-p", order[0], "-p", order[1], *ALONE, "test_it.py"],
            cwd=pytester.path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert "2 passed" in finished.stdout, finished.stdout


def test_an_async_method_of_a_unittest_class_is_left_alone(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
import unittest

class TestIt(unittest.IsolatedAsyncioTestCase):
    async def test_it(self):
        assert not nursery.lowlevel.in_nursery_run()
""",
    )
    result.assert_outcomes(passed=1)


def test_loading_the_plugin_twice_is_harmless(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(f"pytest_plugins = ['{plugin.__name__}']")
    manager = pytester.parseconfigure(*ALWAYS).pluginmanager
    # By the name of its entry point, as an installed package is loaded after `-p` was heeded.
    assert manager.register(plugin, "nursery") is None
    assert run(pytester, "async def test_it(): await nursery.sleep(0)\n").ret == 0


def test_loading_by_entry_point_and_then_by_name_is_harmless(pytester: pytest.Pytester) -> None:
    manager = pytest.PytestPluginManager()
    assert manager.register(plugin, "nursery") == "nursery"
    manager.import_plugin(plugin.__name__)
    assert manager.get_plugins() >= {plugin}


def test_the_plugin_imports_nothing_of_the_testing_tools_until_a_test_needs_it() -> None:
    program = (
        "import nursery, sys; before = set(sys.modules); import nursery.pytest_plugin;"
        "sys.exit(any(name.startswith('nursery.testing') for name in set(sys.modules) - before))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


# Clocks and seeds


def test_a_test_runs_on_the_clock_that_it_asks_for(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
async def test_autojump(autojump_clock):
    assert nursery.lowlevel.current_clock() is autojump_clock
    await nursery.sleep(10_000)
    assert nursery.current_time() == 10_000

async def test_mock(mock_clock):
    assert nursery.lowlevel.current_clock() is mock_clock
    mock_clock.jump(5)
    assert nursery.current_time() == 5

async def test_real():
    assert not isinstance(nursery.lowlevel.current_clock(), MockClock)

def test_sync(mock_clock):
    assert isinstance(mock_clock, MockClock)

@pytest.fixture
def clock_of_my_own():
    return MockClock(rate=1000)

async def test_own(clock_of_my_own):
    await nursery.sleep(1)
    assert nursery.current_time() >= 1
""",
    )
    result.assert_outcomes(passed=5)


def test_two_clocks_for_one_test_are_refused(pytester: pytest.Pytester) -> None:
    result = run(pytester, "async def test_it(mock_clock, autojump_clock): pass\n")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*a test runs on one clock*"])


ORDER = """
async def test_order():
    order = []
    async def note(i):
        await nursery.lowlevel.checkpoint()
        order.append(i)
    async with nursery.open_nursery() as n:
        for i in range(10):
            n.start_soon(note, i)
    print("ORDER", order)
"""


def test_a_seed_permutes_the_schedule_and_is_printed(pytester: pytest.Pytester) -> None:
    def order(*options: str) -> str:
        result = run(pytester, ORDER, "-s", *options)
        result.assert_outcomes(passed=1)
        if options:
            result.stdout.fnmatch_lines([f"nursery: schedules are permuted, {options[0]}"])
        return next(line for line in result.outlines if "ORDER" in line)

    assert "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]" in order()
    seeded = order("--nursery-seed=7")
    assert seeded == order("--nursery-seed=7")
    assert seeded != order()
    assert len({order(f"--nursery-seed={seed}") for seed in range(4)}) > 1


# The nursery fixture


def test_the_nursery_fixture_is_cancelled_at_the_end_of_the_test(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
ended = []

async def test_it(nursery):
    from nursery import sleep_forever
    async def child():
        try:
            await sleep_forever()
        finally:
            ended.append(1)
    nursery.start_soon(child)
    await wait_all_tasks_blocked()

def test_ended():
    assert ended == [1]
""",
    )
    result.assert_outcomes(passed=2)


def test_a_failing_child_of_the_nursery_fixture_cancels_and_fails_the_test(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
from nursery import sleep_forever

async def test_it(nursery):
    async def child():
        raise ValueError("the child failed")
    nursery.start_soon(child)
    await sleep_forever()
""",
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*ValueError: the child failed"])
    result.stdout.no_fnmatch_line("*Group*")


def test_a_failure_of_test_and_child_gives_a_group(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
from nursery import sleep_forever

async def test_it(nursery):
    async def child():
        try:
            await sleep_forever()
        finally:
            raise ValueError("the child failed")
    nursery.start_soon(child)
    await wait_all_tasks_blocked()
    raise KeyError("the test failed")
""",
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*ExceptionGroup: the test and its fixtures failed (2 sub-exceptions)*"])
    result.stdout.fnmatch_lines(["*KeyError: 'the test failed'*"])
    result.stdout.fnmatch_lines(["*ValueError: the child failed*"])


def test_the_nursery_fixture_in_a_synchronous_test_is_an_error(pytester: pytest.Pytester) -> None:
    result = run(pytester, "def test_it(nursery): pass\n")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*the fixture 'nursery' is for async tests*"])


# Async fixtures


def test_async_fixtures_run_in_the_run_and_in_the_order_of_pytest(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
log = []

@pytest.fixture
async def plain():
    await nursery.sleep(0)
    return nursery.lowlevel.current_run_token()

@pytest.fixture
async def outer(plain):
    log.append("outer up")
    yield plain
    await nursery.sleep(0)
    assert nursery.lowlevel.current_run_token() is plain
    log.append("outer down")

@pytest.fixture
def sync_between(outer):
    log.append("between up")
    yield outer
    log.append("between down")

@pytest.fixture
def sync_value(sync_between):
    return [sync_between]

@pytest.fixture(autouse=True)
async def automatic():
    log.append("automatic up")
    yield
    log.append("automatic down")

async def test_it(sync_value, plain):
    assert sync_value == [plain]
    assert nursery.lowlevel.current_run_token() is plain
    log.append("test")

class TestLog:
    @pytest.fixture(autouse=True)
    def automatic(self):
        pass

    def test_log(self):
        assert log == [
            "automatic up", "outer up", "between up", "test", "between down", "outer down", "automatic down",
        ]
""",
    )
    result.assert_outcomes(passed=2)


def test_fixtures_that_are_methods_and_fixtures_with_parameters_work(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
class TestIt:
    @pytest.fixture(params=[1, 2])
    async def number(self, request):
        self.seen = request.param
        yield request.param

    @pytest.mark.parametrize("factor", [1, 2])
    async def test_it(self, number, factor):
        assert self.seen == number
        assert number * factor < 4
""",
    )
    result.assert_outcomes(passed=3, failed=1)


def test_fixtures_may_have_any_name(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
@pytest.fixture
def item(): return 1

@pytest.fixture
async def name(item, request): return item + 1

@pytest.fixture
async def function(item, name): return item + name

@pytest.fixture
async def self(item, name, function): return item + name + function

@pytest.fixture
async def args(self): yield self

@pytest.fixture
async def kwargs(args): yield args

async def test_it(item, name, function, self, args, kwargs, request):
    assert (item, name, function, self, args, kwargs) == (1, 2, 3, 6, 6, 6)
""",
    )
    result.assert_outcomes(passed=1)


def test_context_variables_set_by_a_fixture_are_seen_by_the_test(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
import contextvars
var = contextvars.ContextVar("var")

@pytest.fixture
async def setting():
    var.set(1)
    yield
    assert var.get() == 2

async def test_it(setting):
    assert var.get() == 1
    var.set(2)
""",
    )
    result.assert_outcomes(passed=1)


def test_a_fixture_may_hold_a_nursery_open_across_its_yield(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
@pytest.fixture
async def first():
    async with nursery.open_nursery() as n:
        n.start_soon(nursery.sleep_forever)
        yield n
        n.cancel_scope.cancel()

@pytest.fixture
async def second():
    with nursery.CancelScope() as scope:
        yield scope

async def test_it(first, second):
    assert len(first.child_tasks) == 1
    second.shield = True
    await nursery.sleep(0)

async def test_other_order(second, first):
    await nursery.sleep(0)
""",
    )
    result.assert_outcomes(passed=2)


def test_a_crash_in_a_background_task_of_a_fixture_cancels_the_test(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
log = []

@pytest.fixture
async def background():
    async def crash():
        await wait_all_tasks_blocked()
        raise ValueError("in the background")
    async with nursery.open_nursery() as n:
        n.start_soon(crash)
        yield n

@pytest.fixture
async def innocent(background):
    yield
    # Tear-down of the others is not disturbed.
    await nursery.sleep(0.001)
    log.append("innocent down")

async def test_it(innocent):
    try:
        await nursery.sleep_forever()
    finally:
        log.append("test cancelled")

def test_log():
    assert log == ["test cancelled", "innocent down"]
""",
    )
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(["*ValueError: in the background*"])


def test_a_crash_during_the_setup_of_another_fixture_cancels_that(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
@pytest.fixture
async def background():
    async def crash():
        await wait_all_tasks_blocked()
        raise ValueError("in the background")
    async with nursery.open_nursery() as n:
        n.start_soon(crash)
        yield n

@pytest.fixture
async def slow(background):
    await nursery.sleep_forever()

async def test_it(slow):
    assert False, "never reached"
""",
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*ValueError: in the background*"])
    result.stdout.no_fnmatch_line("*never reached*")


def test_a_scope_of_a_fixture_that_times_out_does_not_let_the_test_pass(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
@pytest.fixture
async def limited():
    with nursery.move_on_after(10):
        yield

async def test_it(limited, autojump_clock):
    await nursery.sleep(100)
""",
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*RuntimeError: the fixture 'limited' was cancelled before the test was over*"])


@pytest.mark.parametrize("where", ["up", "down"])
@pytest.mark.parametrize("kind", ["async ", ""])
def test_a_failing_fixture_fails_the_test_with_the_bare_error(pytester: pytest.Pytester, where: str, kind: str) -> None:
    result = run(
        pytester,
        f"""
log = []

@pytest.fixture
async def outer():
    yield
    await nursery.sleep(0)
    log.append("outer down")

@pytest.fixture
{kind}def broken(outer):
    if {where!r} == "up":
        raise ValueError("broken")
    yield
    raise ValueError("broken")

async def test_it(broken):
    assert {where!r} == "down"

def test_log():
    assert log == ["outer down"]
""",
    )
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(["*ValueError: broken"])
    result.stdout.no_fnmatch_line("*Group*")


@pytest.mark.parametrize("kind", ["async ", ""])
def test_a_fixture_has_to_yield_exactly_once(pytester: pytest.Pytester, kind: str) -> None:
    result = run(
        pytester,
        f"""
@pytest.fixture
async def base():
    return 1

@pytest.fixture
{kind}def never(base):
    if False:
        yield

@pytest.fixture
{kind}def twice(base):
    yield
    yield

async def test_never(never):
    pass

async def test_twice(twice):
    pass
""",
    )
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["*the fixture 'never' did not yield*", "*the fixture 'twice' has more than one*"])


def test_a_fixture_may_skip(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
@pytest.fixture
async def unavailable():
    pytest.skip("not here")

async def test_it(unavailable):
    assert False
""",
    )
    result.assert_outcomes(skipped=1)


@pytest.mark.parametrize("scope", ["class", "module", "package", "session"])
def test_a_wider_scope_of_an_async_fixture_is_a_clear_error(pytester: pytest.Pytester, scope: str) -> None:
    result = run(
        pytester,
        f"""
@pytest.fixture(scope={scope!r})
async def wide():
    yield

async def test_it(wide):
    pass
""",
    )
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([f"*the async fixture 'wide' has the scope '{scope}'*must have the scope 'function'*"])


def test_asking_for_an_async_fixture_in_a_running_test_is_a_clear_error(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
@pytest.fixture
async def late():
    return 1

async def test_it(request):
    request.getfixturevalue("late")
""",
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*the async fixture 'late' was asked for by request.getfixturevalue()*"])


def test_using_the_value_of_an_async_fixture_too_early_is_a_clear_error(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
@pytest.fixture
async def late():
    return 1

@pytest.fixture
def eager(request):
    request.getfixturevalue("late").attribute

async def test_it(eager):
    pass
""",
    )
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*the async fixture 'late' has no value yet*"])


def test_a_keyboard_interrupt_ends_the_session_and_tears_down(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
import nursery, pytest, signal

@pytest.fixture
async def outer():
    async with nursery.open_nursery() as n:
        yield n
        print("TORN DOWN")

async def test_it(outer):
    signal.raise_signal(signal.SIGINT)
    await nursery.sleep_forever()

async def test_never():
    print("NEVER")
"""
    )
    result = pytester.runpytest_subprocess(*ALWAYS, *ALONE, "-s", timeout=20)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["*TORN DOWN*", "*KeyboardInterrupt*"])
    result.stdout.no_fnmatch_line("NEVER")


def test_hypothesis_examples_have_fresh_fixtures(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
from hypothesis import HealthCheck, given, settings, strategies as st

@pytest.fixture
async def box():
    yield []

@settings(max_examples=5, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(n=st.integers())
async def test_it(box, n):
    assert box == []
    box.append(n)
""",
    )
    result.assert_outcomes(passed=1)
