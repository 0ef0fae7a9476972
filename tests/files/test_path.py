"""Paths: pure where they are pure, async where they touch the disk."""

from __future__ import annotations

import inspect
import os
import pathlib
import pickle
import sys
from collections.abc import Callable
from typing import Any

import pytest

import nursery
from nursery.files.path import Path, PosixPath
from nursery.files.wrapper import AsyncIOWrapper
from nursery.testing import assert_checkpoints


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> Path:
    return Path(tmp_path)


async def tree(folder: Path) -> None:
    """Make a small tree of files."""
    await (folder / "inner").mkdir()
    await (folder / "inner" / "deep.txt").write_text("deep")
    await (folder / "top.txt").write_text("top")
    await (folder / "top.dat").write_bytes(b"\0")


def names(paths: object) -> list[str]:
    found = list(paths)  # type: ignore[call-overload]  # any iterable
    assert all(type(path) is PosixPath for path in found)
    return sorted(path.name for path in found)


# Nothing is missing


def has_own_meaning(name: str) -> bool:
    return not name.startswith("_") and not hasattr(pathlib.PurePath, name)


def test_everything_that_a_pathlib_path_has_is_there() -> None:
    missing = [name for name in dir(pathlib.Path) if not name.startswith("_") and not hasattr(Path, name)]
    assert missing == []


NOT_ASYNC = {"as_uri", "from_uri", "info", "walk"}


@pytest.mark.parametrize("name", sorted(filter(has_own_meaning, dir(pathlib.Path))))
def test_whatever_touches_the_disk_is_async(name: str) -> None:
    assert inspect.iscoroutinefunction(getattr(Path, name)) is (name not in NOT_ASYNC)


@pytest.mark.parametrize("name", sorted(name for name in dir(pathlib.PurePath) if not name.startswith("_")))
def test_whatever_is_pure_is_not_async(name: str) -> None:
    assert inspect.iscoroutinefunction(getattr(Path, name)) is (name == "full_match")  # as in trio


def test_methods_are_named_after_the_originals() -> None:
    assert Path.resolve.__name__ == "resolve"
    assert Path.resolve.__qualname__ == "Path.resolve"
    assert "pathlib.Path.resolve" in str(Path.resolve.__doc__)
    assert "iterator" in str(Path.iterdir.__doc__)


def test_methods_have_the_parameters_of_the_originals() -> None:
    for name in filter(has_own_meaning, dir(pathlib.Path)):
        theirs, ours = getattr(pathlib.Path, name), getattr(Path, name)
        if callable(theirs):
            parameters = inspect.signature(theirs).parameters.values()
            expected = [(each.name, each.kind, each.default) for each in parameters]
            # They say **kwargs where they mean options; here the options are spelled out.
            if name.startswith("copy"):
                continue
            found = [(each.name, each.kind, each.default) for each in inspect.signature(ours).parameters.values()]
            assert found == expected, name


# The pure part


def test_a_path_is_of_the_kind_of_this_system() -> None:
    assert type(Path("a")) is PosixPath
    assert isinstance(Path("a"), pathlib.PurePosixPath)
    assert not isinstance(Path("a"), pathlib.Path)


def test_a_path_is_read_and_written_like_any_other() -> None:
    path = Path("folder", "file.txt")
    assert str(path) == os.fspath(path) == "folder/file.txt"
    assert bytes(path) == b"folder/file.txt"
    assert repr(path) == "nursery.Path('folder/file.txt')"
    assert Path(pathlib.Path("folder")) / "file.txt" == path
    with pytest.raises(TypeError):
        Path(7)  # type: ignore[arg-type]  # the mistake under test


def test_what_is_made_of_a_path_is_a_path_too() -> None:
    path = Path("/folder/file.txt")
    made = [
        path / "more",
        "/before" / path,
        path.parent,
        path.parents[1],
        path.joinpath("more"),
        path.with_name("other"),
        path.with_suffix(".dat"),
        path.relative_to("/folder"),
        pathlib.Path("/before") / path,
    ]
    assert [type(each) for each in made[:-1]] == [PosixPath] * 8
    assert (path.name, path.stem, path.suffix) == ("file.txt", "file", ".txt")


