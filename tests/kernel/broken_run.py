"""Runs that are meant to end with InternalError, and what they leave behind.

Invariant: nothing of a broken run outlives the call.  Its tasks are in the middle of their code and are finalised by
the interpreter, outside any run; what that prints belongs to this call and to no later test.
"""

from __future__ import annotations

import gc
import sys
import warnings
from collections.abc import Callable

import pytest

from nursery import InternalError


def internal_error_of(call: Callable[[], object]) -> str:
    """Make a call that must raise InternalError; return the text of it, of its causes and of what groups hold."""
    hook = sys.unraisablehook
    sys.unraisablehook = lambda unraisable: None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            text = _call(call)
            gc.collect()
    finally:
        sys.unraisablehook = hook
    return text


def _call(call: Callable[[], object]) -> str:
    with pytest.raises(InternalError) as caught:
        call()
    return _text(caught.value)


def _text(error: BaseException) -> str:
    texts = [f"{type(error).__name__}: {error}"]
    link = error.__cause__ if error.__cause__ is not None else error.__context__
    if link is not None:
        texts.append(_text(link))
    if isinstance(error, BaseExceptionGroup):
        texts.extend(_text(member) for member in error.exceptions)
    return "\n".join(texts)
