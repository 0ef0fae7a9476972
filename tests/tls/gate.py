"""A stream that counts what goes through it, and whose receives can be held up."""

from __future__ import annotations

from collections.abc import Callable

import nursery
from nursery.abc import Stream
from nursery.network.stream import SocketStream


class Gate(Stream):
    """A stream over `inner`."""

    def __init__(self, inner: SocketStream) -> None:
        self.inner = inner
        self.sends = 0
        self.receives = 0
        self.hold_after_send = False
        self._open = nursery.Event()
        self._open.set()

    def open(self) -> None:
        self._open.set()

    async def until(self, true: Callable[[], bool]) -> None:
        """Return when `true()` is, which another process decides."""
        with nursery.fail_after(10):
            while not true():
                await nursery.sleep(0.001)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self.inner.send_all(data)
        self.sends += 1
        if self.hold_after_send:
            self.hold_after_send = False
            self._open = nursery.Event()

    async def wait_send_all_might_not_block(self) -> None:
        await self.inner.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await self._open.wait()
        data = await self.inner.receive_some(max_bytes)
        self.receives += 1
        return data

    async def aclose(self) -> None:
        await self.inner.aclose()
