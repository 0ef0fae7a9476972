"""Guest mode: the run as a guest of another loop in the same thread."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import queue
import signal
import socket
import threading
import time
import warnings
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from typing import Any, TypeVar

import outcome
import pytest

import nursery
from nursery import CancelScope, InternalError
from nursery.kernel.current import current, current_runner
from nursery.kernel.idle import wait_all_tasks_blocked
from nursery.lowlevel import (
    Abort,
    Task,
    checkpoint,
    current_run_token,
    current_task,
    in_nursery_run,
    in_nursery_task,
    notify_closing,
    reschedule,
    spawn_system_task,
    start_guest_run,
    wait_readable,
    wait_task_rescheduled,
)

T = TypeVar("T")
Fn = Callable[[], object]


class Host:
    """The smallest host loop: a queue of functions, of which it calls one after the other."""

    def __init__(self, *, one_door: bool = False) -> None:
        self.todo: queue.Queue[Fn] = queue.Queue()
        self.calls = 0
        self.done: list[outcome.Outcome[Any]] = []
        self.one_door = one_door
        self.thread = threading.get_ident()

    def threadsafe(self, fn: Fn) -> None:
        self.todo.put(fn)

    def not_threadsafe(self, fn: Fn) -> None:
        assert threading.get_ident() == self.thread
        self.todo.put(fn)

    def start(self, async_fn: Callable[..., Awaitable[Any]], *args: object, **options: Any) -> None:
        """Start the guest, and return to the caller before its first task runs."""
        if not self.one_door:
            options["run_sync_soon_not_threadsafe"] = self.not_threadsafe
        start_guest_run(
            async_fn,
            *args,
            run_sync_soon_threadsafe=self.threadsafe,
            done_callback=self.done.append,
            **options,
        )

    def turn(self) -> None:
        """Call one function; a guest that never calls again is a failure and no hang."""
        fn = self.todo.get(timeout=2)
        self.calls += 1
        fn()

    def until_done(self) -> Any:
        """Go round until the guest has ended; return its value or raise its error."""
        while not self.done:
            self.turn()
        (final,) = self.done
        return final.unwrap()

    def run(self, async_fn: Callable[..., Awaitable[Any]], *args: object, **options: Any) -> Any:
        self.start(async_fn, *args, **options)
        return self.until_done()


@pytest.fixture(autouse=True)
def the_thread_is_left_as_it_was() -> Iterator[None]:
    """Fail a test whose guest leaves something in the thread."""
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
        assert current.runner is None
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        assert signal.set_wakeup_fd(-1) == -1
    finally:
        signal.signal(signal.SIGINT, handler)


# The life of a guest


@pytest.mark.parametrize("one_door", [False, True])
def test_a_guest_runs_and_delivers_its_value(one_door: bool) -> None:
    async def main(value: str) -> str:
        await checkpoint()
        return f"guest's {value}"

    assert Host(one_door=one_door).run(main, "value") == "guest's value"


def test_a_guest_delivers_its_error() -> None:
    async def main() -> None:
        await checkpoint()
        raise KeyError("guest's")

    with pytest.raises(KeyError, match="guest's"):
        Host().run(main)


def test_no_user_code_runs_before_start_returns_but_the_run_is_there() -> None:
    host, log = Host(), list[str]()

    async def main() -> None:
        log.append("main")

    host.start(main)
    assert log == []
    host.until_done()
    assert log == ["main"]


def test_when_start_returns_system_tasks_and_calls_are_accepted() -> None:
    host, log = Host(), list[str]()

    async def system() -> None:
        log.append("system")

    async def main() -> None:
        await wait_all_tasks_blocked()
        log.append("main ends")

    host.start(main)
    assert in_nursery_run()
    assert not in_nursery_task()
    spawn_system_task(system)
    current_run_token().run_sync_soon(log.append, "call")
    host.until_done()
    assert sorted(log[:2]) == ["call", "system"]
    assert log[2:] == ["main ends"]


def test_a_guest_sleeps_in_real_time_and_the_host_goes_on_meanwhile() -> None:
    host = Host()
    ticks: list[float] = []

    async def main() -> float:
        before = time.monotonic()
        await nursery.sleep(0.02)
        return time.monotonic() - before

    host.start(main)
    while not host.done:
        with contextlib.suppress(queue.Empty):
            host.todo.get(timeout=0.001)()
        ticks.append(time.monotonic())
    assert host.until_done() >= 0.019
    assert len(ticks) > 4


def test_a_guest_waits_for_descriptors() -> None:
    async def main() -> bytes:
        here, there = socket.socketpair()
        with here, there:
            async with nursery.open_nursery() as n:
                n.start_soon(send, there)
                await wait_readable(here)
            return here.recv(10)

    async def send(sock: socket.socket) -> None:
        await nursery.sleep(0.002)
        sock.send(b"data")

    assert Host().run(main) == b"data"


def test_a_busy_guest_returns_to_the_host_between_its_batches() -> None:
    host, log = Host(), list[str]()

    async def main() -> None:
        for number in range(5):
            log.append(f"guest {number}")
            host.not_threadsafe(lambda: log.append("host"))
            await checkpoint()

    host.run(main)
    first = log.index("host")
    assert first <= 2
    assert log.count("host") >= 4


def test_the_instruments_and_the_clock_of_a_guest_are_its_own() -> None:
    from .jumping_clock import JumpingClock

    hooks: list[str] = []

    class Watcher(nursery.abc.Instrument):
        def before_run(self) -> None:
            hooks.append("before_run")

        def after_run(self) -> None:
            hooks.append("after_run")

    async def main() -> float:
        await nursery.sleep(1000)
        return nursery.current_time()

    assert Host().run(main, clock=JumpingClock(), instruments=[Watcher()], debug=True) == 2000
    assert hooks[0] == "before_run"
    assert hooks[-1] == "after_run"


def test_the_hooks_around_waiting_come_in_pairs_in_a_guest_too() -> None:
    hooks: list[str] = []

    class Watcher(nursery.abc.Instrument):
        def before_io_wait(self, timeout: float) -> None:
            hooks.append("before")

        def after_io_wait(self, timeout: float) -> None:
            hooks.append("after")

    Host().run(nursery.sleep, 0.002, instruments=[Watcher()])
    assert len(hooks) >= 2
    assert hooks[: len(hooks) // 2 * 2] == ["before", "after"] * (len(hooks) // 2)


def test_a_thread_can_have_one_guest_after_another() -> None:
    async def main(number: int) -> int:
        await nursery.sleep(0.001)
        return number

    assert [Host().run(main, number) for number in range(3)] == [0, 1, 2]


def test_a_second_run_in_the_thread_of_a_guest_is_refused() -> None:
    async def main() -> None:
        with pytest.raises(RuntimeError, match="inside"):
            nursery.run(checkpoint)

    host = Host()
    host.start(main)
    with pytest.raises(RuntimeError):
        nursery.run(checkpoint)
    host.until_done()


def test_misuse_is_reported_through_the_outcome_or_at_the_call() -> None:
    host = Host()
    with pytest.raises(TypeError):
        host.start(5)  # type: ignore[arg-type]  # the misuse under test
        host.until_done()


# What the host does to the guest


def test_the_host_may_wake_a_task_while_the_guest_sleeps() -> None:
    host, tasks = Host(), list[Task]()

    async def main() -> object:
        tasks.append(current_task())
        return await wait_task_rescheduled(lambda raise_cancel: Abort.SUCCEEDED)

    host.start(main)
    _until_asleep(host)
    reschedule(tasks[0], outcome.Value("from the host"))
    assert host.until_done() == "from the host"


def _until_asleep(host: Host) -> None:
    """Let the guest go on until it has nothing to do for a while."""
    with contextlib.suppress(queue.Empty):
        while True:
            host.todo.get(timeout=0.02)()


def test_the_host_may_cancel_a_scope_while_the_guest_sleeps() -> None:
    host, scopes = Host(), list[CancelScope]()

    async def main() -> bool:
        with CancelScope() as scope:
            scopes.append(scope)
            await nursery.sleep_forever()
        return scope.cancelled_caught

    host.start(main)
    _until_asleep(host)
    scopes[0].cancel()
    assert host.until_done() is True


def test_the_host_may_set_a_deadline_while_the_guest_sleeps() -> None:
    host, scopes = Host(), list[CancelScope]()

    async def main() -> bool:
        with CancelScope() as scope:
            scopes.append(scope)
            await nursery.sleep_forever()
        return scope.cancelled_caught

    host.start(main)
    _until_asleep(host)
    scopes[0].deadline = nursery.current_time() + 0.002
    assert host.until_done() is True


def test_the_host_may_move_a_deadline_later_while_the_guest_sleeps() -> None:
    host, scopes = Host(), list[CancelScope]()

    async def main() -> float:
        before = nursery.current_time()
        with nursery.move_on_after(0.1) as scope:
            scopes.append(scope)
            await nursery.sleep_forever()
        return nursery.current_time() - before

    host.start(main)
    _until_asleep(host)
    scopes[0].deadline += 0.03
    assert host.until_done() >= 0.125


def test_a_call_from_a_thread_wakes_a_sleeping_guest() -> None:
    host, scopes = Host(), list[CancelScope]()

    async def main() -> None:
        with CancelScope() as scope:
            scopes.append(scope)
            await nursery.sleep_forever()

    host.start(main)
    token = current_run_token()
    _until_asleep(host)
    thread = threading.Thread(target=lambda: token.run_sync_soon(scopes[0].cancel))
    thread.start()
    host.until_done()
    thread.join()


def test_the_host_may_spawn_a_system_task_while_the_guest_sleeps() -> None:
    host, log = Host(), list[str]()

    async def system() -> None:
        log.append("system")
        scopes[0].cancel()

    async def main() -> None:
        with CancelScope() as scope:
            scopes.append(scope)
            await nursery.sleep_forever()

    scopes: list[CancelScope] = []
    host.start(main)
    _until_asleep(host)
    spawn_system_task(system)
    host.until_done()
    assert log == ["system"]


def test_many_wake_ups_from_the_host_are_all_seen() -> None:
    host, tasks, got = Host(), list[Task](), list[object]()

    async def main() -> None:
        tasks.append(current_task())
        for _ in range(20):
            got.append(await wait_task_rescheduled(lambda raise_cancel: Abort.SUCCEEDED))

    host.start(main)
    while not tasks:
        host.turn()
    number = 0
    while not host.done:
        if tasks[0].abort is not None and not tasks[0].ended:
            reschedule(tasks[0], outcome.Value(number))
            number += 1
        host.turn()
    host.until_done()
    assert got == list(range(20))


def test_a_wake_up_from_the_host_is_no_idleness() -> None:
    host, log, tasks = Host(), list[str](), list[Task]()

    async def woken() -> None:
        tasks.append(current_task())
        await wait_task_rescheduled(lambda raise_cancel: Abort.SUCCEEDED)
        log.append("woken by the host")

    async def main() -> None:
        async with nursery.open_nursery() as n:
            n.start_soon(woken)
            await checkpoint()
            await wait_all_tasks_blocked(cushion=0.05)
            log.append("idle")

    host.start(main)
    while not tasks:
        host.turn()
    with contextlib.suppress(queue.Empty):
        while True:
            host.todo.get(timeout=0.01)()
    reschedule(tasks[0])
    host.until_done()
    assert log == ["woken by the host", "idle"]


def test_notify_closing_wakes_a_waiter_also_if_its_event_has_been_fetched_already() -> None:
    host, log = Host(), list[str]()
    here, there = socket.socketpair()

    async def main() -> None:
        try:
            await wait_readable(here)
        except nursery.ClosedResourceError:
            log.append("closed")
        else:
            log.append("readable")

    with there:
        host.start(main)
        _until_asleep(host)
        there.send(b"x")
        # The helper thread has fetched the event now, and its delivery waits in the host's queue.
        delivery = host.todo.get(timeout=2)
        notify_closing(here)
        here.close()
        host.todo.put(delivery)
        host.until_done()
    assert log == ["closed"]


# Where one is


def test_host_callbacks_are_in_the_run_but_in_no_task() -> None:
    host, seen = Host(), list[tuple[bool, bool]]()

    async def main() -> None:
        for _ in range(2):
            assert in_nursery_task()
            host.not_threadsafe(lambda: seen.append((in_nursery_run(), in_nursery_task())))
            await nursery.sleep(0.001)

    host.run(main)
    assert seen == [(True, False)] * 2
    assert not in_nursery_run()


# Signals


def test_an_interrupt_in_a_guests_code_is_raised_there() -> None:
    async def main() -> None:
        signal.raise_signal(signal.SIGINT)
        pytest.fail("not interrupted")

    with pytest.raises(KeyboardInterrupt):
        Host().run(main)


def test_an_interrupt_while_the_host_works_reaches_the_guests_main_task() -> None:
    host = Host()

    async def main() -> None:
        host.not_threadsafe(lambda: signal.raise_signal(signal.SIGINT))
        await nursery.sleep(2)

    with pytest.raises(KeyboardInterrupt):
        host.run(main)


def test_a_guest_that_does_not_own_the_wakeup_descriptor_leaves_it_alone() -> None:
    here, there = socket.socketpair()
    with here, there:
        there.setblocking(False)
        signal.set_wakeup_fd(there.fileno(), warn_on_full_buffer=False)
        try:

            async def main() -> int:
                inside = signal.set_wakeup_fd(-1)
                signal.set_wakeup_fd(inside, warn_on_full_buffer=False)
                return inside

            assert Host().run(main, host_uses_signal_set_wakeup_fd=True) == there.fileno()
        finally:
            assert signal.set_wakeup_fd(-1) == there.fileno()


def test_a_wakeup_descriptor_of_the_host_is_warned_about_and_put_back() -> None:
    here, there = socket.socketpair()
    with here, there:
        there.setblocking(False)
        signal.set_wakeup_fd(there.fileno(), warn_on_full_buffer=False)
        try:
            with pytest.warns(RuntimeWarning, match="set_wakeup_fd"):
                Host().run(checkpoint)
        finally:
            assert signal.set_wakeup_fd(-1) == there.fileno()


def test_a_wakeup_descriptor_that_the_host_sets_meanwhile_stays() -> None:
    here, there = socket.socketpair()
    with here, there:
        there.setblocking(False)
        host = Host()
        host.start(nursery.sleep, 0.01)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                signal.set_wakeup_fd(there.fileno(), warn_on_full_buffer=False)
                host.until_done()
            finally:
                left = signal.set_wakeup_fd(-1)
    assert left == there.fileno()


# Failure and abandonment


def test_an_internal_error_is_delivered_as_the_outcome() -> None:
    async def crash() -> None:
        raise ValueError("the crash of a system task")

    async def main() -> None:
        spawn_system_task(crash)
        await nursery.sleep_forever()

    with pytest.raises(InternalError) as caught:
        Host().run(main)
    assert caught.value.__cause__ is not None


def test_a_driver_that_fails_in_the_helper_thread_is_an_internal_error() -> None:
    hook = threading.excepthook

    async def main() -> None:
        io = current_runner().io

        def broken(timeout: float) -> Any:
            if timeout > 0:
                raise OSError("the driver broke")
            return []

        setattr(io, "fetch", broken)  # noqa: B010  # mypy minds the plain assignment
        await nursery.sleep(1)

    from .broken_run import internal_error_of

    assert "the driver broke" in internal_error_of(lambda: Host().run(main))
    assert threading.excepthook is hook


def test_an_abandoned_guest_is_warned_about() -> None:
    async def main() -> None:
        await nursery.sleep_forever()

    def abandon() -> None:
        host = Host()
        host.start(main)
        _until_asleep(host)
        current_run_token().run_sync_soon(lambda: None)
        # Take what the helper thread delivers, and do nothing with it.
        host.todo.get(timeout=2)

    import sys

    hook = sys.unraisablehook
    sys.unraisablehook = lambda unraisable: None
    try:
        with pytest.warns(RuntimeWarning, match=r"(?i)abandoned"):  # noqa: PT031  # it may take the collector
            abandon()
            for _ in range(3):
                gc.collect()
    finally:
        sys.unraisablehook = hook
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.set_wakeup_fd(-1)
    assert not in_nursery_run()

    async def after() -> str:
        return "the thread is free again"

    assert nursery.run(after) == "the thread is free again"


# Idleness and generators


def test_a_changed_autojump_threshold_acts_while_the_guest_sleeps() -> None:
    from nursery.testing import MockClock

    clock = MockClock()

    async def main() -> None:
        await nursery.sleep(10_000)

    host = Host()
    host.start(main, clock=clock)
    _until_asleep(host)
    clock.autojump_threshold = 0
    before = time.monotonic()
    host.until_done()
    assert time.monotonic() - before < 2


def test_generators_of_host_and_guest_go_to_their_own_hooks() -> None:
    import sys

    hosts: list[str] = []
    log: list[str] = []

    async def generate(name: str) -> AsyncGenerator[int, None]:
        try:
            yield 1
        finally:
            log.append(f"{name}, in a task: {in_nursery_task()}")

    def firstiter(agen: object) -> None:
        hosts.append("firstiter")

    def finalizer(agen: AsyncGenerator[int, None]) -> None:
        hosts.append("finalizer")
        with pytest.raises(StopIteration):
            agen.aclose().send(None)

    def in_host() -> None:
        agen = generate("host's")
        with pytest.raises(StopIteration):
            agen.asend(None).send(None)
        del agen
        gc.collect()

    async def main() -> None:
        host.not_threadsafe(in_host)
        await nursery.sleep(0.002)
        agen = generate("guest's")
        kept.append(agen)
        await anext(agen)

    kept: list[object] = []
    host = Host()
    before = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(firstiter, finalizer)
    try:
        host.run(main)
        assert sys.get_asyncgen_hooks() == (firstiter, finalizer)
    finally:
        sys.set_asyncgen_hooks(*before)
    assert hosts == ["firstiter", "finalizer"]
    assert log == ["host's, in a task: False", "guest's, in a task: True"]


# asyncio as the host


def in_asyncio(async_fn: Callable[..., Awaitable[T]], **options: Any) -> T:
    """Run `async_fn` as a guest of asyncio."""

    async def host() -> T:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[outcome.Outcome[T]] = loop.create_future()
        start_guest_run(
            async_fn,
            run_sync_soon_threadsafe=loop.call_soon_threadsafe,
            run_sync_soon_not_threadsafe=loop.call_soon,
            done_callback=done.set_result,
            host_uses_signal_set_wakeup_fd=True,
            **options,
        )
        final = await asyncio.wait_for(done, 5)
        return final.unwrap()

    try:
        return asyncio.run(host())
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def test_asyncio_can_be_the_host_and_both_pass_messages_to_each_other() -> None:
    async def pong(to_guest: list[str], tasks: list[Task], to_host: asyncio.Queue[str]) -> None:
        while True:
            message = await to_host.get()
            if message == "stop":
                return
            to_guest.append(f"pong to {message}")
            reschedule(tasks[0])

    async def main() -> list[str]:
        to_guest: list[str] = []
        tasks = [current_task()]
        to_host: asyncio.Queue[str] = asyncio.Queue()
        aio = asyncio.ensure_future(pong(to_guest, tasks, to_host))
        for number in range(3):
            to_host.put_nowait(f"ping {number}")
            await wait_task_rescheduled(lambda raise_cancel: Abort.SUCCEEDED)
            await nursery.sleep(0.001)
        to_host.put_nowait("stop")
        await nursery.sleep(0.005)
        assert aio.done()
        return to_guest

    assert in_asyncio(main, debug=True) == ["pong to ping 0", "pong to ping 1", "pong to ping 2"]


def test_under_asyncio_errors_and_many_tasks_work_as_in_a_run_of_ones_own() -> None:
    async def main() -> int:
        total = 0

        async def child(number: int) -> None:
            nonlocal total
            await nursery.sleep(0.0005 * (number % 3))
            total += number

        async with nursery.open_nursery() as n:
            for number in range(50):
                n.start_soon(child, number)
        with pytest.raises(nursery.TooSlowError):
            with nursery.fail_after(0.001):
                await nursery.sleep_forever()
        return total

    assert in_asyncio(main) == sum(range(50))


def test_a_guest_that_cannot_begin_says_so_at_the_call_and_leaves_nothing() -> None:
    from .jumping_clock import JumpingClock

    class Broken(JumpingClock):
        def start_clock(self) -> None:
            raise ValueError("no time")

    async def main() -> None:
        pass

    with pytest.raises(InternalError, match="no time"):
        Host().start(main, clock=Broken())
    assert not in_nursery_run()
