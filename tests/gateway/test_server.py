"""The door: HTTP/1.1 as clients speak it, and as they should not."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.gateway.outbox import Outbox
from penstock.gateway.server import Head, Inbound, Request, SeenHeads, ServerLimits, status_line


class Wire:
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        self.out = b""
        self.closing = False
        self.reading = True

    def write(self, data: bytes) -> None:
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

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int) -> None:
        assert high > 0


class Door:
    """One connection whose handler answers with the request's own body, at once or when told to."""

    def __init__(
        self, *, later: bool = False, limits: ServerLimits | None = None, seen: SeenHeads | None = None
    ) -> None:
        self.loop = asyncio.new_event_loop()
        self.asked: list[Request] = []
        self.later = later
        self.seen = seen or SeenHeads()
        self.inbound = Inbound(
            self.handle, set(), self.loop, limits=limits or ServerLimits(), seen=self.seen, outbox=Outbox(self.loop)
        )
        self.wire = Wire()
        self.inbound.connection_made(self.wire)

    def handle(self, inbound: Inbound, request: Request) -> None:
        self.asked.append(request)
        if not self.later:
            self.answer(request)

    def answer(self, request: Request) -> None:
        self.inbound.reply(status_line(200), request.body, keep_alive=request.head.keep_alive)

    def send(self, *pieces: bytes) -> "Door":
        for piece in pieces:
            if not self.wire.closing:
                self.inbound.data_received(piece)
            self.loop.run_until_complete(asyncio.sleep(0))
        return self

    def sweep(self, seconds: float) -> None:
        self.inbound.sweep(self.loop.time() + seconds)
        self.loop.run_until_complete(asyncio.sleep(0))

    def close(self) -> None:
        self.loop.close()


@pytest.fixture
def door():
    doors = []

    def make(**options) -> Door:
        doors.append(Door(**options))
        return doors[-1]

    yield make
    for one in doors:
        one.close()


POST = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"


def test_a_request_is_the_same_however_it_is_cut(door):
    for cut in range(1, len(POST)):
        one = door().send(POST[:cut], POST[cut:])
        assert [(asked.head.method, asked.head.path, asked.body) for asked in one.asked] == [
            ("POST", b"/v1/chat/completions", b"hello")
        ]


def test_a_chunked_body_is_put_together(door):
    head = b"POST /x?y=1 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    one = door().send(head, b"3\r\nhel\r\n", b"2\r\nlo\r\n0\r\n\r\n")
    assert one.asked[0].body == b"hello"
    assert one.asked[0].head.target == b"/x?y=1"


def test_pipelined_requests_are_answered_in_order_one_at_a_time(door):
    one = door(later=True).send(POST + POST.replace(b"hello", b"world"))
    assert len(one.asked) == 1
    one.answer(one.asked[0])
    one.send(b"")
    assert [asked.body for asked in one.asked] == [b"hello", b"world"]


def test_a_long_pipeline_is_made_to_wait(door):
    one = door(later=True, limits=ServerLimits(max_pipeline=2)).send(POST * 3)
    assert not one.wire.reading
    one.answer(one.asked[0])
    one.send(b"")
    assert one.wire.reading


