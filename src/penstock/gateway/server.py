"""The door itself: HTTP/1.1 as clients speak it, one request of a connection at a time."""

import asyncio
from collections import deque
from collections.abc import Callable
from http import HTTPStatus

import httptools
from msgspec import Struct

from penstock.gateway.heads import NEVER_SEEN, BadRequestError, Head, SeenHeads, may_begin, read_head
from penstock.gateway.outbox import Outbox
from penstock.gateway.refusals import refusal_body
from penstock.gateway.shortcuts import body_between
from penstock.gateway.unchunked import Unchunked
from penstock.gateway.upstream import HIGH_WATER

LINGER_SECONDS, LONGEST_LINGER = 5.0, 30.0
"""How long a client that was refused may stay silent, or go on sending, before the line is cut."""
IDLE_WHEN_LEAVING = 1.0
"""Seconds of silence after which a connection is closed when the worker takes leave."""


class ServerLimits(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much clients may ask of the door."""

    max_body: int = 64 * 1024 * 1024
    """Bytes of a request's body."""
    max_headers: int = 64 * 1024
    """Bytes of a request's head."""
    max_pipeline: int = 16
    """Requests of one connection that may wait behind the one being answered."""
    max_connections: int = 10_000
    """Connections of clients, for each worker."""
    max_held: int = 512 * 1024 * 1024
    """Bytes of bodies that a worker may hold at a time, over all connections."""
    request_timeout: float = 60.0
    """Seconds in which a request, once begun, must have come whole."""
    idle_timeout: float = 75.0
    """Seconds that a connection may stay silent between two requests."""
    write_timeout: float = 60.0
    """Seconds that a client may take nothing of its reply before it is taken for gone."""


class Request:
    """One request, whole."""

    __slots__ = ("body", "head")

    def __init__(self, head: Head, body: bytes) -> None:
        self.head = head
        self.body = body


STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}
CR = 13
SMALL = 64 * 1024
"""Bytes of a body that is let in however much of other clients is held."""
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def status_line(status: int) -> bytes:
    """Return the first line of a response."""
    return STATUS_LINES.get(status) or f"HTTP/1.1 {status} \r\n".encode()


def refused(error: BadRequestError) -> bytes:
    """Return the response to what is not a request that can be answered; the connection ends with it."""
    body = refusal_body(None, error.status, error.code, str(error), "")
    head = b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(body)
    return status_line(error.status) + head + body


class Crowd:
    """The clients of one worker, and what they may take of it together."""

    __slots__ = ("connections", "handle", "held", "limits", "loop", "outbox", "seen")

    def __init__(
        self,
        handle: Callable[["Inbound", Request], None],
        loop: asyncio.AbstractEventLoop,
        limits: ServerLimits,
        outbox: Outbox | None = None,
    ) -> None:
        self.handle = handle
        self.loop = loop
        self.limits = limits
        self.outbox = outbox or Outbox(loop)
        self.seen = SeenHeads()
        self.connections: set[Inbound] = set()
        self.held = 0
        """Bytes of bodies that came in several pieces and are not answered yet."""


