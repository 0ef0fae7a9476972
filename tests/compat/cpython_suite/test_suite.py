"""The interpreter's own tests of asyncio pass on our loop, except for those on the list of exclusions.

Each module is run by a process of its own, as many at a time as there are processors.  A test that fails gets a second
chance, alone, as the interpreter's own test runner gives it: many of them measure time.  What fails on asyncio's own
loop too is the machine's fault, and not counted.
"""

from __future__ import annotations

import importlib.util
import operator
import os
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from . import ledger
from .ledger import Exclusion, of_module
from .modules import FACADE_LONG_ONLY, LONG_ONLY, RUNS
from .run import Dialect, Outcome, run_module

EXCLUSIONS = ledger.load()

BROKEN = ("failed", "hung")

# The newest Python for which the list was made.
NEWEST_LISTED = (3, 15)


def exists(module: str) -> bool:
    """Return whether this interpreter has a module of the suite."""
    try:
        return importlib.util.find_spec(f"test.test_asyncio.{module}") is not None
    except ImportError:
        # Debian, among others, packs the interpreter's tests apart.
        return False


def is_machines_fault(module: str, test: str) -> bool:
    """Return whether the test fails on asyncio's own loop, too."""
    if ".Kernel" in test:
        return False
    outcome = run_module("asyncio", module, only=[test]).outcomes.get(test)
    return outcome is None or outcome.outcome in BROKEN


def complaints_of(dialect: Dialect, module: str, *, in_full: bool) -> list[str]:
    """Run a module, and say what is wrong."""
    listed = of_module(EXCLUSIONS, dialect, module)
    not_now = [] if in_full else [*LONG_ONLY, *(FACADE_LONG_ONLY if dialect == "facade" else ())]
    report = run_module(dialect, module, but_not=[line.test for line in listed] + not_now)
    complaints = []
    for test, outcome in report.outcomes.items():
        if outcome.outcome in BROKEN:
            again = run_module(dialect, module, only=[test]).outcomes.get(test, outcome)
            if again.outcome in BROKEN and not is_machines_fault(module, test):
                complaints.append(f"{test} {again.outcome}:\n{again.text}")
    complaints += [
        f"{line.test} is on the list of exclusions, but there is no such test: remove or narrow the line"
        for line in listed
        if line.must_exist() and not any(line.matches(test) for test in report.found)
    ]
    return complaints + complaints_of_listed(dialect, module, listed, not_now)


def complaints_of_listed(
    dialect: Dialect, module: str, listed: list[Exclusion], not_now: list[str]
) -> list[str]:
    """Run the tests of a module that are on the list, and say which of them have no reason to be there."""
    fail = [line.test for line in listed if not line.never]
    if not fail:
        return []
    never = [line.test for line in listed if line.never]
    outcomes = run_module(dialect, module, only=fail, but_not=never + not_now).outcomes
    return [f"{test} {verdict}" for test, outcome in outcomes.items() if (verdict := verdict_on_listed(outcome))]


def verdict_on_listed(outcome: Outcome) -> str | None:
    """Say what is wrong with a test on the list, if something is."""
    if outcome.outcome == "passed":
        return "passes, but is on the list of exclusions: remove it there"
    if outcome.outcome == "hung":
        return "hangs: mark it 'never' on the list of exclusions"
    return None


@pytest.fixture(scope="module")
def complaints(
    request: pytest.FixtureRequest, long_form: bool
) -> Iterator[dict[tuple[str, str], Future[list[str]]]]:
    """What is wrong with each module that is about to be tested, found out in the background."""
    selected = {
        item.callspec.params.get("run")
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.module is request.module and hasattr(item, "callspec")
    }
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        yield {
            (dialect, module): pool.submit(complaints_of, dialect, module, in_full=long_form)
            for dialect, module in RUNS
            if (dialect, module) in selected and exists(module) and sys.version_info[:2] <= NEWEST_LISTED
        }
    finally:
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("run", RUNS, ids=lambda run: f"{run[1]}-{run[0]}")
def test_the_interpreters_tests_pass_on_our_loop(
    run: tuple[Dialect, str], complaints: dict[tuple[str, str], Future[list[str]]]
) -> None:
    if sys.version_info[:2] > NEWEST_LISTED:
        pytest.skip("the list of exclusions has not been made for the suite of this Python yet")
    if run not in complaints:
        pytest.skip(f"this interpreter has no test.test_asyncio.{run[1]}")
    found = complaints[run].result()
    assert not found, "\n\n".join(found)


def test_the_list_of_exclusions_only_shrinks() -> None:
    newer = sum(line.first_minor >= 14 for line in EXCLUSIONS)
    numbers = (len(EXCLUSIONS) - newer, newer)
    limits = (ledger.LIMIT, ledger.LIMIT_SINCE_314)
    assert all(map(operator.le, numbers, limits)), "mend what fails, instead of listing it"
    assert numbers == limits, "the list has shrunk: lower the limits in ledger.py"


def test_every_excluded_test_is_named_once() -> None:
    seen: set[tuple[object, ...]] = set()
    for line in EXCLUSIONS:
        for dialect in line.dialects:
            key = (line.test, dialect, line.first_minor)
            assert key not in seen, f"{line.test} is on the list twice"
            seen.add(key)


@pytest.mark.parametrize(
    "line", ["test_x.Case.test_y", "test_x.Case.test_y -- ", "test_x -- why", "test_x.Case.test_y sometimes -- why"]
)
def test_a_line_without_a_reason_or_with_an_unknown_condition_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match=r"not 'module|unknown condition"):
        ledger.parse(line)


def test_a_line_counts_in_its_dialect_and_on_its_versions() -> None:
    line = ledger.parse("test_x.Case.test_* loop >=3.12 <3.14 -- because")
    assert [minor for minor in range(11, 16) if line.applies("loop", minor)] == [12, 13]
    assert not line.applies("facade", 12)
    assert line.matches("test_x.Case.test_anything")
    backported = ledger.parse("test_x.Case.test_y >=3.12 backported <3.14 -- because")
    assert [minor for minor in range(11, 16) if backported.applies("loop", minor)] == [11, 12, 13]
    assert [minor for minor in range(11, 14) if backported.must_exist(minor)] == [12, 13]
    assert not line.matches("test_x.Other.test_anything")
    assert ledger.read("# a remark\n\n" + "test_x.Case.test_y never -- because") == [
        ledger.parse("test_x.Case.test_y never -- because")
    ]
