"""Cancel scopes, and the one rule by which a task knows that it is cancelled.

Invariant 1.  The scopes that surround a task form a chain: `task.scope` is the innermost, `scope._parent` the
next one out, through the scopes of the nurseries up to the root.  A task is cancelled exactly if, walking that
chain outwards, a cancelled scope comes before (or is) the first shielded one.

Invariant 2.  Nobody walks at a checkpoint.  `task.alert` is kept true by pushing: whatever changes the answer (a
cancel, a shield set or dropped, entry into or exit from a cancelled or shielded scope, a task moved by
`started()`) calls `refresh` for each task concerned.

A scope's life: NEW -> ACTIVE (entered, in a chain) -> CLOSED.  A scope that is left while scopes inside it are
still open is CLOSED and `_abandoned`; it stays in the chains of what it left behind, and reads as cancelled
there, so that they unwind (tests/kernel/test_misnesting.py).
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from math import inf, isnan
from threading import get_ident
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from .current import current, current_runner, current_task
from .errors import MISNESTING_REASON, UNKNOWN_REASON, Cancelled, CancelReason

if TYPE_CHECKING:
    from .nursery import Nursery
    from .task import Task

NEW: Final = 0
ACTIVE: Final = 1
CLOSED: Final = 2

MISNESTING_ADVICE: Final = """
Scopes and nurseries must be left in the opposite order of entry, in the task that entered them. The usual
causes: a `yield` inside a scope or nursery in a generator that is not a context manager; `__enter__` and
`__exit__` called by hand; an ExitStack that closes them out of order. The run goes on, but what was inside the
scope has been cancelled."""

DEADLINE_REASON: Final = CancelReason("deadline")


def cancelled_scope_around(scope: CancelScope | None) -> CancelScope | None:
    """Return the innermost cancelled scope that code inside `scope` can see, or None."""
    while scope is not None:
        if scope._cancel_called or scope._abandoned:
            return scope
        if scope._shield:
            return None
        scope = scope._parent
    return None


def is_cancelled(scope: CancelScope | None) -> bool:
    """Return whether code inside `scope` can see a cancelled scope: `cancelled_scope_around`, without the walk to it.

    Where the walk meets a nursery it ends, since somebody has walked on from there already; so in a deep tree each
    task pays for its own scopes only.
    """
    while scope is not None:
        if scope._cancel_called or scope._abandoned:
            return True
        if scope._shield:
            return False
        if isinstance(scope, NurseryScope):
            return scope._doomed
        scope = scope._parent
    return False


def sees_closing(scope: CancelScope | None) -> bool:
    """Return whether code inside `scope` is being asked to come to an end.

    It is exactly if, walking outwards, a scope that was asked to shut down comes before (or is) the first shielded one.
    """
    while scope is not None:
        if scope._closing is not None:
            return True
        if scope._shield:
            return False
        scope = scope._parent
    return False


def newest_cancellation_around(scope: CancelScope | None) -> int:
    """Return the serial number of the latest cancellation that code inside `scope` can see, 0 for none."""
    newest = 0
    while scope is not None:
        if scope._cancel_called or scope._abandoned:
            newest = max(newest, scope._serial)
        if scope._shield:
            break
        scope = scope._parent
    return newest


def lies_within(inner: CancelScope | None, outer: CancelScope) -> bool:
    """Return whether `outer` is `inner` or surrounds it."""
    while inner is not None:
        if inner is outer:
            return True
        inner = inner._parent
    return False


def push(scope: CancelScope) -> None:
    """Bring every task inside `scope` up to date, the entering task first, then children in order of birth."""
    task = scope._task
    if task is None:
        return
    inside = [nursery for nursery in task._nurseries or () if lies_within(nursery.cancel_scope, scope)]
    changed = _foretell(task, inside)
    if lies_within(task.scope, scope):
        task.refresh()
    _refresh_children(changed)


def refresh_tree(task: Task) -> None:
    """Bring a task and all its descendants up to date."""
    changed = _foretell(task, task._nurseries or ())
    task.refresh()
    _refresh_children(changed)


def _foretell(task: Task, nurseries: Iterable[Nursery]) -> list[Nursery]:
    """Recompute what is seen from each of a task's nurseries; return those whose children have to be told.

    Outermost first, and before the task itself: its own view ends at the innermost nursery.
    """
    changed = []
    for nursery in nurseries:
        scope = nursery.cancel_scope
        before = scope._doomed
        scope._doomed = (
            scope._cancel_called or scope._abandoned or (not scope._shield and is_cancelled(scope._parent))
        )
        # Doomed before and after: for native children nothing changes.  A foreign dialect counts each cancellation.
        if not before or not scope._doomed or task.runner.cancelled_class is not Cancelled:
            changed.append(nursery)
    return changed


def _refresh_children(nurseries: list[Nursery]) -> None:
    # A growing list, not recursion: trees may be thousands of levels deep.
    for nursery in nurseries:
        for child in list(nursery._children):
            below = _foretell(child, child._nurseries) if child._nurseries else []
            child.refresh()
            nurseries.extend(below)


class CancelScope:
    """A region of code that can be cancelled, by hand or by a deadline.

    Arguments: deadline is in seconds of the run's clock; relative_deadline counts seconds from entry; at most one
    of the two.  shield=True holds back cancellations from scopes outside this one.

    Attributes: `cancel_called` says whether cancellation was asked for, `cancelled_caught` whether this scope
    absorbed a Cancelled; `deadline`, `relative_deadline` and `shield` may be set at any time.

    Raises ValueError for a NaN deadline, a negative relative_deadline or both deadlines at once.  A scope is
    used for one `with` block: entering it again is a RuntimeError.

    Example::

        with nursery.CancelScope(relative_deadline=5) as scope:
            await fetch()
        if scope.cancelled_caught:
            print("too slow")

    Source: trio's documentation, `trio.CancelScope`.
    """

    __slots__ = (
        "__weakref__",
        "_abandoned",
        "_cancel_called",
        "_closing",
        "_deadline",
        "_parent",
        "_reason",
        "_relative",
        "_serial",
        "_shield",
        "_state",
        "_task",
        "_timed",
        "_told",
        "cancelled_caught",
    )

    def __init_subclass__(cls, _kernel: bool = False) -> None:
        if not _kernel:
            raise TypeError("CancelScope cannot be subclassed: the kernel relies on its exact behaviour")
        super().__init_subclass__()

    def __init__(self, *, relative_deadline: float = inf, deadline: float = inf, shield: bool = False) -> None:
        # One comparison serves the default and every ordinary value: NaN fails it as well.
        if not relative_deadline >= 0:
            if isnan(relative_deadline):
                raise ValueError("relative_deadline must not be NaN")
            raise ValueError("relative_deadline must be non-negative, in seconds from entry")
        if deadline != inf:
            if isnan(deadline):
                raise ValueError("deadline must not be NaN")
            if relative_deadline != inf:
                raise ValueError("pass either a deadline or a relative_deadline, not both")
        if shield is not False and shield is not True:
            raise TypeError("shield must be a bool")
        self._relative = relative_deadline
        self._deadline = deadline
        self._shield = shield
        self._state = NEW
        self._cancel_called = False
        self._abandoned = False
        # Whether the scope stands in the run's deadlines.
        self._timed = False
        # The run's count of cancellations when this one began to count: tells a foreign dialect new ones from old.
        self._serial = 0
        self._reason: CancelReason | None = None
        # Why and when it will be cancelled at the latest, once it was asked to shut down.
        self._closing: tuple[CancelReason, float] | None = None
        self._task: Task | None = None
        self._parent: CancelScope | None = None
        self.cancelled_caught = False

    # flat: once for every timeout
    def __enter__(self) -> Self:
        runner = current.runner
        task = None if runner is None else runner.current
        if task is None:
            task = current_task()
        if self._state:
            raise RuntimeError(
                "each CancelScope may only be used for a single 'with' block: make a new one for each entry"
            )
        self._state = ACTIVE
        self._task = task
        self._parent = task.scope
        relative = self._relative
        if relative != inf:
            now = task.runner.now()
            deadline = now + relative
            if self._deadline < deadline:
                # It was asked to shut down before.
                deadline = self._deadline
            self._deadline = deadline
            self._relative = inf
            if now >= deadline:
                self._cancel(self._due_reason())
            elif not self._cancel_called:
                task.runner.deadlines.add(self, deadline)
                self._timed = True
        elif self._deadline != inf and not self._cancel_called:
            if task.runner.now() >= self._deadline:
                self._cancel(self._due_reason())
            else:
                task.runner.deadlines.add(self, self._deadline)
                self._timed = True
        task.scope = self
        if self._cancel_called or self._shield:
            if self._cancel_called:
                task.runner.cancel_serial += 1
                self._serial = task.runner.cancel_serial
            if self._shield:
                self._told = task.delivered
                task.entered_shield(self)
            task.refresh()
        return self

    # flat: once for every timeout
    def __exit__(
        self, etype: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> bool:
        task = self._task
        if exc is None and task is not None and task.scope is self and not task.alert and not self._shield:
            # The quiet way out: nothing raised, nobody cancelled, nothing to recompute.
            runner = task.runner
            if runner.current is task:
                task.scope = self._parent
                self._state = CLOSED
                self._task = self._parent = None
                if self._timed:
                    runner.deadlines.remove(self, self._deadline)
                return False
        if etype is GeneratorExit and current.runner is None:
            # The garbage collector closes the coroutine of a task whose run is over.
            return False
        return settle(self.close(exc), exc)

    def close(self, exc: BaseException | None) -> BaseException | None:
        """Leave the scope with `exc` under way; return what is left of it after the scope took its share."""
        if self._state is not ACTIVE:
            what = "had not been entered" if self._state is NEW else "had already been exited"
            return _with_context(
                RuntimeError(f"Cancel scope stack corrupted: attempted to exit {self!r}, which {what}"), exc
            )
        task = current_task()
        if task.scope is not self:
            if self._abandoned:
                # An outer scope was closed over this one and said so; a second error would only confuse.
                pass
            elif task is not self._task or not lies_within(task.scope, self):
                return _with_context(
                    RuntimeError(
                        f"Cancel scope stack corrupted: attempted to exit {self!r} in unrelated {task!r}, it was "
                        f"entered in {self._task!r}{MISNESTING_ADVICE}"
                    ),
                    exc,
                )
            else:
                exc = _with_context(
                    RuntimeError(
                        f"Cancel scope stack corrupted: attempted to exit {self!r} in {task!r} that's still "
                        f"within its child {task.scope!r}{MISNESTING_ADVICE}"
                    ),
                    exc,
                )
                self._abandon(task)
                task.scope = self._parent
        else:
            task.scope = self._parent
        if exc is not None and (self._abandoned or (self._cancel_called and not self._outer_cancel_is_visible())):
            if isinstance(exc, Cancelled):
                self.cancelled_caught = True
                exc = None
            elif isinstance(exc, BaseExceptionGroup):
                matched, exc = exc.split(Cancelled)
                if matched is not None:
                    self.cancelled_caught = True
            elif task.stands_for_cancelled(exc, self):
                self.cancelled_caught = True
                exc = None
        if self._timed:
            task.runner.deadlines.remove(self, self._deadline)
            self._timed = False
        self._state = CLOSED
        if self._abandoned:
            # Stays linked: what is left inside finds its way out through it.
            push(self)
        else:
            if self._shield:
                self._recall_outside(task)
            self._parent = None
        self._task = None
        task.refresh()
        return exc

    def _recall_outside(self, task: Task) -> None:
        """Let a cancellation outside, which the shield has held back, be one that the task was not told of.

        It may be older than one inside, of which the task was told.
        """
        if newest_cancellation_around(self._parent) > self._told:
            task.delivered = min(task.delivered, self._told)

    def _abandon(self, task: Task) -> None:
        """Mark this scope, and each open one inside it, as closed over."""
        inner = task.scope
        while inner is not None and inner is not self:
            inner._abandoned = True
            inner = inner._parent
        self._abandoned = True

    def _outer_cancel_is_visible(self) -> bool:
        return not self._shield and is_cancelled(self._parent)

    # Cancelling

    def cancel(self, reason: str | None = None) -> None:
        """Cancel what is inside the scope; idempotent.

        Arguments: reason is text that each Cancelled will carry.
        Raises RuntimeError in another thread than the run's: call it there through `from_thread` or a run token.
        Not a cancel point.

        Source: trio's documentation, `trio.CancelScope.cancel`.
        """
        if self._cancel_called:
            return
        runner = current.runner
        task = None if runner is None else runner.current
        self._cancel(CancelReason("explicit", reason, None if task is None else repr(task)))

    def _cancel(self, reason: CancelReason | None, *, echo: bool = False) -> None:
        """Cancel for a reason.

        Arguments: echo tells that a scope outside is cancelled, which is why this one is: it is the same cancellation,
        not a further one, to a dialect that tells its tasks of each once.
        """
        if self._cancel_called:
            return
        task = self._task
        if task is None:
            self._cancel_called = True
            self._reason = reason
            return
        if task.runner.thread != get_ident():
            task.runner.check_thread("CancelScope.cancel()")
        self._cancel_called = True
        self._reason = reason
        outer = newest_cancellation_around(self._parent) if echo and not self._shield else 0
        if outer:
            self._serial = outer
        else:
            task.runner.cancel_serial += 1
            self._serial = task.runner.cancel_serial
        if self._timed:
            task.runner.deadlines.remove(self, self._deadline)
            self._timed = False
        push(self)

    def drop(self) -> None:
        """Forget a scope whose task ended inside it."""
        if self._timed:
            self._task.runner.deadlines.remove(self, self._deadline)  # type: ignore[union-attr]  # timed: entered
            self._timed = False
        self._state = CLOSED

    def expire(self) -> None:
        """Cancel the scope because its deadline has come; called by the deadlines, which dropped it already."""
        self._timed = False
        self._cancel(self._due_reason())

    def _due_reason(self) -> CancelReason:
        """Return why the scope is cancelled when its deadline has come."""
        closing = self._closing
        return DEADLINE_REASON if closing is None or self._deadline < closing[1] else closing[0]

    def why(self) -> CancelReason:
        """Return why this scope, or the nearest one outside it, was cancelled."""
        scope: CancelScope | None = self
        while scope is not None:
            if scope._cancel_called and scope._reason is not None:
                return scope._reason
            if scope._abandoned:
                return MISNESTING_REASON
            scope = scope._parent
        return UNKNOWN_REASON

    @property
    def cancel_called(self) -> bool:
        """Whether cancellation was asked for, or the deadline has passed; once True, always True."""
        if (
            not self._cancel_called
            and self._state is not CLOSED
            and self._deadline != inf
            and _now() >= self._deadline
        ):
            self._cancel(self._due_reason())
        return self._cancel_called

    # Deadlines

    @property
    def deadline(self) -> float:
        """When the scope will be cancelled, in seconds of the run's clock; inf for never.

        Raises RuntimeError while the scope has a relative deadline and was not entered.
        """
        if self._relative != inf:
            raise RuntimeError(
                "unentered relative cancel scope does not have an absolute deadline: read or set "
                "relative_deadline instead"
            )
        return self._deadline

    @deadline.setter
    def deadline(self, new_deadline: float) -> None:
        if isnan(new_deadline):
            raise ValueError("deadline must not be NaN")
        if self._relative != inf:
            raise RuntimeError(
                "unentered relative cancel scope does not have an absolute deadline: read or set "
                "relative_deadline instead"
            )
        self._move_deadline(float(new_deadline))

    @property
    def relative_deadline(self) -> float:
        """Seconds until the deadline: from entry before it, from now after it; inf for never.

        Raises RuntimeError while the scope has an absolute deadline and was not entered.
        """
        if self._state is not NEW:
            return self._deadline - _now()
        if self._deadline != inf:
            raise RuntimeError(
                "unentered non-relative cancel scope does not have a relative deadline: read or set deadline instead"
            )
        return self._relative

    @relative_deadline.setter
    def relative_deadline(self, new_relative_deadline: float) -> None:
        if isnan(new_relative_deadline):
            raise ValueError("relative deadline must not be NaN")
        if new_relative_deadline < 0:
            raise ValueError("relative deadline must be non-negative, in seconds")
        if self._state is not NEW:
            self._move_deadline(_now() + float(new_relative_deadline))
        elif self._deadline != inf:
            raise RuntimeError(
                "unentered non-relative cancel scope does not have a relative deadline: read or set deadline instead"
            )
        else:
            self._relative = new_relative_deadline

    @property
    def is_relative(self) -> bool | None:
        """Whether the deadline counts from entry; None once the scope was entered."""
        return None if self._state is not NEW else self._relative != inf

    def _move_deadline(self, new: float) -> None:
        closing = self._closing
        if closing is not None and closing[1] < new:
            # The grace of a shutdown cannot be stretched.
            new = closing[1]
        old, self._deadline = self._deadline, new
        task = self._task
        if task is None or self._cancel_called or old == new:
            return
        task.runner.check_thread("setting a deadline")
        deadlines = task.runner.deadlines
        if self._timed:
            deadlines.remove(self, old)
        self._timed = new != inf
        if self._timed:
            deadlines.add(self, new)

    # Shutting down

    def shutdown(self, *, grace: float, reason: str | None = None) -> None:
        """Ask what is inside the scope to come to an end, and cancel it if that takes longer than the grace.

        Arguments: grace is in seconds of the run's clock; 0 cancels at once, inf never.  reason is text that each
        Cancelled will carry, if it comes to that.

        From now on `is_closing()` is True inside the scope, `until_closing()` returns, `stop_when_closing()` blocks are
        cancelled, and `serve_listeners` accepts no more connections.  The deadline is at most the end of the grace, and
        cannot be moved beyond it.  Asking again is allowed: the earlier end counts.  A scope that was left already is
        left alone.

        Raises ValueError for a negative grace or NaN, RuntimeError outside the run.  Not a cancel point.

        Example::

            with nursery.CancelScope() as scope:
                async with nursery.open_nursery() as n:
                    n.start_soon(worker)
                    await order_to_stop()
                    scope.shutdown(grace=10)
        """
        if not grace >= 0:
            raise ValueError(f"grace must be non-negative, in seconds, not {grace!r}")
        runner = current_runner()
        if self._task is not None and self._task.runner is not runner:
            self._task.runner.check_thread("CancelScope.shutdown()")
        if self._state is CLOSED:
            return
        why = CancelReason("shutdown", reason, None if runner.current is None else repr(runner.current))
        end = runner.now() + grace
        asked_before = self._closing is not None
        if self._closing is None or end < self._closing[1]:
            self._closing = (why, end)
        if not asked_before:
            # What opted in is told first: it is to see why it ends, also if there is no grace.
            runner.opted_in.begin()
        if grace == 0:
            self._cancel(why)
        elif end < self._deadline:
            self._move_deadline(end)

    # Shielding

    @property
    def shield(self) -> bool:
        """Whether cancellations from outside are held back; dropping it delivers what was held back at once."""
        return self._shield

    @shield.setter
    def shield(self, new_value: bool) -> None:
        if not isinstance(new_value, bool):
            raise TypeError("shield must be a bool")
        if new_value is not self._shield:
            self._shield = new_value
            task = self._task
            if new_value and task is not None:
                self._told = task.delivered
                task.entered_shield(self)
            elif task is not None:
                self._recall_outside(task)
            push(self)
            if task is not None:
                task.runner.opted_in.tell()

    def __repr__(self) -> str:
        state = ("unbound", "active", "exited")[self._state]
        if self._cancel_called:
            state += ", cancelled"
        elif self._state is NEW and self._relative != inf:
            state += f", deadline {self._relative:.2f} seconds after entry"
        elif self._deadline != inf:
            try:
                left = self._deadline - _now()
            except RuntimeError:
                # Printed outside any run: there is no clock to say how far away it is.
                pass
            else:
                state += f", deadline is {abs(left):.2f} seconds {'from now' if left >= 0 else 'ago'}"
        return f"<nursery.CancelScope at {id(self):#x}, {state}>"


def settle(remaining: BaseException | None, exc: BaseException | None) -> bool:
    """Turn "what is left of the exception" into what `__exit__` has to do: return True, False, or raise."""
    if remaining is None:
        return True
    if remaining is exc:
        return False
    # Python sets the context of what is raised here to the exception under way; put back the right one, and leave
    # no reference from this frame to the exception, which would be a cycle (tests/kernel/test_garbage.py).
    context = remaining.__context__
    try:
        raise remaining
    finally:
        _, value, _ = sys.exc_info()
        if value is not None:
            value.__context__ = context
        del remaining, exc, value, context, _


def current_time() -> float:
    """Return the time of the run's clock, in seconds.

    Raises RuntimeError outside a run.  Not a cancel point.
    Source: trio's documentation, `trio.current_time`.
    """
    return _now()


def current_effective_deadline() -> float:
    """Return the earliest deadline that holds for the calling code, in seconds of the run's clock.

    Returns -inf if a surrounding scope is cancelled already, inf if there is no deadline; shields are respected.
    Source: trio's documentation, `trio.current_effective_deadline`.
    """
    scope = current_task().scope
    earliest = inf
    while scope is not None:
        if scope._cancel_called or scope._abandoned:
            return -inf
        earliest = min(earliest, scope._deadline)
        if scope._shield:
            break
        scope = scope._parent
    return earliest


def _now() -> float:
    runner = current.runner
    if runner is None:
        return current_task().runner.now()
    return runner.now()


def _with_context(new: BaseException, context: BaseException | None) -> BaseException:
    new.__context__ = context
    return new



class NurseryScope(CancelScope, _kernel=True):
    """The scope of a nursery: entered and left by the nursery alone.

    `_doomed` says whether a cancelled scope is seen from here; kept by pushing, so that a walk from below can end here.
    """

    __slots__ = ("_doomed",)

    def __init__(self) -> None:
        super().__init__()
        self._doomed = False

    def __enter__(self) -> Self:
        super().__enter__()
        if self._task is not None and self._task.alert:
            self._doomed = is_cancelled(self._parent)
        return self

    def __exit__(
        self, etype: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> bool:
        raise _with_context(
            RuntimeError(
                f"{self!r} belongs to a nursery, which leaves it itself: leave the 'async with open_nursery()' "
                "block, or call cancel() on the scope"
            ),
            exc,
        )
