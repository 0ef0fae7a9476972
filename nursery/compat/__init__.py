"""The asyncio dialect: every name of asyncio, on the kernel of nursery.

    from nursery import compat as asyncio

gives asyncio with our loop behind `run`, `Runner` and `new_event_loop`.  `install()` puts our loop behind asyncio's own
names, and `python -m nursery.compat script.py` runs an unmodified script so.  What is not our own yet is the standard
library's, which works on our loop.
"""

from __future__ import annotations

import asyncio as _asyncio
from asyncio import *  # noqa: F403  # every public name, whichever this version of Python has

from .loop import EventLoop, new_event_loop
from .policy import install
from .runners import Runner, run

__all__ = [*_asyncio.__all__, "EventLoop", "Runner", "install", "new_event_loop", "run"]  # noqa: PLE0604  # asyncio's own list of names


def __getattr__(name: str) -> object:
    """Find what asyncio has beside its public names: submodules, and names that warn."""
    return getattr(_asyncio, name)
