"""Sizes of pictures from their headers, and the tokens that published examples give."""

import base64
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.metering.families import picture_of, pictures
from penstock.metering.pictures import picture_tokens, size_of, size_of_base64

sides = st.integers(1, 16_383)


def jpeg(width: int, height: int, thumbnail: int = 0) -> bytes:
    """An EXIF block (with as many bytes of thumbnail), a Huffman table, then the frame."""
    blocks = []
    while thumbnail > 0:
        part = min(thumbnail, 60_000)
        blocks.append(b"\xff\xe1" + struct.pack(">H", part + 2) + b"\x00" * part)
        thumbnail -= part
    table = b"\xff\xc4" + struct.pack(">H", 5) + b"\x00\x01\x02"
    frame = b"\xff\xc2" + struct.pack(">HBHHB", 17, 8, height, width, 3) + b"\x00" * 9
    return b"\xff\xd8" + b"".join(blocks) + table + b"\xff" + frame + b"\xff\xd9"


def png(width: int, height: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", width, height) + b"\x08\x06\x00\x00\x00"


def webp(kind: bytes, width: int, height: int) -> bytes:
    body = {
        b"VP8X": b"\x00" * 4 + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little"),
        b"VP8L": b"\x2f" + struct.pack("<I", (width - 1) | (height - 1) << 14),
        b"VP8 ": b"\x00\x00\x00\x9d\x01\x2a" + struct.pack("<HH", width, height),
    }[kind]
    return b"RIFF" + struct.pack("<I", 0) + b"WEBP" + kind + struct.pack("<I", len(body)) + body


@given(sides, sides, st.sampled_from(["png", "gif", "jpeg", "VP8X", "VP8L", "VP8 "]))
def test_the_header_tells_the_size(width: int, height: int, kind: str) -> None:
    data = {
        "png": lambda: png(width, height),
        "gif": lambda: b"GIF89a" + struct.pack("<HH", width, height),
        "jpeg": lambda: jpeg(width, height, 500),
    }.get(kind, lambda: webp(kind.encode(), width, height))()
    assert size_of(data) == (width, height)
    assert size_of_base64(base64.b64encode(data).decode()) == (width, height)


def test_a_large_preview_before_the_frame_is_passed_over() -> None:
    assert size_of_base64(base64.b64encode(jpeg(4000, 3000, 200_000)).decode()) == (4000, 3000)


@given(
    st.binary(max_size=60)
    | st.sampled_from([png(3, 4), jpeg(3, 4, 9), webp(b"VP8X", 3, 4)]).flatmap(
        lambda data: st.integers(0, len(data)).map(lambda cut: data[:cut])
    )
)
def test_rubbish_has_a_size_or_none_but_never_raises(data: bytes) -> None:
    size = size_of(data)
    assert size is None or len(size) == 2


@given(st.text(max_size=50))
def test_what_is_not_base64_has_no_size(text: str) -> None:
    assert size_of_base64("!" + text) is None


@pytest.mark.parametrize(
    ("model", "width", "height", "detail", "tokens"),
    [
        ("gpt-4o", 1024, 1024, "high", 765),
        ("gpt-4o", 2048, 4096, "high", 1105),
        ("gpt-4o", 4096, 8192, "low", 85),
        ("gpt-4o-mini", 1024, 1024, "high", 25_501),
        ("gpt-5.1", 1024, 1024, "high", 630),
        ("o3", 1024, 1024, "high", 675),
        ("gpt-4.1-mini", 1024, 1024, "auto", 1_659),
        ("gpt-4.1-mini", 1800, 2400, "auto", 2_353),
        ("gpt-4.1-nano", 1024, 1024, "auto", 2_520),
        ("o4-mini", 1024, 1024, "auto", 1_762),
        ("gpt-5-nano", 1024, 1024, "auto", 1_536),
        ("gpt-5.4", 1024, 1024, "high", 1_229),
        ("claude-sonnet-4-5", 200, 200, "", 64),
        ("claude-sonnet-4-5", 1000, 1000, "", 1_296),
        ("gemini-2.5-pro", 384, 384, "", 258),
        ("gemini-2.5-pro", 1000, 1000, "", 1_032),
    ],
)  # the examples of OpenAI's and Anthropic's vision pages, and 1024 x 1024 by each rule
def test_a_picture_takes_the_published_tokens(model: str, width: int, height: int, detail: str, tokens: int) -> None:
    assert picture_tokens(picture_of(model), width, height, detail) == tokens


@given(
    st.sampled_from(pictures()),
    st.integers(0, 100_000),
    st.integers(0, 100_000),
    st.sampled_from(["low", "high", "original"]),
)
def test_every_picture_takes_some_tokens_and_never_more_than_its_rule_allows(
    rule, width: int, height: int, detail: str
) -> None:
    tokens = picture_tokens(rule, width, height, detail)
    assert tokens >= 1
    if rule.rule == "patches":
        assert tokens <= (rule.most_original or rule.most) * rule.factor + 1
    if rule.rule == "cells":
        assert tokens <= rule.most
    if rule.rule == "tiles":
        assert tokens <= rule.base + 8 * rule.each
