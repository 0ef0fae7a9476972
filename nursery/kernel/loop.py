"""The three pieces of which every driver of a run is made: collect events, expire deadlines, run a batch.

Invariant: between two steps of one task the clock was looked at, if there is a deadline at all; and the system is asked
for events at least once in POLL_EVERY steps.  The host loop (entry.py), guest mode (guest.py) and a foreign event loop
call the same functions, `collect` (or `digest`, where the waiting is done elsewhere), `expire` and `run_batch`; there
is no second scheduler.

`plain_batch` is flat: it is the one place where a branch per step would be paid by everyone.  `traced_batch` is its
twin with hooks; tests/kernel/test_loop.py keeps the two in step.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from sys import getswitchinterval
from threading import active_count
from time import monotonic, sleep
from typing import TYPE_CHECKING, Final

from .instruments import Instruments
from .runner import BatchEnd, Runner
from .traps import DETACH, PARK, Signal

if TYPE_CHECKING:
    from .io.interest import Events
    from .task import Task

POLL_EVERY: Final = 64
# Long enough for a thread that waits for the GIL to wake and take it.
SHORT: Final = 1e-5
# No system call takes 10**20 seconds; waking once a day is no cost.
LONGEST_SLEEP: Final = 24 * 60 * 60.0

RETURNED: Final = Signal("RETURNED")
FAILED: Final = Signal("FAILED")

# What the loop will do if it wakes and nothing has happened.
NOT_IDLE: Final = 0
WAKE_IDLE_WAITERS: Final = 1
JUMP_CLOCK: Final = 2


def how_long(runner: Runner) -> tuple[float, int]:
    """Return how many seconds the loop may sleep, and what to do if nothing happens meanwhile."""
    if runner.queue:
        timeout = 0.0
    else:
        deadline = runner.deadlines.next_deadline()
        timeout = LONGEST_SLEEP if deadline == inf else runner.clock.deadline_to_sleep_time(deadline)
        timeout = min(max(0.0, timeout), LONGEST_SLEEP)
    # Waiters for idleness go before the clock: they want to see the world as it is before time moves.
    if runner.idle.waiting:
        cushion = runner.idle.shortest_cushion()
        if cushion < timeout:
            return cushion, WAKE_IDLE_WAITERS
    elif runner.autojump_threshold < timeout:
        return runner.autojump_threshold, JUMP_CLOCK
    return timeout, NOT_IDLE


# flat: once for every poll, and a server under light load polls for every message
def collect(runner: Runner) -> None:
    """Ask the system for events, sleeping if there is nothing else to do, and act on them."""
    if runner.instruments is None and not runner.idle.waiting and runner.autojump_threshold == inf:
        # Nobody watches, nobody waits for idleness: what is below, without its questions.
        deadlines = runner.deadlines
        if runner.queue:
            timeout = 0.0
            if monotonic() >= runner.give_way_at:
                give_way(runner)
        elif deadlines.soonest == inf or (deadline := deadlines.next_deadline()) == inf:
            timeout = LONGEST_SLEEP
        else:
            timeout = min(max(0.0, runner.clock.deadline_to_sleep_time(deadline)), LONGEST_SLEEP)
        runner.io.poll(timeout)
        runner.steps_until_poll = POLL_EVERY
        if deadlines.soonest != inf:
            expire(runner)
        return
    timeout, when_idle = how_long(runner)
    if runner.instruments is not None:
        runner.instruments.call("before_io_wait", timeout)
    digest(runner, runner.io.fetch(timeout), timeout, when_idle)


def give_way(runner: Runner) -> None:
    """Let other threads have the interpreter for a moment, at most once in a switch interval.

    A thread that waits for the GIL asks for it only after it was denied for a whole switch interval without a break.
    A busy loop gives it up in each poll, too briefly for a sleeper to wake, but that begins the interval anew: other
    threads waited for up to 1.1 s, now for 0.01 s (asyncio: 0.03 s; tests/kernel/test_loop.py).
    """
    runner.give_way_at = monotonic() + getswitchinterval()
    if active_count() > 1:
        sleep(SHORT)


def digest(runner: Runner, events: Events, timeout: float, when_idle: int) -> None:
    """Act on events that were fetched, on deadlines that came meanwhile, or on the fact that nothing happened."""
    runner.io.dispatch(events)
    runner.steps_until_poll = POLL_EVERY
    if runner.instruments is not None:
        runner.instruments.call("after_io_wait", timeout)
    expired = expire(runner)
    # In guest mode the host may have queued a task, or rung the bell, without an event of ours: that is not idle.
    if when_idle != NOT_IDLE and not expired and not events and not runner.queue:
        if when_idle == WAKE_IDLE_WAITERS:
            if runner.idle.waiting:
                runner.idle.wake(timeout)
        elif runner.autojump_clock is not None:
            runner.autojump_clock()


def expire(runner: Runner) -> bool:
    """Expire the deadlines that have come; return whether there were any."""
    deadlines = runner.deadlines
    # The clock is not even read while no deadline exists.
    if deadlines.soonest == inf:
        return False
    now = runner.now()
    return now >= deadlines.soonest and deadlines.expire(now)


def run_batch(runner: Runner) -> None:
    """Run a batch, by whichever loop the run uses, with the self-check behind it; raise what broke the run."""
    runner.batch(runner)
    if runner.debug:
        runner.check()
    if runner.failure is not None:
        raise runner.failure


# flat: the step
def plain_batch(runner: Runner) -> None:
    """Step what is in the queue until it is empty, a deadline comes, or POLL_EVERY steps are done."""
    if runner.instruments is not None or runner.permute is not None:
        traced_batch(runner)
        return
    queue = runner.queue
    popleft = queue.popleft
    append = queue.append
    deadlines = runner.deadlines
    task: Task
    budget = runner.steps_until_poll
    while budget > 0:
        # A pass over what is in the queue now: whatever yields meanwhile comes after the next look at the clock.
        steps = len(queue)
        if steps > budget:
            steps = budget
        budget -= steps
        for _ in range(steps):
            task = popleft()  # type: ignore[assignment]  # callbacks step like tasks, and never get past PARK
            runner.current = task
            try:
                message = task.context.run(task.send, None)
            except StopIteration as stop:
                value = stop.value
                message = RETURNED
            except BatchEnd:
                budget = 0
                break
            except BaseException as exc:
                # One frame of every traceback is this function's: nobody wants to see it.
                error = exc.with_traceback(exc.__traceback__ and exc.__traceback__.tb_next)
                message = FAILED
            # Not inside the handlers: what happens now must not get a finished task's error as its context.
            if message is None:
                append(task)
            elif message is PARK:
                if task.alert:
                    task.deliver()
            elif message is RETURNED:
                task.returned(value)
                value = None
            elif message is FAILED:
                task.failed(error)
                del error
            elif message is DETACH:
                task.detached()
            else:
                runner.foreign_await(task, message)
        if not queue or (deadlines.soonest != inf and runner.now() >= deadlines.soonest):
            break
    runner.steps_until_poll = budget
    runner.current = None
    # The frame that sleeps in epoll must not keep a task alive.
    task = message = None  # type: ignore[assignment]  # cleared, not used


def _nothing(task: Task) -> None:
    pass


def traced_batch(
    runner: Runner, enter: Callable[[Task], None] = _nothing, yielded: Callable[[Task], None] = _nothing
) -> None:
    """Do one pass of what `plain_batch` does, in the order a test wishes, and tell the instruments.

    Arguments: a foreign loop has `enter` called before each step, and `yielded` after a bare yield.
    """
    queue = runner.queue
    if runner.permute is not None:
        runner.permute(queue)
    instruments = runner.instruments if runner.instruments is not None else Instruments()
    if runner.traced_step is not None:
        # The step in which the first instrument was added ended untraced.
        task, runner.traced_step = runner.traced_step, None
        if not task.ended and task.abort is None:
            instruments.call("task_scheduled", task)
        instruments.call("after_task_step", task)
    steps = min(len(queue), runner.steps_until_poll)
    runner.steps_until_poll -= steps
    for _ in range(steps):
        task = queue.popleft()  # type: ignore[assignment]  # callbacks step like tasks, and never get past PARK
        is_task = hasattr(task, "coro")
        runner.current = task
        enter(task)
        if is_task:
            instruments.call("before_task_step", task)
        try:
            message = task.context.run(task.send, None)
        except StopIteration as stop:
            value = stop.value
            message = RETURNED
        except BatchEnd:
            break
        except BaseException as exc:
            if not is_task:
                raise
            error = exc.with_traceback(exc.__traceback__ and exc.__traceback__.tb_next)
            message = FAILED
        if message is None:
            queue.append(task)
            yielded(task)
        elif message is PARK:
            if task.alert:
                task.deliver()
        elif message is RETURNED:
            task.returned(value)
            value = None
            instruments.call("task_exited", task)
        elif message is FAILED:
            task.failed(error)
            del error
            instruments.call("task_exited", task)
        elif message is DETACH:
            task.detached()
            instruments.call("task_exited", task)
        else:
            runner.foreign_await(task, message)
        if is_task:
            instruments.call("after_task_step", task)
    runner.current = None
    task = message = None  # type: ignore[assignment]  # cleared, not used
