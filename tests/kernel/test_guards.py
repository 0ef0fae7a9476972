"""The guards that the kernel's comments name exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def test_every_test_file_that_a_comment_of_the_kernel_names_exists() -> None:
    named: dict[str, str] = {}
    for source in sorted((ROOT / "nursery" / "kernel").rglob("*.py")):
        for path in re.findall(r"tests/[\w/]+\.py", source.read_text()):
            named[path] = source.name
    assert len(named) >= 5
    assert {path: source for path, source in named.items() if not (ROOT / path).is_file()} == {}


def test_every_file_of_the_kernel_has_a_test_file_of_its_name() -> None:
    # Tested under the name of what they serve.
    elsewhere = {"epoll": "io", "selectors": "io", "interest": "io"}
    for source in sorted((ROOT / "nursery" / "kernel").rglob("*.py")):
        if source.stem != "__init__":
            name = elsewhere.get(source.stem, source.stem)
            assert (ROOT / "tests" / "kernel" / f"test_{name}.py").is_file(), source.name
