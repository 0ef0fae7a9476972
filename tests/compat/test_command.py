"""python -m nursery.compat: the program finds the world that python itself would make."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent

PROGRAM = """\
import asyncio, sys
async def main():
    print(__name__, sys.argv[1:], sys.path[0], sys.modules["__main__"].__dict__ is globals())
    print(type(asyncio.get_running_loop()).__module__)
    if sys.argv[1] == "fail":
        raise LookupError("on purpose")
    if sys.argv[1] == "interrupt":
        raise KeyboardInterrupt
    sys.exit(int(sys.argv[1]))
asyncio.run(main())
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").write_text("")
    (tmp_path / "package" / "__main__.py").write_text(PROGRAM)
    (tmp_path / "wrong.py").write_text("this is wrong\n")
    return tmp_path


def python(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def compat(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return python(folder, "-m", "nursery.compat", *arguments)


def test_a_script_runs_on_our_loop_with_its_arguments_and_exit_code(folder: Path) -> None:
    finished = compat(folder, "program.py", "3", "more")
    assert finished.stdout.splitlines() == [f"__main__ ['3', 'more'] {folder} True", "nursery.compat.loop"]
    assert finished.returncode == 3


def test_a_module_runs_on_our_loop(folder: Path) -> None:
    finished = compat(folder, "-m", "program", "4")
    assert finished.stdout.splitlines() == [f"__main__ ['4'] {folder} True", "nursery.compat.loop"]
    assert finished.returncode == 4


def test_a_package_and_a_folder_run_their_main(folder: Path) -> None:
    assert compat(folder, "-m", "package", "5").returncode == 5
    finished = compat(folder, "package", "6")
    assert f"{'package'} True" in finished.stdout
    assert finished.returncode == 6


@pytest.mark.parametrize("arguments", [["world.py"], ["-m", "world"]])
def test_the_program_has_the_names_that_python_gives_it(folder: Path, arguments: list[str]) -> None:
    (folder / "world.py").write_text("print(sorted(globals()), __doc__, __package__, __file__, __builtins__)\n")
    as_python = python(folder, *arguments)
    assert as_python.returncode == 0
    assert compat(folder, *arguments).stdout == as_python.stdout


def test_a_traceback_begins_with_the_programs_first_frame(folder: Path) -> None:
    finished = compat(folder, "program.py", "fail")
    expected = python(folder, "program.py", "fail")
    lines, expected_lines = finished.stderr.splitlines(), expected.stderr.splitlines()
    assert lines[:3] == expected_lines[:3]
    assert lines[-1] == expected_lines[-1] == "LookupError: on purpose"
    assert finished.returncode == expected.returncode == 1


def test_a_syntax_error_is_shown_as_python_shows_it(folder: Path) -> None:
    finished = compat(folder, "wrong.py")
    assert finished.stderr == python(folder, "wrong.py").stderr
    assert finished.returncode == 1


def test_an_interrupt_ends_the_process_as_python_does(folder: Path) -> None:
    finished, expected = compat(folder, "program.py", "interrupt"), python(folder, "program.py", "interrupt")
    assert finished.returncode == expected.returncode
    assert finished.stderr.splitlines()[-1] == "KeyboardInterrupt"


def test_a_real_interrupt_ends_the_process_as_python_does(folder: Path) -> None:
    (folder / "sleeps.py").write_text(
        "import asyncio, os, signal\n"
        "async def main():\n"
        "    asyncio.get_running_loop().call_later(0.001, os.kill, os.getpid(), signal.SIGINT)\n"
        "    try:\n"
        "        await asyncio.sleep(5)\n"
        "    finally:\n"
        "        print('cleaned up')\n"
        "asyncio.run(main())\n"
    )
    for arguments in (["sleeps.py"], ["-m", "sleeps"]):
        finished = compat(folder, *arguments)
        assert finished.returncode == -signal.SIGINT
        assert finished.stdout == "cleaned up\n"
        assert finished.stderr.splitlines()[-1] == "KeyboardInterrupt"


def test_a_program_that_names_the_selector_loop_gets_ours(folder: Path) -> None:
    (folder / "names.py").write_text(
        "import asyncio\n"
        "loop = asyncio.SelectorEventLoop()\n"
        "print(isinstance(loop, __import__('nursery').compat.EventLoop))\n"
        "loop.close()\n"
    )
    assert compat(folder, "names.py").stdout == "True\n"


def test_a_program_reads_its_standard_input(folder: Path) -> None:
    (folder / "reads.py").write_text("print(input()[::-1])\n")
    finished = subprocess.run(
        [sys.executable, "-m", "nursery.compat", "reads.py"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])},
        input="abc\n",
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.stdout == "cba\n"


def test_the_children_of_multiprocessing_find_the_program(folder: Path) -> None:
    (folder / "spawns.py").write_text(
        "import multiprocessing\n"
        "def double(x):\n"
        "    return 2 * x\n"
        "if __name__ == '__main__':\n"
        "    with multiprocessing.get_context('spawn').Pool(1) as pool:\n"
        "        print(pool.map(double, [1, 2]))\n"
    )
    finished = compat(folder, "spawns.py")
    assert finished.stdout == "[2, 4]\n", finished.stderr


@pytest.mark.parametrize("arguments", [["missing.py"], ["-m", "missing_module"]])
def test_what_is_not_there_is_reported_as_python_does(folder: Path, arguments: list[str]) -> None:
    finished, expected = compat(folder, *arguments), python(folder, *arguments)
    assert finished.stderr == expected.stderr
    assert finished.returncode == expected.returncode


def test_without_a_program_the_usage_is_shown(folder: Path) -> None:
    assert compat(folder).returncode == 2
    assert "usage: python -m nursery.compat" in compat(folder, "--help").stdout
