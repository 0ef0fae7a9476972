"""Names taken out of the package and its submodules, mixed with those of the package."""

# mypy: disable-error-code="unused-awaitable"

import asyncio
import asyncio.streams
import asyncio.subprocess
from asyncio import (
    CancelledError,
    Event,
    Future,
    Queue,
    Task,
    TaskGroup,
    create_subprocess_exec,
    create_task,
    gather,
    open_connection,
    run,
    sleep,
    start_server,
    subprocess,
    timeout,
)
from asyncio import Lock as AsyncLock
from asyncio.base_events import BaseEventLoop
from asyncio.coroutines import iscoroutine, iscoroutinefunction
from asyncio.events import AbstractEventLoop, get_running_loop, new_event_loop
from asyncio.exceptions import IncompleteReadError, InvalidStateError
from asyncio.exceptions import TimeoutError as AsyncTimeoutError
from asyncio.futures import Future as AnotherFuture
from asyncio.futures import isfuture, wrap_future
from asyncio.locks import Condition, Semaphore
from asyncio.log import logger
from asyncio.protocols import DatagramProtocol, Protocol
from asyncio.queues import PriorityQueue, QueueEmpty
from asyncio.runners import Runner
from asyncio.streams import StreamReader, StreamWriter
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process, create_subprocess_shell
from asyncio.taskgroups import TaskGroup as AnotherGroup
from asyncio.tasks import FIRST_COMPLETED, ensure_future, shield, wait, wait_for
from asyncio.tasks import Task as AnotherTask
from asyncio.threads import to_thread
from asyncio.timeouts import Timeout, timeout_at
from asyncio.transports import BaseTransport, DatagramTransport, Transport
from typing import Any, assert_type


async def number() -> int:
    return 1


async def tasks() -> None:
    task: Task[int] = create_task(number())
    same: AnotherTask[int] = task
    future: AnotherFuture[int] = same
    another: Future[int] = ensure_future(number())
    assert_type(await gather(shield(task), another), tuple[int, int])
    done, _ = await wait([task], return_when=FIRST_COMPLETED)
    assert_type(done, set[asyncio.Task[int]])
    assert_type(await wait_for(future, 5), int)
    assert_type(await to_thread(len, "x"), int)
    assert_type(iscoroutine(await gather(task)), bool)
    print(isfuture, iscoroutinefunction)
    async with TaskGroup() as group, timeout(5) as limit:
        group.create_task(number())
        assert_type(limit, asyncio.Timeout)
    async with AnotherGroup() as other, timeout_at(5):
        assert_type(other.create_task(number()), asyncio.Task[int])
    try:
        await sleep(1)
    except (CancelledError, AsyncTimeoutError, InvalidStateError, IncompleteReadError):
        logger.warning("late")
    print(wrap_future)


async def processes() -> None:
    process: Process = await create_subprocess_exec("ls", stdout=PIPE, stderr=STDOUT, stdin=DEVNULL)
    shell: subprocess.Process = await create_subprocess_shell("ls", stdout=subprocess.PIPE)
    third: asyncio.subprocess.Process = await asyncio.create_subprocess_exec("ls", stdout=asyncio.subprocess.PIPE)
    fourth: Process = await asyncio.subprocess.create_subprocess_exec("ls")
    processes: list[Process] = [process, shell, third, fourth]
    for each in processes:
        if each.stdout is not None:
            await drain(each.stdout)


async def drain(reader: StreamReader) -> bytes:
    return await reader.read()


async def handle(reader: StreamReader, writer: StreamWriter) -> None:
    await drain(reader)
    writer.close()


async def handle_too(reader: asyncio.StreamReader, writer: asyncio.streams.StreamWriter) -> None:
    await handle(reader, writer)


async def streams() -> None:
    server = await asyncio.start_server(handle, "localhost", 80)
    assert_type(server, asyncio.Server)
    await start_server(handle_too)
    reader, writer = await open_connection("localhost", 80)
    await handle(reader, writer)
    await asyncio.streams.open_connection()


class Client:
    loop: AbstractEventLoop
    reader: StreamReader
    writer: StreamWriter

    async def open(self) -> None:
        self.loop = get_running_loop()
        self.reader, self.writer = await asyncio.open_connection("localhost", 80)


class Pair(Protocol, DatagramProtocol):
    def connection_made(self, transport: BaseTransport) -> None:
        assert isinstance(transport, (Transport, DatagramTransport))


async def datagrams() -> None:
    transport, _ = await get_running_loop().create_datagram_endpoint(Pair, local_addr=("localhost", 0))
    narrow: DatagramTransport = transport
    narrow.close()


def loops() -> None:
    loop: AbstractEventLoop = new_event_loop()
    loop.close()
    base: type[BaseEventLoop] = asyncio.SelectorEventLoop
    print(base)
    with Runner() as runner:
        runner.run(number())
    run(number())


class Mailbox:
    """The classes of the package and of its submodules are the same ones."""

    queue: Queue[int]
    urgent: PriorityQueue[int]
    lock: AsyncLock

    def __init__(self) -> None:
        self.queue = asyncio.Queue()
        self.urgent = asyncio.PriorityQueue()
        self.lock = asyncio.Lock()
        self.changed: Condition = asyncio.Condition(self.lock)
        self.limit: Semaphore = asyncio.BoundedSemaphore(3)
        self.full: asyncio.Event = Event()
        self.time_limit: Timeout = asyncio.timeout(5)

    def take(self) -> int | None:
        try:
            return self.queue.get_nowait()
        except QueueEmpty:
            return None


async def wrong(process: Process, reader: StreamReader) -> None:
    await process.communicate("x")  # type: ignore[arg-type]  # bytes
    await reader.read("x")  # type: ignore[arg-type]  # a number
    queue: PriorityQueue[int] = Queue()  # type: ignore[assignment]  # another kind
    anything: Any = asyncio.subprocess.nonsense  # type: ignore[attr-defined]  # there is no such name
    other: Any = asyncio.nonsense  # type: ignore[attr-defined]  # there is no such name
    print(queue, anything, other)
