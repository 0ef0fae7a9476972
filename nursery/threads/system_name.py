"""What the operating system calls a thread: what `ps -T`, `top -H`, debuggers and `/proc/PID/task/TID/comm` show.

Invariant: a thread names itself alone, so the main thread, whose name is that of the process, keeps it.

From Python 3.14 on `threading` passes the names of threads on to the system; before that nobody does.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from threading import get_ident
from typing import Final

# What Linux allows (bytes).  The whole name is in `threading.Thread.name`.
LONGEST: Final = 15


@functools.cache
def _setter() -> Callable[[int, bytes], object] | None:
    """Return the system's function, None if there is none; looked for when first needed, for ctypes is slow to load."""
    try:
        import ctypes

        # Not CDLL: to let go of the interpreter's lock and get it again takes longer than the call.
        set_name = ctypes.PyDLL(None).pthread_setname_np
    except (ImportError, OSError, TypeError, AttributeError):
        # The name is for people's eyes only.
        return None
    if sys.platform == "darwin":
        # There a thread can name only itself.
        set_name.argtypes = (ctypes.c_char_p,)
        return lambda ident, name: set_name(name)
    set_name.argtypes = (ctypes.c_void_p, ctypes.c_char_p)
    return set_name


def name_for_system(name: str) -> None:
    """Tell the system the name of the calling thread: its first 15 characters, '?' for those that are not ASCII."""
    if sys.version_info >= (3, 14):
        return
    set_name = _setter()
    if set_name is not None:
        set_name(get_ident(), name.encode("ascii", "replace")[:LONGEST])


__all__ = ["name_for_system"]
