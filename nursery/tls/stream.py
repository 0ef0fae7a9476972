"""TLS over any stream.

Invariant: one task at a time sends on the transport and one receives from it, whoever of the stream's users they work
for.  Output leaves the engine only in the hands of the task that holds the wire, and goes onto the wire at once: so it
arrives in the order in which it was made, however many tasks made it, and nobody needs to queue with bytes in hand.

    ===========  ==============================================================  ==================================
    state        how it shows                                                    what may happen next
    ===========  ==============================================================  ==================================
    NEW          nothing was sent yet                                            any use shakes hands: HANDSHAKING
    HANDSHAKING  one task shakes hands, the others wait for it                   OPEN, BROKEN, CLOSED
    OPEN         the engine decides                                              BROKEN, CLOSED
    BROKEN       an error of TLS; a send or a handshake that was cut short       CLOSED
    CLOSED       by aclose or unwrap                                             nothing
    ===========  ==============================================================  ==================================

A task that needs input retries its operation after each wait, and receives only if nothing has happened between the
engine's answer and the receive: while it waited another task may have received the very bytes it needed, and no others
may ever come (tests/tls/test_renegotiation.py).

`receive_some` and `send_all` are written out; between them and the transport is no other coroutine.
"""

from __future__ import annotations

import enum
import functools
import operator
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Generic, Literal, NoReturn, TypeVar, final, overload

from ..kernel.current import current, current_task
from ..kernel.errors import BrokenResourceError, BusyResourceError, ClosedResourceError, NeedHandshakeError
from ..kernel.parking import ParkingLot
from ..kernel.traps import BUDGET, cancel_shielded_checkpoint, checkpoint, checkpoint_if_cancelled
from ..network.resolver import encode_hostname
from ..resource import aclose_forcefully
from ..streams.abstract import Stream
from .engine import DONE, NEED_INPUT, Step, TLSEngine

if TYPE_CHECKING:
    from _ssl import _PeerCertRetDictType

TransportT = TypeVar("TransportT", bound=Stream)

# Four of the longest records (bytes): what one receive from a socket brings.
DEFAULT_RECEIVE_SIZE: Final = 64 * 1024
# How much is encrypted before it is sent (bytes): large data is in memory once more in pieces of this, not as a whole.
PIECE: Final = 256 * 1024

ANOTHER_SENDS: Final = "another task is currently sending data on this SSLStream"
ANOTHER_RECEIVES: Final = "another task is currently receiving data on this SSLStream"


class State(enum.Enum):
    """What a stream can be used for; the table above says what leads from one to the other."""

    NEW = 1
    HANDSHAKING = 2
    OPEN = 3
    BROKEN = 4
    CLOSED = 5


NEW: Final = State.NEW
HANDSHAKING: Final = State.HANDSHAKING
OPEN: Final = State.OPEN
BROKEN: Final = State.BROKEN
CLOSED: Final = State.CLOSED


