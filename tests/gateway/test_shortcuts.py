"""Short cuts mean what the parser means, or nothing."""

import httptools
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.gateway.heads import NEVER_SEEN
from penstock.gateway.shortcuts import NO_REPLY, SeenReply, body_between, see_reply

REPLY = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Id: 7\r\n"
    b"Content-Length: 2\r\nConnection: keep-alive\r\n\r\n{}"
)


def taken(seen: SeenReply, data: bytes) -> tuple[int, bytes, bytes] | None:
    body = body_between(data, seen.before, seen.behind)
    return None if body is None else (seen.status, seen.lines, body)


def whole_reply(data: bytes) -> tuple[int, bytes, bytes] | None:
    seen = see_reply(data)
    return taken(seen, data) if seen else None


class Parsed:
    """What llhttp makes of it."""

    def __init__(self, data: bytes) -> None:
        self.headers, self.body, self.complete = [], b"", False
        self.parser = httptools.HttpResponseParser(self)
        self.parser.feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.complete = True


def test_a_usual_reply_is_taken_without_the_headers_of_the_hop():
    reply = whole_reply(REPLY)
    assert reply == (200, b"Content-Type: application/json\r\nX-Id: 7\r\n", b"{}")


@pytest.mark.parametrize(
    "data",
    [
        REPLY[:-1],
        REPLY + b"x",
        REPLY.replace(b"Length: 2", b"Length: +2"),
        REPLY.replace(b"X-Id: 7", b"Content-Length: 2"),
        REPLY.replace(b"X-Id: 7", b"Transfer-Encoding: chunked"),
        REPLY.replace(b"X-Id: 7", b"Content-Encoding: gzip"),
        REPLY.replace(b"X-Id: 7", b"X-Penstock-Cost: 0"),
        REPLY.replace(b"keep-alive", b"close"),
        REPLY.replace(b"X-Id: 7", b"X-Id: 7\r\n folded"),
        REPLY.replace(b"X-Id: 7", b"X-Id : 7"),
        REPLY.replace(b"X-Id: 7", b"X-Id: 7\nEvil: 1"),
        REPLY.replace(b"X-Id: 7", b"X-Id: \x00"),
        REPLY.replace(b"HTTP/1.1", b"HTTP/1.0").replace(b"Connection: keep-alive\r\n", b""),
        REPLY + REPLY,
        REPLY.replace(b"200", b"100"),
        REPLY.replace(b"200", b"204"),
        REPLY.replace(b"application/json", b"text/event-stream"),
    ],
)
def test_what_is_unusual_is_left_to_the_parser(data):
    assert whole_reply(data) is None


LINES = st.lists(
    st.sampled_from([
        b"Content-Length: 3", b"content-length:3", b"X: y", b"Connection: Keep-Alive", b"Connection: close", b"",
        b"Transfer-Encoding: chunked", b"Keep-Alive: timeout=5", b" z", b"Content-Length: 4", b"X:\x01", b"X y",
        b"Upgrade: h2c",
    ]),
    max_size=5,
)  # fmt: skip


@settings(max_examples=500, deadline=None)
@given(LINES, st.sampled_from([b"abc", b"abcd", b"", b"3\r\nabc\r\n0\r\n\r\n"]), st.sampled_from([b"\r\n", b"\n"]))
def test_whatever_is_taken_the_parser_would_have_taken_for_the_same(lines, body, end):
    data = b"HTTP/1.1 200 OK\r\n" + b"".join(line + end for line in lines) + b"\r\n" + body
    reply = whole_reply(data)
    if reply is not None:
        parsed = Parsed(data)
        assert parsed.complete
        assert parsed.body == reply[2]
        assert parsed.parser.get_status_code() == reply[0]


HEADS = st.lists(LINES, min_size=2, max_size=4)


@settings(max_examples=300, deadline=None)
@given(HEADS, st.sampled_from([b"abc", b"abcd", b""]))
def test_a_head_that_was_seen_never_changes_what_a_reply_means(heads, body):
    seen: SeenReply | None = None
    for lines in heads:
        data = b"HTTP/1.1 200 OK\r\n" + b"".join(line + b"\r\n" for line in lines) + b"\r\n" + body
        if seen is not None and (again := taken(seen, data)) is not None:
            assert again == whole_reply(data)
        seen = see_reply(data) or seen


@pytest.mark.parametrize(
    "before", [REPLY.replace(b"1.1", b"1.0").replace(b"keep-alive", b"x"), REPLY[:-1], b"no reply"]
)
def test_what_came_before_changes_nothing_of_what_is_seen_now(before):
    assert see_reply(before) is None
    assert see_reply(REPLY) is not None


def test_the_same_head_with_another_length_is_known_again():
    seen = see_reply(REPLY)
    other = REPLY.replace(b"Length: 2", b"Length: 11")[:-2] + b"hello again"
    assert taken(seen, other) == (200, b"Content-Type: application/json\r\nX-Id: 7\r\n", b"hello again")
    for not_it in (other[:-1], other + b"x", other.replace(b"X-Id: 7", b"X-Id: 8"), other.replace(b": 11", b": 1x")):
        assert taken(seen, not_it) is None


@pytest.mark.parametrize(
    "data",
    [
        b"\x004\x00", b"\x005\rhell", b"\x000\r", b"\x000\n", b"\x000\n\n", b"\x001\n\n", b"\x003\n\n",
        b"\x005\r\n\r\nhello",
        b"\x00" + b"23".zfill(21) + b"\n", b"\x00" + b"24".zfill(21) + b"\n\n", b"\x00" + b"23".zfill(21) + b"\r",
    ],
)  # fmt: skip
def test_before_anything_was_seen_nothing_is_taken(data):
    assert body_between(data, NEVER_SEEN.before, NEVER_SEEN.behind) is None
    assert body_between(data, NO_REPLY.before, NO_REPLY.behind) is None
