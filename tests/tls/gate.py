"""A stream that counts what goes through it, and whose two directions can be held up."""

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
        self._receiving = nursery.Event()
        self._receiving.set()
        self._sending = nursery.Event()
        self._sending.set()
        self._waiting = nursery.Event()
        self._waiting.set()

    @property
    def holds_receives(self) -> bool:
        return not self._receiving.is_set()

    def open(self) -> None:
        """Let everything pass."""
        for event in (self._receiving, self._sending, self._waiting):
            event.set()

    def hold_sends(self) -> None:
        self._sending = nursery.Event()

    def hold_waits(self) -> None:
        """Hold up who waits for room."""
        self._waiting = nursery.Event()

    def release_waits(self) -> None:
        self._waiting.set()

    async def until(self, true: Callable[[], bool]) -> None:
        """Return when `true()` is, which another process decides."""
        with nursery.fail_after(10):
            while not true():
                await nursery.sleep(0.001)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        self.sends += 1
        await self._sending.wait()
        await self.inner.send_all(data)
        if self.hold_after_send:
            self.hold_after_send = False
            self._receiving = nursery.Event()

    async def wait_send_all_might_not_block(self) -> None:
        await self._waiting.wait()
        await self.inner.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await self._receiving.wait()
        data = await self.inner.receive_some(max_bytes)
        self.receives += 1
        return data

    async def aclose(self) -> None:
        await self.inner.aclose()
