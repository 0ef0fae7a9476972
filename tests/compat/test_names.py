"""The module that stands for asyncio, and the ways to put our loop behind asyncio's own names."""

from __future__ import annotations

import asyncio

import pytest

from nursery import compat


def test_every_public_name_of_asyncio_is_there() -> None:
    missing = [name for name in asyncio.__all__ if not hasattr(compat, name)]
    assert missing == []
    assert set(asyncio.__all__) <= set(compat.__all__)


def test_submodules_of_asyncio_can_be_reached() -> None:
    assert compat.base_events.BaseEventLoop is asyncio.base_events.BaseEventLoop
    with pytest.raises(AttributeError, match="no_such_name"):
        getattr(compat, "no_such_name")  # noqa: B009  # mypy knows better


def test_run_runner_and_new_event_loop_are_ours() -> None:
    async def main() -> type:
        return type(asyncio.get_running_loop())

    assert compat.run(main()) is compat.EventLoop
    with compat.Runner() as runner:
        assert runner.run(main()) is compat.EventLoop
        assert runner.run(main()) is compat.EventLoop
    loop = compat.new_event_loop()
    assert isinstance(loop, asyncio.AbstractEventLoop)
    loop.close()


def test_run_inside_a_running_loop_is_refused() -> None:
    async def nothing() -> None:
        pass

    async def main() -> None:
        coro = nothing()
        with pytest.raises(RuntimeError, match="cannot be called from a running event loop"):
            compat.run(coro)
        coro.close()

    compat.run(main())


def test_runner_takes_another_factory() -> None:
    async def main() -> object:
        return asyncio.get_running_loop()

    with compat.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        assert not isinstance(runner.run(main()), compat.EventLoop)


@pytest.mark.parametrize("ours", [True, False])
def test_what_start_server_returns_is_a_server(ours: bool) -> None:
    async def main() -> None:
        async with await compat.start_server(print, "127.0.0.1", 0) as server:
            assert isinstance(server, compat.Server)
            assert isinstance(server, asyncio.Server)
        async with await asyncio.get_running_loop().create_server(asyncio.Protocol, "127.0.0.1", 0) as server:
            assert isinstance(server, compat.Server)

    async def on_asyncios_loop() -> None:
        async with await asyncio.start_server(print, "127.0.0.1", 0) as server:
            assert isinstance(server, compat.Server)

    if ours:
        compat.run(main())
    else:
        with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
            runner.run(on_asyncios_loop())


def test_a_star_brings_the_public_names_and_nothing_else() -> None:
    names: dict[str, object] = {}
    exec("from nursery.compat import *", names)
    names.pop("__builtins__")
    assert sorted(names) == sorted(compat.__all__)
    assert len(compat.__all__) == len(set(compat.__all__))
