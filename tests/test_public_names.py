"""The package's public face: what `nursery` offers, and under which names."""

from __future__ import annotations

import pickle
import subprocess
import sys

import pytest

import nursery


def test_every_public_name_is_there() -> None:
    for name in nursery.__all__:
        assert getattr(nursery, name) is not None
        assert name in dir(nursery)


def test_classes_show_the_public_name() -> None:
    for name in nursery.__all__:
        thing = getattr(nursery, name)
        if isinstance(thing, type):
            assert thing.__module__ == "nursery", name


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="SSLSocket"):
        getattr(nursery, "SSLSocket")  # noqa: B009  # mypy would refuse the attribute


def test_errors_are_pickled_under_their_public_names() -> None:
    error = pickle.loads(pickle.dumps(nursery.TooSlowError("late")))
    assert type(error) is nursery.TooSlowError
    assert error.args == ("late",)


def test_the_names_of_tls_load_ssl_only_when_they_are_asked_for() -> None:
    program = "import sys, nursery; a = 'ssl' in sys.modules; nursery.SSLStream; print(a, 'ssl' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=20)
    assert done.stdout.split() == ["False", "True"]
