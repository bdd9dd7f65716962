"""Pictures in a request: how large they are, by the first bytes of the file, and how many tokens that makes."""

import binascii
import math
import struct
from base64 import b64decode
from decimal import ROUND_CEILING

from penstock.metering.families import Picture

HEADER = 65_536
"""Bytes looked at first; a JPEG with a large preview needs more."""
UNKNOWN_SIZE = (1024, 1024)
"""A picture that we cannot see (a URL, a file id) is taken for one of this size."""


def size_of_base64(text: str) -> tuple[int, int] | None:
    """Return width and height of a picture in base64; None when its header is not understood."""
    for part in (text[: HEADER * 4 // 3 // 4 * 4], text):
        try:
            size = size_of(b64decode(part + "=" * (-len(part) % 4)))
        except (binascii.Error, ValueError):
            return None
        if size or part is text:
            return size
    return None


def size_of(data: bytes) -> tuple[int, int] | None:
    """Return width and height in pixels of a PNG, GIF, WebP or JPEG, from its header."""
    try:
        if data.startswith(b"\x89PNG\r\n\x1a\n"):
            return struct.unpack(">II", data[16:24])
        if data[:6] in {b"GIF87a", b"GIF89a"}:
            return struct.unpack("<HH", data[6:10])
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            return _webp(data)
        if data.startswith(b"\xff\xd8"):
            return _jpeg(data)
    except (struct.error, IndexError):
        return None
    return None


def _webp(data: bytes) -> tuple[int, int] | None:
    kind = data[12:16]
    if kind == b"VP8X":
        return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    if kind == b"VP8L":
        bits = struct.unpack("<I", data[21:25])[0]
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 ":
        width, height = struct.unpack("<HH", data[26:30])
        return width & 0x3FFF, height & 0x3FFF
    return None


def _jpeg(data: bytes) -> tuple[int, int] | None:
    """Walk the segments to the start of frame (SOF0 to SOF15, but for DHT, JPG and DAC)."""
    place = 2
    while True:
        if data[place] != 0xFF:
            return None
        marker = data[place + 1]
        if marker == 0xFF:
            place += 1
        elif marker in {0x01, *range(0xD0, 0xD9)}:
            place += 2
        elif 0xC0 <= marker <= 0xCF and marker not in {0xC4, 0xC8, 0xCC}:
            height, width = struct.unpack(">HH", data[place + 5 : place + 9])
            return width, height
        else:
            place += 2 + struct.unpack(">H", data[place + 2 : place + 4])[0]


def picture_tokens(rule: Picture, width: int, height: int, detail: str = "auto") -> int:
    """Return the tokens that a picture takes by `rule`; `detail` is OpenAI's: low, high, auto, original."""
    width, height = max(1, width), max(1, height)
    match rule.rule:
        case "tiles":
            return _tiles(rule, width, height, detail)
        case "patches":
            return _patches(rule, width, height, detail)
        case "cells":
            return _cells(rule, width, height)
        case "squares":
            small = max(width, height) <= rule.small
            return rule.each * (1 if small else math.ceil(width / 768) * math.ceil(height / 768))


def _tiles(rule: Picture, width: int, height: int, detail: str) -> int:
    if detail == "low":
        return rule.base
    scale = min(1.0, rule.fit / max(width, height))
    scale *= min(1.0, rule.short / (min(width, height) * scale))
    across, down = (math.ceil(round(side * scale, 6) / 512) for side in (width, height))
    return rule.base + rule.each * across * down


def _patches(rule: Picture, width: int, height: int, detail: str) -> int:
    most = rule.most_original or rule.most if detail == "original" else rule.most
    across, down = math.ceil(width / 32), math.ceil(height / 32)
    if across * down > most:
        scale = math.sqrt(32 * 32 * most / (width * height))
        wide, high = width * scale / 32, height * scale / 32
        scale *= min(math.floor(wide) / wide, math.floor(high) / high) if min(wide, high) >= 1 else 1
        across, down = math.ceil(round(width * scale / 32, 6)), math.ceil(round(height * scale / 32, 6))
    return int((min(across * down, most) * rule.factor).to_integral_value(ROUND_CEILING))


def _cells(rule: Picture, width: int, height: int) -> int:
    scale = min(1.0, rule.side / max(width, height))
    across, down = math.ceil(width * scale / 28), math.ceil(height * scale / 28)
    if across * down > rule.most:
        scale = math.sqrt(28 * 28 * rule.most / (width * height))
        across, down = math.floor(width * scale / 28), math.floor(height * scale / 28)
    return max(1, across * down)