class Inbound(asyncio.Protocol):
    """One connection of a client."""

    __slots__ = (
        "_ahead", "_asked", "_begun_at", "_blank", "_body", "_buffer", "_busy", "_chunks", "_crowd", "_deaf",
        "_handle", "_head", "_head_only", "_held", "_held_up", "_last", "_limits", "_linger_from", "_loop", "_missing",
        "_outbox", "_paused", "_plain", "_quiet_from", "_refusal", "_said_last", "_stuck_at", "_stuck_bytes",
        "_taking_leave", "_unbidden", "closed", "leaving", "on_drained", "on_gone", "streaming", "transport",
    )  # fmt: skip

    def __init__(self, crowd: Crowd) -> None:
        self._crowd = crowd
        self._handle = crowd.handle
        self._outbox = crowd.outbox
        self._last = NEVER_SEEN
        """The head with which this client last sent a whole request."""
        self._loop = crowd.loop
        self._limits = crowd.limits
        self._buffer = b""
        """The beginning of a head."""
        self._blank = False
        """The empty line that may come before a request has come."""
        self._head: Head | None = None
        """The head whose body is coming."""
        self._body = bytearray()
        self._missing = 0
        """Bytes of it that are still to come."""
        self._chunks: Unchunked | None = None
        self._unbidden = False
        """The client waits for a word of ours before it sends the body."""
        self._held = 0
        self._held_up = False
        """The next request waits until the client has taken more of its answers."""
        self._ahead: deque[Request] = deque()
        self._asked = False
        """A request of what was read in this turn has been put to the handler."""
        self._busy = False
        self._plain = False
        """The request being answered came whole by itself, and nothing has happened since."""
        self._deaf = False
        """Nothing that the client may still say is listened to."""
        self._refusal = b""
        """Said, in place of an answer, when the requests before it have been answered."""
        self._linger_from = 0.0
        self._paused = False
        self._begun_at = 0.0
        self._stuck_at = 0.0
        self._stuck_bytes = 0
        self._head_only = False
        self._quiet_from = crowd.loop.time()
        self._said_last = False
        """The head of the stream that is being sent says that the connection ends with it."""
        self._taking_leave = False
        self.closed = False
        self.leaving = False
        """The client will send no more; it may be gone, or still be listening."""
        self.streaming = False
        self.on_gone: Callable[[], None] | None = None
        """Called when the client leaves while it is being answered."""
        self.on_drained: Callable[[bool], None] | None = None
        """Called with False when the client is too slow for what it gets, with True when it has caught up."""

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember the connection, and when it should be made to wait."""
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]  # a stream transport, as asked for
        self.transport.set_write_buffer_limits(high=HIGH_WATER)
        connections = self._crowd.connections
        connections.add(self)
        if len(connections) > self._limits.max_connections:
            self._refusal = refused(BadRequestError(503, "Too many connections are open; try again.", "too_busy"))
            self._deaf = True
            self._outbox.write(self.transport, self._refusal)
            self._outbox.close(self.transport)

    def connection_lost(self, _: Exception | None) -> None:
        """Tell whoever is answering."""
        self.closed = self.leaving = True
        self._crowd.connections.discard(self)
        self._ahead.clear()
        self._let_go()
        gone, self.on_gone = self.on_gone, None
        if gone is not None:
            gone()

    def data_received(self, data: bytes) -> None:
        """Take what came: nearly always one whole request with a head that was seen before."""
        if self._deaf:
            if self._linger_from:
                self._quiet_from = self._loop.time()
            return
        if self._head is None and not self._busy and not self._buffer:
            seen = self._last
            body = body_between(data, seen.before, seen.behind)
            if body is None and (found := self._crowd.seen.find(data)) is not None:
                seen = self._last = found
                body = body_between(data, seen.before, seen.behind)
            if body is not None and len(body) <= self._limits.max_body:
                self._busy = True
                self._plain = not self._taking_leave
                self._head_only = False  # a remembered head has a body
                self._handle(self, Request(seen.head, body))
                return
        self._asked = self._plain = False
        try:
            while data and not self._deaf:
                data = self._read_head(data) if self._head is None else self._read_body(self._head, data)
        except BadRequestError as error:
            self._refuse(error)
        except httptools.HttpParserError:
            self._refuse(BadRequestError(400, "The body does not come in valid chunks."))

    def eof_received(self) -> bool:
        """The client sends no more. While its call is under way it may still be listening, as `nc -N` does."""
        self.leaving = self._deaf = True
        self._plain = False
        waiting = self._busy and not self.streaming and not self._linger_from
        return waiting and self.transport.get_extra_info("sslcontext") is None

    def pause_writing(self) -> None:
        """The client reads more slowly than its provider writes."""
        self._stuck_at = self._loop.time()
        if self.on_drained is not None:
            self.on_drained(False)

    def resume_writing(self) -> None:
        """The client has caught up."""
        self._stuck_at = 0.0
        if self.on_drained is not None:
            self.on_drained(True)
        if self._held_up:
            self._held_up = False
            self._go_on()

    # Reading

    def _read_head(self, data: bytes) -> bytes:
        """Read a head; return what is behind it."""
        if self._buffer:
            data, self._buffer = self._buffer + data, b""
        if data[0] == CR and not self._blank:  # an empty line before a request, as old clients send it after a body
            if data in {b"\r", b"\r\n"}:
                self._buffer = data
                return b""
            self._blank = data.startswith(b"\r\n")
            if self._blank:
                data = data[2:]
        end = data.find(b"\r\n\r\n") + 4
        if (len(data) if end < 4 else end) > self._limits.max_headers:
            raise BadRequestError(431, f"The head is larger than {self._limits.max_headers} bytes.")
        if end < 4:
            if data and not may_begin(data):
                read_head(data + b"\r\n\r\n")  # says what is wrong, if more than the end is
                raise BadRequestError(400, "This is not a valid HTTP/1.1 request.")
            self._buffer = data
            self._begun_at = self._begun_at or self._loop.time()
            return b""
        first = data[:end]
        head = read_head(first)
        self._crowd.seen.add(first, head)
        return self._begin(head, head.length, data[end:])

    def _begin(self, head: Head, length: int | None, data: bytes) -> bytes:
        """Begin a request with what has come of its body; return what is behind that."""
        if length is not None:
            if length > self._limits.max_body:
                raise self._too_large()
            if length <= len(data):
                self._blank = False
                self._begun_at = 0.0
                self._whole(Request(head, data[:length]))
                return data[length:]
            self._missing = length
        else:
            self._chunks = Unchunked()
        self._head = head
        self._blank = False
        self._begun_at = self._begun_at or self._loop.time()
        self._unbidden = head.expects and not data
        if self._unbidden and not self._busy:
            self._bid()
        return data

    def _bid(self) -> None:
        """Ask for the body that is held back for it: an answer to an earlier request must not come behind this."""
        self._unbidden = False
        self._begun_at = self._loop.time()
        self._outbox.write(self.transport, CONTINUE)

    def _read_body(self, head: Head, data: bytes) -> bytes:
        """Collect a piece of the body; return what is behind its end."""
        self._unbidden = False
        chunks = self._chunks
        if chunks is None:
            taken, rest = data[: self._missing], data[self._missing :]
            self._body += taken
            self._missing -= len(taken)
            self._hold(len(taken))
            complete, body = not self._missing, self._body
        else:
            before = len(chunks.body)
            rest = chunks.feed(data)
            complete, body = chunks.complete, chunks.body
            self._hold(len(body) - before)
            if len(body) > self._limits.max_body or chunks.framing > self._limits.max_headers + 16 * len(body):
                raise self._too_large()
        if complete:
            self._forget_request()
            self._whole(Request(head, bytes(body)))
        return rest

    def _whole(self, request: Request) -> None:
        """Answer the request now, or after the ones that came before it."""
        self._deaf = not request.head.keep_alive
        if not self._busy and not self._asked:
            self._busy = self._asked = True
            self._head_only = request.head.method == "HEAD"
            self._handle(self, request)
            return
        self._ahead.append(request)
        if not self._busy:  # those before it were answered at once; but one turn must not answer a whole pipeline
            self._busy = True
            self._loop.call_soon(self._next)
        if len(self._ahead) >= self._limits.max_pipeline and not self._paused:
            self._paused = True
            self.transport.pause_reading()

    def _forget_request(self) -> None:
        """There is no request any more that is still coming."""
        self._buffer, self._body = b"", bytearray()
        self._head = self._chunks = None
        self._unbidden = False
        self._begun_at = 0.0

    def _hold(self, size: int) -> None:
        """Count what is held. Bodies that came in one piece are not counted, and small ones are always let in."""
        self._held += size
        self._crowd.held += size
        if self._crowd.held > self._limits.max_held and self._held > SMALL:
            raise BadRequestError(503, "Too many large requests are under way; try again later.", "too_busy")

    def _let_go(self) -> None:
        self._crowd.held -= self._held
        self._held = 0

    def _too_large(self) -> BadRequestError:
        return BadRequestError(413, f"The body is larger than {self._limits.max_body} bytes.")

    # Refusing

    def _refuse(self, error: BadRequestError) -> None:
        """Answer what cannot be a request, after those before it, and hang up."""
        if self.closed or self._refusal:
            return
        self._deaf = True
        self._forget_request()
        self._refusal = refused(error)
        if not self._busy:
            self._hang_up()

    def _hang_up(self) -> None:
        """Say the refusal, and read on: what is not read the system answers with a reset that overtakes our words."""
        self._let_go()
        self._outbox.write(self.transport, self._refusal)
        if self.leaving:
            self._outbox.close(self.transport)
            return
        self._outbox.shut(self.transport)
        self._linger_from = self._quiet_from = self._loop.time()

    # Answering

    def reply(self, head: bytes, body: bytes, *, keep_alive: bool) -> None:
        """Send a whole response; `head` ends before the empty line, and this adds the length."""
        if self.closed:
            return
        if self._plain and keep_alive and not self._stuck_at:  # what is below, where all of it is known
            self._outbox.write(self.transport, b"%scontent-length: %d\r\n\r\n%s" % (head, len(body), body))
            self._quiet_from = self._loop.time()
            self._busy = False
            return
        if self._taking_leave and not self._ahead:
            keep_alive = False
        closing = b"" if keep_alive else b"connection: close\r\n"
        shown = b"" if self._head_only else body
        self._outbox.write(self.transport, b"%scontent-length: %d\r\n%s\r\n%s" % (head, len(body), closing, shown))
        self._answered(keep_alive)

    def start_stream(self, head: bytes, *, chunked: bool) -> None:
        """Send the head of a stream."""
        self.streaming = True
        self._said_last = self._taking_leave and not self._ahead
        if not self.closed:
            framing = b"transfer-encoding: chunked\r\n" if chunked else b""
            closing = b"connection: close\r\n" if self._said_last or not chunked else b""
            self._outbox.write(self.transport, b"%b%b%b\r\n" % (head, framing, closing))

    def write_chunk(self, data: bytes) -> None:
        """Send a piece of a chunked stream."""
        if data and not self.closed:
            self._outbox.write(self.transport, b"%x\r\n%b\r\n" % (len(data), data))

    def write_raw(self, data: bytes) -> None:
        """Send a piece of a stream that ends with the connection."""
        if data and not self.closed:
            self._outbox.write(self.transport, data)

    def end_stream(self, last: bytes, *, chunked: bool, keep_alive: bool) -> None:
        """Send the last piece, and the end."""
        self.streaming = False
        if self.closed:
            return
        if chunked:
            self._outbox.write(self.transport, b"%x\r\n%b\r\n0\r\n\r\n" % (len(last), last) if last else b"0\r\n\r\n")
        else:
            self.write_raw(last)
        self._answered(keep_alive and chunked and not self._said_last)

    def break_off(self) -> None:
        """End a stream in a way that no client takes for its proper end."""
        self.on_gone = self.on_drained = None
        if not self.closed:
            self._outbox.flush()
            self.transport.abort()

    def _answered(self, keep_alive: bool) -> None:
        self.on_gone = self.on_drained = None
        self._quiet_from = self._loop.time()
        if not keep_alive:  # and the client knows it: a request that it sent meanwhile would be lost
            self._outbox.close(self.transport)
            return
        if self._held and not self._ahead and self._head is None:
            self._let_go()
        if self._stuck_at:  # who does not take its answers gets no further ones
            self._held_up = True
        else:
            self._go_on()

    def _go_on(self) -> None:
        """Turn to the next request, or wait for one."""
        if self._paused and len(self._ahead) <= self._limits.max_pipeline:  # the next one is taken off now
            self._paused = False
            self._begun_at = self._begun_at and self._loop.time()  # it was we who did not listen
            self.transport.resume_reading()
        if self._ahead:
            # On the next turn: a long pipeline must not become a deep stack.
            self._loop.call_soon(self._next)
            return
        self._busy = False
        if self._refusal:
            self._hang_up()
        elif self._deaf:
            self._outbox.close(self.transport)
        elif self._unbidden:
            self._bid()

    def _next(self) -> None:
        if self.closed:
            return
        request = self._ahead.popleft()
        self._head_only = request.head.method == "HEAD"
        self._handle(self, request)

    # Keeping house

    def sweep(self, now: float) -> None:
        """Hang up on who says nothing, or says it too slowly, or does not listen."""
        if self._stuck_at:
            waiting = self.transport.get_write_buffer_size()
            if waiting != self._stuck_bytes:  # it takes something, if slowly
                self._stuck_bytes, self._stuck_at = waiting, now
        quiet = now - self._quiet_from
        if self._stuck_at and now - self._stuck_at > self._limits.write_timeout:
            self.transport.abort()
        elif self._linger_from:
            if quiet > LINGER_SECONDS or now - self._linger_from > LONGEST_LINGER:
                self.transport.abort()
        elif (
            self._begun_at
            and not self._paused
            and not self._unbidden  # it is we who keep it waiting
            and now - self._begun_at > self._limits.request_timeout
        ):
            self._refuse(BadRequestError(408, "The request took too long to come."))
        elif not self._busy and not self._begun_at and quiet > self._limits.idle_timeout:
            self._outbox.close(self.transport)

    def take_leave(self, now: float) -> None:
        """Answer what is under way, say with it that it was the last, and hang up on who has been silent a while."""
        self._taking_leave = True
        self._plain = False
        if self.transport.is_closing():
            # TLS waits for the other side's goodbye, which an idle client says only when it looks again.
            if now - self._quiet_from > 2 * IDLE_WHEN_LEAVING and not self.transport.get_write_buffer_size():
                self.transport.abort()
        elif not self._busy and not self._begun_at and now - self._quiet_from > IDLE_WHEN_LEAVING:
            self._outbox.close(self.transport)
