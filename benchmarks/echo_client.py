"""The echo client: a process of its own, the same for every server, on raw sockets and epoll.

    python -m benchmarks.echo_client HOST PORT SIZE CONNECTIONS SECONDS SERVER_PID

On each connection it sends a message, waits for the whole of it to come back, and sends the next.
It also holds the clocks: it knows when the first measured message leaves and the last one is back,
and reads the server's CPU clock at the same two moments.

Prints `[messages, wall_ns, server_cpu_ns]`.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import time
from contextlib import suppress

from benchmarks.expect import expect

WARM_UP = 0.1
EDGES = select.EPOLLIN | select.EPOLLOUT | select.EPOLLET


class Connection:
    """One message at a time. Edge-triggered: what can be done at once is done at once."""

    __slots__ = ("message", "received", "reply", "reply_view", "sock", "unsent")

    def __init__(self, sock: socket.socket, message: bytes) -> None:
        self.sock = sock
        self.message = memoryview(message)
        self.reply = bytearray(len(message))
        self.reply_view = memoryview(self.reply)
        self.received = 0
        self.unsent = self.message[:0]

    def send(self) -> None:
        self.received = 0
        self.unsent = self.message
        self.flush()

    def flush(self) -> None:
        with suppress(BlockingIOError):
            self.unsent = self.unsent[self.sock.send(self.unsent) :]

    def receive(self) -> bool:
        """Take what has come. True when that completes the reply."""
        size = self.sock.recv_into(self.reply_view[self.received :])
        if not size:
            raise ConnectionError("the server hung up")
        self.received += size
        return self.received == len(self.reply)

    def check(self) -> None:
        expect("reply is the message", self.reply == self.message, True)


def exchange(epoll: select.epoll, connections: dict[int, Connection], seconds: float) -> int:
    """Ping-pong on all connections until the time is up and each has its last reply."""
    clock, poll = time.perf_counter, epoll.poll
    deadline = clock() + seconds
    messages = 0
    active = len(connections)
    for connection in connections.values():
        connection.reply_view[:] = bytes(len(connection.reply))
        connection.send()
    while active:
        for descriptor, events in poll():
            connection = connections[descriptor]
            if connection.unsent:
                connection.flush()
            if events & ~select.EPOLLOUT and connection.receive():
                messages += 1
                if clock() < deadline:
                    connection.send()
                else:
                    active -= 1
    for connection in connections.values():
        connection.check()
    return messages


def cpu_clock_of(pid: int) -> int:
    """The number of a process's CPU clock: what clock_getcpuclockid(3) gives on Linux."""
    scheduler_clock = 2
    return (~pid << 3) | scheduler_clock


def main() -> None:
    host, port, size, count, seconds, pid = sys.argv[1:]
    cpu_clock = cpu_clock_of(int(pid))
    connections: dict[int, Connection] = {}
    with select.epoll() as epoll:
        for number in range(int(count)):
            sock = socket.create_connection((host, int(port)))
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # Every connection has a message of its own: a reply that strays is noticed.
            pattern = bytes((number + position) % 251 + 1 for position in range(251))
            message = (pattern * (int(size) // len(pattern) + 1))[: int(size)]
            connections[sock.fileno()] = Connection(sock, message)
            epoll.register(sock.fileno(), EDGES)
        exchange(epoll, connections, min(WARM_UP, float(seconds)))
        wall, cpu = time.perf_counter_ns(), time.clock_gettime_ns(cpu_clock)
        messages = exchange(epoll, connections, float(seconds))
        cpu, wall = time.clock_gettime_ns(cpu_clock) - cpu, time.perf_counter_ns() - wall
        for connection in connections.values():
            connection.sock.close()
    print(json.dumps([messages, wall, cpu]))


if __name__ == "__main__":
    main()