@pytest.mark.parametrize(
    "sent",
    [
        b"POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 5, 5\r\n\r\nhello",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST / HTTP/1.1\r\nX: a\r\n folded\r\n\r\n",
        b"POST / HTTP/1.1\r\nX : a\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
def test_what_is_not_one_clear_request_is_refused_and_the_line_is_cut(sent, door):
    one = door().send(sent)
    assert one.asked == []
    assert one.wire.out.startswith(b"HTTP/1.1 400 ")
    assert one.wire.closing


def test_too_large_a_body_is_refused_before_it_comes(door):
    one = door(limits=ServerLimits(max_body=4)).send(POST[: POST.index(b"\r\n\r\n") + 4])
    assert one.wire.out.startswith(b"HTTP/1.1 413 ")
    chunked = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
    assert door(limits=ServerLimits(max_body=4)).send(chunked).wire.out.startswith(b"HTTP/1.1 413 ")


def test_too_large_a_head_is_refused_whole_or_in_pieces(door):
    head = b"GET / HTTP/1.1\r\nX: " + b"a" * 300 + b"\r\n\r\n"
    limits = ServerLimits(max_headers=200)
    assert door(limits=limits).send(head).wire.out.startswith(b"HTTP/1.1 431 ")
    pieces = [head[place : place + 20] for place in range(0, len(head), 20)]
    assert door(limits=limits).send(*pieces).wire.out.startswith(b"HTTP/1.1 431 ")


def test_a_client_that_waits_for_permission_gets_it(door):
    head = POST[: POST.index(b"\r\n\r\n")] + b"\r\nExpect: 100-continue\r\n\r\n"
    one = door().send(head)
    assert one.wire.out == b"HTTP/1.1 100 Continue\r\n\r\n"
    one.send(b"hello")
    assert one.asked[0].body == b"hello"


def test_a_head_is_answered_without_a_body_of_the_same_length(door):
    one = door().send(b"HEAD /x HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", b"GET /y HTTP/1.1\r\n\r\n")
    assert one.wire.out == b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"


def test_the_offer_of_http2_is_ignored_and_other_upgrades_are_refused(door):
    offer = b"Host: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
    one = door().send(POST.replace(b"Host: x\r\n", offer))
    assert one.asked[0].body == b"hello"
    other = door().send(POST.replace(b"Host: x\r\n", offer.replace(b"h2c", b"websocket")))
    assert other.asked == []
    assert other.wire.out.startswith(b"HTTP/1.1 400 ")


def test_a_client_that_has_left_takes_no_other_ones_answer_with_it(door):
    loop = asyncio.new_event_loop()
    outbox, gone, there = Outbox(loop), Wire(), Wire()
    gone.closing = True
    outbox.write(gone, b"x")
    outbox.write(there, b"y")
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    assert (gone.out, there.out) == (b"", b"y")


def test_an_old_client_gets_its_answer_and_the_end(door):
    one = door().send(b"GET / HTTP/1.0\r\n\r\n")
    assert one.wire.out.endswith(b"connection: close\r\n\r\n")
    assert one.wire.closing


def test_who_says_nothing_or_says_it_too_slowly_is_hung_up_on(door):
    idle = door()
    idle.sweep(76)
    assert idle.wire.closing
    slow = door().send(POST[:20])
    slow.sweep(61)
    assert slow.wire.out.startswith(b"HTTP/1.1 408 ")
    busy = door(later=True).send(POST)
    busy.sweep(600)
    assert not busy.wire.closing


def test_a_reply_that_nobody_takes_is_given_up(door):
    one = door(later=True).send(POST)
    one.inbound.pause_writing()
    one.sweep(59)
    assert not one.wire.closing
    one.sweep(61)
    assert one.wire.closing


def test_a_head_that_was_seen_is_not_parsed_again(door):
    one = door().send(POST)
    again = POST.replace(b"Content-Length: 5", b"Content-Length: 11").replace(b"hello", b"hello again")
    one.send(again)
    assert one.asked[1].body == b"hello again"
    assert one.asked[1].head is one.asked[0].head


def test_a_seen_head_is_not_mistaken_for_one_that_frames_its_body_otherwise():
    seen = SeenHeads()
    genuine = b"POST / HTTP/1.1\r\nContent-Length: 5\r\nX: y\r\n\r\nhello"
    seen.add(genuine, Head())
    assert seen.find(genuine) is not None
    assert seen.find(b"POST / HTTP/1.1\r\nXContent-Length: 5\r\nX: y\r\n\r\nhello") is None
    assert seen.find(b"POST / HTTP/1.1ontent-Length: 5\r\nC\r\nX: y\r\n\r\nhello") is None
    assert seen.find(genuine[:-1]) is None
    assert seen.find(genuine + b"x") is None
    assert seen.find(genuine.replace(b"th: 5", b"th: +5")) is None


PIECES = [
    b"POST / HTTP/1.1\r\n", b"Content-Length: 3\r\n", b"content-length: 3\r\n", b"X: Content-Length: 3\r\n",
    b"Transfer-Encoding: chunked\r\n", b"XContent-Length: 3\r\n", b"\r\n", b"abc", b"Connection: close\r\n",
    b"Host: h\r\n", b" ", b"0\r\n\r\n",
]  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.lists(st.lists(st.sampled_from(PIECES), max_size=6).map(b"".join), max_size=5))
def test_remembered_heads_never_change_what_is_understood(rest):
    """The same bytes, to a door that remembers and to doors that have seen nothing: the same requests."""
    seen = SeenHeads()
    for tail in rest:
        sent = b"POST / HTTP/1.1\r\n" + tail
        warm, cold = Door(seen=seen), Door()
        try:
            warm.send(sent)
            cold.send(sent)
            said = [[(r.head.method, r.head.target, r.head.headers, r.body) for r in d.asked] for d in (warm, cold)]
            lengths = [[h for h in r[2] if h[0] != b"content-length"] for r in said[0]]
            assert [(r[0], r[1], lengths[n], r[3]) for n, r in enumerate(said[0])] == [
                (r[0], r[1], [h for h in r[2] if h[0] != b"content-length"], r[3]) for r in said[1]
            ]
            assert warm.wire.out == cold.wire.out
        finally:
            warm.close()
            cold.close()
