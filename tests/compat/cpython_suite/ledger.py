"""The list of tests that are left out, `exclusions.txt`, each with its reason.

A line is `TEST [CONDITION ...] -- REASON`.  TEST is module.Class.method, where * stands for anything.  The conditions
are a dialect (`loop`, `facade`), versions of Python (`>=3.12`, `<3.13`), `backported`: later releases of the versions
before the first have the test as well, and `never`: such a test is not run at all, because it would hang or kill, or
because of what it tests nothing is ours.  Every other test on the list is run, and has to fail.

Invariant: the list may only shrink.  A line for a test that passes, or that no longer exists, is an error
(test_suite.py), and so is a longer list than LIMIT and LIMIT_SINCE_314 say.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

from .run import Dialect

PATH: Final = Path(__file__).with_name("exclusions.txt")

# How many lines the list has for versions before 3.14, and how many that begin with a later one; smaller numbers are
# welcome.
LIMIT: Final = 47
LIMIT_SINCE_314: Final = 16

VERSION: Final = re.compile(r"(>=|<)3\.(\d+)")


@dataclass(frozen=True)
class Exclusion:
    """One line of the list."""

    test: str
    dialects: frozenset[str]
    first_minor: int
    below_minor: int
    backported: bool
    never: bool
    reason: str

    def applies(self, dialect: Dialect, minor: int = sys.version_info.minor) -> bool:
        """Return whether the line counts in this dialect, on this version of Python."""
        return dialect in self.dialects and minor < self.below_minor and (self.backported or self.first_minor <= minor)

    def must_exist(self, minor: int = sys.version_info.minor) -> bool:
        """Return whether every release of this version of Python has the test."""
        return self.first_minor <= minor

    def matches(self, test: str) -> bool:
        """Return whether the line is about this test."""
        return fnmatchcase(test, self.test)


def parse(line: str) -> Exclusion:
    """Read a line; ValueError if it is malformed, or has no reason."""
    left, separator, reason = line.partition(" -- ")
    test, *conditions = left.split()
    if not separator or not reason.strip() or test.count(".") < 2:
        raise ValueError(f"not 'module.Class.test [condition ...] -- reason': {line!r}")
    dialects: set[str] = set()
    first, below, backported, never = 0, 1000, False, False
    for condition in conditions:
        version = VERSION.fullmatch(condition)
        if version is not None and version[1] == ">=":
            first = int(version[2])
        elif version is not None:
            below = int(version[2])
        elif condition in ("loop", "facade"):
            dialects.add(condition)
        elif condition == "backported":
            backported = True
        elif condition == "never":
            never = True
        else:
            raise ValueError(f"unknown condition {condition!r}: {line!r}")
    return Exclusion(test, frozenset(dialects or ("loop", "facade")), first, below, backported, never, reason.strip())


def read(text: str) -> list[Exclusion]:
    """Read the list; empty lines and those that begin with # say nothing."""
    return [parse(line) for line in text.splitlines() if line.strip() and not line.startswith("#")]


def load() -> list[Exclusion]:
    """Read the file."""
    return read(PATH.read_text(encoding="utf-8"))


def of_module(exclusions: Iterable[Exclusion], dialect: Dialect, module: str) -> list[Exclusion]:
    """Return the lines that count in one run."""
    return [
        line for line in exclusions if line.applies(dialect) and line.test.partition(".")[0] == module
    ]
