"""Leaving the run for a thread: trio's `trio.to_thread`, under the same names."""

from .threads.worker import current_default_thread_limiter
from .threads.worker import run_in_thread as run_sync

__all__ = ["current_default_thread_limiter", "run_sync"]
