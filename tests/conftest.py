"""What holds for the whole suite: how long its slow tests may take.

A test marked `slow` is a soak or an exhaustive search. By default it runs in a short form, so that an
everyday run leaves nothing out; `--long` runs it in full. It learns which is wanted from the fixture
`long_form`, and whatever asks for that fixture is marked `slow` by it:

    def test_no_schedule_loses_a_wake_up(long_form: bool) -> None:
        for seed in range(100_000 if long_form else 200):
            ...

`-m "not slow"` leaves the slow tests out altogether.
"""

from __future__ import annotations

import pytest

pytest_plugins = ["pytester", "nursery.pytest_plugin"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--long",
        action="store_true",
        default=False,
        help="run the tests marked 'slow' in full (soaks, exhaustive searches) and not in their short form",
    )


def pytest_itemcollected(item: pytest.Item) -> None:
    if "long_form" in getattr(item, "fixturenames", ()):
        item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def long_form(pytestconfig: pytest.Config) -> bool:
    """Whether a slow test should run in full."""
    return bool(pytestconfig.getoption("--long"))