@pytest.mark.parametrize("other_class", [Path, pathlib.Path, pathlib.PurePosixPath])
def test_a_path_compares_with_any_path_of_its_system(other_class: type[pathlib.PurePath]) -> None:
    path = Path("b")
    strangers: list[object] = [pathlib.PureWindowsPath("b"), "b", None]
    assert path not in strangers
    assert path == other_class("b")
    assert other_class("b") == path
    assert hash(path) == hash(other_class("b"))
    assert path != other_class("c")
    assert other_class("a") < path < other_class("c")
    assert path > other_class("a")


def test_a_path_travels_by_pickle() -> None:
    path = pickle.loads(pickle.dumps(Path("/folder/file")))
    assert type(path) is PosixPath
    assert path == Path("/folder/file")


@pytest.mark.skipif(sys.version_info < (3, 13), reason="full_match is new in 3.13")
async def test_full_match_is_awaited_as_in_trio() -> None:
    path: Any = Path("/a/b.txt")
    assert await path.full_match("/a/*.txt")
    assert not await path.full_match("*.py")


def test_a_path_becomes_a_uri_and_back() -> None:
    assert Path("/a b").as_uri() == "file:///a%20b"
    if sys.version_info >= (3, 13):
        assert Path.from_uri("file:///a%20b") == Path("/a b")
        assert type(Path.from_uri("file:///folder")) is PosixPath
    with pytest.raises(ValueError, match="relative"):
        Path("a").as_uri()


# Asking


async def test_where_we_are_and_where_we_live() -> None:
    for path, expected in ((await Path.cwd(), os.getcwd()), (await Path.home(), os.path.expanduser("~"))):
        assert type(path) is PosixPath
        assert str(path) == expected
    assert await Path("~/x").expanduser() == await Path.home() / "x"
    assert await Path("x").absolute() == await Path.cwd() / "x"


async def test_what_is_there(folder: Path) -> None:
    await tree(folder)
    assert await folder.exists()
    assert await folder.is_dir()
    assert await (folder / "top.txt").is_file()
    assert not await (folder / "top.txt").is_dir()
    assert not await (folder / "nothing").exists()
    assert (await (folder / "top.txt").stat()).st_size == 3
    assert (await (folder / "top.txt").lstat()).st_size == 3
    assert await Path("/dev/null").is_char_device()
    assert await Path("/").is_mount()
    assert not await folder.is_socket()
    assert not await folder.is_fifo()
    assert not await folder.is_block_device()
    assert await folder.owner() == pathlib.Path(folder).owner()
    assert await folder.group() == pathlib.Path(folder).group()
    if sys.version_info >= (3, 12):
        assert not await folder.is_junction()


@pytest.mark.parametrize("path_class", [Path, pathlib.Path, str])
async def test_samefile_takes_any_path(folder: Path, path_class: Callable[[object], str]) -> None:
    await tree(folder)
    assert await folder.samefile(path_class(folder / "inner" / ".."))
    assert not await folder.samefile(path_class(folder / "inner"))


