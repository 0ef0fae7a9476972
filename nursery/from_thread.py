"""Coming back to the run from a thread: trio's `trio.from_thread`, under the same names."""

from .threads.callback import check_cancelled, run, run_sync

__all__ = ["check_cancelled", "run", "run_sync"]
