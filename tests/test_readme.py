"""What the README promises: its picture of code, and its first command."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import threading
from pathlib import Path

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def greet_once(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    with listener, connection:
        connection.sendall(b"hello\n")


def test_the_picture_of_code_runs() -> None:
    (program,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    threads = []
    for port in ("8001", "8002"):
        listener = socket.create_server(("localhost", 0))
        assert port in program
        program = program.replace(port, str(listener.getsockname()[1]))
        thread = threading.Thread(target=greet_once, args=[listener])
        thread.start()
        threads.append(thread)
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True, timeout=20, cwd=ROOT)
    for thread in threads:
        thread.join()


def test_the_first_command_runs_programs_that_exist() -> None:
    (command,) = re.findall(r"^    (python3 -m venv .*)$", README, re.MULTILINE)
    programs = re.findall(r"examples/\w+\.py", command)
    assert programs == ["examples/echo_asyncio.py", "examples/echo_native.py"]
    assert all((ROOT / program).is_file() for program in programs)


def test_the_files_that_are_linked_exist() -> None:
    links = re.findall(r"\]\(([^):]+)\)", README)
    assert links
    assert all((ROOT / link).exists() for link in links)
