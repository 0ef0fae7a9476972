"""open_loop: an asyncio loop inside a native run.

Invariant: while the block runs, the run is stepped by compat's batch, and each of its tasks is an asyncio task: those
that live when the loop is opened become so in place.  `asyncio.get_running_loop()` answers in every task of the run.
When the block is left, what `create_task` started in it has ended, and the run is a native one again.
"""

from __future__ import annotations

import asyncio
import sys
from types import TracebackType
from typing import Any, NoReturn, final

from ..kernel.current import current_task
from ..kernel.errors import Cancelled as NativeCancelled
from ..kernel.errors import CancelReason
from ..kernel.foreign import no_task_outside_step, reject_foreign
from ..kernel.loop import plain_batch
from ..kernel.nursery import Nursery, NurseryManager, open_nursery
from ..kernel.runner import END_OF_BATCH, Batch, Runner
from ..kernel.scope import CancelScope
from ..kernel.task import Task as KernelTask
from ..kernel.traps import cancel_shielded_checkpoint
from .handles import Handle
from .loop import EventLoop
from .loop.batch import batch, current_tasks
from .loop.debugging import reporting_batch
from .loop.running import check_insist
from .task import Task


def passing_exits_on(batch: Batch) -> Batch:
    """Let the block raise what leaves a loop at once: KeyboardInterrupt or SystemExit of a callback, or of a task.

    There is no `run_forever` here for it to come out of, and out of the run itself it would be an InternalError.
    """

    def step(runner: Runner) -> None:
        try:
            batch(runner)
        except (SystemExit, KeyboardInterrupt) as exc:
            loop: EventLoop = runner.dialect
            if loop.is_closed():
                raise
            runner.current = None
            current_tasks.pop(loop, None)
            loop.root_group.add_error(exc, CancelReason("nursery", f"a callback or a task raised {exc!r}", repr(loop)))

    return step


class OpenedLoop(EventLoop):
    """The loop of `open_loop`: it lives in a run that others began, and that others end."""

    _batches = (passing_exits_on(batch), passing_exits_on(reporting_batch))

    def __init__(self, runner: Runner, root_group: Nursery, insist: float | None) -> None:
        self._attach(runner, insist)
        self.root_group = root_group
        self.running_in = runner.thread
        runner.dialect = self

    def _refuse(self, what: str) -> NoReturn:
        raise RuntimeError(
            f"{what} is for a loop that runs by itself; this one runs inside nursery.run() and ends with its "
            "open_loop() block"
        )

    def run_forever(self) -> NoReturn:
        """Raise RuntimeError: it runs already."""
        self._refuse("run_forever()")

    def run_until_complete(self, future: object) -> NoReturn:
        """Raise RuntimeError: it runs already."""
        self._refuse("run_until_complete()")

    def stop(self) -> NoReturn:
        """Raise RuntimeError: the run is not the loop's to stop."""
        self._refuse("stop()")

    def close(self) -> None:
        """Raise RuntimeError while the block runs; nothing after it."""
        if not self._closed:
            self._refuse("close()")

    def __del__(self, *tools: object) -> None:
        """Do nothing: the block closes the loop."""


