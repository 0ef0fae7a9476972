"""What a native server asks of the system for each message, as strace sees it from outside.

The server is the simplest there is.  With one client that takes its time it has to wait for each message; with ten it
is under load and hardly waits at all.  What comes on top of the messages is known as well: a receive may find nothing
yet when the connection is new, and one receive finds its end.
"""

from __future__ import annotations

import os
import re
import select
import shutil
import socket
import subprocess
import sys
import time
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

MESSAGES = 100
MESSAGE = b"x" * 1024

# By the names that different systems and versions of Python know the calls by; no others are traced.
ACCEPTS = ("accept", "accept4")
RECEIVES = ("read", "readv", "recvfrom", "recvmsg")
SENDS = ("write", "writev", "sendto", "sendmsg")
CONTROLS = ("epoll_ctl",)
WAITS = ("epoll_wait", "epoll_pwait", "epoll_pwait2")
TRACED = ACCEPTS + RECEIVES + SENDS + CONTROLS + WAITS

# One call a line: its name, the first argument, the result.
CALL = re.compile(r"^(\w+)\((\d+).* = (-?\d+)", re.MULTILINE)

SERVER = """
import functools
import sys
import nursery

served = 0

async def echo(stream):
    global served
    async for data in stream:
        await stream.send_all(data)
    served += 1
    if served == int(sys.argv[1]):
        server.cancel_scope.cancel()

async def main():
    global server
    async with nursery.open_nursery() as server:
        [listener] = await server.start(functools.partial(nursery.serve_tcp, echo, 0, host="127.0.0.1"))
        print(listener.socket.getsockname()[1], flush=True)

nursery.run(main)
"""


@cache
def why_not() -> str | None:
    """Why system calls cannot be counted here; None if they can."""
    if sys.platform != "linux":
        return "strace is a program for Linux"
    if shutil.which("strace") is None:
        return "the program strace is not installed"
    probe = subprocess.run(["strace", "-o", os.devnull, "true"], capture_output=True, text=True)
    if probe.returncode != 0:
        return f"this system does not permit tracing: {probe.stderr.strip()}"
    return None


def load(port: int, count: int, pause: float) -> None:
    """Send a message on each of so many connections, and the next one whenever it is back, after a pause in seconds."""
    connections: dict[int, socket.socket] = {}
    received: Counter[int] = Counter()
    with select.epoll() as epoll:
        for _ in range(count):
            connection = socket.create_connection(("127.0.0.1", port))
            connections[connection.fileno()] = connection
            epoll.register(connection, select.EPOLLIN)
        for connection in connections.values():
            connection.sendall(MESSAGE)
        while connections:
            events = epoll.poll(10)
            assert events, "the server has been silent for ten seconds"
            for fd, _ in events:
                data = connections[fd].recv(len(MESSAGE))
                assert data, "the server has hung up"
                received[fd] += len(data)
                if received[fd] == MESSAGES // count * len(MESSAGE):
                    connections.pop(fd).close()
                elif received[fd] % len(MESSAGE) == 0:
                    time.sleep(pause)
                    connections[fd].sendall(MESSAGE)


def traced_server(trace: Path, connections: int) -> subprocess.Popen[str]:
    command = ["strace", "-o", str(trace), "-s", "0", "-e", f"trace=?{',?'.join(TRACED)}"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NURSERY_")}
    return subprocess.Popen(
        [*command, sys.executable, "-c", SERVER, str(connections)], stdout=subprocess.PIPE, env=environment, text=True
    )


@pytest.mark.parametrize(("connections", "pause"), [(1, 0.001), (10, 0.0)], ids=["waiting", "under load"])
def test_a_message_costs_one_receive_and_one_send_and_no_registration(
    connections: int, pause: float, tmp_path: Path
) -> None:
    if reason := why_not():
        pytest.skip(reason)
    trace = tmp_path / "trace"
    with traced_server(trace, connections) as server:
        assert server.stdout is not None
        try:
            load(int(server.stdout.readline()), connections, pause)
            assert server.wait(10) == 0
        finally:
            server.kill()

    found = CALL.findall(trace.read_text())
    accepted = {result for name, _, result in found if name in ACCEPTS and result != "-1"}
    assert len(accepted) == connections
    count = Counter(name for name, fd, _ in found if fd in accepted or name in CONTROLS + WAITS)
    receives = sum(count[name] for name in RECEIVES)
    sends = sum(count[name] for name in SENDS)
    controls = sum(count[name] for name in CONTROLS)
    waits = sum(count[name] for name in WAITS)

    assert sends == MESSAGES
    assert MESSAGES + connections <= receives <= MESSAGES + 2 * connections
    # The connections and the listener come and go; the bell of the loop comes.
    assert controls <= 2 * (connections + 1) + 1
    # A wait may bring many messages.  Some bring none, but news of a connection or of its end.
    assert waits <= MESSAGES + 3 * connections + 5
