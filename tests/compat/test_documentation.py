"""What asyncio's documentation shows in its examples, page by page: through the facade, with the same results."""

from __future__ import annotations

import contextvars
import functools
import io
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

import nursery
from nursery import compat as asyncio

# Coroutines and tasks


async def say(delay: float, what: str, said: list[str]) -> str:
    await asyncio.sleep(delay)
    said.append(what)
    return what


def test_tasks_run_side_by_side_and_awaits_after_one_another() -> None:
    async def main() -> tuple[list[str], list[str]]:
        one_by_one: list[str] = []
        await say(0.002, "slow", one_by_one)
        await say(0, "fast", one_by_one)
        together: list[str] = []
        tasks = [asyncio.create_task(say(0.002, "slow", together)), asyncio.create_task(say(0, "fast", together))]
        for task in tasks:
            await task
        return one_by_one, together

    assert asyncio.run(main()) == (["slow", "fast"], ["fast", "slow"])


def test_the_tasks_of_a_group_are_over_when_its_block_is() -> None:
    async def main() -> tuple[str, str]:
        said: list[str] = []
        async with asyncio.TaskGroup() as group:
            first = group.create_task(say(0.001, "hello", said))
            second = group.create_task(say(0.002, "world", said))
            assert not said
        return first.result(), second.result()

    assert asyncio.run(main()) == ("hello", "world")


def test_a_group_is_ended_by_a_task_that_raises_for_it() -> None:
    class End(Exception):
        pass

    async def end() -> None:
        raise End

    async def main() -> list[str]:
        said: list[str] = []
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(say(0, "quick", said))
                group.create_task(say(1, "too slow", said))
                await asyncio.sleep(0.002)
                group.create_task(end())
        except* End:
            pass
        return said

    assert asyncio.run(main()) == ["quick"]


def test_all_that_fail_in_their_first_step_are_in_the_group() -> None:
    async def fail(error: Exception) -> None:
        raise error

    async def main() -> list[str]:
        caught: list[str] = []
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(fail(ValueError()))
                group.create_task(fail(KeyError()))
        except* ValueError:
            caught.append("ValueError")
        except* KeyError:
            caught.append("KeyError")
        return caught

    assert asyncio.run(main()) == ["ValueError", "KeyError"]


def test_background_tasks_leave_the_set_that_holds_them() -> None:
    async def main() -> int:
        background: set[Any] = set()
        for number in range(10):
            task = asyncio.create_task(say(0, str(number), []))
            background.add(task)
            task.add_done_callback(background.discard)
        await asyncio.sleep(0.002)
        return len(background)

    assert asyncio.run(main()) == 0


def test_gathered_factorials_are_computed_in_turns() -> None:
    lines: list[str] = []

    async def factorial(name: str, number: int) -> int:
        result = 1
        for factor in range(2, number + 1):
            lines.append(f"{name}: {factor}")
            await asyncio.sleep(0)
            result *= factor
        return result

    async def main() -> list[int]:
        results: list[int] = await asyncio.gather(*[factorial("A", 2), factorial("B", 3), factorial("C", 4)])
        return results

    assert asyncio.run(main()) == [2, 6, 24]
    assert lines == ["A: 2", "B: 2", "C: 2", "B: 3", "C: 3", "C: 4"]


def test_shield_protects_the_inner_task_and_not_its_caller() -> None:
    async def main() -> tuple[bool, str]:
        inner = asyncio.create_task(say(0.003, "done", []))

        async def caller() -> str:
            return await asyncio.shield(inner)

        outer = asyncio.create_task(caller())
        await asyncio.sleep(0)
        outer.cancel()
        await asyncio.wait([outer])
        return outer.cancelled(), await inner

    assert asyncio.run(main()) == (True, "done")


def test_a_timeout_is_set_later_and_moved() -> None:
    async def main() -> bool:
        try:
            async with asyncio.timeout(None) as limit:
                limit.reschedule(asyncio.get_running_loop().time() + 0.001)
                await asyncio.sleep(1)
        except TimeoutError:
            return limit.expired()
        return False

    assert asyncio.run(main())


