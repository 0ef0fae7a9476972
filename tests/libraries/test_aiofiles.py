"""aiofiles: the loop's default executor."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import aiofiles
import aiofiles.os
import aiofiles.tempfile
import pytest

import nursery
from tests.libraries.on_our_loop import asyncio_test, mixed_test


@asyncio_test
async def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "file"
    async with aiofiles.open(path, "w") as file:
        await file.writelines(f"line {number}\n" for number in range(100))
    async with aiofiles.open(path) as file:
        assert [line async for line in file] == [f"line {number}\n" for number in range(100)]
    await aiofiles.os.remove(path)
    assert not await aiofiles.os.path.exists(path)


@asyncio_test
async def test_an_error_of_the_thread_is_raised_at_the_await(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        async with aiofiles.open(tmp_path / "nothing"):
            pass


@asyncio_test
async def test_a_temporary_file_goes_away() -> None:
    async with aiofiles.tempfile.NamedTemporaryFile("w+") as file:
        name = str(file.name)
        await file.write("text")
        await file.seek(0)
        assert await file.read() == "text"
    assert not os.path.exists(name)


@asyncio_test
async def test_cancel_ends_a_blocking_read_and_other_files_go_on(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb", buffering=0) as read_end:
        pipe = aiofiles.threadpool.wrap(read_end)
        blocked = asyncio.create_task(pipe.read(1))
        await asyncio.sleep(0.01)
        blocked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await blocked
        async with aiofiles.open(tmp_path / "file", "wb") as file:
            assert await file.write(b"on") == 2
        # The thread behind the cancelled read is still there: let it end.
        os.close(writer)
        await asyncio.get_running_loop().shutdown_default_executor()


@mixed_test
async def test_a_scope_ends_a_blocking_read_and_other_files_go_on(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb", buffering=0) as read_end:
        pipe = aiofiles.threadpool.wrap(read_end)
        with nursery.move_on_after(0.01) as scope:
            await pipe.read(1)
        assert scope.cancelled_caught
        async with aiofiles.open(tmp_path / "file", "wb") as file:
            assert await file.write(b"on") == 2
        os.close(writer)
        await asyncio.get_running_loop().shutdown_default_executor()


@mixed_test
async def test_a_file_is_closed_in_a_cancelled_scope(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    with nursery.CancelScope() as scope:
        async with aiofiles.open(tmp_path / "file") as file:
            scope.cancel()
            await nursery.lowlevel.checkpoint()
    assert scope.cancelled_caught
    assert file.closed


@mixed_test
async def test_children_of_a_nursery_write_files(tmp_path: Path) -> None:
    async def write(number: int) -> None:
        async with aiofiles.open(tmp_path / str(number), "w") as file:
            await file.write(str(number))

    async with nursery.open_nursery() as children:
        for number in range(20):
            children.start_soon(write, number)
    assert sorted(int(path.read_text()) for path in tmp_path.iterdir()) == list(range(20))
