"""The echo client: a process of its own, the same for every server, on raw sockets and epoll.

    python -m benchmarks.echo_client ORDER

ORDER is a `benchmarks.echo_client.Order` as JSON. On each connection the client sends a message, waits
for the whole of it to come back, and sends the next. It also holds the clocks: it knows when the first
measured message leaves and the last one is back, and reads the server's CPU clock at the same two moments.

Prints `[messages, wall_ns, server_cpu_ns]`.
"""

from __future__ import annotations

import json
import select
import socket
import ssl
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass

from benchmarks.descriptors import allow_as_many_as_possible
from benchmarks.expect import expect

WARM_UP = 0.1
EDGES = select.EPOLLIN | select.EPOLLOUT | select.EPOLLET if hasattr(select, "epoll") else 0
# A datagram server does not notice that its clients are gone: this tells it. No message is so short.
GOODBYE = b"\0"


@dataclass(frozen=True, slots=True)
class Order:
    """What the client is to do. `wire` is "tcp", "unix", "tls" or "udp"; `address` is what connect() takes."""

    wire: str
    address: str | tuple[str, int]
    size: int
    connections: int
    seconds: float
    server_pid: int

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Order:
        fields = json.loads(text)
        if isinstance(fields["address"], list):
            fields["address"] = tuple(fields["address"])
        return cls(**fields)


class Connection:
    """One message at a time. Edge-triggered: what can be done at once is done at once."""

    __slots__ = ("message", "received", "reply", "reply_view", "sock", "unsent")

    def __init__(self, sock: socket.socket, message: memoryview) -> None:
        self.sock = sock
        self.message = message
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

    def close(self) -> None:
        self.sock.close()


class EncryptedConnection(Connection):
    """The same through an SSLSocket, which hands out a record at a time and keeps the rest."""

    __slots__ = ()

    def flush(self) -> None:
        with suppress(ssl.SSLWantWriteError):
            self.unsent = self.unsent[self.sock.send(self.unsent) :]

    def receive(self) -> bool:
        with suppress(ssl.SSLWantReadError):
            while not super().receive():
                pass
            return True
        return False

    def close(self) -> None:
        assert isinstance(self.sock, ssl.SSLSocket)
        # Say goodbye; whether the server answers is its own business.
        with suppress(OSError):
            self.sock.unwrap()
        self.sock.close()


class DatagramConnection(Connection):
    __slots__ = ()

    def close(self) -> None:
        self.sock.send(GOODBYE)
        self.sock.close()


def connect(order: Order, message: memoryview) -> Connection:
    if order.wire == "unix":
        sock = socket.socket(socket.AF_UNIX)
    elif order.wire == "udp":
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    else:
        sock = socket.socket(socket.AF_INET)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.connect(order.address)
    kind = Connection
    if order.wire == "udp":
        kind = DatagramConnection
    elif order.wire == "tls":
        # Records are what is timed, not handshakes: whose certificate it is does not matter.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        sock = context.wrap_socket(sock)
        kind = EncryptedConnection
    sock.setblocking(False)
    return kind(sock, message)


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
    order = Order.from_json(sys.argv[1])
    allow_as_many_as_possible()
    cpu_clock = cpu_clock_of(order.server_pid)
    connections: dict[int, Connection] = {}
    # Every connection has a message of its own: a reply that strays is noticed. All of them are cut from one piece.
    period = 251
    pattern = bytes(position % period + 1 for position in range(period))
    messages = memoryview(pattern * (order.size // period + 2))
    with select.epoll() as epoll:
        for number in range(order.connections):
            start = number % period
            connection = connect(order, messages[start : start + order.size])
            descriptor = connection.sock.fileno()
            connections[descriptor] = connection
            epoll.register(descriptor, EDGES)
        exchange(epoll, connections, min(WARM_UP, order.seconds))
        wall, cpu = time.perf_counter_ns(), time.clock_gettime_ns(cpu_clock)
        done = exchange(epoll, connections, order.seconds)
        cpu, wall = time.clock_gettime_ns(cpu_clock) - cpu, time.perf_counter_ns() - wall
        for connection in connections.values():
            connection.close()
    print(json.dumps([done, wall, cpu]))


if __name__ == "__main__":
    main()
