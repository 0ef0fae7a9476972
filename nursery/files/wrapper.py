"""Async file objects: a file object, each of whose methods that may block runs in another thread.

Invariant: the wrapper has exactly those attributes of IMMEDIATE and IN_THREAD that the wrapped file has, no others; for
type checkers, too, since each is declared for files that have it (tests/files/test_wrapper.py keeps tables and
declarations in step).

One method at a time is the caller's concern, as for any file object: two tasks that read at once get what they get.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine, Iterable
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, Self, TypeVar

from ..kernel.scope import CancelScope
from ..kernel.traps import checkpoint_if_cancelled
from ..resource import AsyncResource
from ..threads.worker import run_in_thread

if TYPE_CHECKING:
    from typing import AnyStr, BinaryIO

    from _typeshed import WriteableBuffer

# What is asked of the file at once: it does not touch the disk.
IMMEDIATE: Final = frozenset(
    {
        "buffer",
        "closed",
        "closefd",
        "encoding",
        "errors",
        "fileno",
        "getbuffer",
        "getvalue",
        "isatty",
        "line_buffering",
        "mode",
        "name",
        "newlines",
        "raw",
        "readable",
        "seekable",
        "writable",
    }
)

# What may block, and so runs in a thread.
IN_THREAD: Final = frozenset(
    {
        "flush",
        "peek",
        "read",
        "read1",
        "readall",
        "readinto",
        "readinto1",
        "readline",
        "readlines",
        "seek",
        "tell",
        "truncate",
        "write",
        "writelines",
    }
)

T = TypeVar("T")
FileT = TypeVar("FileT")
FileT_co = TypeVar("FileT_co", covariant=True)

if TYPE_CHECKING:
    # What a file must have for the wrapper to have it too.
    T_co = TypeVar("T_co", covariant=True)
    T_contra = TypeVar("T_contra", contravariant=True)
    AnyStr_co = TypeVar("AnyStr_co", str, bytes, covariant=True)

    class HasBuffer(Protocol):
        @property
        def buffer(self) -> BinaryIO: ...

    class HasClosed(Protocol):
        @property
        def closed(self) -> bool: ...

    class HasClosefd(Protocol):
        @property
        def closefd(self) -> bool: ...

    class HasEncoding(Protocol):
        @property
        def encoding(self) -> str: ...

    class HasErrors(Protocol):
        @property
        def errors(self) -> str | None: ...

    class HasFileno(Protocol):
        def fileno(self) -> int: ...

    class HasGetbuffer(Protocol):
        def getbuffer(self) -> memoryview: ...

    class HasGetvalue(Protocol[AnyStr_co]):
        def getvalue(self) -> AnyStr_co: ...

    class HasIsatty(Protocol):
        def isatty(self) -> bool: ...

    class HasLineBuffering(Protocol):
        @property
        def line_buffering(self) -> bool: ...

    class HasMode(Protocol):
        @property
        def mode(self) -> str: ...

    class HasName(Protocol[T_co]):
        # A str, mostly; a number for a file that was opened by its descriptor.
        @property
        def name(self) -> T_co: ...

    class HasNewlines(Protocol[T_co]):
        # A str, a tuple of them, or None.
        @property
        def newlines(self) -> T_co: ...

    class HasRaw(Protocol[T_co]):
        @property
        def raw(self) -> T_co: ...

    class HasReadable(Protocol):
        def readable(self) -> bool: ...

    class HasSeekable(Protocol):
        def seekable(self) -> bool: ...

    class HasWritable(Protocol):
        def writable(self) -> bool: ...

    class CanClose(Protocol):
        def close(self) -> None: ...

    class CanDetach(Protocol[T_co]):
        def detach(self) -> T_co: ...

    class CanFlush(Protocol):
        def flush(self) -> None: ...

    class CanPeek(Protocol[AnyStr_co]):
        def peek(self, size: int = ..., /) -> AnyStr_co: ...

    class CanRead(Protocol[T_co]):
        # A raw file may also have nothing yet, and return None.
        def read(self, size: int = ..., /) -> T_co: ...

    class CanRead1(Protocol):
        def read1(self, size: int = ..., /) -> bytes: ...

    class CanReadall(Protocol[T_co]):
        def readall(self) -> T_co: ...

    class CanReadinto(Protocol[T_co]):
        def readinto(self, buffer: bytearray, /) -> T_co: ...

    class CanReadinto1(Protocol):
        def readinto1(self, buffer: bytearray, /) -> int: ...

    class CanReadline(Protocol[AnyStr_co]):
        def readline(self, size: int = ..., /) -> AnyStr_co: ...

    class CanReadlines(Protocol[AnyStr]):
        def readlines(self, hint: int = ..., /) -> list[AnyStr]: ...

    class CanSeek(Protocol):
        def seek(self, target: int, whence: int = ..., /) -> int: ...

    class CanTell(Protocol):
        def tell(self) -> int: ...

    class CanTruncate(Protocol):
        def truncate(self, size: int | None = ..., /) -> int: ...

    class CanWrite(Protocol[T_contra]):
        def write(self, data: T_contra, /) -> int | None: ...

    class CanWritelines(Protocol[T_contra]):
        def writelines(self, lines: Iterable[T_contra], /) -> None: ...


class AsyncIOWrapper(AsyncResource, Generic[FileT_co]):
    """An async file object: what may block in the wrapped file object is async here, the rest is as it was.

    Attributes: `wrapped`, the file object itself.

    Async methods, where the file has them: flush, peek, read, read1, readall, readinto, readinto1, readline, readlines,
    seek, tell, truncate, write, writelines; and `async for line in file`.  Each runs in a thread to its end, also if
    the call is cancelled meanwhile; a cancel point before that.  Attributes and methods that do not touch the disk are
    passed on as they are.

    Source: trio's documentation, "Asynchronous filesystem I/O".
    """

    def __init__(self, file: FileT_co) -> None:
        self._wrapped = file

    @property
    def wrapped(self) -> FileT_co:
        """The wrapped file object."""
        return self._wrapped

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> object:
            if name in IMMEDIATE:
                return getattr(self._wrapped, name)
            if name in IN_THREAD:
                method = _in_thread(getattr(self._wrapped, name), type(self), self._wrapped.__class__, name)
                # Found at once the next time.
                setattr(self, name, method)
                return method
            # Not self._wrapped: while it is copied or unpickled there is none, and it would be asked for here again.
            wrapped = vars(self).get("_wrapped")
            raise AttributeError(
                f"{type(self).__name__!r} object has no attribute {name!r}: what is particular to the wrapped "
                f"{type(wrapped).__name__!r} object is reached through .wrapped"
            )

    def __getstate__(self) -> dict[str, object]:
        # Without the methods that were found already: a copy is to have its own, of its own file.
        return {name: value for name, value in vars(self).items() if name not in IN_THREAD}

    def __dir__(self) -> Iterable[str]:
        return {*super().__dir__(), *(name for name in IMMEDIATE | IN_THREAD if hasattr(self._wrapped, name))}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._wrapped!r}>"

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self: AsyncIOWrapper[CanReadline[AnyStr]]) -> AnyStr:
        line = await self.readline()
        if not line:
            raise StopAsyncIteration
        return line

    async def detach(self: AsyncIOWrapper[CanDetach[T]]) -> AsyncIOWrapper[T]:
        """Take the buffer or the text layer off, and return the file below it as an async file object.

        Source: trio's documentation, "Asynchronous filesystem I/O".
        """
        return AsyncIOWrapper(await run_in_thread(self._wrapped.detach))

    # The type of self says more than AsyncResource's: only what can be closed is a resource.
    async def aclose(self: AsyncIOWrapper[CanClose]) -> None:
        """Flush and close the file; idempotent.

        A cancel point, but for the closing itself: that is done in any case.
        Source: trio's documentation, "Asynchronous filesystem I/O".
        """
        with CancelScope(shield=True):
            await run_in_thread(self._wrapped.close)
        await checkpoint_if_cancelled()

    if TYPE_CHECKING:
        # The two tables, once more, for type checkers.
        @property
        def buffer(self: AsyncIOWrapper[HasBuffer]) -> BinaryIO: ...
        @property
        def closed(self: AsyncIOWrapper[HasClosed]) -> bool: ...
        @property
        def closefd(self: AsyncIOWrapper[HasClosefd]) -> bool: ...
        @property
        def encoding(self: AsyncIOWrapper[HasEncoding]) -> str: ...
        @property
        def errors(self: AsyncIOWrapper[HasErrors]) -> str | None: ...
        def fileno(self: AsyncIOWrapper[HasFileno]) -> int: ...
        def getbuffer(self: AsyncIOWrapper[HasGetbuffer]) -> memoryview: ...
        def getvalue(self: AsyncIOWrapper[HasGetvalue[AnyStr]]) -> AnyStr: ...
        def isatty(self: AsyncIOWrapper[HasIsatty]) -> bool: ...
        @property
        def line_buffering(self: AsyncIOWrapper[HasLineBuffering]) -> bool: ...
        @property
        def mode(self: AsyncIOWrapper[HasMode]) -> str: ...
        @property
        def name(self: AsyncIOWrapper[HasName[T]]) -> T: ...
        @property
        def newlines(self: AsyncIOWrapper[HasNewlines[T]]) -> T: ...
        @property
        def raw(self: AsyncIOWrapper[HasRaw[T]]) -> T: ...
        def readable(self: AsyncIOWrapper[HasReadable]) -> bool: ...
        def seekable(self: AsyncIOWrapper[HasSeekable]) -> bool: ...
        def writable(self: AsyncIOWrapper[HasWritable]) -> bool: ...
        async def flush(self: AsyncIOWrapper[CanFlush]) -> None: ...
        async def peek(self: AsyncIOWrapper[CanPeek[AnyStr]], size: int = 0, /) -> AnyStr: ...
        async def read(self: AsyncIOWrapper[CanRead[T]], size: int = -1, /) -> T: ...
        async def read1(self: AsyncIOWrapper[CanRead1], size: int = -1, /) -> bytes: ...
        async def readall(self: AsyncIOWrapper[CanReadall[T]]) -> T: ...
        async def readinto(self: AsyncIOWrapper[CanReadinto[T]], buffer: WriteableBuffer, /) -> T: ...
        async def readinto1(self: AsyncIOWrapper[CanReadinto1], buffer: WriteableBuffer, /) -> int: ...
        async def readline(self: AsyncIOWrapper[CanReadline[AnyStr]], size: int = -1, /) -> AnyStr: ...
        async def readlines(self: AsyncIOWrapper[CanReadlines[AnyStr]], hint: int = -1, /) -> list[AnyStr]: ...
        async def seek(self: AsyncIOWrapper[CanSeek], target: int, whence: int = 0, /) -> int: ...
        async def tell(self: AsyncIOWrapper[CanTell]) -> int: ...
        async def truncate(self: AsyncIOWrapper[CanTruncate], size: int | None = None, /) -> int: ...
        async def write(self: AsyncIOWrapper[CanWrite[T]], data: T, /) -> int: ...
        async def writelines(self: AsyncIOWrapper[CanWritelines[T]], lines: Iterable[T], /) -> None: ...


def _in_thread(
    method: Callable[..., T], wrapper_class: type, wrapped_class: type, name: str
) -> Callable[..., Coroutine[Any, Any, T]]:
    """Return a method's async form, which does it in a thread."""

    async def call(*args: object, **kwargs: object) -> T:
        return await run_in_thread(functools.partial(method, *args, **kwargs))

    call.__name__ = name
    call.__qualname__ = f"{wrapper_class.__qualname__}.{name}"
    call.__module__ = wrapper_class.__module__
    call.__doc__ = f"Do `{wrapped_class.__module__}.{wrapped_class.__qualname__}.{name}` in a thread."
    return call


def wrap_file(file: FileT) -> AsyncIOWrapper[FileT]:
    """Return an async file object for a file object.

    Raises TypeError if it lacks `close`, or both `read` and `write`.  Not a cancel point.

    Example::

        lines = nursery.wrap_file(io.StringIO("one\\ntwo\\n"))
        assert await lines.readline() == "one\\n"

    Source: trio's documentation, `trio.wrap_file`.
    """

    def has(name: str) -> bool:
        return callable(getattr(file, name, None))

    if not (has("close") and (has("read") or has("write"))):
        raise TypeError(f"{file!r} is no file object: it must have the methods close and (read or write)")
    return AsyncIOWrapper(file)


__all__ = ["AsyncIOWrapper", "wrap_file"]
