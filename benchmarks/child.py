"""The process in which one workload runs on one system, once.

    python -m benchmarks.child WORKLOAD SYSTEM [--quick]

Prints one line of JSON: a `benchmarks.run.Run`; or, with an exit status of its own, what the system lacks.
"""

from __future__ import annotations

import argparse
import sys

from benchmarks.catalogue import WORKLOADS
from benchmarks.descriptors import allow_as_many_as_possible
from benchmarks.meter import Meter
from benchmarks.run import LACKING, Run


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.child", description=__doc__)
    parser.add_argument("workload", choices=WORKLOADS)
    parser.add_argument("system")
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    programs = WORKLOADS[arguments.workload].programs
    if arguments.system not in programs:
        parser.error(f"{arguments.workload} runs on {', '.join(programs)}")
    allow_as_many_as_possible()
    meter = Meter(quick=arguments.quick)
    try:
        programs[arguments.system](meter)
    except NotImplementedError as error:
        print(error)
        sys.exit(LACKING)
    run = Run(arguments.workload, arguments.system, meter.operations, meter.wall_ns, meter.cpu_ns)
    print(run.to_json())


if __name__ == "__main__":
    main()
