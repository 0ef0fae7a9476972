"""install(): whatever makes a loop in asyncio makes ours.  Each test in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest


def run_program(program: str) -> None:
    prelude = "import asyncio, selectors, sys, threading\nfrom nursery import compat\n"
    finished = subprocess.run(
        [sys.executable, "-W", "error::ResourceWarning", "-c", prelude + textwrap.dedent(program)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    assert finished.stderr == ""


def test_run_runner_and_new_event_loop_make_ours() -> None:
    run_program(
        """
        compat.install()
        async def main():
            return type(asyncio.get_running_loop())
        assert asyncio.run(main()) is compat.EventLoop
        with asyncio.Runner() as runner:
            assert runner.run(main()) is compat.EventLoop
        loop = asyncio.new_event_loop()
        assert type(loop) is compat.EventLoop
        loop.close()
        """
    )


def test_a_second_install_changes_nothing() -> None:
    run_program(
        """
        compat.install()
        before = asyncio.SelectorEventLoop
        compat.install()
        assert asyncio.SelectorEventLoop is before
        loop = asyncio.new_event_loop()
        assert type(loop) is compat.EventLoop
        loop.close()
        """
    )


@pytest.mark.parametrize("name", ["SelectorEventLoop", "EventLoop"])
def test_a_loop_made_by_the_name_of_its_class_is_ours(name: str) -> None:
    if name == "EventLoop" and sys.version_info < (3, 13):
        pytest.skip("asyncio.EventLoop came with 3.13")
    run_program(
        f"""
        compat.install()
        loop = asyncio.{name}()
        assert isinstance(loop, compat.EventLoop)
        assert isinstance(loop, asyncio.{name})
        async def main():
            return asyncio.get_running_loop()
        assert loop.run_until_complete(main()) is loop
        loop.close()
        """
    )


def test_every_loop_is_an_instance_of_the_name() -> None:
    run_program(
        """
        own = asyncio.SelectorEventLoop
        compat.install()
        class Derived(asyncio.SelectorEventLoop):
            pass
        for factory in (asyncio.new_event_loop, compat.new_event_loop, asyncio.SelectorEventLoop, own, Derived,
                        lambda: asyncio.SelectorEventLoop(selectors.SelectSelector())):
            loop = factory()
            assert isinstance(loop, asyncio.SelectorEventLoop)
            assert issubclass(type(loop), asyncio.SelectorEventLoop)
            assert isinstance(loop, Derived) is (factory is Derived)
            loop.close()
        assert not isinstance(object(), asyncio.SelectorEventLoop)
        assert not issubclass(asyncio.AbstractEventLoop, asyncio.SelectorEventLoop)
        """
    )


def test_whoever_brings_a_selector_gets_asyncios_own_loop() -> None:
    run_program(
        """
        own = asyncio.SelectorEventLoop
        compat.install()
        for loop in (asyncio.SelectorEventLoop(selectors.SelectSelector()),
                     asyncio.SelectorEventLoop(selector=selectors.SelectSelector())):
            assert type(loop) is own
            loop.run_until_complete(asyncio.sleep(0))
            loop.close()
        """
    )


def test_a_class_derived_from_the_name_is_ours() -> None:
    run_program(
        """
        compat.install()
        class Loop(asyncio.SelectorEventLoop):
            def __init__(self):
                super().__init__()
                self.mine = True
        loop = Loop()
        assert loop.mine and isinstance(loop, compat.EventLoop)
        loop.close()
        class WithSelector(asyncio.SelectorEventLoop):
            pass
        try:
            WithSelector(selectors.SelectSelector())
        except TypeError as error:
            assert "takes no selector" in str(error)
        else:
            raise AssertionError
        """
    )


def test_a_thread_gets_a_loop_of_ours_too() -> None:
    run_program(
        """
        compat.install()
        made = []
        def thread():
            loop = asyncio.new_event_loop()
            asyncio.set_event_loop(loop)
            made.append(type(loop))
            loop.run_until_complete(asyncio.sleep(0))
            loop.close()
        other = threading.Thread(target=thread)
        other.start()
        other.join()
        assert made == [compat.EventLoop]
        """
    )


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="policies went with 3.14")
def test_the_policy_keeps_one_current_loop_a_thread() -> None:
    run_program(
        """
        compat.install()
        policy = asyncio.get_event_loop_policy()
        assert isinstance(policy, asyncio.DefaultEventLoopPolicy)
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        assert policy.get_event_loop() is loop
        loop.close()
        """
    )


def test_a_policy_that_is_set_later_wins() -> None:
    if sys.version_info >= (3, 14):
        pytest.skip("policies went with 3.14")
    run_program(
        """
        compat.install()
        asyncio.set_event_loop_policy(None)
        loop = asyncio.new_event_loop()
        assert not isinstance(loop, compat.EventLoop)
        loop.close()
        """
    )
