"""The times at which something has to happen, in buckets.

Invariant: an entry with a finite deadline is in exactly one bucket, the dict at key `floor(deadline * 64)`, and
that dict maps it to its exact deadline.  Joining an existing bucket and leaving it are dict operations; removal
is true removal, no entry is left behind.  `soonest` is never later than the earliest deadline; it is exact after
`next_deadline()`.

A heap has the key of every bucket; it is touched only when a bucket begins or ends to exist.  A bucket that becomes
empty is kept until its time comes, or until a new one is made and the empty ones are more than SPARE and more than the
others: then they are swept out.

`recent` is the bucket of the last entry, in the table; a deadline from `recent_from` to before `recent_until` belongs
into it, and is not earlier than `soonest`.  Most deadlines are as far from now as the one before, so most of them need
no more than that: flat paths ask it in line (compat/loop/callbacks.py).

Measured against a heap with lazy deletion and one sorted entry a deadline: docs/decisions/0004.
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heapify, heappop, heappush
from math import inf
from typing import Final, Protocol

BUCKETS_A_SECOND: Final = 64.0
# Where the multiplication overflows (1e308 is a legal deadline): beyond the key of every float that can be multiplied.
LATEST: Final = 1 << 1030
# Keys below are exact as floats.
MOST_EXACT: Final = 1 << 53
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


class Deadlines:
    """All finite deadlines of one run."""

    __slots__ = ("_buckets", "_keys", "_room", "recent", "recent_from", "recent_until", "soonest", "wake_host")

    def __init__(self) -> None:
        self._buckets: dict[int, dict[Entry, float]] = {}
        # A heap.
        self._keys: list[int] = []
        # How many buckets there may be before the empty ones are looked for.
        self._room: float = SPARE
        self.recent: dict[Entry, float] = {}
        self.recent_from = inf
        self.recent_until = -inf
        self.soonest = inf
        # Guest mode: the host changed a deadline while the kernel sleeps in a thread.  None outside guest mode.
        self.wake_host: _Wake | None = None

    # flat: twice for every timeout
    def add(self, entry: Entry, deadline: float) -> dict[Entry, float]:
        """Let `entry.expire()` be called once `deadline` (seconds, finite) has come; return its bucket."""
        if self.recent_from <= deadline < self.recent_until:
            self.recent[entry] = deadline
            return self.recent
        key = bucket_of(deadline)
        bucket = self._buckets.get(key)
        if bucket is None:
            self._buckets[key] = bucket = {entry: deadline}
            heappush(self._keys, key)
            if len(self._buckets) > self._room:
                self._sweep()
        else:
            bucket[entry] = deadline
        if deadline < self.soonest:
            self.soonest = deadline
            if self.wake_host is not None:
                self.wake_host()
        # Not where the bounds of the bucket are no floats, or where it is the one on both sides of 0.
        if 0 < key < MOST_EXACT:
            self.recent = bucket
            self.recent_from = max(key / BUCKETS_A_SECOND, self.soonest)
            self.recent_until = (key + 1) / BUCKETS_A_SECOND
        return bucket

    # flat: twice for every timeout
    def remove(self, entry: Entry, deadline: float) -> None:
        """Forget `entry`, which was added with this same `deadline`."""
        if self.recent_from <= deadline < self.recent_until:
            del self.recent[entry]
        else:
            del self._buckets[bucket_of(deadline)][entry]
        if self.wake_host is not None:
            self.wake_host()

    def _sweep(self) -> None:
        """Drop the empty buckets."""
        for key in [key for key, bucket in self._buckets.items() if not bucket]:
            del self._buckets[key]
        self._forget_recent()
        self._keys = list(self._buckets)
        heapify(self._keys)
        self._room = max(SPARE, 2 * len(self._keys))

    def _forget_recent(self) -> None:
        """Let no deadline go into the recent bucket: it may no longer be in the table."""
        self.recent_from = inf

    def next_deadline(self) -> float:
        """Return the earliest deadline, exactly; inf if there is none."""
        keys = self._keys
        while keys:
            bucket = self._buckets[keys[0]]
            if bucket:
                self.soonest = soonest = min(bucket.values())
                if self.recent_from < soonest:
                    self.recent_from = soonest
                return soonest
            self._forget_recent()
            del self._buckets[heappop(keys)]
        self.soonest = inf
        return inf

    def expire(self, now: float) -> bool:
        """Expire every entry whose deadline is `now` or earlier, in the order of the deadlines.

        Entries with one and the same deadline expire in the order in which they were added.  Returns whether
        there was any.
        """
        keys = self._keys
        last = bucket_of(now)
        passed: list[int] = []
        due: list[tuple[float, int, Entry, dict[Entry, float]]] = []
        while keys and keys[0] <= last:
            key = heappop(keys)
            passed.append(key)
            bucket = self._buckets[key]
            for entry, deadline in bucket.items():
                if deadline <= now:
                    due.append((deadline, len(due), entry, bucket))
        due.sort()
        expired = False
        # These buckets have no key in the heap for the moment: they must not be swept out.
        room, self._room = self._room, inf
        try:
            for deadline, _, entry, bucket in due:
                # What expired a moment ago may have removed this one: a scope aborts the sleepers inside it
                # (tests/kernel/test_deadlines.py).
                if bucket.get(entry) == deadline:
                    del bucket[entry]
                    entry.expire()
                    expired = True
        finally:
            self._room = room
            self._forget_recent()
            for key in passed:
                if self._buckets[key]:
                    heappush(keys, key)
                else:
                    del self._buckets[key]
            self.next_deadline()
        return expired

    def __len__(self) -> int:
        return sum(map(len, self._buckets.values()))

    def __iter__(self) -> Iterator[tuple[Entry, float]]:
        for bucket in self._buckets.values():
            yield from bucket.items()

    def check(self) -> None:
        """Raise AssertionError if an invariant of this file is broken (kernel self-check)."""
        assert sorted(self._keys) == sorted(self._buckets), "the heap has not the keys of the buckets"
        for key, bucket in self._buckets.items():
            for entry, deadline in bucket.items():
                assert bucket_of(deadline) == key, f"{entry!r} is in bucket {key}, its deadline is {deadline}"
                assert deadline >= self.soonest, f"{entry!r} is due at {deadline}, before 'soonest'"
        if self.recent_from < self.recent_until:
            recent = self._buckets.get(bucket_of(self.recent_from))
            assert recent is self.recent, "the recent bucket is not in the table"
            assert self.recent_from >= self.soonest, "deadlines before 'soonest' may go into the recent bucket"


class _Wake(Protocol):
    def __call__(self) -> None: ...
