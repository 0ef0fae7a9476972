"""What holds for the library matrix: a library that is not installed skips its tests, or fails them.

A plain `pip install '.[test]'` brings none of the libraries, and then the files of this folder are skipped with the
reason. With NURSERY_LIBRARIES=required in the environment nothing is skipped for what is missing, neither for a
library nor for a server that has to be on the machine (PostgreSQL, Redis): it is an error.
"""

from __future__ import annotations

import ast
import importlib.util
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.libraries.certificates import certificates as certificates
from tests.libraries.dask_cluster import cluster as cluster
from tests.libraries.foreign_http import foreign_server as foreign_server
from tests.libraries.postgresql import postgresql as postgresql
from tests.libraries.redis_server import redis_server as redis_server
from tests.libraries.required import REQUIRED


def imported_by(path: Path) -> set[str]:
    """The packages that a file imports at its top, other than the standard library and our own."""
    names: set[str] = set()
    for node in ast.parse(path.read_bytes()).body:
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names - sys.stdlib_module_names - {"nursery", "tests"}


class LibraryTests(pytest.Module):
    """A file whose tests need what it imports."""

    def collect(self) -> Iterable[pytest.Item | pytest.Collector]:
        missing = sorted(name for name in imported_by(self.path) if importlib.util.find_spec(name) is None)
        if missing and not REQUIRED:
            pytest.skip(
                f"not installed: {', '.join(missing)} (pip install '.[libraries]' has it)", allow_module_level=True
            )
        return super().collect()


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.Module:
    module: pytest.Module = LibraryTests.from_parent(parent, path=module_path)
    return module
