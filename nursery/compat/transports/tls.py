"""TLS as an asyncio transport: one on top of any other, another one of TLS included.

Invariant: what this side makes is handed to the transport below at once and in the order in which it was made, so the
write buffer, its marks and its flow control are the ones below; and what was received but not delivered is never more
than one receive brought, since reading pauses below as soon as the application pauses it.  `connection_lost` is called
once, after everything else, and only for a protocol that was told of its connection.

    ===========  ===============================================  ======================================================
    state        what the protocol above hears                    what may happen next
    ===========  ===============================================  ======================================================
    HANDSHAKING  nothing                                          OPEN; ENDING: failure, time limit, close, abort; LOST
    OPEN         data; when the peer ends, eof_received           CLOSING: close, end of the peer; ENDING: abort, error
    CLOSING      no data: what comes is dropped; eof_received,    ENDING: both have said goodbye, time limit, error
                 if it has not heard it, when the peer ends
    ENDING       nothing                                          LOST: the transport below is gone
    LOST         connection_lost, if it heard connection_made     nothing
    ===========  ===============================================  ======================================================

CLOSING begins when close_notify is made, which goes out behind all data.  The time limit then is for each stretch in
which nothing moves: a peer that reads slowly gets all of it.

The end of the transport below without a close_notify counts as the end of the data, as everywhere in asyncio: servers
that close like this are many, and the protocols above mark their own ends.  TLS has no half-open connections: when the
peer has ended, what is written by then is sent, and the connection closed.
"""

from __future__ import annotations

import asyncio
import enum
import ssl
import warnings
from asyncio import constants
from asyncio.log import logger
from collections import deque
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any, Final, cast

from ...tls.engine import DONE, NEED_INPUT, TLSEngine
from .flow import FlowControl
from .receiving import buffered_of, check_protocol, receiver_of
from .socket import SocketTransport

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..loop.state import LoopState
    from .socket import Data
    from .tls_settings import TLSSettings

# How much is received, delivered or encrypted at a time (bytes).
RECEIVE: Final = 256 * 1024
PIECE: Final = 256 * 1024

# From the so-manieth write to a closed connection on, a warning is logged.
WARN_AFTER: Final = 5


class State(enum.Enum):
    """Where a connection is; the table above says what leads from one to the other."""

    HANDSHAKING = 1
    OPEN = 2
    CLOSING = 3
    ENDING = 4
    LOST = 5


HANDSHAKING: Final = State.HANDSHAKING
OPEN: Final = State.OPEN
CLOSING: Final = State.CLOSING
ENDING: Final = State.ENDING
LOST: Final = State.LOST


class Wire(asyncio.BufferedProtocol):
    """The side of a TLS transport that the transport below sees: its protocol.

    Libraries find it as `_ssl_protocol` and put functions of their own in front of its methods.
    """

    def __init__(self, transport: SSLTransport, buffer: memoryview) -> None:
        # None once the connection is lost.
        self.transport: SSLTransport | None = transport
        self._buffer = buffer

    @property
    def _transport(self) -> asyncio.Transport | None:
        """The transport below, under asyncio's name: libraries reach through to abort it."""
        return None if self.transport is None else self.transport._below

    @property
    def _sslcontext(self) -> ssl.SSLContext | None:
        """The settings of TLS, under asyncio's name; None once the connection is lost."""
        return None if self.transport is None else self.transport._settings.context

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if self.transport is not None:
            self.transport._begin(cast(asyncio.Transport, transport))

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        if self.transport is not None:
            self.transport._received(self._buffer[:nbytes])

    def data_received(self, data: bytes) -> None:
        """Take what a transport brings that knows nothing of buffers."""
        if self.transport is not None:
            self.transport._received(data)

    def eof_received(self) -> bool:
        transport = self.transport
        if transport is None or transport._below is None:
            return False
        transport._input_ended()
        # The transport below stays open, if it can: there may be data to send, and this side closes it.
        return transport._below.can_write_eof()

    def pause_writing(self) -> None:
        if self.transport is not None:
            self.transport._pause_writing()

    def resume_writing(self) -> None:
        if self.transport is not None:
            self.transport._resume_writing()

    def connection_lost(self, exc: BaseException | None) -> None:
        transport, self.transport = self.transport, None
        if transport is not None:
            transport._lost(exc)


