"""Threads that are kept for the next job."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import threading
import time

import outcome
import pytest

from nursery.threads import cache
from nursery.threads import system_name as system_name_module
from nursery.threads.cache import start_thread_soon

Results = queue.SimpleQueue[tuple[threading.Thread, outcome.Outcome[object]]]


@pytest.fixture(autouse=True)
def no_idle_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test begins with no thread to take over."""
    monkeypatch.setattr(cache, "_idle", {})


def run_in_thread(fn: object, name: str | None = None) -> tuple[threading.Thread, outcome.Outcome[object]]:
    results: Results = queue.SimpleQueue()
    start_thread_soon(fn, lambda result: results.put((threading.current_thread(), result)), name)  # type: ignore[arg-type]  # any callable
    return results.get(timeout=5)


def wait_until_idle() -> None:
    end = time.monotonic() + 5
    while not cache._idle and time.monotonic() < end:
        time.sleep(0.001)


def test_the_outcome_is_delivered_in_a_daemon_thread() -> None:
    thread, result = run_in_thread(lambda: 7)
    assert thread is not threading.main_thread()
    assert thread.daemon
    assert result.unwrap() == 7


def test_an_error_is_an_outcome_too() -> None:
    def fail() -> None:
        raise KeyError("failed")

    _, result = run_in_thread(fail)
    with pytest.raises(KeyError):
        result.unwrap()


def test_a_job_does_not_see_the_context_that_its_thread_was_started_in() -> None:
    # Free-threaded builds, from 3.14 on, let threads inherit it; here another one is asked to.
    program = """
import contextvars, queue
from nursery.threads.cache import start_thread_soon
variable = contextvars.ContextVar("variable", default="unset")
variable.set("set")
results = queue.SimpleQueue()
start_thread_soon(variable.get, results.put)
assert results.get().unwrap() == "unset"
"""
    options = ["-X", "thread_inherit_context=1"] if sys.version_info >= (3, 14) else []
    subprocess.run([sys.executable, *options, "-c", program], check=True, timeout=20)


def test_a_thread_that_is_free_gets_the_next_job() -> None:
    first, _ = run_in_thread(lambda: None)
    second, _ = run_in_thread(lambda: None)
    assert first is second


def test_a_thread_is_free_before_its_result_is_delivered() -> None:
    # Whoever reacts to the result by starting a thread must not be given a second one.
    results: queue.SimpleQueue[threading.Thread] = queue.SimpleQueue()

    def deliver(result: outcome.Outcome[None]) -> None:
        start_thread_soon(threading.current_thread, lambda again: results.put(again.unwrap()))
        results.put(threading.current_thread())

    start_thread_soon(lambda: None, deliver)
    assert results.get(timeout=5) is results.get(timeout=5)


def test_the_youngest_free_thread_is_taken_first() -> None:
    gate = threading.Event()
    results: Results = queue.SimpleQueue()
    for _ in range(3):
        start_thread_soon(gate.wait, lambda result: results.put((threading.current_thread(), result)))
    gate.set()
    for _ in range(3):
        results.get(timeout=5)
    youngest = list(cache._idle)[-1]._thread
    assert run_in_thread(lambda: None)[0] is youngest


def test_a_thread_that_nobody_needs_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "SECONDS_IDLE", 0.001)
    monkeypatch.setattr(cache, "SECONDS_UNTIL_RENAMED", 0.001)
    thread, _ = run_in_thread(lambda: None)
    thread.join(timeout=5)
    assert not thread.is_alive()
    assert not cache._idle


def test_a_job_that_comes_while_a_thread_is_about_to_end_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    # The worker has given up waiting, but another has taken it from the idle ones: it must wait on.
    monkeypatch.setattr(cache, "SECONDS_IDLE", 0.001)
    monkeypatch.setattr(cache, "SECONDS_UNTIL_RENAMED", 0.001)
    thread, _ = run_in_thread(lambda: None)
    taken = None
    try:
        taken, _ = cache._idle.popitem()
    except KeyError:
        pytest.skip("the thread was faster this time")
    time.sleep(0.005)
    assert thread.is_alive()
    results: Results = queue.SimpleQueue()
    taken.give(lambda: 7, lambda result: results.put((threading.current_thread(), result)), None)
    same, result = results.get(timeout=5)
    assert same is thread
    assert result.unwrap() == 7


def test_a_job_may_have_a_name_for_its_time() -> None:
    names: list[str] = []
    thread, _ = run_in_thread(lambda: names.append(threading.current_thread().name), "busy")
    wait_until_idle()
    assert names == ["busy"]
    assert thread.name.startswith("nursery thread ")


def system_name(thread: threading.Thread) -> str:
    with open(f"/proc/self/task/{thread.native_id}/comm") as file:
        return file.read().rstrip("\n")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the names of threads from /proc")
def test_the_system_knows_the_name_too() -> None:
    seen: list[str] = []

    def look() -> None:
        seen.append(system_name(threading.current_thread()))

    own_name = system_name(threading.main_thread())
    run_in_thread(look, "a rather long name")
    thread, _ = run_in_thread(look, "short")
    run_in_thread(look)
    # What is not ASCII becomes '?' before 3.14, where Python itself passes the names on.
    run_in_thread(look, "f\u00fcr")
    assert seen == ["a rather long n", "short", "nursery thread ", "für" if sys.version_info >= (3, 14) else "f?r"]
    assert system_name(threading.main_thread()) == own_name
    # Not at once: the next job has the same name, most likely.
    end = time.monotonic() + 5
    while system_name(thread) != "nursery thread " and time.monotonic() < end:
        time.sleep(0.005)
    assert system_name(thread) == "nursery thread "


def test_a_system_that_cannot_name_threads_is_no_obstacle(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_library(name: object) -> None:
        raise OSError("no such library")

    monkeypatch.setattr("ctypes.PyDLL", no_library)
    system_name_module._setter.cache_clear()
    try:
        assert run_in_thread(lambda: 7, "name")[1].unwrap() == 7
    finally:
        system_name_module._setter.cache_clear()


def test_a_name_that_is_no_text_is_a_mistake() -> None:
    with pytest.raises(TypeError, match="must be a str"):
        start_thread_soon(int, print, 5)  # type: ignore[arg-type]  # the mistake under test
    assert not cache._idle


def test_an_error_in_deliver_is_reported_and_the_thread_lives_on(monkeypatch: pytest.MonkeyPatch) -> None:
    reported: queue.SimpleQueue[threading.ExceptHookArgs] = queue.SimpleQueue()
    monkeypatch.setattr(threading, "excepthook", reported.put)

    def deliver(result: outcome.Outcome[None]) -> None:
        raise ValueError("cannot deliver")

    start_thread_soon(lambda: None, deliver)
    report = reported.get(timeout=5)
    assert report.exc_type is ValueError
    assert run_in_thread(lambda: 7)[0] is report.thread


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_process_starts_threads_of_its_own() -> None:
    program = """
import os, queue, warnings
warnings.simplefilter("ignore")
from nursery.threads.cache import start_thread_soon
results = queue.SimpleQueue()
start_thread_soon(lambda: 1, results.put)
results.get()
child = os.fork()
if child == 0:
    start_thread_soon(lambda: 1, results.put)
    os._exit(0 if results.get(timeout=5).unwrap() == 1 else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=20)


def test_a_thread_at_work_does_not_hold_up_the_end_of_the_process() -> None:
    program = """
import threading
from nursery.threads.cache import start_thread_soon
begun = threading.Event()
start_thread_soon(lambda: (begun.set(), threading.Event().wait()), print)
begun.wait()
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=20)
