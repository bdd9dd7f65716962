"""A file's lines in bounded memory: plain or gzip, whatever it is named, however broken it is."""

import csv
import gzip
import zlib
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

import pyarrow as pa
import pyarrow.parquet as pq

from penstock.errors import InputError
from penstock.ledger.importers.drafts import Rejected, Sample

LINE_LIMIT = 8 * 2**20
"""Bytes. A log row that carries prompt and answer stays under this; a file without line ends does not."""
SAMPLE = 2**16
SHOWN = 10_000
"""Characters of a bad row that go to the rejects file."""

PARQUET = b"PAR1"
FOREIGN = {
    b"PK\x03\x04": "a ZIP archive or a spreadsheet: unpack it, or save the sheet as CSV",
    b"BZh": "compressed with bzip2: use gzip, or unpack it",
    b"\xfd7zXZ": "compressed with xz: use gzip, or unpack it",
    b"\x28\xb5\x2f\xfd": "compressed with zstd: use gzip, or unpack it",
    b"\xff\xfe": "in UTF-16: save it as UTF-8",
    b"\xfe\xff": "in UTF-16: save it as UTF-8",
}
"""First bytes of what is often given by mistake."""

BROKEN = (EOFError, zlib.error, gzip.BadGzipFile)


class Line(NamedTuple):
    """One line, decoded, without its end."""

    number: int
    text: str


def open_stream(path: Path) -> tuple[BinaryIO, BinaryIO]:
    """Open a file: the stream of its contents, and the raw one below, whose position shows how far reading is."""
    try:
        raw = path.open("rb")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    try:
        magic = raw.read(2)
    except OSError as error:
        raw.close()
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    raw.seek(0)
    return (cast("BinaryIO", gzip.GzipFile(fileobj=raw)) if magic == b"\x1f\x8b" else raw), raw


def sample(path: Path) -> Sample:
    """Read the beginning of a file; one that cannot hold rows is an InputError."""
    stream, raw = open_stream(path)
    head = bytearray()
    with raw, stream:
        try:
            while len(head) < SAMPLE and (piece := stream.read1(SAMPLE - len(head))):  # type: ignore[attr-defined]
                head += piece
        except BROKEN:
            if not head:
                raise InputError(f"{path}: the compressed data ends before the first row: copy it again") from None
    if not head.strip():
        raise InputError(f"{path}: the file is empty")
    if head.startswith(PARQUET):
        return Sample(_columns(path), is_parquet=True)
    for magic, what in FOREIGN.items():
        if head.startswith(magic):
            raise InputError(f"{path}: this is {what}")
    if b"\0" in head:
        raise InputError(f"{path}: this is a binary file, not rows of text")
    return Sample(head.decode("utf-8-sig", errors="replace"))


def _columns(path: Path) -> str:
    """Return the names of a Parquet file's columns as the header of a CSV."""
    stream, raw = open_stream(path)
    with raw, stream:
        try:
            names = pq.read_schema(stream).names
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"{path}: not a whole Parquet file: {str(error)[:200]}") from None
    out = StringIO()
    csv.writer(out).writerow(names)
    return out.getvalue()


def lines(stream: BinaryIO, limit: int = LINE_LIMIT) -> Iterator[Line | Rejected]:
    """Yield lines that are not blank; one that is too long or not UTF-8 is rejected and the rest goes on."""
    number = 0
    while True:
        number += 1
        try:
            data = stream.readline(limit + 1)
            size = len(data)
            if size > limit:
                while rest := stream.readline(limit):
                    size += len(rest)
                    if rest.endswith(b"\n"):
                        break
        except BROKEN:
            reason = "the compressed data is broken here: rows before this line are booked, copy the file again"
            yield Rejected(number, "truncated_file", reason)
            return
        if not data:
            return
        if size > limit:
            reason = f"the line has {size:,} bytes, more than {limit:,}"
            yield Rejected(number, "line_too_long", reason, data[:SHOWN].decode(errors="replace"))
            continue
        try:
            text = data.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            reason = f"byte {error.start + 1} of the line is not UTF-8: save the file as UTF-8"
            yield Rejected(number, "wrong_encoding", reason, data[:SHOWN].decode(errors="replace"))
            continue
        if text and not text.isspace():
            yield Line(number, text)
