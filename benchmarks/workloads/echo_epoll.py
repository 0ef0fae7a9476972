"""The bare echo server: edge-triggered epoll and system calls, nothing a library would add.

It is the limit: what Python takes for the work itself. It is honest about back-pressure (it reads
no further while a reply is unsent) and knows nothing of tasks, timeouts, cancellation or fairness.
"""

from __future__ import annotations

import select
import socket

CHUNK = 256 * 1024


class _Connection:
    __slots__ = ("sock", "unsent")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.unsent = b""

    def echo(self, buffer: memoryview) -> bool:
        """Send back what there is to read, as far as there is room for it. False at the end."""
        sock = self.sock
        try:
            if self.unsent:
                self.unsent = self.unsent[sock.send(self.unsent) :]
                if self.unsent:
                    return True
            while size := sock.recv_into(buffer):
                try:
                    sent = sock.send(buffer[:size])
                except BlockingIOError:
                    sent = 0
                if sent < size:
                    self.unsent = bytes(buffer[sent:size])
                    return True
                if size < len(buffer):
                    # A short read: drained. The client hangs up only after its last reply, so the
                    # end cannot be waiting behind these bytes and will bring an edge of its own.
                    return True
        except BlockingIOError:
            return True
        return False


def serve(listener: socket.socket, connections: int) -> None:
    """Serve so many connections to their end."""
    buffer = memoryview(bytearray(CHUNK))
    served: dict[int, _Connection] = {}
    with select.epoll() as epoll:
        for _ in range(connections):
            sock, _address = listener.accept()
            sock.setblocking(False)
            if sock.family == socket.AF_INET:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            served[sock.fileno()] = _Connection(sock)
        edges = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET
        for descriptor in served:
            epoll.register(descriptor, edges)
        while served:
            for descriptor, _events in epoll.poll():
                if not served[descriptor].echo(buffer):
                    served.pop(descriptor).sock.close()
