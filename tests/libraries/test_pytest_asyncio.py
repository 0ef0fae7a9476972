"""pytest-asyncio: its doors to a loop of another make."""

from __future__ import annotations

import pytest
import pytest_asyncio

assert pytest_asyncio

TEST = """
import asyncio
import pytest
import pytest_asyncio
import nursery
from nursery import compat

pytestmark = pytest.mark.asyncio

@pytest_asyncio.fixture
async def number():
    await asyncio.sleep(0)
    yield 7
    await asyncio.sleep(0)

async def test_in_both_dialects(number):
    assert number == 7
    assert type(asyncio.get_running_loop()) is compat.EventLoop
    with nursery.move_on_after(0.001) as scope:
        async with nursery.open_nursery() as children:
            children.start_soon(asyncio.sleep, 10)
    assert scope.cancelled_caught
    async with asyncio.timeout(1):
        await nursery.sleep(0.001)
"""

HOOK = """
from nursery import compat

def pytest_asyncio_loop_factories(config, item):
    return {"nursery": compat.new_event_loop}
"""

INSTALL = """
from nursery import compat

compat.install()
"""

OPTIONS = ("-p", "no:cacheprovider", "-o", "asyncio_default_fixture_loop_scope=function")


@pytest.mark.parametrize("conftest", [HOOK, INSTALL], ids=["hook", "install"])
def test_a_test_runs_on_our_loop(pytester: pytest.Pytester, conftest: str) -> None:
    pytester.makeconftest(conftest)
    pytester.makepyfile(TEST)
    result = pytester.runpytest_subprocess(*OPTIONS, "-W", "error")
    result.assert_outcomes(passed=1)
