"""aiosmtpd: it makes its loop in a thread of its own, and builds STARTTLS on asyncio's own SSLProtocol."""

from __future__ import annotations

import asyncio
import smtplib

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

import nursery
from tests.libraries.certificates import Certificates
from tests.libraries.on_our_loop import OTHER_LOOP, asyncio_test, mixed_test, new_event_loop
from tests.libraries.temporary_server import free_port


class Mailbox:
    """Keeps what arrives."""

    def __init__(self) -> None:
        self.letters: list[bytes] = []

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # the library's name
        self.letters.append(envelope.content)
        return "250 thank you"


class SlowMailbox(Mailbox):
    """Looks a letter over in a nursery first, and gives up what takes too long."""

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # the library's name
        with nursery.move_on_after(0.02) as scope:
            async with nursery.open_nursery() as children:
                children.start_soon(nursery.sleep_forever)
                children.start_soon(asyncio.sleep, 0)
        assert scope.cancelled_caught
        return await super().handle_DATA(server, session, envelope)


def send(port: int, text: str, certificates: Certificates | None = None) -> None:
    """Send a letter by the standard library's client, which blocks: for threads."""
    with smtplib.SMTP("127.0.0.1", port, timeout=10) as client:
        if certificates is not None:
            client.starttls(context=certificates.client)
        client.sendmail("ada@example.org", "grace@example.org", text)


async def letters(mailbox: Mailbox, certificates: Certificates | None = None) -> list[bytes]:
    """What the mailbox has got after two letters were sent."""
    options: dict[str, object] = {}
    if certificates is not None:
        options = {"tls_context": certificates.server, "require_starttls": True}
    server = await asyncio.get_running_loop().create_server(lambda: SMTP(mailbox, **options), "127.0.0.1", 0)
    async with server:
        for text in ("hello", "goodbye"):
            await asyncio.to_thread(send, server.sockets[0].getsockname()[1], text, certificates)
    return mailbox.letters


@asyncio_test
async def test_letters_arrive() -> None:
    assert await letters(Mailbox()) == [b"hello\r\n", b"goodbye\r\n"]


@asyncio_test
async def test_letters_arrive_after_starttls(certificates: Certificates) -> None:
    assert await letters(Mailbox(), certificates) == [b"hello\r\n", b"goodbye\r\n"]


@mixed_test
async def test_a_handler_opens_a_nursery() -> None:
    assert await letters(SlowMailbox()) == [b"hello\r\n", b"goodbye\r\n"]


@pytest.mark.skipif(OTHER_LOOP is not None, reason="about our loop")
def test_a_controller_runs_our_loop_in_a_thread() -> None:
    mailbox = SlowMailbox()
    controller = Controller(mailbox, hostname="127.0.0.1", port=free_port(), loop=new_event_loop())
    controller.start()
    try:
        send(controller.port, "hello")
    finally:
        controller.stop()
    assert mailbox.letters == [b"hello\r\n"]
