"""Waiting for descriptors: one table of interests, two drivers.

``epoll`` where the system has it, ``selectors`` everywhere; ``NURSERY_IO=selectors`` in the environment chooses the
portable one, and the test suite passes on both.
"""

from __future__ import annotations

import os
import select
from collections import deque
from typing import Any

from .interest import Driver


def make_driver(queue: deque[Any]) -> Driver:
    """Return the I/O driver for a new run, which wakes waiters by appending them to `queue`."""
    wanted = os.environ.get("NURSERY_IO", "epoll" if hasattr(select, "epoll") else "selectors")
    if wanted == "epoll":
        from .epoll import EpollDriver

        return EpollDriver(queue)
    if wanted == "selectors":
        from .selectors import SelectorsDriver

        return SelectorsDriver(queue)
    raise ValueError(f"NURSERY_IO must be 'epoll' or 'selectors', not {wanted!r}")
