"""The results as plain text: medians for each system, and ratios with their spread."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median

from benchmarks.catalogue import WORKLOADS
from benchmarks.family import FAMILIES, Family, Figure
from benchmarks.run import Run
from benchmarks.systems import ENTRY_POINTS

WIDTH = 120
ABSENT = "-"

Rows = list[list[str]]


class Results:
    """Runs by workload and system, each list in the order of the repetitions."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self._runs: dict[tuple[str, str], list[Run]] = {}
        for run in runs:
            self._runs.setdefault((run.workload, run.system), []).append(run)

    def median(self, workload: str, system: str, clock: str) -> float | None:
        runs = self._runs.get((workload, system))
        return median(run.per_operation(clock) for run in runs) if runs else None

    def ratios(self, workload: str, pair: tuple[str, str], clock: str) -> list[float]:
        """Of times, one ratio for each repetition: its two runs were neighbours in time."""
        upper, lower = (self._runs.get((workload, system), []) for system in pair)
        return [
            one.per_operation(clock) / other.per_operation(clock)
            for one, other in zip(upper, lower, strict=False)  # a system that failed has fewer
        ]

    def workloads(self, family: Family, clock: str) -> list[str]:
        measured = {workload for workload, _ in self._runs}
        return [
            name
            for name, workload in WORKLOADS.items()
            if name in measured and workload.family is family and clock in workload.clocks
        ]

    def systems(self, workloads: Sequence[str]) -> list[str]:
        return [
            system
            for system in ENTRY_POINTS
            if any((workload, system) in self._runs for workload in workloads)
        ]


def report(runs: Sequence[Run]) -> str:
    results = Results(runs)
    tables = [
        text for family in FAMILIES for figure in family.figures if (text := _table(results, family, figure))
    ]
    if not tables:
        return "nothing was measured"
    tables.append(
        "Ratios are of times, the median of the pairs with (least..most):\n"
        "below 1, the system named first is the faster one."
    )
    return "\n\n".join(tables)


def _table(results: Results, family: Family, figure: Figure) -> str:
    workloads = results.workloads(family, figure.clock)
    if not workloads:
        return ""
    systems = results.systems(workloads)
    pairs = [pair for pair in family.ratios if set(pair) <= set(systems)]
    medians: Rows = [["", *systems]]
    ratios: Rows = [["", *(f"{one}/{other}" for one, other in pairs)]]
    for workload in workloads:
        figures = (results.median(workload, system, figure.clock) for system in systems)
        medians.append([workload, *(ABSENT if ns is None else figure.render(ns) for ns in figures)])
        spreads = (results.ratios(workload, pair, figure.clock) for pair in pairs)
        ratios.append([workload, *map(_spread, spreads)])
    title = f"{family.title}: {figure.title}"
    return "\n".join([title, *_side_by_side(medians, ratios)])


def _spread(ratios: list[float]) -> str:
    if not ratios:
        return ABSENT
    return f"{median(ratios):.2f} ({min(ratios):.2f}..{max(ratios):.2f})"


def _side_by_side(medians: Rows, ratios: Rows) -> Iterator[str]:
    """The ratios to the right of the medians where there is room for them, else below."""
    if len(ratios[0]) == 1:
        return _aligned(medians)
    joined = [left + right[1:] for left, right in zip(medians, ratios, strict=True)]
    lines = list(_aligned(joined))
    if len(lines[0]) <= WIDTH:
        return iter(lines)
    return iter([*_aligned(medians), *_aligned(ratios)])


def _aligned(rows: Rows) -> Iterator[str]:
    """The first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for name, *cells in rows:
        padded = (cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True))
        yield "  ".join([name.ljust(widths[0]), *padded])