def test_wait_for_cancels_and_waits_for_the_cancellation() -> None:
    steps: list[str] = []

    async def slow() -> None:
        try:
            await asyncio.sleep(1)
        finally:
            await asyncio.sleep(0.001)
            steps.append("cleaned up")

    async def main() -> None:
        try:
            await asyncio.wait_for(slow(), 0.001)
        except TimeoutError:
            steps.append("timeout")

    asyncio.run(main())
    assert steps == ["cleaned up", "timeout"]


def test_as_completed_gives_the_tasks_themselves_to_an_async_for() -> None:
    async def main() -> list[str]:
        slow = asyncio.create_task(say(0.003, "slow", []))
        fast = asyncio.create_task(say(0, "fast", []))
        names = []
        async for earliest in asyncio.as_completed([slow, fast]):
            names.append("fast" if earliest is fast else "slow")
            assert await earliest == names[-1]
        return names

    assert asyncio.run(main()) == ["fast", "slow"]


def test_as_completed_and_wait_say_what_they_take() -> None:
    async def main() -> None:
        task = asyncio.create_task(asyncio.sleep(0))
        one: Any = task
        with pytest.raises(TypeError, match="expects an iterable of awaitables, not "):
            asyncio.as_completed(one)
        with pytest.raises(TypeError, match="expect a list of futures"):
            await asyncio.wait(one)
        # A generator is an iterable of tasks, also on 3.11.
        done, pending = await asyncio.wait(each for each in [task])
        assert (done, pending) == ({task}, set())

    asyncio.run(main())


def test_to_thread_does_not_block_and_carries_the_context() -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")

    async def main() -> tuple[tuple[str, bool], None]:
        variable.set("carried")

        def blocking() -> tuple[str, bool]:
            time.sleep(0.002)
            return variable.get(), threading.current_thread() is threading.main_thread()

        return await asyncio.gather(asyncio.to_thread(blocking), asyncio.sleep(0.001))

    assert asyncio.run(main())[0] == ("carried", False)


def test_a_coroutine_is_given_to_the_loop_from_another_thread() -> None:
    async def main() -> list[Any]:
        loop = asyncio.get_running_loop()

        def thread() -> list[Any]:
            answer = asyncio.run_coroutine_threadsafe(asyncio.sleep(0.001, result=3), loop)
            results: list[Any] = [answer.result(2)]
            endless = asyncio.run_coroutine_threadsafe(asyncio.sleep(10), loop)
            try:
                endless.result(0.001)
            except TimeoutError:
                results.append(endless.cancel())
            return results

        return await asyncio.to_thread(thread)

    assert asyncio.run(main()) == [3, True]


def test_a_task_sees_its_cancellation_and_its_canceller_too() -> None:
    steps: list[str] = []

    async def cancel_me() -> None:
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            steps.append("told")
            raise
        finally:
            steps.append("after")

    async def main() -> None:
        task = asyncio.create_task(cancel_me())
        await asyncio.sleep(0)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            steps.append("cancelled now")

    asyncio.run(main())
    assert steps == ["told", "after", "cancelled now"]


# A task that is cancelled twice before it runs again is told once, as in asyncio

WAITS: dict[str, Callable[[], Any]] = {
    "task": lambda: asyncio.create_task(asyncio.sleep(10)),
    "gather": lambda: asyncio.gather(asyncio.sleep(10)),
    "event": lambda: asyncio.Event().wait(),
    "future": lambda: asyncio.get_running_loop().create_future(),
    "queue": lambda: asyncio.Queue().get(),
    "semaphore": lambda: asyncio.Semaphore(0).acquire(),
    "sleep": lambda: asyncio.sleep(10),
    "wait_for": lambda: asyncio.wait_for(asyncio.sleep(10), 20),
    "native sleep": lambda: nursery.sleep(10),
    "native event": lambda: nursery.Event().wait(),
}


@pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS)
def test_two_requests_before_the_next_step_are_one_cancellation(wait: Callable[[], Any]) -> None:
    async def main() -> list[object]:
        seen: list[object] = []

        async def waiter() -> str:
            try:
                await wait()
            except asyncio.CancelledError as exc:
                seen.extend(exc.args)
            queue: asyncio.Queue[str] = asyncio.Queue()
            asyncio.get_running_loop().call_later(0.001, queue.put_nowait, "item")
            return await queue.get()

        task = asyncio.create_task(waiter())
        await asyncio.sleep(0.001)
        task.cancel("first")
        task.cancel("second")
        seen.append(await task)
        return seen

    assert asyncio.run(main()) == ["first", "item"]


@pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS)
@pytest.mark.parametrize("order", ["scope first", "request first", "both before the wait"])
def test_a_request_is_not_lost_when_a_scope_is_cancelled_at_the_same_time(wait: Callable[[], Any], order: str) -> None:
    async def main() -> None:
        scope = nursery.CancelScope()

        async def waiter() -> None:
            with scope:
                if order == "both before the wait":
                    scope.cancel()
                    task.cancel("request")
                await wait()
            # A native wait is interrupted by the scope, which takes that; the request comes at the next await.
            await asyncio.sleep(0.001)
            pytest.fail("the request was lost")

        task = asyncio.create_task(waiter())
        await asyncio.sleep(0.001)
        if order == "scope first":
            scope.cancel()
            task.cancel("request")
        elif order == "request first":
            task.cancel("request")
            scope.cancel()
        with pytest.raises(asyncio.CancelledError, match="request"):
            await task
        assert task.cancelled()

    asyncio.run(main())


def test_a_request_at_the_end_of_a_group_is_not_lost_in_a_scope_that_was_cancelled_before() -> None:
    async def main() -> bool:
        scope = nursery.CancelScope()

        async def slow() -> None:
            try:
                await asyncio.sleep(10)
            finally:
                await asyncio.sleep(0.003)

        async def grouped() -> None:
            with scope:
                async with asyncio.TaskGroup() as group:
                    group.create_task(slow())
            await asyncio.sleep(0.001)

        task = asyncio.create_task(grouped())
        await asyncio.sleep(0.001)
        scope.cancel()
        await asyncio.sleep(0.001)
        task.cancel()
        await asyncio.wait([task])
        return task.cancelled()

    assert asyncio.run(main())


def test_two_requests_leave_a_semaphore_as_it_was() -> None:
    async def main() -> tuple[bool, str]:
        semaphore = asyncio.Semaphore(0)
        task = asyncio.create_task(semaphore.acquire())
        await asyncio.sleep(0)
        task.cancel()
        task.cancel()
        await asyncio.wait([task])
        return semaphore.locked(), repr(semaphore)[-9:]

    assert asyncio.run(main()) == (True, "[locked]>")


def test_two_requests_do_not_take_a_lock_that_was_offered_to_another_task() -> None:
    async def main() -> list[str]:
        lock = asyncio.Lock()
        got: list[str] = []

        async def take(name: str) -> None:
            async with lock:
                got.append(name)
                await asyncio.sleep(0)

        await lock.acquire()
        first, second, third = [asyncio.create_task(take(name)) for name in ("first", "second", "third")]
        await asyncio.sleep(0)
        second.cancel()
        second.cancel()
        lock.release()
        await asyncio.wait([first, second, third])
        assert not lock.locked()
        return got

    assert asyncio.run(main()) == ["first", "third"]


def test_a_task_whose_time_had_come_and_that_is_cancelled_waits_on_as_any_other() -> None:
    async def main() -> bool:
        async def sleeper() -> bool:
            try:
                await asyncio.sleep(0.001)
            except asyncio.CancelledError:
                pass
            with nursery.CancelScope() as scope:
                asyncio.get_running_loop().call_soon(scope.cancel)
                for _ in range(3):
                    await asyncio.sleep(0)
            return scope.cancelled_caught

        task = asyncio.create_task(sleeper())
        await asyncio.sleep(0)
        time.sleep(0.003)
        asyncio.get_running_loop().call_soon(task.cancel)
        return await task

    assert asyncio.run(main())


# Streams


def test_an_echo_over_tcp() -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.read(100))
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async def main() -> bytes:
        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        async with server:
            serving = asyncio.create_task(server.serve_forever())
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(b"hello")
            answer = await reader.read(100)
            writer.close()
            await writer.wait_closed()
            serving.cancel()
            await asyncio.wait([serving])
        assert server.sockets == ()
        return answer

    assert asyncio.run(main()) == b"hello"


