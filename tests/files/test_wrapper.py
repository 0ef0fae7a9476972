"""Async file objects."""

from __future__ import annotations

import ast
import copy
import io
import pathlib
import pickle
import threading

import pytest

import nursery
from nursery.files import wrapper
from nursery.files.opening import open_file
from nursery.files.wrapper import IMMEDIATE, IN_THREAD, AsyncIOWrapper, wrap_file
from nursery.testing import assert_checkpoints

KINDS = [
    io.StringIO("text"),
    io.BytesIO(b"bytes"),
    io.BufferedReader(io.BytesIO()),
    io.BufferedWriter(io.BytesIO()),
    io.BufferedRandom(io.BytesIO()),  # type: ignore[arg-type]  # raw enough for it
    io.TextIOWrapper(io.BytesIO(), encoding="utf-8"),
]


class Thread(io.StringIO):
    """Tells in which thread it is read."""

    def read(self, size: int | None = -1, /) -> str:
        return threading.current_thread().name


# Opening


async def test_a_text_file_is_written_and_read(tmp_path: pathlib.Path) -> None:
    async with await open_file(tmp_path / "file", "w", encoding="utf-8") as file:
        assert await file.write("äöü\n") == 4
        await file.writelines(["one\n", "two\n"])
    assert file.closed
    async with await open_file(str(tmp_path / "file"), encoding="utf-8") as file:
        assert await file.read() == "äöü\none\ntwo\n"


async def test_a_binary_file_is_written_and_read(tmp_path: pathlib.Path) -> None:
    async with await open_file(tmp_path / "file", "w+b") as file:
        await file.write(b"0123456789")
        assert await file.tell() == 10
        assert await file.seek(2) == 2
        assert await file.read(3) == b"234"
        assert await file.read1(1) == b"5"
        buffer = bytearray(2)
        assert await file.readinto(buffer) == 2
        assert buffer == b"67"
        assert await file.truncate(9) == 9
        assert await file.peek() == b"8"