class SSLTransport(FlowControl):
    """What the loop gives to protocols where TLS was asked for.

    Arguments: `waiter` is told when the handshake is done, or why it failed.  `connected` means that the protocol was
    told of its connection before there was TLS on it.  `context` is the one that the protocol is called in.

    Source: asyncio's documentation, "Transports and Protocols".
    """

    __slots__ = (
        "_backlog",
        "_backlog_size",
        "_began",
        "_below",
        "_buffered_protocol",
        "_connected",
        "_context",
        "_data_received",
        "_ended",
        "_engine",
        "_error",
        "_full_below",
        "_lost_writes",
        "_paused",
        "_resuming",
        "_settings",
        "_ssl_protocol",
        "_state",
        "_timer",
        "_unsent",
        "_waiter",
        "_write_below",
    )

    # asyncio's own names for "start_tls() may be called on it", and "sendfile() has to read and write".
    _start_tls_compatible = True
    _sendfile_compatible: Any = constants._SendfileMode.FALLBACK

    _extra: dict[str, Any]

    def __init__(
        self,
        loop: LoopState,
        protocol: asyncio.BaseProtocol,
        settings: TLSSettings,
        waiter: asyncio.Future[None] | None = None,
        *,
        connected: bool = False,
        context: Context | None = None,
    ) -> None:
        # First of all, for __del__.
        self._state = LOST
        super().__init__({"sslcontext": settings.context})
        check_protocol(protocol)
        self._engine = TLSEngine(
            settings.context,
            server_side=settings.server_side,
            server_hostname=settings.server_hostname,
            truncation_ok=True,
            hold_tickets=False,
            any_name=settings.any_name,
        )
        self._loop = loop
        self._settings = settings
        self._waiter = waiter
        self._connected = connected
        self._context = copy_context() if context is None else context
        self._below: asyncio.Transport | None = None
        self._write_below: Any = None
        self._paused = False
        self._resuming = False
        # Whether the protocol was told that the peer has ended.
        self._ended = False
        # Whether the transport below has asked for a pause.
        self._full_below = False
        # What could not be encrypted yet, because the peer wants to shake hands again (TLS 1.2).
        self._backlog: deque[bytes] = deque()
        self._backlog_size = 0
        # What a timer found unsent the last time.
        self._unsent = 0
        self._lost_writes = 0
        self._error: BaseException | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._began = 0.0
        self._ssl_protocol = Wire(self, loop.read_buffer)
        self.set_protocol(protocol)
        self._state = HANDSHAKING

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._state.name.lower()} over {self._below!r}>"

    # The protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Let another protocol take over."""
        self._protocol = protocol
        self._buffered_protocol = buffered_of(protocol)
        # Bound at each change, not at each message.
        self._data_received: Any = receiver_of(protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Return the protocol."""
        return self._protocol

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return what is known under `name`, here or in the transport below."""
        if name in self._extra:
            return self._extra[name]
        return default if self._below is None else self._below.get_extra_info(name, default)

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop, under the name that libraries look for."""
        return self._loop

    # The handshake

    def over(self, below: asyncio.Transport) -> None:
        """Stand on `below`, which must have `_ssl_protocol` as its protocol."""
        self._below = below
        self._write_below = below.write
        if not isinstance(below, SocketTransport | SSLTransport):
            # One that may keep the buffer for longer than a call needs one that nobody else uses.
            self._ssl_protocol._buffer = memoryview(bytearray(RECEIVE))

    def _begin(self, below: asyncio.Transport) -> None:
        if self._below is None:
            self.over(below)
        if self._state is not HANDSHAKING:
            return
        loop = self._loop
        if loop.get_debug():
            logger.debug("%r starts SSL handshake", self)
            self._began = loop.time()
        self._timer = loop.call_later(
            self._settings.handshake_timeout, self._handshake_timed_out, context=self._context
        )
        self._shake_hands()

    def _handshake_timed_out(self) -> None:
        if self._state is not HANDSHAKING:
            return
        self._fail(
            ConnectionAbortedError(
                f"SSL handshake is taking longer than {self._settings.handshake_timeout} seconds: "
                "aborting the connection"
            ),
            "SSL handshake failed",
        )

    def _shake_hands(self) -> None:
        try:
            step = self._engine.handshake()
            peer_certificate = None if step is NEED_INPUT else self._engine.ssl_object.getpeercert()
        except ssl.CertificateError as exc:
            self._fail(exc, "SSL handshake failed on verifying the certificate")
            return
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self._fail(exc, "SSL handshake failed")
            return
        self._send()
        # Sending may have failed, and ended everything.
        if step is DONE and self._state is HANDSHAKING:
            self._open(peer_certificate)

    def _open(self, peer_certificate: object) -> None:
        self._stop_timer()
        loop = self._loop
        if loop.get_debug():
            logger.debug("%r: SSL handshake took %.1f ms", self, (loop.time() - self._began) * 1e3)
        known = self._engine.ssl_object
        self._extra.update(
            peercert=peer_certificate, cipher=known.cipher(), compression=known.compression(), ssl_object=known
        )
        self._state = OPEN
        if not self._connected:
            self._connected = True
            try:
                self._protocol.connection_made(self)
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException as exc:
                self._fail(exc, "Fatal error: protocol.connection_made() call failed.")
                return
            if self._protocol_paused:
                self._tell("pause_writing")
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
        # A turn later: who waits for the connection may set another protocol before any data comes.
        self._resume_soon()

    # Reading

    def is_reading(self) -> bool:
        """Return whether data is being received."""
        return self._state is OPEN and not self._paused

    def pause_reading(self) -> None:
        """Deliver nothing, and receive nothing, until `resume_reading`."""
        if self._state is not OPEN or self._paused:
            return
        self._paused = True
        self._control_reading()

    def resume_reading(self) -> None:
        """Receive again; what was received before is delivered in the next turn."""
        if self._state is not OPEN or not self._paused:
            return
        self._paused = False
        self._resume_soon()
        self._control_reading()

    def _resume_soon(self) -> None:
        if not self._resuming:
            self._resuming = True
            self._loop.call_soon(self._resume, context=self._context)

    def _resume(self) -> None:
        self._resuming = False
        if self._state is OPEN:
            self._deliver()

    def _control_reading(self) -> None:
        """Let the transport below receive exactly while there is use for it."""
        assert self._below is not None
        if not self._paused or (self._backlog and self._engine.unread < RECEIVE):
            self._below.resume_reading()
        else:
            self._below.pause_reading()

    # flat: once for every message
    def _received(self, ciphertext: bytes | memoryview) -> None:
        state = self._state
        if state is ENDING or state is LOST:
            return
        self._engine.feed(ciphertext)
        if state is OPEN:
            if self._backlog:
                self._write_backlog()
            self._deliver()
        elif state is CLOSING:
            self._say_goodbye()
        else:
            self._shake_hands()

    def _input_ended(self) -> None:
        """Take it that the transport below has received all there will be."""
        state = self._state
        if state is ENDING or state is LOST:
            return
        if state is HANDSHAKING:
            self._fail(
                ConnectionResetError("the peer closed the connection during the SSL handshake"), "SSL handshake failed"
            )
            return
        self._engine.feed_eof()
        if state is CLOSING:
            self._say_goodbye()
        else:
            self._deliver()

    # flat: once for every message
    def _deliver(self) -> None:
        """Give the protocol what has arrived, until nothing is left or it wants no more."""
        engine = self._engine
        while self._state is OPEN and not self._paused:
            buffered = self._buffered_protocol
            try:
                if buffered is None:
                    data = engine.read(RECEIVE)
                    if data is NEED_INPUT:
                        break
                    if not data:
                        self._peer_has_ended()
                        return
                elif not self._deliver_into(buffered):
                    break
                else:
                    continue
            except ssl.SSLError as exc:
                self._fail(exc, "Fatal error on SSL protocol")
                return
            try:
                self._data_received(data)
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException as exc:
                self._fail(exc, "Fatal error: protocol.data_received() call failed.")
                return
            if engine.starved:
                break
        if engine.outgoing.pending and self._state is OPEN:
            # The answer to something that was not data.
            self._send()

    def _deliver_into(self, protocol: asyncio.BufferedProtocol) -> bool:
        """Fill the protocol's buffer once; return whether to go on."""
        engine = self._engine
        if engine.starved:
            return False
        try:
            buffer = memoryview(protocol.get_buffer(-1))
            if not buffer.nbytes:
                raise RuntimeError("get_buffer() returned an empty buffer")
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self._fail(exc, "Fatal error: protocol.get_buffer() call failed.")
            return False
        received = engine.read_into(buffer.cast("B"))
        if received is NEED_INPUT:
            return False
        if not received:
            self._peer_has_ended()
            return False
        try:
            protocol.buffer_updated(received)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self._fail(exc, "Fatal error: protocol.buffer_updated() call failed.")
            return False
        return True

    def _peer_has_ended(self) -> None:
        self._tell_end()
        self.close()

    def _tell_end(self) -> None:
        """Tell the protocol, once, that the peer has ended; if it fails, that is the end of the connection."""
        if self._ended:
            return
        self._ended = True
        protocol: Any = self._protocol
        try:
            keep_open = protocol.eof_received()
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self._fail(exc, "Error calling eof_received()")
            return
        if keep_open:
            logger.warning("returning true from eof_received() has no effect when using ssl")

    # Writing

    # flat: once for every message
    def write(self, data: Data) -> None:
        """Encrypt `data` and send it; if the peer must be heard first, later."""
        given: object = data
        if not isinstance(given, (bytes, bytearray, memoryview)):
            raise TypeError(f"data: expecting a bytes-like instance, got {type(data).__name__}")
        if not data:
            return
        if type(data) is memoryview:
            data = data.cast("B") if data.c_contiguous else bytes(data)
        if self._state is not OPEN:
            self._note_lost_write()
            return
        if self._backlog or len(data) > PIECE:
            self._write_pieces(data)
            return
        engine = self._engine
        try:
            step = engine.write(data)
        except ssl.SSLError as exc:
            self._fail(exc, "Fatal error on SSL protocol")
            return
        if step is NEED_INPUT:
            self._keep(data)
        else:
            self._write_below(engine.outgoing.read())

    def writelines(self, list_of_data: Iterable[Data]) -> None:
        """Send all of `list_of_data`, in as few records as it takes."""
        self.write(b"".join(list_of_data))

    def _write_pieces(self, data: Data) -> None:
        """Write what is too much for one go, or must wait for what was written before."""
        view = memoryview(data)
        for start in range(0, len(view), PIECE):
            piece = view[start : start + PIECE]
            if self._state is not OPEN:
                return
            if self._backlog:
                self._keep(piece)
                continue
            try:
                step = self._engine.write(piece)
            except ssl.SSLError as exc:
                self._fail(exc, "Fatal error on SSL protocol")
                return
            if step is NEED_INPUT:
                self._keep(piece)
            else:
                self._send()

    def _keep(self, data: Data) -> None:
        self._backlog.append(bytes(data))
        self._backlog_size += len(data)
        if len(self._backlog) == 1:
            self._send()
            # Even if the application wants no data now: what is waited for is not data.
            self._control_reading()
        self._control_writing()

    def _write_backlog(self) -> None:
        """Encrypt what had to wait, as far as that is possible now."""
        engine = self._engine
        backlog = self._backlog
        try:
            while backlog and engine.write(backlog[0]) is DONE:
                self._backlog_size -= len(backlog.popleft())
        except ssl.SSLError as exc:
            self._fail(exc, "Fatal error on SSL protocol")
            return
        self._send()
        self._control_writing()
        if self._paused and self._state is OPEN:
            self._control_reading()

    def _send(self) -> None:
        if self._engine.outgoing.pending:
            self._write_below(self._engine.outgoing.read())

    def _note_lost_write(self) -> None:
        self._lost_writes += 1
        if self._lost_writes > WARN_AFTER:
            logger.warning("SSL connection is closed")

    def can_write_eof(self) -> bool:
        """Return False: TLS has no half-open connections here."""
        return False

    def write_eof(self) -> None:
        """Raise NotImplementedError, as asyncio's does."""
        raise NotImplementedError("TLS connections cannot be closed in one direction only: use close()")

    # Flow control: that of the transport below

    def get_write_buffer_size(self) -> int:
        """Return how many bytes wait to be sent, encrypted or not."""
        return self._backlog_size + (0 if self._below is None else self._below.get_write_buffer_size())

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Return the low and the high mark, in bytes."""
        assert self._below is not None
        return self._below.get_write_buffer_limits()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set the marks, in bytes; what is not given is derived from the other (low is a quarter of high)."""
        assert self._below is not None
        self._below.set_write_buffer_limits(high, low)

    def _pause_writing(self) -> None:
        self._full_below = True
        self._control_writing()

    def _resume_writing(self) -> None:
        self._full_below = False
        self._control_writing()

    def _control_writing(self) -> None:
        full = self._full_below or (
            self._backlog_size > 0 and self.get_write_buffer_size() > self.get_write_buffer_limits()[1]
        )
        if full is not self._protocol_paused and (full or not self._backlog):
            self._protocol_paused = full
            if self._connected:
                self._tell("pause_writing" if full else "resume_writing")

    # Ending

    def is_closing(self) -> bool:
        """Return whether the transport is closed or about to be."""
        if self._state is not OPEN and self._state is not HANDSHAKING:
            return True
        return self._below is not None and self._below.is_closing()

    def close(self) -> None:
        """Receive nothing more, send what was written, say goodbye, and close when the peer has answered.

        The peer has `ssl_shutdown_timeout` seconds; after that `connection_lost` gets a TimeoutError.
        """
        if self._state is HANDSHAKING:
            self._force_close(None)
            return
        if self._state is not OPEN:
            return
        assert self._below is not None
        self._state = CLOSING
        self._say_goodbye()
        if self._state is CLOSING or self._state is ENDING:
            # The answer must be heard.
            self._below.resume_reading()
            self._unsent = self.get_write_buffer_size()
            self._limit_shutdown()

    def _limit_shutdown(self) -> None:
        self._timer = self._loop.call_later(
            self._settings.shutdown_timeout, self._shutdown_timed_out, context=self._context
        )

    def _say_goodbye(self) -> None:
        """Go on with closing: drop what has arrived, say goodbye, and look whether the peer has."""
        engine = self._engine
        if self._backlog:
            self._write_backlog()
            if self._backlog or self._state is not CLOSING:
                return
        try:
            while True:
                data = engine.read(RECEIVE)
                if data is NEED_INPUT or not data:
                    break
            # Who has ended without a word gets none, as from asyncio: some read on as if there were no TLS any more.
            step = DONE if engine.truncated else engine.unwrap()
        except ssl.SSLError as exc:
            self._fail(exc, "Fatal error on SSL protocol")
            return
        self._send()
        if step is DONE and self._state is CLOSING:
            self._end()

    def _end(self) -> None:
        """Tell that the peer has ended too, and close the transport below, which sends first what it has."""
        self._tell_end()
        # The protocol may have failed, or aborted.
        if self._state is CLOSING:
            assert self._below is not None
            self._state = ENDING
            self._below.close()

    def _shutdown_timed_out(self) -> None:
        unsent = self.get_write_buffer_size()
        if unsent < self._unsent:
            # The peer is slow, but it is there.
            self._unsent = unsent
            self._limit_shutdown()
        else:
            self._force_close(TimeoutError("SSL shutdown timed out"))

    def abort(self) -> None:
        """Close at once; what is buffered is lost."""
        self._force_close(None)

    def _force_close(self, exc: BaseException | None) -> None:
        """End without a goodbye; `exc` is what connection_lost gets."""
        if self._state is LOST:
            return
        self._state = ENDING
        self._backlog.clear()
        self._backlog_size = 0
        below = self._below
        if below is None:
            # It was never begun: there is nothing whose end could be waited for.
            self._loop.call_soon(self._lost, exc, context=self._context)
            return
        if self._error is None:
            self._error = exc
        force_close = getattr(below, "_force_close", None)
        if force_close is None:
            below.abort()
        else:
            force_close(exc)

    def _fail(self, exc: BaseException, message: str) -> None:
        """End because of `exc`: tell the peer if TLS has something to say, and whoever waits or listens."""
        below = self._below
        was = self._state
        if self._engine.outgoing.pending and below is not None and not below.is_closing():
            # The alert; what cannot be sent at once is lost, as all that is buffered.
            self._send()
        self._force_close(exc)
        if not isinstance(exc, OSError):
            self._report(message, exc)
        elif self._loop.get_debug():
            logger.debug("%r: %s", self, message, exc_info=exc)
        self._tell_waiter(was, exc)

    def _tell_waiter(self, was: State, exc: BaseException) -> None:
        """Tell whoever waits for the handshake; of a server's clients only debug mode tells."""
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            if not waiter.done():
                waiter.set_exception(exc)
        elif was is HANDSHAKING and isinstance(exc, OSError) and self._loop.get_debug():
            self._report("Error on transport creation for incoming connection", exc)

    def _report(self, message: str, exc: BaseException) -> None:
        self._loop.call_exception_handler(
            {"message": message, "exception": exc, "transport": self, "protocol": self._protocol}
        )

    def _lost(self, exc: BaseException | None) -> None:
        """Tell the protocol: the transport below is gone."""
        was = self._state
        if was is LOST:
            return
        self._state = LOST
        self._stop_timer()
        self._backlog.clear()
        self._backlog_size = 0
        error, self._error = self._error, None
        if exc is None:
            exc = error
        if exc is None:
            self._tell_waiter(was, ConnectionAbortedError("the connection was closed during the SSL handshake"))
        else:
            self._tell_waiter(was, exc)
        protocol, self._protocol = self._protocol, None  # type: ignore[assignment]  # nobody is told any more
        # A protocol that keeps its transport would be garbage together with it.
        self._buffered_protocol = self._data_received = self._write_below = None
        self._ssl_protocol.transport = None
        if self._connected:
            protocol.connection_lost(exc)  # type: ignore[arg-type]  # asyncio passes what it has

    def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    # A default argument: at the interpreter's end the names of the module may be gone.
    def __del__(self, _warn: Any = warnings.warn) -> None:
        if self._state is OPEN or self._state is HANDSHAKING:
            _warn(f"unclosed transport {self!r}", ResourceWarning, source=self, stacklevel=2)


__all__ = ["TLSSettings", "SSLTransport", "Wire"]
