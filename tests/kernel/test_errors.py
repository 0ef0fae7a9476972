"""The exceptions: what they are, what they say, and that nobody makes a Cancelled by hand."""

from __future__ import annotations

import inspect
import pickle

import pytest

import nursery
from nursery.kernel import errors
from nursery.kernel.errors import Cancelled, CancelReason


def test_cancelled_has_no_public_constructor() -> None:
    with pytest.raises(TypeError, match="no public constructor"):
        Cancelled()
    with pytest.raises(TypeError, match="no public constructor"):
        Cancelled("text")


def test_cancelled_cannot_be_subclassed() -> None:
    with pytest.raises(TypeError, match="cannot be subclassed"):
        type("Mine", (Cancelled,), {})


def test_cancelled_is_no_exception_so_that_except_exception_lets_it_pass() -> None:
    assert not issubclass(Cancelled, Exception)


def test_the_text_of_a_cancelled_names_source_reason_and_task() -> None:
    text = str(Cancelled._create(CancelReason("explicit", "we are closing", "<Task 'closer'>")))
    assert "explicit" in text
    assert "'we are closing'" in text
    assert "<Task 'closer'>" in text


def test_the_text_of_a_cancelled_leaves_out_what_is_not_known() -> None:
    text = str(Cancelled._create(CancelReason("deadline")))
    assert "deadline" in text
    assert "None" not in text
    assert "reason" not in text
    assert "task" not in text


def test_a_cancelled_survives_pickling_with_its_reason() -> None:
    original = Cancelled._create(CancelReason("nursery", "sibling failed", "<Task 'a'>"))
    copy = pickle.loads(pickle.dumps(original))
    assert type(copy) is Cancelled
    assert (copy.source, copy.reason, copy.source_task) == ("nursery", "sibling failed", "<Task 'a'>")


def test_the_simple_errors_can_be_made_by_anyone() -> None:
    for cls in (
        nursery.BrokenResourceError,
        nursery.BusyResourceError,
        nursery.ClosedResourceError,
        nursery.EndOfChannel,
        nursery.InternalError,
        nursery.NeedHandshakeError,
        nursery.RunFinishedError,
        nursery.TooSlowError,
        nursery.WouldBlock,
    ):
        assert str(cls("text")) == "text"
        assert issubclass(cls, Exception)


def test_a_late_call_is_a_runtime_error_too() -> None:
    assert issubclass(nursery.RunFinishedError, RuntimeError)


def test_the_deprecation_warning_is_shown_by_default() -> None:
    assert issubclass(nursery.NurseryDeprecationWarning, FutureWarning)


def test_every_exception_of_the_kernel_says_what_it_means() -> None:
    classes = [c for _, c in inspect.getmembers(errors, inspect.isclass) if issubclass(c, BaseException)]
    assert len(classes) >= 11
    for cls in classes:
        assert inspect.getdoc(cls), cls
