"""One side of a TLS connection, without any I/O: ciphertext goes in, ciphertext comes out, nothing waits.

Invariant: bytes reach the application only from records that were checked, in order, and never after the end of the
connection; what the engine has to say to the peer leaves it through `take_output` alone, in the order in which it was
made.  No method blocks, sleeps or starts anything: each is one transition of the table below.

Rule 1: whoever drives the engine sends all output before waiting for input.  `outgoing.pending` tells whether there
is any, after every call, failed ones included: then it holds the alert that tells the peer why.

Rule 2: an operation that answers NEED_INPUT has not failed, it could not finish.  Send the output, `feed` what the
peer sends (or `feed_eof`), and call the same operation again, `write` with the same data.  Other operations may come
in between: a read may well be what gets a write going.

Theory of operation.  OpenSSL works on two buffers in memory, `incoming` and `outgoing`.  Writing to the second always
succeeds; reading from the first may find it empty, which is what NEED_INPUT says.  Any operation may need both
directions, not only the handshake: session tickets and key updates arrive among the data (TLS 1.3), and a server may
ask for a new handshake or a certificate at any time (TLS 1.2).  A driver that follows rules 1 and 2 need not know.

    ===========  =====================  ===================  ==================  ==============================
    phase        handshake()            read()               write()             unwrap()
    ===========  =====================  ===================  ==================  ==============================
    HANDSHAKE    DONE: OPEN             NeedHandshakeError   NeedHandshakeError  NeedHandshakeError
    OPEN         DONE                   data; b"": ENDED     DONE                sends close_notify: CLOSING;
                                                                                 DONE: CLOSED
    ENDED        DONE                   b""                  DONE                answers close_notify: CLOSED
    CLOSING      DONE                   data; b"": CLOSED    ClosedResourceError DONE: CLOSED
    CLOSED       DONE                   b""                  ClosedResourceError DONE
    BROKEN       SSLError               SSLError             SSLError            SSLError
    ===========  =====================  ===================  ==================  ==============================

In every phase but CLOSED an error of the protocol leads to BROKEN, with the SSLError raised once as it came, and where
no DONE, data or b"" is possible yet the answer is NEED_INPUT and the phase stays.  ENDED: the peer's close_notify was
read; TLS lets this side go on writing.  CLOSING: ours was made, the peer's is still to come.  read_into() is read()
with a buffer of the caller's.

The end of input without a close_notify is a truncation: someone between the peers can cause it.  The engine keeps that
end to itself and judges by what OpenSSL makes of the bytes before it, so the answer does not depend on the context's
OP_IGNORE_UNEXPECTED_EOF, which Python sets by default.  It is an SSLEOFError, or with truncation_ok=True, for
protocols that mark their own end, the same as a close_notify.

Session tickets.  In TLS 1.3 a server's handshake ends by making tickets that the client may never read: a client that
only sends would never make room for them, and both would wait (openssl issue 7948).  With hold_tickets=True they are
kept for the next output, which is how other TLS libraries do it.
"""

from __future__ import annotations

import enum
import ssl
from typing import Final, Literal, NoReturn

from ..kernel.errors import ClosedResourceError, NeedHandshakeError


class Step(enum.Enum):
    """What an operation answers: it is done, or it needs ciphertext from the peer first."""

    DONE = 1
    NEED_INPUT = 2


class Phase(enum.Enum):
    """Where a connection is; the table above says what leads from one to the other."""

    HANDSHAKE = 1
    OPEN = 2
    ENDED = 3
    CLOSING = 4
    CLOSED = 5
    BROKEN = 6


DONE: Final = Step.DONE
NEED_INPUT: Final = Step.NEED_INPUT

HANDSHAKE: Final = Phase.HANDSHAKE
OPEN: Final = Phase.OPEN
ENDED: Final = Phase.ENDED
CLOSING: Final = Phase.CLOSING
CLOSED: Final = Phase.CLOSED
BROKEN: Final = Phase.BROKEN

