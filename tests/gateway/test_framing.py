"""Where a message ends: the door and the connection to a provider never see it elsewhere than h11 does."""

import asyncio
from itertools import pairwise
from typing import NamedTuple

from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.gateway.framing import door_reads, h11_client_reads, h11_reads, provider_answers, provider_reads

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
    b"HTTP/1.1 103 Early Hints\r\n",
    b"HTTP/1.1 429 Slow Down\r\n", b"Content-Type: text/event-stream\r\n", b"content-type: application/json\r\n",
    b"data: {}\n\n", b"8\r\ndata: 1\n\r\n", b"Server: nginx\r\n", b"HTTP/1.1 2000 OK\r\n", b"HTTP/1.1 20 OK\r\n",
    *SCRAPS[4:],
]  # fmt: skip
REPLY_HEADS = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n",
]  # fmt: skip


REQUESTS = [
    HEADS[0] + b"abc", HEADS[0].replace(b"Content-L", b"content-l") + b"abc", HEADS[1],
    HEADS[2] + b"3\r\nabc\r\n0\r\n\r\n",
    b"POST /a HTTP/1.1\r\nHost: h\r\nX: Content-Length: 3\r\nContent-Length: 3\r\nConnection: keep-alive\r\n\r\nabc",
]  # fmt: skip
REPLIES = [
    REPLY_HEADS[0] + b"abc", REPLY_HEADS[1] + b"3\r\nabc\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Type: text/x\r\nContent-Length: 3\r\nConnection: keep-alive\r\nX: y\r\n\r\nabc",
    b"HTTP/1.1 429 Slow Down\r\ncontent-length: 3\r\n\r\nabc",
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


class Change(NamedTuple):
    """An earlier message sent once more, with some of its bytes replaced."""

    which: int
    place: int
    taken: int
    given: bytes


def again(said: list[bytes], changes: list[Change]) -> list[bytes]:
    """Repeat messages nearly as they were: short cuts for what was seen before must see the difference."""
    said = said.copy()
    for change in changes:
        one = said[change.which % len(said)]
        at = change.place % (len(one) + 1)
        said.append(one[:at] + change.given + one[at + change.taken :])
    return said


def changes(scraps: list[bytes]) -> st.SearchStrategy[list[Change]]:
    """Make changes: none at all, a byte, a scrap."""
    given = st.just(b"") | st.binary(max_size=1) | st.sampled_from(scraps)
    return st.lists(st.builds(Change, st.integers(0, 9), st.integers(0, 400), st.integers(0, 3), given), max_size=5)


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


def check_door(said: list[bytes], crowd: Crowd | None = None) -> None:
    """Let a client say this on one connection, each in a packet of its own; h11 is the judge."""
    ours = door_reads(said, crowd)
    theirs = h11_reads(b"".join(said))
    assert ours.messages == theirs.messages[: len(ours.messages)]
    assert ours.refused or ours.messages == theirs.messages


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(REQUESTS) | messages(HEADS, SCRAPS), min_size=1, max_size=3), changes(SCRAPS))
@example([REQUESTS[0], b"\r\n", REQUESTS[0], b"\r\n", REQUESTS[0]], [])
@example([b"\x004\x00"], [])
@example([b"\x005\rhell"], [])
@example([REQUESTS[0], b"\x004\x00"], [])
def test_whatever_a_client_repeats_with_a_change_h11_takes_for_the_same(said, changed):
    check_door(again(said, changed))


def check_provider(said: list[bytes], loop: asyncio.AbstractEventLoop | None = None) -> None:
    """Let a provider answer with these, one to each request of a connection; h11 is the judge of each."""
    answers = provider_answers([[one] for one in said if one], loop=loop)
    for ours, reply in zip(answers, filter(None, said), strict=False):
        theirs = h11_client_reads(reply, closes=False)
        if ours.messages:
            assert ours.messages == theirs.messages
            assert ours.refused or not theirs.refused  # the connection is used again only where h11 would
        else:
            assert ours.refused or theirs.messages == []


@settings(max_examples=400, deadline=None)
@given(
    st.lists(st.sampled_from(REPLIES) | messages(REPLY_HEADS, REPLY_SCRAPS), min_size=1, max_size=3),
    changes(REPLY_SCRAPS),
)
@example([b"HTTP/1.1 200 \x00OK\r\nContent-Length: 3\r\n\r\nabc"], [])
def test_whatever_a_provider_repeats_with_a_change_h11_takes_for_the_same(said, changed):
    check_provider(again(said, changed))


@settings(max_examples=1500, deadline=None)
@given(messages(REPLY_HEADS, REPLY_SCRAPS), st.lists(st.integers(0, 400), max_size=6), st.booleans())
@example(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", [], False)
@example(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcd", [], False)
@example(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab", [], True)
@example(b"HTTP/1.1 200 OK\x00\r\nContent-Length: 3\r\n\r\nabc", [9], False)
@example(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nTransfer-Encoding: x\r\n\r\n", [], False)
@example(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chuNked\r\n\r\nabc", [], True)
@example(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"0" * 21 + b"\r\n\r\n", [], False)
@example(b"HTTP/1.1 200 OK\r\nContent-Length: " + b"3".zfill(33) + b"\r\n\r\nabc", [], False)
@example(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", [], False)
@example(
    b"HTTP/1.1 103 \r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\nHTTP/1.1 204 \r\n\r\n",
    [],
    False,
)
@example(b"HTTP/1.1 103 X\r\nContent-Length: 1\r\n\r\naHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nb", [], False)
@example(b"HTTP/1.1 100 X\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nb", [], False)
@example(b"HTTP/1.1 020 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", [], False)
def test_whatever_is_taken_for_a_providers_reply_h11_takes_for_the_same(data, places, closes):
    ours = provider_reads(cut(data, places), closes=closes)
    theirs = h11_client_reads(data, closes=closes)
    if ours.messages:
        assert ours.messages == theirs.messages
    elif not ours.refused:
        assert theirs.messages == []  # it waits for nothing that has come