def test_a_socket_that_is_open_becomes_a_stream() -> None:
    async def main() -> bytes:
        ours, theirs = socket.socketpair()
        with theirs:
            reader, writer = await asyncio.open_connection(sock=ours)
            asyncio.get_running_loop().call_soon(theirs.send, b"abc")
            data = await reader.read(100)
            writer.close()
            await writer.wait_closed()
        return data

    assert asyncio.run(main()) == b"abc"


@pytest.mark.parametrize("unix", [False, True], ids=["tcp", "unix"])
def test_a_closed_server_is_waited_for_until_its_connections_are_gone(unix: bool, tmp_path: Any) -> None:
    # On 3.11 as well, whose own start_server does not wait.
    steps: list[str] = []

    async def main() -> None:
        release = asyncio.Event()

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await release.wait()
            writer.close()
            await writer.wait_closed()
            steps.append("handled")

        path = str(tmp_path / "socket")
        if unix:
            server = await asyncio.start_unix_server(handle, path)
            _, writer = await asyncio.open_unix_connection(path)
        else:
            server = await asyncio.start_server(handle, "127.0.0.1", 0)
            _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        await asyncio.sleep(0.002)
        server.close()
        waiting = asyncio.create_task(server.wait_closed())
        await asyncio.sleep(0.002)
        assert not waiting.done()
        release.set()
        await waiting
        await asyncio.sleep(0)
        steps.append("closed")
        writer.close()
        await writer.wait_closed()

    asyncio.run(main())
    assert steps == ["handled", "closed"]


@pytest.mark.parametrize("keep", [False, True])
def test_the_file_of_a_unix_server_goes_with_it_unless_it_is_to_stay(keep: bool, tmp_path: Any) -> None:
    # On 3.11 and 3.12 as well.
    path = tmp_path / "socket"

    async def main() -> None:
        options: dict[str, Any] = {"cleanup_socket": False} if keep else {}
        server = await asyncio.start_unix_server(lambda reader, writer: None, path, **options)
        assert path.exists()
        server.close()
        await server.wait_closed()

    asyncio.run(main())
    assert path.exists() is keep


# Queues and locks


def test_workers_empty_a_queue_together() -> None:
    async def main() -> list[str]:
        queue: asyncio.Queue[float] = asyncio.Queue()
        for _ in range(20):
            queue.put_nowait(0)
        workers: list[str] = []

        async def work(name: str) -> None:
            while True:
                await asyncio.sleep(await queue.get())
                workers.append(name)
                queue.task_done()

        tasks = [asyncio.create_task(work(f"worker-{number}")) for number in range(3)]
        await queue.join()
        for task in tasks:
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(end, asyncio.CancelledError) for end in ends)
        return workers

    workers = asyncio.run(main())
    assert len(workers) == 20
    assert set(workers) == {"worker-0", "worker-1", "worker-2"}


def test_a_barrier_lets_three_pass_together() -> None:
    async def main() -> list[str]:
        barrier = asyncio.Barrier(3)
        states = []
        waiting = [asyncio.create_task(barrier.wait()) for _ in range(2)]
        await asyncio.sleep(0)
        states.append(repr(barrier).split("[")[1])
        await barrier.wait()
        states.append(repr(barrier).split("[")[1])
        await asyncio.wait(waiting)
        states.append(repr(barrier).split("[")[1])
        return states

    assert asyncio.run(main()) == ["filling, waiters:2/3]>", "draining, waiters:0/3]>", "filling, waiters:0/3]>"]


# Subprocesses