# The most that one record carries (RFC 8446, section 5.1), hence the most that one SSL_read returns (bytes).
RECORD: Final = 16384


class TLSEngine:
    """The state of one side of a TLS connection.

    Arguments: server_hostname is what the certificate must name, in the form that `ssl.SSLContext.wrap_bio` takes.
    truncation_ok makes the end of input without a close_notify a proper end.  hold_tickets keeps a server's session
    tickets for the next output.  any_name lets a client do without server_hostname where the context would check it:
    then anybody with a certificate is believed (newer versions of Python refuse it all the same).

    Attributes: `phase`; `ssl_object`, for what is to be known about the connection; `outgoing`, whose `pending` tells
    how much output waits; `starved`, True only if `read` would find nothing to work on; `handshake_done`; `truncated`,
    True once input ended without a close_notify.

    Raises ValueError for a client without server_hostname whose context checks host names, unless any_name is true;
    what `wrap_bio` raises.
    """

    __slots__ = (
        "__weakref__",
        "_eof",
        "_failure",
        "_hold_tickets",
        "_incoming",
        "_read",
        "_tickets",
        "_truncation_ok",
        "_write",
        "_written",
        "handshake_done",
        "outgoing",
        "phase",
        "ssl_object",
        "starved",
        "truncated",
    )

    def __init__(
        self,
        context: ssl.SSLContext,
        *,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        truncation_ok: bool = False,
        hold_tickets: bool = True,
        any_name: bool = False,
    ) -> None:
        if context.check_hostname and not server_side and not server_hostname and not any_name:
            # `wrap_bio` would take it, and check no name: any host with a certificate could stand in the middle
            # (test_a_host_name_is_needed_where_it_is_checked).
            raise ValueError(
                "the context checks host names, so server_hostname is needed: pass the name that the server's "
                "certificate must bear"
            )
        self._incoming = ssl.MemoryBIO()
        self.outgoing = ssl.MemoryBIO()
        self.ssl_object = context.wrap_bio(
            self._incoming, self.outgoing, server_side=server_side, server_hostname=server_hostname or None
        )
        self._read = self.ssl_object.read
        self._write = self.ssl_object.write
        self._truncation_ok = truncation_ok
        self._hold_tickets = hold_tickets
        self._tickets = b""
        self._eof = False
        # How much of the data of a write that needs input is encrypted already.
        self._written = 0
        # An error that came behind data: the data first.
        self._failure: ssl.SSLError | None = None
        self.phase = HANDSHAKE
        self.handshake_done = False
        self.starved = False
        self.truncated = False

    # Ciphertext

    def feed(self, ciphertext: bytes | bytearray | memoryview) -> None:
        """Take what the peer has sent.  Raises RuntimeError after `feed_eof`."""
        if self._eof:
            raise RuntimeError("the input has ended: nothing can be fed after feed_eof()")
        self._incoming.write(ciphertext)
        self.starved = False

    def feed_eof(self) -> None:
        """Take it that the peer will send nothing more."""
        self._eof = True
        self.starved = False

    @property
    def unread(self) -> int:
        """How many bytes were fed and not looked at yet."""
        return self._incoming.pending

    def take_output(self) -> bytes:
        """Return what is to be sent to the peer now, and forget it."""
        tickets = self._tickets
        if tickets:
            self._tickets = b""
            return tickets + self.outgoing.read()
        return self.outgoing.read()

    def trailing_data(self) -> bytes:
        """Return what the peer sent behind its close_notify, and forget it: it is not TLS any more.

        Raises RuntimeError unless the phase is CLOSED: before, these bytes are records.
        """
        if self.phase is not CLOSED:
            raise RuntimeError(f"there is no trailing data before the connection is CLOSED: it is {self.phase.name}")
        return self._incoming.read()

    # Operations

    def handshake(self) -> Step:
        """Agree on keys with the peer and check its certificate; a no-op once that is done.

        Raises SSLError, SSLCertVerificationError among them.
        """
        if self.phase is not HANDSHAKE:
            if self.phase is BROKEN:
                self._raise_failure()
            return DONE
        flight = self.outgoing.pending
        try:
            self.ssl_object.do_handshake()
        except ssl.SSLWantReadError:
            # Also where truncation is forgiven: nothing was agreed on, so there is nothing that could have ended.
            if self._eof:
                self._raise_truncated()
            return NEED_INPUT
        except ssl.SSLError:
            self.phase = BROKEN
            raise
        self.phase = OPEN
        self.handshake_done = True
        if self._hold_tickets and self.ssl_object.server_side and self.ssl_object.version() == "TLSv1.3":
            # The last thing that a client of TLS 1.3 waits for left long ago; what is new in the output is tickets.
            output = self.outgoing.read()
            self._tickets = output[flight:]
            self.outgoing.write(output[:flight])
        return DONE

    # flat: once for every message received
    def read(self, max_bytes: int) -> bytes | Literal[Step.NEED_INPUT]:
        """Return up to `max_bytes` bytes of what has arrived, b"" if the peer has ended the connection.

        Raises SSLError, NeedHandshakeError.
        """
        phase = self.phase
        if phase is not OPEN and phase is not CLOSING:
            return self._read_no_more()
        asked = max_bytes if max_bytes < RECORD else RECORD
        try:
            data = self._read(asked)
        except ssl.SSLWantReadError:
            if self._eof:
                return self._end_without_close_notify()
            self.starved = True
            return NEED_INPUT
        except ssl.SSLZeroReturnError:
            # What OpenSSL says in place of b"" when both sides have closed.
            data = b""
        except ssl.SSLError:
            self.phase = BROKEN
            raise
        if not data:
            self._peer_has_ended()
            return data
        if self._incoming.pending:
            if len(data) < max_bytes:
                return self._read_on(data, max_bytes)
        elif len(data) < asked or not self.ssl_object.pending():
            self.starved = not self._eof
        return data

    def _read_on(self, data: bytes, max_bytes: int) -> bytes:
        """Return `data` and what further records hold: one piece for whoever passes it on, not one a record."""
        pieces = [data]
        room = max_bytes - len(data)
        incoming = self._incoming
        while room:
            asked = room if room < RECORD else RECORD
            try:
                data = self._read(asked)
            except ssl.SSLWantReadError:
                self.starved = not self._eof
                break
            except ssl.SSLZeroReturnError:
                data = b""
            except ssl.SSLError as exc:
                # The data before it was checked and is good; the next operation says what is wrong.
                self.phase = BROKEN
                self._failure = exc.with_traceback(None)
                break
            if not data:
                self._peer_has_ended()
                break
            pieces.append(data)
            room -= len(data)
            if not incoming.pending and (len(data) < asked or not self.ssl_object.pending()):
                # To find it out by trying would cost an exception.
                self.starved = not self._eof
                break
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    # flat: once for every message received
    def read_into(self, buffer: memoryview) -> int | Literal[Step.NEED_INPUT]:
        """Put what has arrived into `buffer`, one of bytes and not empty, and return how many bytes; 0 at the end.

        Raises SSLError, NeedHandshakeError.
        """
        phase = self.phase
        if phase is not OPEN and phase is not CLOSING:
            return len(self._read_no_more())
        done = 0
        size = len(buffer)
        while True:
            try:
                # Typeshed has it that a length or bytes come, whatever is asked for.
                count: int = self._read(size - done, buffer[done:] if done else buffer)  # type: ignore[assignment]  # see above
            except ssl.SSLWantReadError:
                if done:
                    self.starved = not self._eof
                    return done
                if self._eof:
                    return len(self._end_without_close_notify())
                self.starved = True
                return NEED_INPUT
            except ssl.SSLZeroReturnError:
                count = 0
            except ssl.SSLError as exc:
                self.phase = BROKEN
                if not done:
                    raise
                self._failure = exc.with_traceback(None)
                return done
            if not count:
                self._peer_has_ended()
                return done
            done += count
            if not self._incoming.pending and not self.ssl_object.pending():
                self.starved = not self._eof
                return done
            if done == size:
                return done

    def _read_no_more(self) -> bytes:
        if self.phase is HANDSHAKE:
            _need_handshake("read")
        if self.phase is BROKEN:
            self._raise_failure()
        return b""

    # flat: once for every message sent
    def write(self, data: bytes | bytearray | memoryview) -> Step:
        """Encrypt all of `data`, which must not be empty; a view must be one of bytes.

        Raises SSLError, NeedHandshakeError, ClosedResourceError after this side's close_notify.
        """
        phase = self.phase
        if phase is not OPEN and phase is not ENDED:
            self._refuse_to_write()
        done = self._written
        size = len(data)
        try:
            # OpenSSL encrypts all of it in one call, but for the mode that allows it not to; nothing says that Python
            # will never choose that one.
            while done < size:
                done += self._write(memoryview(data)[done:] if done else data)
        except ssl.SSLWantReadError:
            self._written = done
            if self._eof:
                self._raise_truncated()
            return NEED_INPUT
        except ssl.SSLError:
            self.phase = BROKEN
            raise
        self._written = 0
        return DONE

    def _refuse_to_write(self) -> NoReturn:
        if self.phase is HANDSHAKE:
            _need_handshake("write")
        if self.phase is BROKEN:
            self._raise_failure()
        raise ClosedResourceError("can't send data after close_notify: this side has ended the TLS connection")

    def unwrap(self) -> Step:
        """Tell the peer that this side is done, and wait for it to say the same.

        What the peer says instead, data, is an error: read until b"" first where it may come.  After DONE the
        transport is free for something else; what arrived of that already is `trailing_data`.
        Raises SSLError, NeedHandshakeError.
        """
        if self.phase is CLOSED:
            return DONE
        if self.phase is HANDSHAKE:
            _need_handshake("unwrap")
        if self.phase is BROKEN:
            self._raise_failure()
        try:
            self.ssl_object.unwrap()
        except ssl.SSLWantReadError:
            self.phase = CLOSING
            if self._eof:
                self._end_without_close_notify()
                return DONE
            return NEED_INPUT
        except ssl.SSLError:
            self.phase = BROKEN
            raise
        self.phase = CLOSED
        return DONE

    def close_notify(self) -> None:
        """Tell the peer that this side is done, and leave it at that: for whoever closes the transport next.

        Never fails: without a connection there is nothing to say.  Data that was fed and not read is lost.
        """
        if self.phase is not OPEN and self.phase is not ENDED:
            return
        try:
            self.ssl_object.unwrap()
        except ssl.SSLWantReadError:
            self.phase = CLOSING
        except ssl.SSLError:
            # It looks for the peer's answer at once and has found something else; the close_notify is made all the
            # same (test_unread_data_does_not_keep_close_notify_back).
            self.phase = BROKEN
        else:
            self.phase = CLOSED

    # Ends

    def _peer_has_ended(self) -> None:
        self.phase = CLOSED if self.phase is CLOSING else ENDED
        self.starved = False

    def _end_without_close_notify(self) -> bytes:
        if not self._truncation_ok:
            self._raise_truncated()
        self.truncated = True
        self._peer_has_ended()
        return b""

    def _raise_truncated(self) -> NoReturn:
        self.phase = BROKEN
        self.truncated = True
        raise ssl.SSLEOFError(
            ssl.SSL_ERROR_EOF, "the peer's data ended without a close_notify: it may have been cut off on the way"
        ) from None

    def _raise_failure(self) -> NoReturn:
        failure = self._failure
        self._failure = None
        if failure is None:
            raise ssl.SSLError(ssl.SSL_ERROR_SSL, "the TLS connection has failed before")
        try:
            raise failure
        finally:
            # The traceback holds this frame: without this the frame would hold the error.
            del failure


def _need_handshake(operation: str) -> NoReturn:
    raise NeedHandshakeError(f"{operation}() comes after handshake(), which checks who the peer is")


__all__ = ["Phase", "Step", "TLSEngine"]
