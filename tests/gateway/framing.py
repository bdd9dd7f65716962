"""What bytes mean as HTTP: to the door, to the connection to a provider, and to h11, which is the judge of both."""

import asyncio
import re
from collections.abc import Sequence
from typing import NamedTuple

import h11
from h11 import _readers as h11_readers

from penstock.gateway.dialing import Address
from penstock.gateway.driving import Drive
from penstock.gateway.server import Crowd, Inbound, Request, ServerLimits, status_line
from penstock.gateway.upstream import FRAMING, NOT_RETURNED, OURS, Connection, Exchange, Origin, UpstreamError

ANSWER = [("content-length", "0")]

# A chunk's size may have any number of leading zeros (RFC 9112, 7.1); h11 takes twenty digits at most, which is a
# limit of its own and not another meaning.
h11_readers.chunk_header_re = re.compile(h11_readers.chunk_header_re.pattern.replace(b"{1,20}", b"+"))


class Wire:
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        self.out = b""
        self.closing = False
        self.shut = False
        self.reading = True

    def write(self, data: bytes) -> None:
        assert not self.shut, "written after the end"
        self.out += data

    def close(self) -> None:
        self.closing = True

    abort = close

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def is_closing(self) -> bool:
        return self.closing

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.shut = True

    def get_extra_info(self, _: str) -> None:
        return None

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int) -> None:
        assert high > 0


class Read(NamedTuple):
    """What was understood."""

    messages: list[tuple[object, ...]]
    """Of requests: method, target, headers, body. Of replies: status, headers that the client gets, body.

    What frames the body is not among the headers: the body shows it, and a head that was seen before keeps the length
    of its first.
    """
    refused: bool
    """The rest is not HTTP, or not wanted."""


def door_reads(pieces: list[bytes], crowd: Crowd | None = None) -> Read:
    """Send bytes to a door; every request is answered at once."""
    mine = crowd is not None
    loop = crowd.loop if crowd else asyncio.new_event_loop()
    asked: list[tuple[object, ...]] = []

    def handle(inbound: Inbound, request: Request) -> None:
        head = request.head
        fields = [(name, value.strip(b" \t")) for name, value in head.headers if name not in FRAMING]
        asked.append((head.method.encode(), head.target, fields, request.body))
        inbound.reply(status_line(200), b"", keep_alive=request.head.keep_alive)

    crowd = crowd or Crowd(handle, loop, ServerLimits())
    crowd.handle = handle
    inbound, wire = Inbound(crowd), Wire()
    inbound.connection_made(wire)

    async def all_of_it() -> None:
        for piece in pieces:
            if not wire.closing:
                inbound.data_received(piece)
            for _ in range(2 + len(inbound._ahead) * 2):
                await asyncio.sleep(0)

    loop.run_until_complete(all_of_it())
    if not mine:
        loop.close()
    ended = wire.closing or wire.shut
    inbound.connection_lost(None)
    assert crowd.held == 0
    return Read(asked, ended)


def h11_reads(data: bytes) -> Read:
    """Ask h11 the same. A head is read on its own, so that one empty line before it can be passed over.

    RFC 9112 wants a server to do that, the door does it, and h11 does not.
    """
    found: list[tuple[object, ...]] = []
    while True:
        data = data.removeprefix(b"\r\n")
        if not data:
            return Read(found, refused=False)
        judge = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
        judge.receive_data(data)
        try:
            asked = judge.next_event()
            if asked is h11.NEED_DATA:
                return Read(found, refused=False)
            body = b""
            while type(event := judge.next_event()) is h11.Data:
                body += bytes(event.data)
            if event is h11.NEED_DATA:
                return Read(found, refused=False)
        except h11.RemoteProtocolError:
            return Read(found, refused=True)
        target = asked.target
        if target.lower().startswith((b"http://", b"https://")):  # the door takes the path out of such a target
            rest = target.partition(b"://")[2]
            at = min((place for place in (rest.find(b"/"), rest.find(b"?")) if place >= 0), default=len(rest))
            target = rest[at:] if rest[at:].startswith(b"/") else b"/" + rest[at:]
        fields = [field for field in asked.headers if field[0] not in FRAMING]
        found.append((asked.method, target, fields, body))
        if judge.their_state is h11.MUST_CLOSE:
            return Read(found, refused=True)
        data = judge.trailing_data[0]


def provider_reads(pieces: list[bytes], *, closes: bool, loop: asyncio.AbstractEventLoop | None = None) -> Read:
    """Let a provider answer one request with these bytes, and perhaps close."""
    return provider_answers([pieces], closes=closes, loop=loop)[0]


