"""Frames of an append log: bytes that can be checked one by one, and found again after damage.

A log is a header frame and then one frame an event: `mark, length, crc32, sequence number, body`.
The checksum covers the body and is seeded with the sequence number, so that a frame vouches for its place.
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple
from zlib import crc32

MARK = b"\xa5PEN"
FRAME = struct.Struct("<4sIIQ")
pack = FRAME.pack
LARGEST = 1 << 24
"""No event is this large: a length beyond it is damage, not data."""


class Frame(NamedTuple):
    """A whole frame; `end` is the offset of the byte after it."""

    sequence: int
    body: bytes
    end: int


class Damage(NamedTuple):
    """Bytes `start..end` that are no frame: a torn tail (a write that never ended) or corruption in the middle."""

    start: int
    end: int
    torn: bool


def frame_of(sequence: int, body: bytes) -> bytes:
    """Wrap one body."""
    seed = sequence if sequence <= 0xFFFFFFFF else _seed(sequence)
    return pack(MARK, len(body), crc32(body, seed), sequence) + body


def _seed(sequence: int) -> int:
    return sequence if sequence <= 0xFFFFFFFF else (sequence ^ (sequence >> 32)) & 0xFFFFFFFF


def frame_at(data: bytes, offset: int) -> Frame | None:
    """Return the frame that begins at `offset`, if a whole and sound one does."""
    if len(data) - offset < FRAME.size:
        return None
    mark, length, checksum, sequence = FRAME.unpack_from(data, offset)
    begin = offset + FRAME.size
    end = begin + length
    if mark != MARK or length > LARGEST or end > len(data):
        return None
    body = data[begin:end]
    return Frame(sequence, body, end) if crc32(body, _seed(sequence)) == checksum else None


def read_frames(data: bytes, offset: int = 0) -> Iterator[Frame | Damage]:
    """Walk over `data`: every sound frame, and one `Damage` for each stretch of bytes between that is none.

    After damage the walk goes on at the next sound frame. Damage with nothing sound behind it is a torn tail if a
    write that broke off can have left it.
    """
    while offset < len(data):
        frame = frame_at(data, offset)
        if frame is not None:
            yield frame
            offset = frame.end
            continue
        found = _next_frame(data, offset + 1)
        end = len(data) if found is None else found
        yield Damage(offset, end, torn=found is None and _is_begun(data[offset:]))
        offset = end


def _next_frame(data: bytes, offset: int) -> int | None:
    while (offset := data.find(MARK, offset)) >= 0:
        if frame_at(data, offset) is not None:
            return offset
        offset += 1
    return None


def _is_begun(rest: bytes) -> bool:
    """Whether these last bytes are the begin of a frame, and only that: what is there is right, the rest is missing.

    A file system may have made room (zeros) for what never came. Bytes that make a frame of full length, or whose
    checksum is that of all the bytes there are, were a whole frame once: they have changed since.
    """
    there = rest.rstrip(b"\0")
    if len(there) < FRAME.size:
        return there.startswith(MARK) or MARK.startswith(there)
    mark, length, checksum, sequence = FRAME.unpack_from(rest)
    bodies = rest[FRAME.size :], there[FRAME.size :]
    whole = len(bodies[0]) == length or any(crc32(body, _seed(sequence)) == checksum for body in bodies)
    return mark == MARK and len(bodies[1]) < length <= LARGEST and not whole
