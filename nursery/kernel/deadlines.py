"""The times at which something has to happen, in buckets.

Invariant: an entry with a finite deadline is in exactly one bucket, the dict at key `floor(deadline * 64)`, and
that dict maps it to its exact deadline.  Joining an existing bucket and leaving it are dict operations; removal
is true removal, no entry is left behind.  `soonest` is never later than the earliest deadline; it is exact after
`next_deadline()`.

The SortedDict is touched only when a bucket begins or ends to exist.  A bucket that becomes empty is kept for a while:
a program that sets and drops one timeout again and again would otherwise make and destroy its bucket each time (1900
ns instead of 500).  Empty buckets are swept out before they are more than SPARE and more than the others.

Measured against a heap with lazy deletion and one sorted entry a deadline: docs/decisions/0004.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import inf
from typing import Final, Protocol

from sortedcontainers import SortedDict

BUCKETS_A_SECOND: Final = 64.0
# Where the multiplication overflows (1e308 is a legal deadline): beyond the key of every float that can be multiplied.
LATEST: Final = 1 << 1030
SPARE: Final = 256


class Entry(Protocol):
    """What can have a deadline: a scope, a sleeping task, a foreign timer."""

    def expire(self) -> None:
        """Do what was due; called once, after the entry was removed."""


def bucket_of(deadline: float) -> int:
    """Return the key of the bucket for `deadline`, in seconds of the run's clock."""
    try:
        return int(deadline * BUCKETS_A_SECOND)
    except OverflowError:
        return LATEST if deadline > 0 else -LATEST


_NO_BUCKET: Final[dict[Entry, float]] = {}


class Deadlines:
    """All finite deadlines of one run."""

    __slots__ = ("_buckets", "_emptied", "soonest", "wake_host")

    def __init__(self) -> None:
        self._buckets: SortedDict[int, dict[Entry, float]] = SortedDict()
        # How often a bucket has become empty since the empty ones were last swept out.
        self._emptied = 0
        self.soonest = inf
        # Guest mode: the host changed a deadline while the kernel sleeps in a thread.  None outside guest mode.
        self.wake_host: _Wake | None = None

    # flat: twice for every timeout
    def add(self, entry: Entry, deadline: float) -> None:
        """Let `entry.expire()` be called once `deadline` (seconds, finite) has come."""
        try:
            key = int(deadline * 64.0)
        except OverflowError:
            key = bucket_of(deadline)
        bucket = self._buckets.get(key)
        if bucket is None:
            self._buckets[key] = {entry: deadline}
        else:
            bucket[entry] = deadline
        if deadline < self.soonest:
            self.soonest = deadline
            if self.wake_host is not None:
                self.wake_host()

    # flat: twice for every timeout
    def remove(self, entry: Entry, deadline: float) -> None:
        """Forget `entry`, which was added with this same `deadline`."""
        try:
            key = int(deadline * 64.0)
        except OverflowError:
            key = bucket_of(deadline)
        bucket = self._buckets[key]
        del bucket[entry]
        if not bucket:
            self._emptied += 1
            if self._emptied > SPARE and 2 * self._emptied > len(self._buckets):
                self._sweep()
        if self.wake_host is not None:
            self.wake_host()

    def _sweep(self) -> None:
        """Drop the empty buckets."""
        self._emptied = 0
        for key in [key for key, bucket in self._buckets.items() if not bucket]:
            del self._buckets[key]

    def next_deadline(self) -> float:
        """Return the earliest deadline, exactly; inf if there is none."""
        while self._buckets:
            key, bucket = self._buckets.peekitem(0)
            if bucket:
                self.soonest = min(bucket.values())
                return self.soonest
            del self._buckets[key]
        self.soonest = inf
        return inf

    def expire(self, now: float) -> bool:
        """Expire every entry whose deadline is `now` or earlier, in the order of the deadlines.

        Entries with one and the same deadline expire in the order in which they were added.  Returns whether
        there was any.
        """
        due: list[tuple[float, int, Entry]] = []
        last = bucket_of(now)
        for key, bucket in self._buckets.items():
            if key > last:
                break
            for entry, deadline in bucket.items():
                if deadline <= now:
                    due.append((deadline, len(due), entry))
        due.sort()
        expired = False
        for deadline, _, entry in due:
            # What expired a moment ago may have removed this one: a scope aborts the sleepers inside it
            # (tests/kernel/test_deadlines.py).
            bucket = self._buckets.get(bucket_of(deadline), _NO_BUCKET)
            if bucket.get(entry) == deadline:
                self.remove(entry, deadline)
                entry.expire()
                expired = True
        self.next_deadline()
        return expired

    def __len__(self) -> int:
        return sum(map(len, self._buckets.values()))

    def __iter__(self) -> Iterator[tuple[Entry, float]]:
        for bucket in self._buckets.values():
            yield from bucket.items()

    def check(self) -> None:
        """Raise AssertionError if an invariant of this file is broken (kernel self-check)."""
        for key, bucket in self._buckets.items():
            for entry, deadline in bucket.items():
                assert bucket_of(deadline) == key, f"{entry!r} is in bucket {key}, its deadline is {deadline}"
                assert deadline >= self.soonest, f"{entry!r} is due at {deadline}, before 'soonest'"


class _Wake(Protocol):
    def __call__(self) -> None: ...
