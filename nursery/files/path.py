"""Paths, whose methods that touch the disk are async.

Invariant: a `Path` is a pure path and no `pathlib.Path`, so nothing in it can block: what touches the disk is done by a
`pathlib.Path` made for the occasion, in a thread.  Going in, each Path among the arguments becomes one as well (the
standard library would call its methods); coming out, each path becomes a Path.

The signatures are those of the Python that runs, taken over method by method, so they need no keeping in step; a test
lists what `pathlib.Path` has and this class lacks (tests/files/test_path.py).
"""

from __future__ import annotations

import functools
import os
import pathlib
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
from typing import IO, TYPE_CHECKING, Any, BinaryIO, ClassVar, Concatenate, Literal, ParamSpec, Self, TypeVar, overload

from ..threads.worker import run_in_thread
from .opening import open_file
from .wrapper import AsyncIOWrapper

if TYPE_CHECKING:
    from io import BufferedRandom, BufferedReader, BufferedWriter, FileIO, TextIOWrapper

    from _typeshed import (
        OpenBinaryMode,
        OpenBinaryModeReading,
        OpenBinaryModeUpdating,
        OpenBinaryModeWriting,
        OpenTextMode,
        StrPath,
    )

if sys.version_info >= (3, 14):
    from pathlib.types import PathInfo as BlockingPathInfo

P = ParamSpec("P")
T = TypeVar("T")
PathT = TypeVar("PathT", bound="Path")


def blocking(argument: object) -> Any:
    """Return a Path as the `pathlib.Path` that it stands for, anything else as it is."""
    return argument._blocking_class(argument) if isinstance(argument, Path) else argument


async def _call(method: Callable[..., T], path: Path, args: tuple[object, ...], kwargs: dict[str, object]) -> T:
    """Call a method of `pathlib.Path` in a thread."""
    return await run_in_thread(
        functools.partial(
            method,
            blocking(path),
            *map(blocking, args),
            **{name: blocking(value) for name, value in kwargs.items()},
        )
    )


def _describe(wrapper: Callable[..., object], method: Callable[..., object], more: str = "") -> None:
    """Name the async form of a method after it."""
    wrapper.__name__ = method.__name__
    wrapper.__qualname__ = f"Path.{method.__name__}"
    # inspect.signature() follows it, and so do help() and editors: the parameters are the method's.
    vars(wrapper)["__wrapped__"] = method
    if method.__doc__ is not None:
        wrapper.__doc__ = (
            f"Do `pathlib.Path.{method.__name__}` in a thread{more}.\n\n"
            "A cancel point; once the thread has begun it does its work to the end.\n\n"
            f"Source: trio's documentation, `trio.{wrapper.__qualname__}`.\n"
        )


