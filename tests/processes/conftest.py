"""What holds after each test about processes: no descriptor is left open, and no child, dead or alive."""

from __future__ import annotations

import gc
import os
from collections.abc import Generator
from pathlib import Path

import pytest

DESCRIPTORS = Path("/proc/self/fd" if Path("/proc/self/fd").exists() else "/dev/fd")


def open_descriptors() -> set[str]:
    return set(os.listdir(DESCRIPTORS))


def children_left() -> bool:
    """Whether this process has a child that was not reaped."""
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return False
    return True


@pytest.fixture(autouse=True)
def nothing_is_left() -> Generator[None, None, None]:
    before = open_descriptors()
    yield
    gc.collect()
    assert not children_left()
    assert open_descriptors() == before