async def test_a_raw_file_is_read(tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    async with await open_file(tmp_path / "file", "rb", buffering=0) as file:
        assert await file.readall() == b"content"
        assert file.fileno() >= 0
        assert file.closefd


async def test_a_file_that_does_not_exist_raises_what_open_raises(tmp_path: pathlib.Path) -> None:
    with pytest.raises(FileNotFoundError):
        await open_file(tmp_path / "nothing")
    with pytest.raises(ValueError, match="invalid mode"):
        await open_file(tmp_path / "nothing", "nonsense")
    assert list(tmp_path.iterdir()) == []


async def test_a_cancelled_open_has_opened_nothing(tmp_path: pathlib.Path) -> None:
    with nursery.CancelScope() as scope:
        scope.cancel()
        await open_file(tmp_path / "file", "w")
    assert scope.cancelled_caught
    assert not (tmp_path / "file").exists()


# Reading


async def test_iterating_yields_the_lines() -> None:
    file = wrap_file(io.StringIO("one\ntwo\nthree"))
    assert [line async for line in file] == ["one\n", "two\n", "three"]
    assert [line async for line in file] == []


async def test_lines_are_read_one_or_many_at_a_time() -> None:
    file = wrap_file(io.BytesIO(b"one\ntwo\nthree\n"))
    assert await file.readline() == b"one\n"
    assert await file.readlines() == [b"two\n", b"three\n"]


async def test_the_work_is_done_in_another_thread() -> None:
    assert await wrap_file(Thread()).read() != threading.current_thread().name


async def test_every_method_is_a_checkpoint() -> None:
    file = wrap_file(io.StringIO("content"))
    with assert_checkpoints():
        await file.read()
    with assert_checkpoints():
        await file.aclose()


async def test_errors_come_out_as_they_are() -> None:
    file = wrap_file(io.StringIO("content"))
    await file.aclose()
    with pytest.raises(ValueError, match="closed file"):
        await file.read()


# Closing


async def test_a_cancelled_close_has_closed_and_written_what_was_buffered(tmp_path: pathlib.Path) -> None:
    file = await open_file(tmp_path / "file", "w")
    await file.write("content")
    with nursery.CancelScope() as scope:
        scope.cancel()
        await file.aclose()
    assert scope.cancelled_caught
    assert file.closed
    assert (tmp_path / "file").read_text() == "content"


async def test_closing_twice_is_no_error() -> None:
    file = wrap_file(io.StringIO())
    await file.aclose()
    await file.aclose()


async def test_detach_gives_the_file_below_as_an_async_file() -> None:
    bottom = io.BytesIO(b"content")
    detached = await wrap_file(io.TextIOWrapper(bottom, encoding="utf-8")).detach()
    assert isinstance(detached, AsyncIOWrapper)
    assert id(detached.wrapped) == id(bottom)
    assert await detached.read() == b"content"


# What it has


@pytest.mark.parametrize("file", KINDS, ids=lambda file: type(file).__name__)
def test_the_wrapper_has_what_the_file_has_and_no_more(file: io.IOBase) -> None:
    wrapped = wrap_file(file)
    for name in IMMEDIATE | IN_THREAD:
        assert (name in dir(wrapped)) is hasattr(file, name), name
        assert hasattr(wrapped, name) is hasattr(file, name), name


def test_what_does_not_touch_the_disk_is_passed_on_as_it_is() -> None:
    file = io.StringIO("content")
    wrapped = wrap_file(file)
    assert wrapped.wrapped is file
    assert wrapped.getvalue() == "content"
    assert wrapped.readable()
    assert not wrapped.isatty()
    assert repr(wrapped) == f"<AsyncIOWrapper of {file!r}>"


def test_a_method_is_made_once_and_named_after_the_original() -> None:
    file = wrap_file(io.StringIO())
    assert file.read is file.read
    assert file.read.__name__ == "read"
    assert file.read.__qualname__ == "AsyncIOWrapper.read"
    assert file.read.__doc__ == "Do `_io.StringIO.read` in a thread."


def test_what_is_particular_to_the_file_is_reached_through_wrapped() -> None:
    class Particular(io.StringIO):
        particular = 7

    file = wrap_file(Particular())
    with pytest.raises(AttributeError, match=r"'Particular' object is reached through \.wrapped"):
        file.particular  # type: ignore[attr-defined]  # the mistake under test
    assert file.wrapped.particular == 7


async def test_a_wrapper_may_be_copied_and_pickled() -> None:
    original = wrap_file(io.StringIO("text"))
    assert await original.tell() == 0
    shallow, deep, pickled = copy.copy(original), copy.deepcopy(original), pickle.loads(pickle.dumps(original))
    assert shallow.wrapped is original.wrapped
    assert deep.wrapped is not original.wrapped
    assert [await each.read() for each in (pickled, deep, shallow, original)] == ["text"] * 3 + [""]
    assert [await each.tell() for each in (pickled, deep, shallow, original)] == [4] * 4
    await original.seek(0)
    assert [await each.tell() for each in (pickled, deep, shallow, original)] == [4, 4, 0, 0]
    with pytest.raises(AttributeError):
        AsyncIOWrapper.__new__(AsyncIOWrapper).wrapped


def test_any_object_with_the_right_methods_is_a_file() -> None:
    class Duck:
        def close(self) -> None:
            pass

        def write(self, data: bytes) -> int:
            return len(data)

    assert isinstance(wrap_file(Duck()), AsyncIOWrapper)


@pytest.mark.parametrize("thing", ["a string", 7, object()], ids=repr)
def test_what_is_no_file_is_an_error(thing: object) -> None:
    with pytest.raises(TypeError, match="close and"):
        wrap_file(thing)


def test_type_checkers_are_told_what_there_is() -> None:
    assert wrapper.__file__ is not None
    tree = ast.parse(pathlib.Path(wrapper.__file__).read_text(encoding="utf-8"))
    [the_class] = [
        node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == AsyncIOWrapper.__name__
    ]
    [block] = [
        node for node in the_class.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    ]
    assert {node.name for node in block.body if isinstance(node, ast.AsyncFunctionDef)} == IN_THREAD
    assert {node.name for node in block.body if isinstance(node, ast.FunctionDef)} == IMMEDIATE