def in_thread(
    method: Callable[Concatenate[pathlib.Path, P], T],
) -> Callable[Concatenate[Path, P], Coroutine[Any, Any, T]]:
    """Make the async form of a method that returns no path."""

    async def wrapper(self: Path, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await _call(method, self, args, kwargs)

    _describe(wrapper, method)
    return wrapper


def path_in_thread(
    method: Callable[Concatenate[pathlib.Path, P], pathlib.Path],
) -> Callable[Concatenate[PathT, P], Coroutine[Any, Any, PathT]]:
    """Make the async form of a method that returns a path."""

    async def wrapper(self: PathT, /, *args: P.args, **kwargs: P.kwargs) -> PathT:
        return type(self)(await _call(method, self, args, kwargs))

    _describe(wrapper, method)
    return wrapper


def paths_in_thread(
    method: Callable[Concatenate[pathlib.Path, P], Iterable[pathlib.Path]],
) -> Callable[Concatenate[PathT, P], Coroutine[Any, Any, Iterator[PathT]]]:
    """Make the async form of a method that returns an iterator over paths: all of them are fetched at once."""

    def fetch(*args: Any, **kwargs: Any) -> list[pathlib.Path]:
        return list(method(*args, **kwargs))

    async def wrapper(self: PathT, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[PathT]:
        return map(type(self), await _call(fetch, self, args, kwargs))

    _describe(wrapper, method, ", up to its end, and return an iterator over what it found")
    return wrapper


class Path(pathlib.PurePath):
    """A path: as `pathlib.Path`, with async methods where it touches the disk.

    Arguments are those of `pathlib.Path`.  `Path(...)` makes a `PosixPath`, or a `WindowsPath` there.  It equals the
    `pathlib` path of the same name, and goes wherever an `os.PathLike` does.

    `iterdir`, `glob` and `rglob` are awaited and give a plain iterator: `for path in await folder.iterdir()`.
    `walk` is an async iterator: `async for root, folders, files in folder.walk()`.

    Example::

        folder = await nursery.Path.home() / "notes"
        await folder.mkdir(exist_ok=True)
        await (folder / "today.txt").write_text("nothing yet")

    Source: trio's documentation, `trio.Path`.
    """

    __slots__ = ("_info",)

    _blocking_class: ClassVar[type[pathlib.Path]]

    def __new__(cls, *args: StrPath) -> Self:
        if cls is Path:
            cls = WindowsPath if os.name == "nt" else PosixPath  # type: ignore[assignment]  # a subclass, as in pathlib
        return super().__new__(cls, *args)

    def __repr__(self) -> str:
        return f"nursery.Path({str(self)!r})"

    # Making one

    @classmethod
    async def cwd(cls) -> Self:
        """Return the current working directory.  A cancel point.

        Source: trio's documentation, `trio.Path.cwd`.
        """
        return cls(await run_in_thread(pathlib.Path.cwd))

    @classmethod
    async def home(cls) -> Self:
        """Return the user's home directory.  A cancel point.

        Source: trio's documentation, `trio.Path.home`.
        """
        return cls(await run_in_thread(pathlib.Path.home))

    if sys.version_info >= (3, 13):

        @classmethod
        def from_uri(cls, uri: str) -> Self:
            """Return the path that a file URI stands for.  Raises ValueError for another URI.  Not a cancel point."""
            return cls(pathlib.Path.from_uri(uri))

    def as_uri(self) -> str:
        """Return the path as a file URI.  Raises ValueError for a relative path.  Not a cancel point."""
        return self._blocking_class(self).as_uri()

    absolute = path_in_thread(pathlib.Path.absolute)
    expanduser = path_in_thread(pathlib.Path.expanduser)
    readlink = path_in_thread(pathlib.Path.readlink)
    resolve = path_in_thread(pathlib.Path.resolve)

    # What is there

    exists = in_thread(pathlib.Path.exists)
    group = in_thread(pathlib.Path.group)
    is_block_device = in_thread(pathlib.Path.is_block_device)
    is_char_device = in_thread(pathlib.Path.is_char_device)
    is_dir = in_thread(pathlib.Path.is_dir)
    is_fifo = in_thread(pathlib.Path.is_fifo)
    is_file = in_thread(pathlib.Path.is_file)
    if sys.version_info >= (3, 13):
        # It looks at no disk, but trio's is async, and programs that were written for it await this one.
        full_match = in_thread(pathlib.Path.full_match)  # type: ignore[assignment]  # PurePath's is not async
    if sys.version_info >= (3, 12):
        is_junction = in_thread(pathlib.Path.is_junction)
    is_mount = in_thread(pathlib.Path.is_mount)
    is_socket = in_thread(pathlib.Path.is_socket)
    is_symlink = in_thread(pathlib.Path.is_symlink)
    lstat = in_thread(pathlib.Path.lstat)
    owner = in_thread(pathlib.Path.owner)
    samefile = in_thread(pathlib.Path.samefile)
    stat = in_thread(pathlib.Path.stat)

    if sys.version_info >= (3, 14):

        @property
        def info(self) -> PathInfo:
            """What kind of file it is: each question is put to the disk once, and the answer kept."""
            try:
                return self._info
            except AttributeError:
                self._info: PathInfo = PathInfo(self._blocking_class(self).info)
                return self._info

    # What is in it

    glob = paths_in_thread(pathlib.Path.glob)
    iterdir = paths_in_thread(pathlib.Path.iterdir)
    rglob = paths_in_thread(pathlib.Path.rglob)

    if sys.version_info >= (3, 12):

        def walk(
            self,
            top_down: bool = True,
            on_error: Callable[[OSError], object] | None = None,
            follow_symlinks: bool = False,
        ) -> Walk[Self]:
            """Walk the tree of folders: iterate, asynchronously, over (folder, names of folders, names of files).

            Arguments are those of `pathlib.Path.walk`; with top_down=True the walk leaves out the folders whose names
            are taken out of the list; on_error is called in a thread.  Each step is a cancel point.

            Example::

                async for folder, folders, files in nursery.Path("src").walk():
                    folders[:] = [name for name in folders if name != "__pycache__"]
            """
            return Walk(type(self), self._blocking_class(self).walk(top_down, on_error, follow_symlinks))

    # Its content

    @overload
    async def open(
        self,
        mode: OpenTextMode = "r",
        buffering: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> AsyncIOWrapper[TextIOWrapper]: ...

    @overload
    async def open(
        self,
        mode: OpenBinaryMode,
        buffering: Literal[0],
        encoding: None = None,
        errors: None = None,
        newline: None = None,
    ) -> AsyncIOWrapper[FileIO]: ...

    @overload
    async def open(
        self,
        mode: OpenBinaryModeUpdating,
        buffering: Literal[-1, 1] = -1,
        encoding: None = None,
        errors: None = None,
        newline: None = None,
    ) -> AsyncIOWrapper[BufferedRandom]: ...

    @overload
    async def open(
        self,
        mode: OpenBinaryModeWriting,
        buffering: Literal[-1, 1] = -1,
        encoding: None = None,
        errors: None = None,
        newline: None = None,
    ) -> AsyncIOWrapper[BufferedWriter]: ...

    @overload
    async def open(
        self,
        mode: OpenBinaryModeReading,
        buffering: Literal[-1, 1] = -1,
        encoding: None = None,
        errors: None = None,
        newline: None = None,
    ) -> AsyncIOWrapper[BufferedReader]: ...

    @overload
    async def open(
        self,
        mode: OpenBinaryMode,
        buffering: int = -1,
        encoding: None = None,
        errors: None = None,
        newline: None = None,
    ) -> AsyncIOWrapper[BinaryIO]: ...

    @overload
    async def open(
        self,
        mode: str,
        buffering: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> AsyncIOWrapper[IO[Any]]: ...  # as the builtin: the mode is known at run time only

    async def open(
        self,
        mode: str = "r",
        buffering: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> AsyncIOWrapper[Any]:
        """Open the file, as the builtin `open` does, and return an async file object; see `nursery.open_file`.

        Source: trio's documentation, `trio.Path.open`.
        """
        return await open_file(self, mode, buffering, encoding, errors, newline)

    read_bytes = in_thread(pathlib.Path.read_bytes)
    read_text = in_thread(pathlib.Path.read_text)
    write_bytes = in_thread(pathlib.Path.write_bytes)
    write_text = in_thread(pathlib.Path.write_text)

    # Making, moving, removing

    chmod = in_thread(pathlib.Path.chmod)
    hardlink_to = in_thread(pathlib.Path.hardlink_to)
    lchmod = in_thread(pathlib.Path.lchmod)
    if sys.version_info < (3, 12):
        link_to = in_thread(pathlib.Path.link_to)  # type: ignore[deprecated]  # the name is there, so it is here
    mkdir = in_thread(pathlib.Path.mkdir)
    rename = path_in_thread(pathlib.Path.rename)
    replace = path_in_thread(pathlib.Path.replace)
    rmdir = in_thread(pathlib.Path.rmdir)
    symlink_to = in_thread(pathlib.Path.symlink_to)
    touch = in_thread(pathlib.Path.touch)
    unlink = in_thread(pathlib.Path.unlink)

    if sys.version_info >= (3, 14):

        async def copy(
            self, target: StrPath, *, follow_symlinks: bool = True, preserve_metadata: bool = False
        ) -> Self:
            """Copy the file or tree to `target`, and return that; arguments are those of `pathlib.Path.copy`."""
            options = {"follow_symlinks": follow_symlinks, "preserve_metadata": preserve_metadata}
            return type(self)(await _call(pathlib.Path.copy, self, (target,), {**options}))

        async def copy_into(
            self, target_dir: StrPath, *, follow_symlinks: bool = True, preserve_metadata: bool = False
        ) -> Self:
            """Copy the file or tree into a folder, and return the copy; as `pathlib.Path.copy_into`."""
            options = {"follow_symlinks": follow_symlinks, "preserve_metadata": preserve_metadata}
            return type(self)(await _call(pathlib.Path.copy_into, self, (target_dir,), {**options}))

        async def move(self, target: StrPath) -> Self:
            """Move the file or tree to `target`, to another disk too, and return that; as `pathlib.Path.move`."""
            return type(self)(await _call(pathlib.Path.move, self, (target,), {}))

        async def move_into(self, target_dir: StrPath) -> Self:
            """Move the file or tree into a folder, and return where it is; as `pathlib.Path.move_into`."""
            return type(self)(await _call(pathlib.Path.move_into, self, (target_dir,), {}))


class PosixPath(Path, pathlib.PurePosixPath):
    """A `Path` on a system that is not Windows."""

    __slots__ = ()

    _blocking_class: ClassVar[type[pathlib.Path]] = pathlib.PosixPath


class WindowsPath(Path, pathlib.PureWindowsPath):
    """A `Path` on Windows."""

    __slots__ = ()

    _blocking_class: ClassVar[type[pathlib.Path]] = pathlib.WindowsPath


class Walk(AsyncIterator[tuple[PathT, list[str], list[str]]]):
    """The walk that `Path.walk` returns; each step is done in a thread."""

    __slots__ = ("_path_class", "_steps")

    def __init__(
        self, path_class: type[PathT], steps: Iterator[tuple[pathlib.Path, list[str], list[str]]]
    ) -> None:
        self._path_class = path_class
        self._steps = steps

    async def __anext__(self) -> tuple[PathT, list[str], list[str]]:
        # The lists are passed on as they are: the walk looks at them again.
        step = await run_in_thread(next, self._steps, None)
        if step is None:
            raise StopAsyncIteration
        folder, folders, files = step
        return self._path_class(folder), folders, files


if sys.version_info >= (3, 14):

    class PathInfo:
        """What `Path.info` returns: `pathlib.types.PathInfo` with async methods."""

        __slots__ = ("_blocking",)

        def __init__(self, blocking: BlockingPathInfo) -> None:
            self._blocking = blocking

        async def exists(self, *, follow_symlinks: bool = True) -> bool:
            """Return whether the path exists.  A cancel point."""
            return await run_in_thread(functools.partial(self._blocking.exists, follow_symlinks=follow_symlinks))

        async def is_dir(self, *, follow_symlinks: bool = True) -> bool:
            """Return whether the path is a folder.  A cancel point."""
            return await run_in_thread(functools.partial(self._blocking.is_dir, follow_symlinks=follow_symlinks))

        async def is_file(self, *, follow_symlinks: bool = True) -> bool:
            """Return whether the path is a plain file.  A cancel point."""
            return await run_in_thread(functools.partial(self._blocking.is_file, follow_symlinks=follow_symlinks))

        async def is_symlink(self) -> bool:
            """Return whether the path is a symbolic link.  A cancel point."""
            return await run_in_thread(self._blocking.is_symlink)


__all__ = ["Path", "PosixPath", "WindowsPath"]