def provider_answers(
    replies: Sequence[list[bytes]], *, closes: bool = False, loop: asyncio.AbstractEventLoop | None = None
) -> list[Read]:
    """Let a provider answer one request after the other on a connection; it ends where it is not to be used again."""
    if loop is not None:
        return loop.run_until_complete(_provider_answers(replies, closes=closes))
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(_provider_answers(replies, closes=closes))
    finally:
        loop.close()


class Sink:
    """Takes a stream."""

    def __init__(self) -> None:
        self.data = b""

    def write(self, data: bytes) -> None:
        self.data += data


async def _provider_answers(replies: Sequence[list[bytes]], *, closes: bool) -> list[Read]:
    loop = asyncio.get_running_loop()
    origin = Origin(Address(host="x", port=80), loop)
    connection, wire = Connection(origin, loop), Wire()
    connection.connection_made(wire)
    origin._all.add(connection)
    found: list[Read] = []
    for pieces in replies:
        found.append(await _one_answer(origin, connection, wire, pieces, closes=closes))
        if origin.warm() is not connection:
            break
    return found


async def _one_answer(origin: Origin, connection: Connection, wire: Wire, pieces: list[bytes], *, closes: bool) -> Read:
    exchange = connection.send(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n", 1e9, 1e9, 1 << 20)
    sink = Sink()
    outcome: list[str] = []

    async def wait(exchange: Exchange) -> None:
        try:
            await exchange
            if exchange.streamed:
                await exchange.end(sink)
            outcome.append("whole")
        except UpstreamError as error:
            outcome.append(error.code)

    def failed(error: BaseException) -> None:
        raise error

    Drive(wait(exchange), failed)
    for piece in pieces:
        if not wire.closing and not connection.closed:
            connection.data_received(piece)
        await asyncio.sleep(0)
    if closes and not connection.closed:
        connection.connection_lost(None)
    ended = wire.closing or connection.closed
    assert ended or not outcome or connection in origin._idle, "kept open and not to be used again"
    if outcome == ["whole"]:
        body = sink.data if exchange.streamed else exchange.body
        return Read([(exchange.status, fields_of(exchange.head_lines), body)], ended)
    return Read([], bool(outcome))


def fields_of(lines: bytes) -> list[tuple[bytes, bytes]]:
    """Take apart the header lines that a client gets: there must be nothing else in them."""
    assert lines.count(b"\r\n") == lines.count(b"\r") == lines.count(b"\n")
    fields = [line.partition(b":") for line in lines.split(b"\r\n")[:-1]]
    return [(name.lower(), value.strip(b" \t")) for name, _, value in fields]


def h11_client_reads(data: bytes, *, closes: bool) -> Read:
    """Ask h11 what a client makes of the same bytes."""
    judge = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
    judge.send(h11.Request(method="POST", target="/", headers=[("host", "x"), ("content-length", "0")]))
    judge.send(h11.EndOfMessage())
    judge.receive_data(data)
    if closes:
        judge.receive_data(b"")
    status, fields, body, stays = 0, [], b"", False
    try:
        while True:
            event = judge.next_event()
            if isinstance(event, h11.Response):
                status = event.status_code
                fields = [
                    field for field in event.headers if field[0] not in NOT_RETURNED and not field[0].startswith(OURS)
                ]
                stays = _stays(event)
            elif isinstance(event, h11.InformationalResponse):
                # Empty lines before the reply itself are passed over, and mean nothing; h11 does not have them.
                judge._receive_buffer._data[:] = judge._receive_buffer._data.lstrip(b"\r\n")
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                behind = judge.trailing_data[0].strip(b"\r\n")  # empty lines mean nothing here either
                return Read([(status, fields, body)], not stays or bool(behind))
            elif event is h11.NEED_DATA or event is h11.PAUSED:
                return Read([], refused=False)
            elif isinstance(event, h11.ConnectionClosed):
                return Read([], refused=True)
    except h11.RemoteProtocolError:
        return Read([], refused=True)


def _stays(reply: h11.Response) -> bool:
    """Tell whether the connection may be used again. Not by h11's word: it never keeps one of HTTP/1.0."""
    said = b",".join(value for name, value in reply.headers if name == b"connection").lower().split(b",")
    options = {option.strip() for option in said}
    return b"close" not in options and (reply.http_version == b"1.1" or b"keep-alive" in options)
