"""The door: HTTP/1.1 as clients speak it, and as they should not."""

import asyncio
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.gateway.framing import Wire

from penstock.gateway.heads import Head, SeenHeads
from penstock.gateway.outbox import Outbox
from penstock.gateway.server import Crowd, Inbound, Request, ServerLimits, status_line
from penstock.gateway.shortcuts import body_between


class Door:
    """One connection whose handler answers with the request's own body, at once or when told to."""

    def __init__(
        self, *, later: bool = False, limits: ServerLimits | None = None, seen: SeenHeads | None = None
    ) -> None:
        self.loop = asyncio.new_event_loop()
        self.asked: list[Request] = []
        self.later = later
        self.crowd = Crowd(self.handle, self.loop, limits or ServerLimits())
        if seen is not None:
            self.crowd.seen = seen
        self.inbound = Inbound(self.crowd)
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


HOST = b" HTTP/1.1\r\nHost: x\r\n"


@pytest.mark.parametrize(
    ("status", "sent"),
    [
        (400, b"POST /" + HOST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello"),
        (400, b"POST /" + HOST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello"),
        (400, b"POST /" + HOST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        (400, b"POST /" + HOST + b"Content-Length: -5\r\n\r\n"),
        (400, b"POST /" + HOST + b"Content-Length: 5, 5\r\n\r\nhello"),
        (400, b"POST /" + HOST + b"Content-Length: +5\r\n\r\nhello"),
        (400, b"POST /" + HOST + b"Content-Length: 99999999999999999999\r\n\r\nhello"),
        (400, b"POST /" + HOST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"),
        (400, b"POST /" + HOST + b"Transfer-Encoding: chunked\r\n\r\n5\nhello\n0\n\n"),
        (400, b"POST /" + HOST + b"Transfer-Encoding: chunked\r\n\r\n5;\nx\r\nhello\r\n0\r\n\r\n"),
        (400, b"POST /" + HOST + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhelloXX0\r\n\r\n"),
        (501, b"POST /" + HOST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
        (400, b"POST /" + HOST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        (400, b"POST /" + HOST + b"Transfer-Encoding: identity\r\n\r\n"),
        (400, b"POST /" + HOST + b"Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n"),
        (400, b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        (417, b"POST /" + HOST + b"Content-Length: 5\r\nExpect: a-miracle\r\n\r\nhello"),
        (400, b"POST /" + HOST + b"X: a\r\n folded\r\n\r\n"),
        (400, b"POST /" + HOST + b"X : a\r\n\r\n"),
        (400, b"POST /" + HOST + b"X: a\0b\r\n\r\n"),
        (400, b"POST /" + HOST + b"X: a\rY: b\r\n\r\n"),
        (400, b"POST /" + HOST + b"X: a\nY: b\r\n\r\n"),
        (400, b"POST / HTTP/1.1\nHost: x\n\n"),
        (400, b"POST / HTTP/1.1\r\n\r\n"),
        (400, b"POST /" + HOST + b"Host: y\r\n\r\n"),
        (400, b"POST  /" + HOST + b"\r\n"),
        (400, b"POST /a b" + HOST + b"\r\n"),
        (400, b"POST /a#b" + HOST + b"\r\n"),
        (400, b"POST /\xff" + HOST + b"\r\n"),
        (400, b"POST /\r\n\r\n"),
        (505, b"POST / HTTP/2.0\r\nHost: x\r\n\r\n"),
        (505, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        (400, b"OPTIONS * RTSP/1.0\r\nHost: x\r\n\r\n"),
        (501, b"BREW /" + HOST + b"\r\n"),
        (501, b"CONNECT x:443" + HOST + b"\r\n"),
        (400, b"\r\n\r\nPOST /" + HOST + b"\r\n"),
        (400, b"nonsense\r\n\r\n"),
        (400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
    ],
)
def test_what_is_not_one_clear_request_is_refused_and_the_line_is_cut(status, sent, door):
    for pieces in ([sent], [sent[at : at + 1] for at in range(len(sent))]):
        one = door().send(*pieces)
        assert one.asked == []
        assert one.wire.out.startswith(b"HTTP/1.1 %d " % status)
        assert one.wire.out.count(b"content-length: ") == 1
        assert one.wire.shut
        one.sweep(6)
        assert one.wire.closing


def test_who_speaks_tls_to_a_plain_port_is_told_so(door):
    assert b"speaks plain HTTP" in door().send(b"\x16\x03\x01\x02\x00").wire.out


def test_a_refusal_waits_for_the_answers_before_it_and_is_said_once(door):
    one = door(later=True).send(POST + POST + b"nonsense\r\n\r\n" + POST)
    assert len(one.asked) == 1
    assert one.wire.out == b""
    one.answer(one.asked[0])
    one.send(b"")
    assert not one.wire.shut
    one.answer(one.asked[1])
    one.send(b"")
    assert re.findall(rb"HTTP/1.1 (...) ", one.wire.out) == [b"200", b"200", b"400"]
    assert len(one.asked) == 2
    assert one.wire.shut


def test_a_refused_client_may_finish_talking_but_not_for_ever(door):
    one = door(limits=ServerLimits(max_body=4)).send(POST)
    assert one.wire.shut
    one.send(b"more" * 1000)
    assert one.asked == []
    one.sweep(4)
    assert not one.wire.closing
    one.inbound.sweep(one.loop.time() + 31)
    assert one.wire.closing


def test_a_client_that_closes_its_half_still_gets_its_answer(door):
    one = door(later=True).send(POST + POST)
    assert one.inbound.eof_received() is True
    assert one.inbound.leaving
    one.answer(one.asked[0])
    one.send(b"")
    one.answer(one.asked[1])
    one.send(b"")
    assert one.wire.out.count(b"hello") == 2
    assert one.wire.closing


def test_a_client_that_closes_its_half_before_it_has_asked_is_let_go(door):
    assert door().send(POST[:-1]).inbound.eof_received() is False
    assert door().inbound.eof_received() is False
    streaming = door(later=True).send(POST)
    streaming.inbound.start_stream(status_line(200), chunked=True)
    assert streaming.inbound.eof_received() is False  # who takes a stream and closes has left: the stream is drained


def test_trailers_and_extensions_are_read_past_and_change_nothing(door):
    head = b"POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    body = b"5;name=value\r\nhello\r\n0\r\nHost: evil\r\nX-Penstock-Team: evil\r\n\r\n"
    for cut in range(1, len(body)):
        one = door().send(head + body[:cut], body[cut:] + POST)
        assert [(asked.head.path, asked.body) for asked in one.asked] == [
            (b"/x", b"hello"), (b"/v1/chat/completions", b"hello"),
        ]  # fmt: skip
        assert one.asked[0].head.headers == [(b"host", b"x"), (b"transfer-encoding", b"chunked")]


def test_framing_without_end_is_not_read_without_end(door):
    head = b"POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    limits = ServerLimits(max_headers=1000)
    for endless in (b"5;" + b"x" * 2000, b"5\r\nhello\r\n0\r\nX: " + b"y" * 2000):
        one = door(limits=limits).send(head, endless)
        assert one.wire.out.startswith(b"HTTP/1.1 413 ")


def test_what_looks_like_an_offer_inside_a_body_is_body(door):
    body = b"\r\nUpgrade: h2c\r\n"
    one = door().send(b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
    assert one.asked[0].body == body


def test_an_absolute_target_means_its_path(door):
    one = door()
    for target in (b"http://x/a?b", b"http://x", b"http://x?b", b"HTTP://u:p@x:1/a"):
        one.send(b"GET " + target + HOST + b"\r\n")
    assert [asked.head.target for asked in one.asked] == [b"/a?b", b"/", b"/?b", b"/a"]


def test_after_the_last_request_of_a_connection_nothing_is_listened_to(door):
    for last in (b"Connection: close\r\n", b"Connection: keep-alive, close\r\n"):
        one = door().send(POST.replace(b"Host: x\r\n", b"Host: x\r\n" + last) + POST)
        assert len(one.asked) == 1
        assert b"connection: close" in one.wire.out
        assert one.wire.closing
        bare = b"GET / HTTP/1.1\r\nHost: x\r\n" + last + b"\r\n"
        assert len(door().send(bare + bare).asked) == 1
    old = door().send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET / HTTP/1.0\r\n\r\n")
    assert len(old.asked) == 1


def test_large_bodies_of_all_connections_together_are_limited_and_let_go(door):
    limits = ServerLimits(max_held=150_000)
    first = door(later=True, limits=limits)
    second = Inbound(first.crowd)
    second.connection_made(Wire())
    large = POST.replace(b"Content-Length: 5", b"Content-Length: 100000").replace(b"hello", b"x" * 100_000)
    first.send(large[:-1], large[-1:])
    assert first.crowd.held == 100_000
    small = Inbound(first.crowd)
    small.connection_made(Wire())
    small.data_received(POST[:-1])
    small.data_received(POST[-1:])
    assert [request.body for request in first.asked[1:]] == [b"hello"]
    small.connection_lost(None)
    second.data_received(large[:-1])
    first.send(b"")
    assert second.transport.out.startswith(b"HTTP/1.1 503 ")
    second.connection_lost(None)
    first.answer(first.asked[0])
    first.send(b"")
    assert first.crowd.held == 0


def test_more_connections_than_allowed_are_told_so(door):
    first = door(limits=ServerLimits(max_connections=1))
    second = Inbound(first.crowd)
    second.connection_made(Wire())
    first.send(POST)
    assert len(first.asked) == 1
    assert second.transport.out.startswith(b"HTTP/1.1 503 ")
    assert second.transport.closing


def test_who_takes_leave_answers_what_is_under_way_and_says_that_it_is_the_last(door):
    idle, busy = door(), door(later=True).send(POST)
    for one in (idle, busy):
        one.inbound.take_leave(one.loop.time())
        one.send(b"")
        assert not one.wire.closing
    idle.inbound.take_leave(idle.loop.time() + 2)
    busy.inbound.take_leave(busy.loop.time() + 2)
    busy.answer(busy.asked[0])
    for one in (idle, busy):
        one.send(b"")
        assert one.wire.closing
    assert b"connection: close\r\n" in busy.wire.out


def test_too_large_a_body_is_refused_before_it_comes(door):
    one = door(limits=ServerLimits(max_body=4)).send(POST[: POST.index(b"\r\n\r\n") + 4])
    assert one.wire.out.startswith(b"HTTP/1.1 413 ")
    chunked = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
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


EXPECTING = POST.replace(b"\r\n\r\nhello", b"\r\nExpect: 100-continue\r\n\r\n")
BIDDEN = b"HTTP/1.1 100 Continue\r\n\r\n"


@pytest.mark.parametrize("before", [1, 3])
def test_permission_waits_for_the_answers_before_it_and_no_longer(before, door):
    one = door(later=True).send(POST * before + EXPECTING)
    for number in range(before):
        one.sweep(600)  # who waits for our word is not blamed for being slow
        assert BIDDEN not in one.wire.out
        one.answer(one.asked[number])
        one.send(b"")
    assert one.wire.out.endswith(b"\r\n\r\nhello" + BIDDEN)
    one.send(b"wor", b"ld")
    assert one.asked[-1].body == b"world"
    one.answer(one.asked[-1])
    one.send(b"")
    assert one.wire.out.count(BIDDEN) == 1


def test_permission_waits_for_the_end_of_a_stream(door):
    one = door(later=True).send(POST)
    one.inbound.start_stream(status_line(200), chunked=True)
    one.send(EXPECTING)
    assert BIDDEN not in one.wire.out
    one.inbound.end_stream(b"x", chunked=True, keep_alive=True)
    one.send(b"")
    assert one.wire.out.endswith(b"0\r\n\r\n" + BIDDEN)


def test_a_client_that_does_not_wait_for_permission_is_not_given_it_any_more(door):
    one = door(later=True).send(POST + EXPECTING, b"wor")
    one.answer(one.asked[0])
    one.send(b"ld")
    assert one.asked[1].body == b"world"
    assert BIDDEN not in one.wire.out


def test_who_got_permission_and_does_not_use_it_is_hung_up_on(door):
    one = door(later=True).send(POST + EXPECTING)
    one.answer(one.asked[0])
    one.send(b"")
    one.sweep(59)
    assert b" 408 " not in one.wire.out
    one.sweep(61)
    assert b" 408 " in one.wire.out


def test_a_head_is_answered_without_a_body_of_the_same_length(door):
    one = door().send(b"HEAD /x" + HOST + b"Content-Length: 5\r\n\r\nhello", b"GET /y" + HOST + b"\r\n")
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


def test_a_head_that_came_in_pieces_is_forgotten_once_it_is_answered(door):
    for pieces in ([POST[:20], POST[20:]], [POST[:-2], POST[-2:]]):
        kept = door().send(*pieces)
        kept.sweep(61)
        assert b" 408 " not in kept.wire.out
        assert not kept.wire.closing
        busy = door(later=True).send(*pieces)
        busy.sweep(600)
        busy.answer(busy.asked[0])
        busy.send(POST)
        assert len(busy.asked) == 2


def test_who_is_not_listened_to_is_not_blamed_for_being_slow(door):
    one = door(later=True, limits=ServerLimits(max_pipeline=1)).send(POST * 2 + POST[:20])
    assert not one.wire.reading
    one.sweep(61)
    one.answer(one.asked[0])
    one.send(b"")
    assert one.wire.reading
    one.sweep(59)
    one.answer(one.asked[1])
    one.send(POST[20:])
    assert len(one.asked) == 3
    assert b" 408 " not in one.wire.out


def test_a_pipeline_is_not_answered_faster_than_its_answers_are_taken(door):
    one = door(limits=ServerLimits(max_pipeline=2)).send(POST)
    one.inbound.pause_writing()
    one.send(POST * 10)
    assert len(one.asked) == 2
    assert not one.wire.reading
    one.inbound.resume_writing()
    for _ in range(20):
        one.send(b"")
    assert len(one.asked) == 11
    assert one.wire.reading


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


def test_heads_that_are_remembered_are_bounded_in_bytes_and_the_last_one_is_among_them():
    seen = SeenHeads()
    sizes: list[int] = []
    for number in range(3000):
        head = b"POST / HTTP/1.1\r\nHost: x\r\nX: %d%s\r\nContent-Length: 5\r\n\r\n" % (number, b"y" * 6000)
        seen.add(head, Head())
        assert seen.find(head + b"hello") is not None
        sizes.append(len(seen._seen))
    assert max(sizes) * 6000 < SeenHeads.MOST
    assert sizes[-1] > 100


def test_a_seen_head_is_not_mistaken_for_one_that_frames_its_body_otherwise():
    seen = SeenHeads()
    genuine = b"POST / HTTP/1.1\r\nContent-Length: 5\r\nX: y\r\n\r\n"
    seen.add(genuine, Head())
    known = seen.find(genuine + b"hello")

    def body(data):
        return body_between(data, known.before, known.behind)

    assert body(genuine + b"hello") == b"hello"
    assert body(genuine.replace(b": 5", b": 007") + b"hello!!") == b"hello!!"
    for other in (genuine, genuine + b"hello!", genuine.replace(b": 5", b":\t5") + b"hello", b"X" + genuine + b"hello"):
        assert body(other) is None
    assert seen.find(b"POST / HTTP/1.1\r\nXContent-Length: 5\r\nX: y\r\n\r\nhello") is None
    assert seen.find(b"POST / HTTP/1.1ontent-Length: 5\r\nC\r\nX: y\r\n\r\nhello") is None
    assert seen.find(genuine[:-1]) is None
    assert seen.find(genuine.replace(b"th: 5", b"th: +5")) is None
    assert seen.find(genuine.replace(b"th: 5", b"th: 55555555555")) is None


@pytest.mark.parametrize(
    "more", [b"Content-Length: 5\r\n", b"X-Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b""]
)
def test_a_head_whose_length_is_in_doubt_is_not_remembered(more):
    seen = SeenHeads()
    head = Head()
    head.length = None if b"chunked" in more else 5
    data = b"POST / HTTP/1.1\r\n" + (b"" if not more else b"Content-Length: 5\r\n") + more + b"\r\n"
    seen.add(data, head)
    assert seen.find(data) is None


PIECES = [
    b"POST / HTTP/1.1\r\n", b"Content-Length: 3\r\n", b"content-length: 3\r\n", b"X: Content-Length: 3\r\n",
    b"Transfer-Encoding: chunked\r\n", b"XContent-Length: 3\r\n", b"\r\n", b"abc", b"Connection: close\r\n",
    b"X: h\r\n", b" ", b"0\r\n\r\n",
]  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.lists(st.lists(st.sampled_from(PIECES), max_size=6).map(b"".join), max_size=5))
def test_remembered_heads_never_change_what_is_understood(rest):
    """The same bytes, to a door that remembers and to doors that have seen nothing: the same requests."""
    seen = SeenHeads()
    for tail in rest:
        sent = b"POST / HTTP/1.1\r\nHost: h\r\n" + tail
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