def test_a_shell_command_says_how_it_went() -> None:
    async def main() -> tuple[bytes, bytes, int | None]:
        process = await asyncio.create_subprocess_shell(
            "echo out; echo err >&2; exit 3", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        out, err = await process.communicate()
        return out, err, process.returncode

    assert asyncio.run(main()) == (b"out\n", b"err\n", 3)


def test_a_line_of_a_program_is_read_before_it_ends() -> None:
    async def main() -> tuple[bytes, int]:
        process = await asyncio.create_subprocess_exec("echo", "a line", stdout=asyncio.subprocess.PIPE)
        assert process.stdout is not None
        line = await process.stdout.readline()
        return line, await process.wait()

    assert asyncio.run(main()) == (b"a line\n", 0)


# Runners


def test_a_runner_runs_several_coroutines_in_one_context() -> None:
    counter: contextvars.ContextVar[int] = contextvars.ContextVar("counter", default=0)

    async def count() -> int:
        counter.set(counter.get() + 1)
        return counter.get()

    with asyncio.Runner() as runner:
        assert [runner.run(count()), runner.run(count())] == [1, 2]
        assert runner.run(count(), context=contextvars.copy_context()) == 1
    assert counter.get() == 0


def test_ctrl_c_cancels_the_main_task_which_cleans_up() -> None:
    steps: list[str] = []

    async def main() -> None:
        try:
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.sleep(1)
        except asyncio.CancelledError:
            steps.append("cancelled")
            raise
        finally:
            await asyncio.sleep(0)
            steps.append("cleaned up")

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(main())
    assert steps == ["cancelled", "cleaned up"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


# Futures


def test_a_future_is_set_by_another_task_and_calls_back_with_itself() -> None:
    async def main() -> tuple[str, list[Any]]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[str] = loop.create_future()
        called: list[Any] = []

        def note(label: str, done: object) -> None:
            called.append((label, done is future))

        future.add_done_callback(functools.partial(note, "Future:"))

        async def set_after() -> None:
            await asyncio.sleep(0.001)
            future.set_result("... world")

        task = loop.create_task(set_after())
        result = await future
        await task
        return result, called

    assert asyncio.run(main()) == ("... world", [("Future:", True)])


# Call graphs


def test_the_call_graph_of_a_task_names_who_awaits_it() -> None:
    async def test(file: io.StringIO) -> None:
        asyncio.print_call_graph(file=file)

    async def main() -> str:
        buffer = io.StringIO()
        async with asyncio.TaskGroup() as group:
            group.create_task(test(buffer), name="the task")
        return buffer.getvalue()

    lines = asyncio.run(main()).splitlines()
    assert lines[0].startswith("* Task(name='the task', id=0x")
    assert lines[1].strip() == "+ Call stack:"
    assert any("in async " in line and line.endswith("test()") for line in lines)
    awaited_by = lines.index("  + Awaited by:")
    assert lines[awaited_by + 1].strip().startswith("* Task(name=")
    assert lines[-1].endswith("main()")


def test_what_is_no_future_plays_no_part_in_a_call_graph() -> None:
    async def main() -> int:
        future: Any = asyncio.get_running_loop().create_future()
        stranger: Any = "no future"
        asyncio.future_add_to_awaited_by(future, stranger)
        asyncio.future_discard_from_awaited_by(future, stranger)
        asyncio.future_discard_from_awaited_by(stranger, future)
        graph = asyncio.capture_call_graph(future)
        assert graph is not None
        return len(graph.awaited_by)

    assert asyncio.run(main()) == 0


# Developing


def test_an_error_that_nobody_retrieves_is_reported_with_the_task(caplog: pytest.LogCaptureFixture) -> None:
    async def bug() -> None:
        raise ValueError("not consumed")

    async def main() -> None:
        task = asyncio.create_task(bug())
        del task

    asyncio.run(main())
    (record,) = caplog.records
    assert record.getMessage().startswith("Task exception was never retrieved\nfuture: <Task finished name=")
    assert record.exc_info is not None
    assert repr(record.exc_info[1]) == "ValueError('not consumed')"


def test_a_call_that_needs_a_loop_says_in_a_native_run_how_to_have_one() -> None:
    needs_loop = pytest.raises(RuntimeError, match=r"no running event loop: .*open_loop")
    start: Callable[[Any], object] = asyncio.create_task

    async def main() -> None:
        coroutine = asyncio.sleep(0)
        with needs_loop:
            start(coroutine)
        coroutine.close()
        calls: list[Callable[[], Any]] = [
            lambda: asyncio.sleep(0.001),
            lambda: asyncio.Queue().get(),
            lambda: asyncio.Event().wait(),
        ]
        for call in calls:
            with needs_loop:
                await call()
        with needs_loop:
            asyncio.timeout(1)
        async with asyncio.open_loop():
            assert await asyncio.create_task(asyncio.sleep(0.001, "now")) == "now"

    nursery.run(main)


def test_outside_of_any_run_the_error_is_asyncios() -> None:
    start: Callable[[Any], object] = asyncio.create_task
    coroutine = asyncio.sleep(0)
    with pytest.raises(RuntimeError, match=r"^no running event loop$"):
        start(coroutine)
    coroutine.close()
