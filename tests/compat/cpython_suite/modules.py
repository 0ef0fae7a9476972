"""Which modules of the interpreter's suite are run, and which parts of them only in the long form.

Invariant: a module that is not named here concerns another event loop than ours, or nothing that runs: the proactor and
Windows loops, the selector loop's private parts (test_selector_events), what reads the memory of other processes
(test_tools), the fixtures of the suite.
"""

from __future__ import annotations

from typing import Final

from .run import Dialect

# On our loop, with asyncio's own tasks, locks, streams and so on above it.
LOOP: Final = (
    "test_base_events",
    "test_buffered_proto",
    "test_context",
    "test_eager_task_factory",
    "test_events",
    "test_free_threading",
    "test_futures",
    "test_futures2",
    "test_graph",
    "test_locks",
    "test_pep492",
    "test_protocols",
    "test_queues",
    "test_runners",
    "test_sendfile",
    "test_server",
    "test_server_context",
    "test_sock_lowlevel",
    "test_ssl",
    "test_sslproto",
    "test_staggered",
    "test_streams",
    "test_subprocess",
    "test_taskgroups",
    "test_tasks",
    "test_threads",
    "test_timeouts",
    "test_transports",
    "test_unix_events",
    "test_waitfor",
)

# Once more with the module asyncio exchanged for ours: what the facade has of its own.
FACADE: Final = (
    "test_context",
    "test_eager_task_factory",
    "test_free_threading",
    "test_futures",
    "test_futures2",
    "test_locks",
    "test_pep492",
    "test_queues",
    "test_runners",
    "test_server",
    "test_server_context",
    "test_staggered",
    "test_streams",
    "test_subprocess",
    "test_taskgroups",
    "test_tasks",
    "test_threads",
    "test_timeouts",
    "test_waitfor",
)

RUNS: Final[tuple[tuple[Dialect, str], ...]] = (
    *(("loop", module) for module in LOOP),
    *(("facade", module) for module in FACADE),
)

# The same tests over again, with what makes no difference to our loop: another selector, another child watcher,
# another pair of asyncio's own classes of tasks and futures.
LONG_ONLY: Final = (
    "test_events.PollEventLoopTests.*",
    "test_events.SelectEventLoopTests.*",
    "test_sendfile.PollEventLoopTests.*",
    "test_sendfile.SelectEventLoopTests.*",
    "test_sock_lowlevel.PollEventLoopTests.*",
    "test_sock_lowlevel.SelectEventLoopTests.*",
    "test_subprocess.SubprocessSafeWatcherTests.*",
    "test_subprocess.SubprocessThreadedWatcherTests.*",
    "test_tasks.CTaskSubclass_PyFuture_Tests.*",
    "test_tasks.CTask_CFuture_SubclassTests.*",
    "test_tasks.CTask_PyFuture_Tests.*",
    "test_tasks.KernelTask_PyFuture_Tests.*",
    "test_tasks.PyTask_CFutureSubclass_Tests.*",
    "test_tasks.PyTask_CFuture_Tests.*",
    "test_tasks.PyTask_PyFuture_SubclassTests.*",
)
# In the facade the classes of asyncio itself say nothing new.
FACADE_LONG_ONLY: Final = (
    "test_eager_task_factory.*Py*",
    "test_eager_task_factory.*CTask*",
    "test_tasks.CTask_CFuture_Tests.*",
    "test_tasks.KernelTask_CFuture_Tests.*",
    "test_tasks.PyTask_PyFuture_Tests.*",
)