async def test_what_is_not_there_raises_what_pathlib_raises(folder: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await (folder / "nothing").stat()
    with pytest.raises(FileNotFoundError):
        await (folder / "nothing").read_text()
    with pytest.raises(FileNotFoundError):
        await (folder / "nothing").iterdir()
    with pytest.raises(NotADirectoryError):
        await (folder / "file").write_text("x")
        await (folder / "file" / "inside").stat()


async def test_every_question_is_a_checkpoint(folder: Path) -> None:
    with assert_checkpoints():
        await folder.exists()
    with assert_checkpoints():
        await folder.iterdir()
    with assert_checkpoints():
        await Path.cwd()
    with nursery.CancelScope() as scope:
        scope.cancel()
        await (folder / "file").touch()
    assert scope.cancelled_caught
    assert not await (folder / "file").exists()


if sys.version_info >= (3, 14):

    async def test_info_asks_the_disk_once(folder: Path) -> None:
        file = folder / "file"
        await file.write_text("x")
        info = file.info
        assert file.info is info
        assert await info.exists()
        assert await info.is_file()
        assert not await info.is_dir(follow_symlinks=False)
        assert not await info.is_symlink()
        await file.unlink()
        assert await info.exists()
        assert not await file.exists()


# Looking inside


async def test_folders_are_listed_as_paths(folder: Path) -> None:
    await tree(folder)
    assert names(await folder.iterdir()) == ["inner", "top.dat", "top.txt"]
    assert names(await folder.glob("*.txt")) == ["top.txt"]
    assert names(await folder.glob("**/*.txt")) == ["deep.txt", "top.txt"]
    assert names(await folder.rglob("*.txt")) == ["deep.txt", "top.txt"]
    # What comes is an iterator, as from pathlib.
    assert type(next(await folder.glob("*.dat"))) is PosixPath


if sys.version_info >= (3, 12):

    async def test_walking_visits_each_folder(folder: Path) -> None:
        await tree(folder)
        seen = {root.name: (folders, sorted(files)) async for root, folders, files in folder.walk()}
        assert seen == {folder.name: (["inner"], ["top.dat", "top.txt"]), "inner": ([], ["deep.txt"])}

    async def test_a_walk_leaves_out_what_is_taken_out_of_the_list(folder: Path) -> None:
        await tree(folder)
        visited = []
        async for root, folders, _ in folder.walk():
            assert type(root) is PosixPath
            visited.append(root)
            folders.clear()
        assert visited == [folder]

    async def test_a_walk_from_below_comes_to_the_top_last(folder: Path) -> None:
        await tree(folder)
        assert [root.name async for root, _, _ in folder.walk(top_down=False)] == ["inner", folder.name]

    async def test_a_walk_reports_what_cannot_be_read(folder: Path) -> None:
        errors: list[OSError] = []
        assert [step async for step in (folder / "nothing").walk(on_error=errors.append)] == []
        assert isinstance(errors[0], FileNotFoundError)

    async def test_each_step_of_a_walk_is_a_checkpoint(folder: Path) -> None:
        walk = folder.walk()
        with assert_checkpoints():
            await anext(walk)
        with assert_checkpoints(), pytest.raises(StopAsyncIteration):
            await anext(walk)


# Contents


async def test_contents_are_written_and_read(folder: Path) -> None:
    file = folder / "file"
    assert await file.write_text("äöü", encoding="utf-8") == 3
    assert await file.read_text(encoding="utf-8") == "äöü"
    assert await file.read_bytes() == "äöü".encode()
    assert await file.write_bytes(b"bytes") == 5
    assert await file.read_text() == "bytes"


async def test_a_path_is_opened_as_an_async_file(folder: Path) -> None:
    async with await (folder / "file").open("w") as file:
        assert isinstance(file, AsyncIOWrapper)
        await file.write("one\ntwo\n")
        assert file.name == os.fspath(folder / "file")
    assert file.closed
    async with await (folder / "file").open() as reader:
        assert [line async for line in reader] == ["one\n", "two\n"]


# Changing


async def test_making_moving_and_removing(folder: Path) -> None:
    await (folder / "a" / "b").mkdir(parents=True)
    file = folder / "a" / "file"
    await file.touch()
    await file.chmod(0o600)
    assert (await file.stat()).st_mode & 0o777 == 0o600
    renamed = await file.rename(folder / "renamed")
    assert type(renamed) is PosixPath
    assert names(await folder.iterdir()) == ["a", "renamed"]
    replaced = await renamed.replace(str(folder / "replaced"))
    assert replaced == folder / "replaced"
    await replaced.unlink()
    await replaced.unlink(missing_ok=True)
    await (folder / "a" / "b").rmdir()
    await (folder / "a").rmdir()
    assert names(await folder.iterdir()) == []


async def test_links(folder: Path) -> None:
    await (folder / "file").write_text("x")
    await (folder / "soft").symlink_to(folder / "file")
    await (folder / "hard").hardlink_to(folder / "file")
    assert await (folder / "soft").is_symlink()
    target = await (folder / "soft").readlink()
    assert type(target) is PosixPath
    assert target == folder / "file"
    assert await (folder / "soft").resolve() == await (folder / "file").resolve()
    assert await (folder / "hard").samefile(folder / "file")
    with pytest.raises(FileNotFoundError):
        await (folder / "nothing").resolve(strict=True)


if sys.version_info >= (3, 14):

    @pytest.mark.parametrize("path_class", [Path, pathlib.Path, str])
    async def test_copying_and_moving(folder: Path, path_class: Callable[[object], str]) -> None:
        await tree(folder)
        copied = await (folder / "top.txt").copy(path_class(folder / "copy.txt"))
        assert type(copied) is PosixPath
        assert await copied.read_text() == "top"
        assert await (await copied.copy_into(path_class(folder / "inner"))).read_text() == "top"
        moved = await copied.move(path_class(folder / "moved.txt"))
        assert moved == folder / "moved.txt"
        moved = await moved.move_into(path_class(folder / "inner"))
        assert type(moved) is PosixPath
        assert names(await (folder / "inner").iterdir()) == ["copy.txt", "deep.txt", "moved.txt"]
