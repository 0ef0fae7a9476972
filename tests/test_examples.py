"""Every native example runs to its end; those of the asyncio dialect are in tests/compat/test_examples.py."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_the_native_echo_answers_every_message() -> None:
    program = ROOT / "examples" / "echo_native.py"
    done = subprocess.run(
        [sys.executable, "-W", "error", str(program)], check=True, timeout=20, cwd=ROOT, capture_output=True, text=True
    )
    assert "9 messages came back" in done.stdout
