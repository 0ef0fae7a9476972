"""Whether what the matrix needs has to be there."""

from __future__ import annotations

import os
import shutil
from typing import Final

import pytest

REQUIRED: Final = os.environ.get("NURSERY_LIBRARIES") == "required"


def not_here(what: str) -> None:
    """Skip the test for want of `what`, or fail where that is not allowed."""
    if REQUIRED:
        pytest.fail(f"{what}, and NURSERY_LIBRARIES=required")
    pytest.skip(what)


def command(*names: str) -> str:
    """The path of the first of these commands that is on the machine."""
    for name in names:
        if found := shutil.which(name):
            return found
    not_here(f"no {' or '.join(names)} on this machine")
    raise AssertionError
