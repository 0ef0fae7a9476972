"""The command line: which workloads on which systems, how often, in interleaved order."""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Iterable
from dataclasses import asdict
from fnmatch import fnmatchcase
from pathlib import Path

from benchmarks.catalogue import WORKLOADS, Workload
from benchmarks.run import Run, RunFailed, SystemLacks
from benchmarks.systems import ENTRY_POINTS, why_missing
from benchmarks.table import report


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure nursery against trio, asyncio and uvloop.",
    )
    parser.add_argument("--list", action="store_true", help="name the workloads, and stop")
    parser.add_argument(
        "--only", nargs="+", metavar="NAME", default=["*"], help="these workloads; * and ? match"
    )
    parser.add_argument("--repeat", type=int, metavar="N", help="repetitions: 5, or 1 if quick")
    parser.add_argument(
        "--systems",
        metavar="A,B,...",
        default=",".join(ENTRY_POINTS),
        help="these systems (default: %(default)s)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every single run there")
    parser.add_argument("--quick", action="store_true", help="a smoke test; its figures are poor")
    arguments = parser.parse_args()
    arguments.repeat = arguments.repeat or (1 if arguments.quick else 5)
    arguments.systems = arguments.systems.split(",")
    for system in arguments.systems:
        if system not in ENTRY_POINTS:
            parser.error(f"no system {system!r}; there are {', '.join(ENTRY_POINTS)}")
    for pattern in arguments.only:
        if not any(fnmatchcase(name, pattern) for name in WORKLOADS):
            parser.error(f"no workload {pattern!r}; see --list")
    return arguments


def available(systems: Iterable[str]) -> list[str]:
    """The systems that can be measured here. Says of each other one why it is left out."""
    found = []
    for system in systems:
        if reason := why_missing(ENTRY_POINTS[system]):
            print(f"left out: {system} ({reason})", file=sys.stderr)
        else:
            found.append(system)
    return found


def selected(patterns: Iterable[str]) -> list[Workload]:
    """The workloads that are wanted and possible here. Says of each other one why it is left out."""
    chosen = []
    for name, workload in WORKLOADS.items():
        if any(fnmatchcase(name, pattern) for pattern in patterns):
            reasons = [reason for need in workload.needs if (reason := why_missing(need))]
            if reasons:
                print(f"left out: {name} ({reasons[0]})", file=sys.stderr)
            else:
                chosen.append(workload)
    return chosen


def interleaved(
    workload: Workload, systems: list[str], repeat: int, *, quick: bool
) -> tuple[list[Run], list[RunFailed]]:
    """A B C D, A B C D, ...: what slows the machine down for a while slows down all of them.

    A system that has failed is not tried again: its figures could not be trusted anyway.
    """
    runs: list[Run] = []
    failures: dict[str, RunFailed] = {}
    able = list(systems)
    for _ in range(repeat):
        for system in able.copy():
            try:
                runs.append(Run.in_child(workload.name, system, quick=quick))
            except SystemLacks as lack:
                able.remove(system)
                print(f"left out: {lack}", file=sys.stderr)
            except RunFailed as failure:
                able.remove(system)
                failures[system] = failure
                print(f"FAILED: {failure}", file=sys.stderr)
    return [run for run in runs if run.system not in failures], list(failures.values())


def main() -> int:
    arguments = parse()
    if arguments.list:
        for name, workload in WORKLOADS.items():
            print(f"{name:23} {workload.operation}; {', '.join(workload.programs)}")
        return 0
    systems = available(arguments.systems)
    runs: list[Run] = []
    failures: list[RunFailed] = []
    for workload in selected(arguments.only):
        runnable = [system for system in systems if system in workload.programs]
        if not runnable:
            continue
        print(f"{workload.name}: {', '.join(runnable)}", file=sys.stderr)
        measured, failed = interleaved(workload, runnable, arguments.repeat, quick=arguments.quick)
        runs += measured
        failures += failed
    print(f"Python {platform.python_version()}, {platform.system()} {platform.machine()}")
    print(f"repetitions: {arguments.repeat}{', quick' if arguments.quick else ''}\n")
    print(report(runs))
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(run) for run in runs], indent=1) + "\n")
    for failure in failures:
        print(f"FAILED: {failure}", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
