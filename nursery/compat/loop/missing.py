"""What the loop does not have yet: each raises NotImplementedError and says so."""

from __future__ import annotations

from typing import Any, NoReturn

from .state import LoopState


def _not_yet(name: str) -> NoReturn:
    raise NotImplementedError(f"nursery.compat: loop.{name}() is not there yet")


class Missing(LoopState):
    """The methods of asyncio's loop that are still to come."""

    async def start_tls(self, *args: Any, **options: Any) -> NoReturn:
        _not_yet("start_tls")

    async def create_unix_connection(self, *args: Any, **options: Any) -> NoReturn:
        _not_yet("create_unix_connection")

    async def create_unix_server(self, *args: Any, **options: Any) -> NoReturn:
        _not_yet("create_unix_server")

    async def create_datagram_endpoint(self, *args: Any, **options: Any) -> NoReturn:
        _not_yet("create_datagram_endpoint")

    async def connect_read_pipe(self, *args: Any, **options: Any) -> NoReturn:
        _not_yet("connect_read_pipe")

    async def connect_write_pipe(self, *args: Any, **options: Any) -> NoReturn:
        _not_yet("connect_write_pipe")

    async def subprocess_exec(self, *args: Any, **options: Any) -> NoReturn:
        _not_yet("subprocess_exec")

    async def subprocess_shell(self, *args: Any, **options: Any) -> NoReturn:
        _not_yet("subprocess_shell")

    async def sendfile(self, *args: Any, **options: Any) -> NoReturn:
        _not_yet("sendfile")

    async def sock_sendfile(self, *args: Any, **options: Any) -> NoReturn:
        _not_yet("sock_sendfile")