@final
class SSLStream(Stream, Generic[TransportT]):
    """TLS over `transport_stream`, which from then on belongs to it.

    Arguments: server_hostname is whom a client expects: it is sent to the server, and its certificate must name it.
    server_side tells whether this is the server's end.  https_compatible=True is for protocols that mark their own
    ends, HTTP above all, and whose peers close without saying so in TLS: the end of the transport is then the end of
    the data, and closing says nothing.  With the default it is an error, since anyone on the way could cut the data
    off; this holds whatever `ssl.OP_IGNORE_UNEXPECTED_EOF` says.

    Attributes: `transport_stream`, None after `unwrap`.  Besides those of `ssl.SSLObject`; what is known only after
    the handshake raises NeedHandshakeError before it.

    The handshake is done by `do_handshake`, or by the first operation that needs it.  Certificates and host names are
    checked as `ssl_context` says; where that fails the peer is told why, and BrokenResourceError raised with the
    `ssl.SSLError` as its cause.

    Raises ValueError or `ssl.SSLError` for a context or a host name that cannot be used.

    Example::

        tcp = await nursery.open_tcp_stream("example.org", 443)
        stream = nursery.SSLStream(tcp, ssl.create_default_context(), server_hostname="example.org")
        async with stream:
            await stream.send_all(b"...")

    Source: trio's documentation, `trio.SSLStream`.
    """

    __slots__ = (
        "__weakref__",
        "_changed",
        "_engine",
        "_fetching",
        "_https_compatible",
        "_receiving",
        "_sending",
        "_state",
        "_torn",
        "_wire_busy",
        "transport_stream",
    )

    def __init__(
        self,
        transport_stream: TransportT,
        ssl_context: ssl.SSLContext,
        *,
        server_hostname: str | bytes | None = None,
        server_side: bool = False,
        https_compatible: bool = False,
    ) -> None:
        if isinstance(server_hostname, str):
            server_hostname = encode_hostname(server_hostname)
        self.transport_stream = transport_stream
        self._https_compatible = https_compatible
        self._engine = TLSEngine(
            ssl_context, server_side=server_side, server_hostname=server_hostname, truncation_ok=https_compatible
        )
        self._state = NEW
        # Whether a task of the user's sends or receives: of each kind there may be one.
        self._sending = False
        self._receiving = False
        # Whether a task, for whatever reason, sends on the transport or receives from it.
        self._wire_busy = False
        self._fetching = False
        # Whether a send was cut short, so that the peer cannot make sense of whatever would follow.
        self._torn = False
        # Where tasks wait for one of these to change, and for the handshake; made when the first one waits.
        self._changed: ParkingLot | None = None

    # The stream

    # flat: the hot path of every server
    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Wait for data and return it decrypted; b"" means that the peer has ended the connection in good order.

        Arguments: max_bytes is the most to return, at least 1; 64 KiB by default.

        A cancel point; if cancelled, nothing was taken from the stream, but a handshake under way is broken off and
        the stream broken with it.  Raises BrokenResourceError for an error of TLS, its cause the `ssl.SSLError`, the
        end of the transport without a goodbye among them; else as `trio.abc.ReceiveStream` does.

        Source: trio's documentation, `trio.SSLStream.receive_some`.
        """
        if max_bytes is None:
            max_bytes = DEFAULT_RECEIVE_SIZE
        else:
            max_bytes = operator.index(max_bytes)
            if max_bytes < 1:
                raise ValueError(f"max_bytes must be >= 1, not {max_bytes!r}")
        if self._receiving:
            raise BusyResourceError(ANOTHER_RECEIVES)
        self._receiving = True
        try:
            if self._state is not OPEN and not await self._get_ready_to_receive():
                return b""
            engine = self._engine
            outgoing = engine.outgoing
            if not engine.starved:
                runner = current.runner
                task = None if runner is None else runner.current
                if task is None:
                    task = current_task()
                if task.alert:
                    task.raise_if_interrupted()
                data = engine.read(max_bytes)
                if data is not NEED_INPUT:
                    if task.budget > 0:
                        task.budget -= 1
                    else:
                        task.budget = BUDGET
                        await cancel_shielded_checkpoint()
                    return data
            while True:
                if outgoing.pending:
                    # The answer to something that was not data.  With data in hand it can wait until here: if it could
                    # not be sent, the data would be lost (test_data_is_not_lost_with_the_answer_to_something_else).
                    await self._flush()
                elif self._fetching:
                    await self._wait_for_change()
                else:
                    self._fetching = True
                    try:
                        ciphertext = await self.transport_stream.receive_some()
                    finally:
                        self._fetching = False
                        if self._changed is not None:
                            self._changed.unpark_all()
                    if ciphertext:
                        engine.feed(ciphertext)
                    else:
                        engine.feed_eof()
                data = engine.read(max_bytes)
                if data is not NEED_INPUT:
                    return data
        except ssl.SSLError as exc:
            raise await self._broken(exc) from exc
        finally:
            self._receiving = False

    # flat: the hot path of every server
    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Encrypt `data` and send all of it; the more at once, up to 16 KiB a record, the better.

        A cancel point; if cancelled, before the data was encrypted nothing has happened; after that the stream is
        broken.  Raises as `trio.abc.SendStream.send_all` does, BrokenResourceError also for an error of TLS,
        ClosedResourceError also after an `unwrap` that did not finish.

        Source: trio's documentation, `trio.SSLStream.send_all`.
        """
        if self._sending:
            raise BusyResourceError(ANOTHER_SENDS)
        self._sending = True
        try:
            if self._state is not OPEN:
                await self._get_ready()
            if data.__class__ is not bytes and data.__class__ is not bytearray:
                data = memoryview(data)
                if data.nbytes:
                    # In bytes, whatever the items are: the engine counts so.
                    data = data.cast("B")
            size = len(data)
            if not size:
                # OpenSSL would take it for the end.
                await checkpoint()
                return
            runner = current.runner
            task = None if runner is None else runner.current
            if task is None:
                task = current_task()
            if task.alert:
                task.raise_if_interrupted()
            engine = self._engine
            piece = data if size <= PIECE else memoryview(data)[:PIECE]
            start = 0
            while True:
                if engine.write(piece) is NEED_INPUT:
                    await self._finish_write(piece)
                elif self._wire_busy:
                    await self._flush()
                else:
                    self._wire_busy = True
                    try:
                        await self.transport_stream.send_all(engine.take_output())
                    except BaseException:
                        self._tear()
                        raise
                    finally:
                        self._wire_busy = False
                        if self._changed is not None:
                            self._changed.unpark_all()
                start += len(piece)
                if start == size:
                    return
                # What has happened to the stream meanwhile, closing above all, the engine or the transport will say.
                piece = memoryview(data)[start : start + PIECE]
        except ssl.SSLError as exc:
            raise await self._broken(exc) from exc
        finally:
            self._sending = False

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until the transport may take more, handshake or not.

        A cancel point; nothing is sent.  Raises as `send_all` does.

        Source: trio's documentation, `trio.SSLStream.wait_send_all_might_not_block`.
        """
        if self._sending:
            raise BusyResourceError(ANOTHER_SENDS)
        self._sending = True
        try:
            while True:
                if self._state is BROKEN or self._state is CLOSED:
                    self._raise_unusable()
                if not self._wire_busy:
                    break
                await self._wait_for_change()
            # To others this is a send: an answer that `receive_some` has to give waits for it, not the other way round.
            self._wire_busy = True
            try:
                await self.transport_stream.wait_send_all_might_not_block()
            finally:
                self._wire_busy = False
                self._announce()
        finally:
            self._sending = False

    async def do_handshake(self) -> None:
        """Have the handshake done: begin it, wait for the task that is at it, or return if it is done.

        A cancel point; if cancelled while this task is at it, the stream is broken.  Raises BrokenResourceError if
        the two sides cannot agree, its cause the `ssl.SSLError`, or if a handshake failed before; else as `send_all`
        and `receive_some` do.

        Source: trio's documentation, `trio.SSLStream.do_handshake`.
        """
        if self._state is OPEN:
            await checkpoint()
        else:
            await self._get_ready()

    async def unwrap(self) -> tuple[TransportT, bytes]:
        """End TLS in agreement with the peer, and return the transport, open, and what arrived of it behind TLS.

        The bytes are what the peer sent after its goodbye: process them before what the transport brings.  The stream
        is closed then, and `transport_stream` None.

        A cancel point; if cancelled, it may be called again, but this side can send nothing more.  Raises
        BusyResourceError if another task sends or receives, BrokenResourceError if the peer sends data in place of
        its goodbye or ends without one; else as `send_all` does.

        Source: trio's documentation, `trio.SSLStream.unwrap`.
        """
        if self._receiving:
            raise BusyResourceError(ANOTHER_RECEIVES)
        if self._sending:
            raise BusyResourceError(ANOTHER_SENDS)
        self._receiving = self._sending = True
        try:
            if self._state is not OPEN:
                await self._get_ready()
            await checkpoint_if_cancelled()
            engine = self._engine
            await self._until_done(engine.unwrap(), engine.unwrap)
            if self._state is not OPEN:
                self._raise_unusable()
            self._state = CLOSED
            transport = self.transport_stream
            self.transport_stream = None  # type: ignore[assignment]  # a closed stream has no use for it
            trailing = engine.trailing_data()
            await cancel_shielded_checkpoint()
            return transport, trailing
        except ssl.SSLError as exc:
            raise await self._broken(exc) from exc
        finally:
            self._receiving = self._sending = False

    async def aclose(self) -> None:
        """Say goodbye to the peer, without waiting for its answer, and close the transport.

        With https_compatible=True, and if the stream is broken, the transport is closed at once.  Otherwise the
        handshake is done first if it was not, since without it nothing can be said.

        A cancel point; if cancelled, the transport is closed all the same.  Raises BrokenResourceError if that
        handshake fails, and what closing the transport raises; that the peer is gone already is no error.

        Source: trio's documentation, `trio.SSLStream.aclose`.
        """
        if self._state is CLOSED:
            await checkpoint()
            return
        transport = self.transport_stream
        if self._state is not BROKEN and not self._https_compatible:
            try:
                try:
                    if self._state is not OPEN:
                        await self._get_ready()
                    await checkpoint_if_cancelled()
                except ClosedResourceError:
                    # The transport was closed behind our back; or the stream, by another task while this one waited,
                    # and that task is still saying goodbye (test_two_tasks_may_close_at_once).
                    if not self._is_closed():
                        raise
                    return
                # From here on the stream takes nothing new; a send under way ends with the piece it is at.
                self._state = CLOSED
                self._engine.close_notify()
                try:
                    await self._flush()
                except (BrokenResourceError, BusyResourceError):
                    # Both sides closed at once, or the user works with the transport behind our back.
                    pass
            except BaseException:
                self._end(CLOSED)
                await aclose_forcefully(transport)
                raise
        self._end(CLOSED)
        await transport.aclose()

    # What TLS knows of the connection

    @property
    def context(self) -> ssl.SSLContext:
        """The context; may be set until the handshake, in a callback for server names above all."""
        return self._engine.ssl_object.context

    @context.setter
    def context(self, context: ssl.SSLContext) -> None:
        self._engine.ssl_object.context = context

    @property
    def server_side(self) -> bool:
        """Whether this is the server's end."""
        return self._engine.ssl_object.server_side

    @property
    def server_hostname(self) -> str | None:
        """Whom the client expects, as it was sent, None if that was not said."""
        return self._engine.ssl_object.server_hostname

    @property
    def session(self) -> ssl.SSLSession | None:
        """The session, to be resumed by another connection; may be set before the handshake."""
        return self._engine.ssl_object.session

    @session.setter
    def session(self, session: ssl.SSLSession) -> None:
        self._engine.ssl_object.session = session

    @property
    def session_reused(self) -> bool | None:
        """Whether the handshake took up an earlier session.  Raises NeedHandshakeError."""
        return self._after_handshake("session_reused").session_reused

    @overload
    def getpeercert(self, binary_form: Literal[False] = False) -> _PeerCertRetDictType | None: ...

    @overload
    def getpeercert(self, binary_form: Literal[True]) -> bytes | None: ...

    @overload
    def getpeercert(self, binary_form: bool) -> _PeerCertRetDictType | bytes | None: ...

    def getpeercert(self, binary_form: bool = False) -> _PeerCertRetDictType | bytes | None:
        """Return the peer's certificate; see `ssl.SSLSocket.getpeercert`.  Raises NeedHandshakeError."""
        return self._after_handshake("getpeercert()").getpeercert(binary_form)

    def cipher(self) -> tuple[str, str, int] | None:
        """Return the name, the protocol and the secret bits of the cipher in use.  Raises NeedHandshakeError."""
        return self._after_handshake("cipher()").cipher()

    def shared_ciphers(self) -> list[tuple[str, str, int]] | None:
        """Return the ciphers that both sides know, None on a client.  Raises NeedHandshakeError."""
        return self._after_handshake("shared_ciphers()").shared_ciphers()

    def compression(self) -> str | None:
        """Return the compression in use, None if there is none.  Raises NeedHandshakeError."""
        return self._after_handshake("compression()").compression()

    def selected_alpn_protocol(self) -> str | None:
        """Return the application protocol that was agreed on, None if none was.  Raises NeedHandshakeError."""
        return self._after_handshake("selected_alpn_protocol()").selected_alpn_protocol()

    def version(self) -> str | None:
        """Return the TLS version in use, as in "TLSv1.3".  Raises NeedHandshakeError."""
        return self._after_handshake("version()").version()

    def get_channel_binding(self, cb_type: str = "tls-unique") -> bytes | None:
        """Return bytes that name this very connection; see `ssl.SSLSocket.get_channel_binding`.

        Raises NeedHandshakeError.
        """
        return self._after_handshake("get_channel_binding()").get_channel_binding(cb_type)

    def pending(self) -> int:
        """Return how many bytes of the record last read are still to be returned."""
        return self._engine.ssl_object.pending()

    def _after_handshake(self, name: str) -> ssl.SSLObject:
        engine = self._engine
        if not engine.handshake_done:
            raise NeedHandshakeError(f"call do_handshake() before {name}: it is not known yet")
        return engine.ssl_object

    if not TYPE_CHECKING:
        # What only some versions of Python have.

        def __getattr__(self, name: str) -> object:
            if name not in _NOT_FORWARDED and not name.startswith("_") and hasattr(ssl.SSLObject, name):
                return getattr(self._after_handshake(name), name)
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)

    def __repr__(self) -> str:
        return f"<SSLStream over {self.transport_stream!r}, {self._state.name}>"

    # The rarer ways

    async def _get_ready(self) -> None:
        """Return when the stream is open, after the handshake; raise if it never will be.  A checkpoint."""
        while True:
            state = self._state
            if state is NEW:
                await checkpoint_if_cancelled()
                await self._shake_hands()
                return
            elif state is HANDSHAKING:
                await self._wait_for_change()
                if self._state is OPEN:
                    return
            else:
                self._raise_unusable()

    async def _shake_hands(self) -> None:
        engine = self._engine
        self._state = HANDSHAKING
        try:
            await self._until_done(engine.handshake(), engine.handshake)
        except ssl.SSLError as exc:
            raise await self._broken(exc) from exc
        except BaseException:
            self._end(BROKEN)
            raise
        if self._state is not HANDSHAKING:
            self._raise_unusable()
        self._state = OPEN
        self._announce()

    async def _get_ready_to_receive(self) -> bool:
        """As `_get_ready`; False if the transport has ended where that is no error."""
        if self._state is BROKEN and self._forgave_truncation():
            await checkpoint()
            return False
        try:
            await self._get_ready()
        except BrokenResourceError:
            if not self._forgave_truncation():
                raise
            return False
        return True

    def _forgave_truncation(self) -> bool:
        return self._https_compatible and self._engine.truncated

    async def _until_done(self, step: Step, operation: Callable[[], Step]) -> None:
        """Send and receive, and call `operation` again, until its answer is DONE and all output is sent."""
        while True:
            if self._engine.outgoing.pending:
                await self._flush()
                if step is DONE:
                    return
            elif step is DONE:
                return
            elif self._fetching:
                await self._wait_for_change()
            else:
                await self._fetch()
            step = operation()

    async def _finish_write(self, piece: bytes | bytearray | memoryview) -> None:
        """Write `piece` although the engine needs input for it: the peer wants to shake hands again."""
        try:
            await self._until_done(NEED_INPUT, functools.partial(self._engine.write, piece))
        except BaseException:
            # The engine has begun with it and would take nothing else.
            self._end(BROKEN)
            raise

    async def _fetch(self) -> None:
        """Receive something from the transport and feed it to the engine; nobody else is at it."""
        self._fetching = True
        try:
            ciphertext = await self.transport_stream.receive_some()
        finally:
            self._fetching = False
            self._announce()
        if ciphertext:
            self._engine.feed(ciphertext)
        else:
            self._engine.feed_eof()

    async def _flush(self) -> None:
        """Send all output, once nobody else sends; they may send ours as well."""
        engine = self._engine
        while True:
            if self._torn:
                raise BrokenResourceError("an earlier send on this SSLStream was cut short: nothing can follow it")
            if not engine.outgoing.pending:
                return
            if not self._wire_busy:
                break
            await self._wait_for_change()
        self._wire_busy = True
        try:
            await self.transport_stream.send_all(engine.take_output())
        except BaseException:
            self._tear()
            raise
        finally:
            self._wire_busy = False
            self._announce()

    async def _wait_for_change(self) -> None:
        if self._changed is None:
            self._changed = ParkingLot()
        await self._changed.park()

    def _announce(self) -> None:
        if self._changed is not None:
            self._changed.unpark_all()

    def _tear(self) -> None:
        """Nobody knows how much of some output was sent."""
        self._torn = True
        self._end(BROKEN)

    def _end(self, state: State) -> None:
        """Go to BROKEN or CLOSED; what is closed stays closed."""
        if self._state is not CLOSED:
            self._state = state
        self._announce()

    async def _broken(self, error: ssl.SSLError) -> BrokenResourceError:
        """Break the stream because of `error`, tell the peer if that can be done, and return what to raise."""
        self._end(BROKEN)
        if self._engine.outgoing.pending and not self._wire_busy and not self._torn:
            try:
                await self._flush()
            except (BrokenResourceError, BusyResourceError, ClosedResourceError):
                pass
        return BrokenResourceError(f"TLS connection broken: {error}")

    def _is_closed(self) -> bool:
        # A function, since for a type checker a state seen before an await is the state after it.
        return self._state is CLOSED

    def _raise_unusable(self) -> NoReturn:
        if self._state is CLOSED:
            raise ClosedResourceError("this SSLStream was already closed")
        raise BrokenResourceError("this SSLStream is broken by an earlier error or cancellation: it can only be closed")


# Operations that would go past the stream.
_NOT_FORWARDED: Final = frozenset({"do_handshake", "read", "unwrap", "write"})


__all__ = ["SSLStream"]
