"""The clocks: how long a workload is timed for, and what it took."""

from __future__ import annotations

from collections.abc import Iterator
from time import perf_counter_ns, process_time_ns

SECONDS = 0.4
QUICKER = 10


class Meter:
    """Collects operations, wall time and CPU time of one workload on one system.

    Work is timed in laps of a fixed number of operations, repeated until the time is used up. So a
    slow system and a fast one run equally long and see the same amount of noise.
    """

    def __init__(self, *, quick: bool = False) -> None:
        self.seconds = SECONDS / QUICKER if quick else SECONDS
        self.operations = 0
        self.wall_ns = 0
        self.cpu_ns = 0
        self._quick = quick

    def population(self, size: int) -> int:
        """How many objects to set up where the full run has `size` of them."""
        return size // QUICKER if self._quick else size

    def laps(self, operations: int, *, warm_up: bool = True) -> Iterator[None]:
        """Time the body of a `for` loop, which does `operations` operations each time round.

        The first lap lets caches and the specialising interpreter settle and is not counted. A
        workload whose single lap is longer than the whole time asks for no warm-up.
        """
        if warm_up:
            yield
        while self.wall_ns < self.seconds * 1e9:
            wall, cpu = perf_counter_ns(), process_time_ns()
            yield
            cpu, wall = process_time_ns() - cpu, perf_counter_ns() - wall
            self.record(operations, wall, cpu)

    def record(self, operations: int, wall_ns: int, cpu_ns: int) -> None:
        """Add what was measured elsewhere, as the client of the echo server does."""
        self.operations += operations
        self.wall_ns += wall_ns
        self.cpu_ns += cpu_ns
