"""Work for other threads: run_in_executor, and name look-up, which is done there."""

from __future__ import annotations

import asyncio
import socket
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any, TypeVar, TypeVarTuple

from .state import LoopState

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Executors(LoopState):
    """run_in_executor, set_default_executor, shutdown_default_executor, getaddrinfo, getnameinfo."""

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts
    ) -> asyncio.Future[T]:
        """Call `func(*args)` in `executor`, or in the default thread pool, and return a future of its result.

        Source: asyncio's documentation, `loop.run_in_executor`.
        """
        self._check_closed()
        if executor is None:
            executor = self._default_executor
            if self._executor_shutdown_called:
                raise RuntimeError("Executor shutdown has been called")
            if executor is None:
                executor = self._default_executor = ThreadPoolExecutor(thread_name_prefix="asyncio")
        return asyncio.wrap_future(executor.submit(func, *args), loop=self)

    def set_default_executor(self, executor: ThreadPoolExecutor) -> None:  # type: ignore[override]  # as asyncio itself: no other executor will do
        """Use `executor` where `run_in_executor` is given None."""
        if not isinstance(executor, ThreadPoolExecutor):
            raise TypeError("executor must be ThreadPoolExecutor instance")
        self._default_executor = executor

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Wait until the default thread pool has done its work, `timeout` seconds at most.

        Source: asyncio's documentation, `loop.shutdown_default_executor`.
        """
        self._executor_shutdown_called = True
        executor = self._default_executor
        if executor is None:
            return
        done: asyncio.Future[None] = self.create_future()

        def report(error: BaseException | None) -> None:
            if done.cancelled():
                return
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(error)

        def shut_down() -> None:
            failure = None
            try:
                executor.shutdown(wait=True)
            except BaseException as exc:
                failure = exc
            if not self._closed:
                self.call_soon_threadsafe(report, failure)

        thread = threading.Thread(target=shut_down)
        thread.start()
        try:
            async with asyncio.timeout(timeout):
                await done
        except TimeoutError:
            warnings.warn(
                f"The executor did not finishing joining its threads within {timeout} seconds.",
                RuntimeWarning,
                stacklevel=2,
            )
            executor.shutdown(wait=False)
        else:
            thread.join()

    async def getaddrinfo(
        self,
        host: bytes | str | None,
        port: bytes | str | int | None,
        *,
        family: int = 0,
        type: int = 0,
        proto: int = 0,
        flags: int = 0,
    ) -> list[Any]:
        """Look addresses up, in a thread (socket.getaddrinfo)."""
        return await self.run_in_executor(None, socket.getaddrinfo, host, port, family, type, proto, flags)

    async def getnameinfo(self, sockaddr: Any, flags: int = 0) -> tuple[str, str]:
        """Look a name up, in a thread (socket.getnameinfo)."""
        return await self.run_in_executor(None, socket.getnameinfo, sockaddr, flags)
