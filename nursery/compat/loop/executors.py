"""Work for other threads: run_in_executor and the thread pool behind it.

Invariant: a call reaches the default pool only before `shutdown_default_executor` has begun, so that whoever waits for
the shutdown waits for every call that was accepted.
"""

from __future__ import annotations

import asyncio
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import TypeVar, TypeVarTuple

from .state import LoopState

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Executors(LoopState):
    """run_in_executor, set_default_executor, shutdown_default_executor."""

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts
    ) -> asyncio.Future[T]:
        """Call `func(*args)` in `executor`, or in the default thread pool, and return a future of its result.

        Raises RuntimeError if the loop is closed or the default pool was shut down; in debug mode TypeError for what is
        no callable or is a coroutine.
        Source: asyncio's documentation, `loop.run_in_executor`.
        """
        self._check_closed()
        if self._debug:
            self._check_callback(func, "run_in_executor")
        if executor is None:
            executor = self._default_executor
            if self._executor_shutdown_called:
                raise RuntimeError("Executor shutdown has been called")
            if executor is None:
                executor = self._default_executor = ThreadPoolExecutor(thread_name_prefix="asyncio")
        return asyncio.wrap_future(executor.submit(func, *args), loop=self)

    def set_default_executor(self, executor: ThreadPoolExecutor) -> None:  # type: ignore[override]  # as asyncio itself: no other executor will do
        """Use `executor` where `run_in_executor` is given None.

        Raises TypeError if it is not a ThreadPoolExecutor.
        Source: asyncio's documentation, `loop.set_default_executor`.
        """
        if not isinstance(executor, ThreadPoolExecutor):
            raise TypeError("executor must be ThreadPoolExecutor instance")
        self._default_executor = executor

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Wait until the default thread pool has done its work, and take no more work for it.

        Arguments: timeout is how many seconds to wait at most; then a RuntimeWarning says so, and the threads are left
        to themselves.  A cancelled call leaves them so too.
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
            try:
                self.call_soon_threadsafe(report, failure)
            except RuntimeError:
                # The loop was closed meanwhile: nobody waits.
                pass

        thread = threading.Thread(target=shut_down)
        thread.start()
        try:
            async with asyncio.timeout(timeout):
                await done
        except TimeoutError:
            warnings.warn(
                f"The executor did not finishing joining its threads within {timeout} seconds: a call still runs there",
                RuntimeWarning,
                stacklevel=2,
            )
            executor.shutdown(wait=False)
        else:
            thread.join()
