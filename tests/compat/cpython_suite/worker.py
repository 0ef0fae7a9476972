"""The process that runs one module of the interpreter's tests, and writes a line of JSON for each test.

Invariant: before a test begins its name is written, and after it its outcome: a name without an outcome is the test in
which the process hung or died, and the next process goes on behind it.

    python -m tests.compat.cpython_suite.worker DIALECT MODULE REPORT < CHOICE

DIALECT is `asyncio` (nothing is exchanged), `loop` (the loops are ours) or `facade` (the module asyncio is ours too).
CHOICE is a JSON object of two lists of patterns: `only` (empty for all tests) and `but_not`.
"""

from __future__ import annotations

import faulthandler
import gc
import importlib
import json
import os
import sys
import time
import unittest
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any, TextIO

# A test that takes longer hangs.
SECONDS_A_TEST = 30

PACKAGE = "test.test_asyncio."


class Report(unittest.TestResult):
    """Writes what becomes of each test."""

    def __init__(self, file: TextIO) -> None:
        super().__init__()
        self._file = file
        self._began = 0.0
        self._subtest_failed: str | None = None

    def _write(self, **line: object) -> None:
        print(json.dumps(line), file=self._file, flush=True)

    def _ended(self, test: unittest.TestCase, outcome: str, text: str = "") -> None:
        self._write(test=name_of(test), outcome=outcome, seconds=round(time.monotonic() - self._began, 3), text=text)

    def startTest(self, test: unittest.TestCase) -> None:
        super().startTest(test)
        self._subtest_failed = None
        self._began = time.monotonic()
        self._write(test=name_of(test), outcome="began")
        faulthandler.dump_traceback_later(SECONDS_A_TEST, exit=True)

    def stopTest(self, test: unittest.TestCase) -> None:
        super().stopTest(test)
        faulthandler.cancel_dump_traceback_later()

    def addSuccess(self, test: unittest.TestCase) -> None:
        if self._subtest_failed is None:
            self._ended(test, "passed")
        else:
            self._ended(test, "failed", self._subtest_failed)

    def addSubTest(self, test: unittest.TestCase, subtest: unittest.TestCase, err: Any) -> None:
        if err is not None:
            self._subtest_failed = self._exc_info_to_string(err, test)  # type: ignore[attr-defined]  # of the base class

    def addError(self, test: unittest.TestCase, err: Any) -> None:
        self._ended(test, "failed", self._exc_info_to_string(err, test))  # type: ignore[attr-defined]  # see above

    addFailure = addError

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:
        self._ended(test, "skipped", reason)

    def addExpectedFailure(self, test: unittest.TestCase, err: Any) -> None:
        self._ended(test, "passed")

    def addUnexpectedSuccess(self, test: unittest.TestCase) -> None:
        self._ended(test, "failed", "unexpected success")


def name_of(test: unittest.TestCase) -> str:
    """Return the name of a test in the ledger: module.Class.method."""
    return test.id().removeprefix(PACKAGE)


def tests_in(suite: unittest.TestSuite | unittest.TestCase) -> Iterator[unittest.TestCase]:
    """Yield the single tests of a suite."""
    if isinstance(suite, unittest.TestCase):
        yield suite
    else:
        for part in suite:
            yield from tests_in(part)


def load(name: str, dialect: str) -> unittest.TestSuite:
    """Import a module of the suite, with its loops exchanged, and collect its tests."""
    if dialect != "asyncio":
        from . import loops

        loops.exchange_loops()
    utils: Any = importlib.import_module(PACKAGE + "utils")
    if dialect != "asyncio":
        utils.TestLoop = loops.TestLoop
    module = importlib.import_module(PACKAGE + name)
    if dialect != "asyncio":
        loops.add_kernel_tests(module, utils.TestCase)
        loops.exchange_names(module, facade=dialect == "facade")
        if dialect == "facade":
            loops.exchange_names(utils, facade=True)
    return unittest.defaultTestLoader.loadTestsFromModule(module)


def is_chosen(test: str, only: list[str], but_not: list[str]) -> bool:
    """Return whether a test is to be run."""
    return (not only or any(fnmatchcase(test, pattern) for pattern in only)) and not any(
        fnmatchcase(test, pattern) for pattern in but_not
    )


def main(dialect: str, module: str, report: str, *, only: list[str], but_not: list[str]) -> None:
    """Run the tests of `module` that are chosen, and write the report."""
    support: Any = importlib.import_module("test.support")

    support.use_resources = []
    support.verbose = 0
    found = list(tests_in(load(module, dialect)))
    chosen = [test for test in found if is_chosen(name_of(test), only, but_not)]
    # Some tests collect garbage again and again: let them not look at what was loaded.
    gc.freeze()
    with open(report, "a", encoding="utf-8") as file:
        print(
            json.dumps({"found": [name_of(test) for test in found], "chosen": [name_of(test) for test in chosen]}),
            file=file,
            flush=True,
        )
        unittest.TestSuite(chosen).run(Report(file))
        print(json.dumps({"complete": True}), file=file, flush=True)
    # What a test has left behind, threads and pools of processes, could keep the interpreter from ending.
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:4], **json.load(sys.stdin))
