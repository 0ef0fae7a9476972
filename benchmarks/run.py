"""One run: one workload on one system in a process of its own, and what it took."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

# The exit status of a child whose system lacks what the workload is about.
LACKING = 3
CHECKOUT = Path(__file__).resolve().parent.parent
PATIENCE = 60.0


class RunFailed(Exception):
    """The process failed, gave a wrong result or never came to an end."""


class SystemLacks(Exception):
    """The system raised NotImplementedError: it does not claim to do this, so it is left out."""


@dataclass(frozen=True, slots=True)
class Run:
    """What `python -m benchmarks.child` prints, as JSON on one line."""

    workload: str
    system: str
    operations: int
    wall_ns: int
    cpu_ns: int

    def per_operation(self, clock: str) -> float:
        """Nanoseconds per operation by one of the clocks, "wall" or "cpu"."""
        total = self.wall_ns if clock == "wall" else self.cpu_ns
        return total / self.operations

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def in_child(cls, workload: str, system: str, *, quick: bool) -> Run:
        """Run it in a new process, whose complaints go to our own standard error."""
        command = [sys.executable, "-m", "benchmarks.child", workload, system]
        if quick:
            command.append("--quick")
        try:
            child = subprocess.run(
                command, cwd=CHECKOUT, stdout=subprocess.PIPE, timeout=PATIENCE, check=True
            )
        except subprocess.TimeoutExpired:
            raise RunFailed(f"{workload} on {system}: no end after {PATIENCE:g} s") from None
        except subprocess.CalledProcessError as error:
            if error.returncode == LACKING:
                raise SystemLacks(f"{workload} on {system}: {error.stdout.decode().strip()}") from None
            raise RunFailed(f"{workload} on {system}: status {error.returncode}") from None
        return cls(**json.loads(child.stdout))
