"""Where a message ends: the door and the connection to a provider never see it elsewhere than h11 does."""

import asyncio
from itertools import pairwise

from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.gateway.framing import door_reads, h11_client_reads, h11_reads, provider_reads

from penstock.gateway.server import Crowd, ServerLimits

SCRAPS = [
    b"POST /a HTTP/1.1\r\n", b"GET /b?c=d HTTP/1.1\r\n", b"HEAD / HTTP/1.1\r\n", b"POST /a HTTP/1.0\r\n",
    b"Host: h\r\n", b"Content-Length: 3\r\n", b"content-length:3\r\n", b"Content-Length: 0\r\n",
    b"Content-Length: 10\r\n",
    b"Transfer-Encoding: chunked\r\n", b"transfer-encoding:chunked \r\n", b"Transfer-Encoding: gzip, chunked\r\n",
    b"Connection: close\r\n", b"Connection: keep-alive\r\n", b"Expect: 100-continue\r\n", b"Upgrade: h2c\r\n",
    b"Connection: Upgrade\r\n", b"X: y\r\n", b"X: Content-Length: 3\r\n", b"Content-Length", b": 3\r\n", b"\r\n",
    b"abc", b"3\r\nabc\r\n", b"03\r\nabc\r\n", b"3;x=y\r\nabc\r\n", b"0\r\n\r\n",
    b"0\r\nX: y\r\n\r\n", b"A\r\n0123456789\r\n",
    b"\r", b"\n", b" ", b"\t", b"\x00", b"\xff", b",", b"+", b"0x", b";", b"-1", b"chunked",
]  # fmt: skip
HEADS = [b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\n", b"GET / HTTP/1.1\r\nHost: h\r\n\r\n",
         b"POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"]  # fmt: skip
REPLY_SCRAPS = [
    b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 \r\n", b"HTTP/1.1 204 No Content\r\n", b"HTTP/1.0 200 OK\r\n",
    b"HTTP/1.1 304 Not Modified\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 101 Switching Protocols\r\n",
    b"HTTP/1.1 429 Slow Down\r\n", b"Content-Type: text/event-stream\r\n", b"content-type: application/json\r\n",
    b"data: {}\n\n", b"8\r\ndata: 1\n\r\n", b"Server: nginx\r\n", b"HTTP/1.1 2000 OK\r\n", b"HTTP/1.1 20 OK\r\n",
    *SCRAPS[4:],
]  # fmt: skip
REPLY_HEADS = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n",
]  # fmt: skip


def messages(heads: list[bytes], scraps: list[bytes]) -> st.SearchStrategy[bytes]:
    """Make what is nearly HTTP: whole heads and scraps, in any order, with a byte changed here and there."""
    joined = st.lists(st.sampled_from(heads) | st.sampled_from(scraps), max_size=12).map(b"".join)
    spoilt = st.tuples(joined, st.integers(0, 200), st.binary(max_size=1)).map(
        lambda made: made[0][: made[1]] + made[2] + made[0][made[1] + 1 :]
    )
    begun = st.tuples(st.sampled_from(heads), joined | spoilt).map(b"".join)
    return joined | spoilt | begun


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """Cut bytes as a network would."""
    edges = [0, *sorted({place % (len(data) + 1) for place in places}), len(data)]
    return [data[start:end] for start, end in pairwise(edges) if start < end]


@settings(max_examples=1500, deadline=None)
@given(messages(HEADS, SCRAPS), st.lists(st.integers(0, 400), max_size=6))
@example(b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\nHost: h\r\n\r\n", [])
@example(
    b"POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n\r\nGET / HTTP/1.1\r\n", []
)
@example(b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 16\r\n\r\n\r\nUpgrade: h2c\r\n", [])
@example(b"GET / HTTP/1.1\r\nConnection: close\r\nHost: h\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", [])
@example(b"POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nTransfer-Encoding: x\r\n\r\n", [])
@example(b"POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + b"0" * 21 + b"\r\n\r\n", [])
def test_whatever_the_door_takes_h11_takes_for_the_same(data, places):
    ours = door_reads(cut(data, places))
    theirs = h11_reads(data)
    assert ours.messages == theirs.messages[: len(ours.messages)]
    if not ours.refused:
        assert ours.messages == theirs.messages  # it waits for nothing that has come
    assert ours == door_reads(cut(data, []))  # however it is cut


@settings(max_examples=500, deadline=None)
@given(st.lists(messages(HEADS, SCRAPS), min_size=2, max_size=4))
def test_a_door_that_has_seen_heads_before_understands_the_same(conversations):
    loop = asyncio.new_event_loop()
    crowd = Crowd(lambda *_: None, loop, ServerLimits())
    try:
        for data in conversations:
            assert door_reads(cut(data, []), crowd) == door_reads(cut(data, []))
    finally:
        loop.close()


@settings(max_examples=1500, deadline=None)
@given(messages(REPLY_HEADS, REPLY_SCRAPS), st.lists(st.integers(0, 400), max_size=6), st.booleans())
@example(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", [], False)
@example(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcd", [], False)
@example(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab", [], True)
@example(b"HTTP/1.1 200 OK\x00\r\nContent-Length: 3\r\n\r\nabc", [9], False)
@example(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nTransfer-Encoding: x\r\n\r\n", [], False)
@example(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chuNked\r\n\r\nabc", [], True)
@example(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"0" * 21 + b"\r\n\r\n", [], False)
@example(b"HTTP/1.1 020 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", [], False)
def test_whatever_is_taken_for_a_providers_reply_h11_takes_for_the_same(data, places, closes):
    ours = provider_reads(cut(data, places), closes=closes)
    theirs = h11_client_reads(data, closes=closes)
    if ours.messages:
        assert ours.messages == theirs.messages
    elif not ours.refused:
        assert theirs.messages == []  # it waits for nothing that has come