@final
class open_loop:
    """An async context manager that opens an asyncio loop in a native run, and gives it.

    Arguments: insist is how many seconds asyncio code may wait on in a cancelled scope after it swallowed the
    interruption, until it is interrupted again; None for ever.

    Inside the block any task of the run awaits asyncio libraries directly, and cancel scopes and nurseries work around
    them.  Tasks started by `asyncio.create_task` belong to the block: at its end they are cancelled, once each, and
    awaited.  Leaving waits for them; entering is a schedule point and no cancel point.

    Raises RuntimeError outside a native run, and if a loop is open or running already.

    Example::

        async def main() -> None:
            async with compat.open_loop(), aiohttp.ClientSession() as session:
                with nursery.move_on_after(5):
                    async with session.get(url) as response:
                        print(await response.text())

        nursery.run(main)
    """

    def __init__(self, *, insist: float | None = None) -> None:
        check_insist(insist)
        self._insist = insist
        self._manager: NurseryManager | None = None

    async def __aenter__(self) -> EventLoop:
        if self._manager is not None:
            raise RuntimeError("open_loop() was entered already: make a new one for each block")
        if asyncio._get_running_loop() is not None:
            raise RuntimeError(
                "an asyncio loop is running in this thread already: there is nothing to open, await asyncio things as "
                "they are"
            )
        task = current_task()
        self._runner = runner = task.runner
        if runner.batch is not plain_batch:
            raise RuntimeError("open_loop() works inside nursery.run()")
        self._manager = open_nursery()
        nursery = await self._manager.__aenter__()
        self._loop = loop = OpenedLoop(runner, nursery, self._insist)
        root = runner.root_task
        assert root is not None
        # The root and the inbox are the kernel's.
        kernels_own = {root, *root.child_nurseries[0].child_tasks}
        for living in list(runner.living_tasks()):
            if type(living) is KernelTask and living not in kernels_own:
                Task.adopt(living)
        runner.task_class = Task
        runner.batch = loop._batches[False]
        loop.outbox.open()
        asyncio._set_running_loop(loop)
        # Libraries leave async generators to their loop, which closes them in a task of its own, in peace.
        self._hooks = sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(firstiter=loop._asyncgen_first_iterated, finalizer=loop._asyncgen_abandoned)
        # The batch under way is the native one.
        runner.queue.appendleft(END_OF_BATCH)
        await cancel_shielded_checkpoint()
        return loop

    async def __aexit__(
        self, etype: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> bool:
        assert self._manager is not None
        try:
            try:
                await self._end_tasks()
            finally:
                # The manager's own wait takes what failed, and an interruption that came meanwhile.
                suppressed = await self._manager.__aexit__(etype, exc, tb)
        finally:
            self._close()
            await cancel_shielded_checkpoint()
            # In the native batch now.  Compat's has just made the current task none, which 3.14 lets it do only while
            # the loop is the running one.
            asyncio._set_running_loop(None)
            self._loop.running_in = None
        return suppressed

    async def _end_tasks(self) -> None:
        """Cancel what the block has left behind, and shut down generators and threads of the loop."""
        loop = self._loop
        left: list[Any] = [task for task in loop.root_group.child_tasks if isinstance(task, Task)]
        for task in left:
            task.cancel()
        with CancelScope(shield=True):
            while loop.root_group._children:
                await asyncio.wait(left)
                left = [task for task in loop.root_group.child_tasks if isinstance(task, Task)]
            await loop.shutdown_asyncgens()
            await loop.shutdown_default_executor()

    def _close(self) -> None:
        loop, runner = self._loop, self._runner
        loop.outbox.close()
        loop._remove_signal_handlers()
        loop._track_origins(False)
        sys.set_asyncgen_hooks(*self._hooks)
        loop._forget_children()
        self._forget_handles()
        loop._closed = loop._careful = True
        runner.task_class = KernelTask
        runner.batch = plain_batch
        runner.cancelled_class = NativeCancelled
        runner.foreign_await = reject_foreign
        runner.task_outside_step = no_task_outside_step
        runner.queue.appendleft(END_OF_BATCH)

    def _forget_handles(self) -> None:
        """Drop what a closed loop must not call any more; a transport that nobody else holds closes itself then."""
        queue, table = self._runner.queue, self._runner.io.table
        for _ in range(len(queue)):
            item = queue.popleft()
            if not isinstance(item, Handle):
                queue.append(item)
        for interest in list(table.values()):
            reads, writes = isinstance(interest.reader, Handle), isinstance(interest.writer, Handle)
            if reads:
                interest.reader = None
            if writes:
                interest.writer = None
            if (reads or writes) and interest.reader is None and interest.writer is None:
                self._runner.io.forget(interest)
