"""Run variables: one value a run, gone with it."""

from __future__ import annotations

from typing import Any, cast

import pytest

import nursery
from nursery.kernel.idle import wait_all_tasks_blocked
from nursery.lowlevel import RunVar, RunVarToken, checkpoint, current_run_token, spawn_system_task

from .in_run import in_a_run


@in_a_run
async def test_a_value_that_was_set_can_be_read_in_every_task_of_the_run() -> None:
    variable = RunVar[str]("variable")
    seen: list[str] = []

    async def read() -> None:
        seen.append(variable.get())

    variable.set("value")
    async with nursery.open_nursery() as n:
        n.start_soon(read)
    spawn_system_task(read)
    await checkpoint()
    current_run_token().run_sync_soon(lambda: seen.append(variable.get()))
    await wait_all_tasks_blocked()
    assert seen == ["value"] * 3


@in_a_run
async def test_a_child_sets_the_value_for_its_parent_too() -> None:
    variable = RunVar[str]("variable")

    async def write() -> None:
        variable.set("child's")

    async with nursery.open_nursery() as n:
        n.start_soon(write)
    assert variable.get() == "child's"


def test_the_next_run_does_not_see_the_value() -> None:
    variable = RunVar("variable", default="default")

    async def main() -> str:
        seen = variable.get()
        variable.set("set")
        return seen

    assert [nursery.run(main), nursery.run(main)] == ["default", "default"]


@in_a_run
async def test_without_value_and_default_get_is_a_lookup_error() -> None:
    variable = RunVar[str]("variable")
    with pytest.raises(LookupError):
        variable.get()
    assert variable.get("given") == "given"


@in_a_run
async def test_the_default_of_the_call_goes_before_the_variables_own() -> None:
    assert RunVar("variable", default="own").get("given") == "given"


@in_a_run
async def test_none_is_a_value_and_a_default() -> None:
    variable = RunVar[str | None]("variable")
    assert variable.get(None) is None
    variable.set(None)
    assert variable.get("default") is None


@in_a_run
async def test_reset_puts_the_old_value_back() -> None:
    variable = RunVar[int]("variable")
    variable.set(1)
    token = variable.set(2)
    variable.reset(token)
    assert variable.get() == 1


@in_a_run
async def test_reset_to_before_the_first_set_leaves_no_value() -> None:
    variable = RunVar[int]("variable")
    token = variable.set(1)
    variable.reset(token)
    assert variable.get(0) == 0


@in_a_run
async def test_a_token_serves_once_and_only_its_own_variable() -> None:
    variable, other = RunVar[int]("variable"), RunVar[int]("other")
    token = variable.set(1)
    with pytest.raises(ValueError, match="not for us"):
        other.reset(token)
    variable.reset(token)
    with pytest.raises(ValueError, match="already been used"):
        variable.reset(token)
    with pytest.raises(TypeError):
        variable.reset(cast(Any, None))


def test_tokens_are_made_by_set_alone() -> None:
    with pytest.raises(TypeError):
        RunVarToken()


def test_outside_a_run_a_run_variable_is_out_of_reach() -> None:
    variable = RunVar("variable", default="default")
    for call in (variable.get, lambda: variable.set("x")):
        with pytest.raises(RuntimeError):
            call()


def test_the_repr_tells_the_name() -> None:
    assert "name='variable'" in repr(RunVar[int]("variable"))
