"""Rows by column name: of CSV with text over several lines, of Parquet, or of JSON, whichever a file holds."""

import csv
import io
from collections.abc import Iterator
from datetime import date, datetime
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from penstock.errors import InputError
from penstock.ledger.importers.documents import Row, json_rows
from penstock.ledger.importers.drafts import Rejected
from penstock.ledger.importers.lines import BROKEN, LINE_LIMIT, PARQUET, SHOWN

BATCH = 10_000
"""Rows of a Parquet file in memory at a time."""


def any_rows(stream: BinaryIO, *lists: str) -> Iterator[Row | Rejected]:
    """Yield the rows of a file, each with its fields by name as the file spells them."""
    try:
        head = stream.read(64)
    except BROKEN:
        head = b""
    stream.seek(0)
    if head.startswith(PARQUET):
        yield from parquet_rows(stream)
    elif head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"{", b"["):
        yield from json_rows(stream, *lists)
    else:
        yield from csv_rows(stream)


def csv_rows(stream: BinaryIO) -> Iterator[Row | Rejected]:
    """Yield the rows of a CSV with a header; a quoted cell may hold line ends."""
    csv.field_size_limit(LINE_LIMIT)
    text = io.TextIOWrapper(stream, "utf-8-sig", errors="surrogateescape", newline="")
    reader = csv.reader(text)
    header: list[str] | None = None
    try:
        while True:
            number = reader.line_num + 1
            try:
                cells = next(reader, None)
            except csv.Error as error:
                if "field limit" in str(error):
                    yield Rejected(number, "line_too_long", f"a cell has more than {LINE_LIMIT:,} characters")
                else:
                    yield Rejected(number, "wrong_csv", f"not a row of CSV: {error}")
                continue
            if cells is None:
                return
            shown = ",".join(cells)
            if not shown.isascii() and any("\udc80" <= character <= "\udcff" for character in shown):
                shown = shown.encode("utf-8", "replace").decode()
                yield Rejected(number, "wrong_encoding", "not UTF-8: save the file as UTF-8", shown[:SHOWN])
            elif not any(cells):
                continue
            elif header is None:
                header = [cell.strip() for cell in cells]
            elif len(cells) != len(header):
                reason = f"{len(cells)} columns where the header has {len(header)}"
                yield Rejected(number, "wrong_columns", reason, shown[:SHOWN])
            else:
                yield Row(number, "\x1f".join(cells), dict(zip(header, cells, strict=True)))
    except BROKEN:
        reason = "the compressed data is broken here: rows before this line are booked, copy the file again"
        yield Rejected(reader.line_num + 1, "truncated_file", reason)
    finally:
        text.detach()


def parquet_rows(stream: BinaryIO) -> Iterator[Row | Rejected]:
    """Yield the rows of a Parquet file; a number of a row is its place in the file, from 1."""
    number = 0
    try:
        for batch in pq.ParquetFile(stream).iter_batches(BATCH):
            for found in _objects(batch):
                number += 1
                if found is None:
                    yield Rejected(number, "wrong_encoding", "a text in this row is not UTF-8: write the file anew")
                    continue
                fields = {name: _plain(value) for name, value in found.items()}
                yield Row(number, "\x1f".join(f"{name}={value}" for name, value in fields.items()), fields)
    except (pa.ArrowException, OSError, *BROKEN) as error:
        if not number:
            raise InputError(f"the Parquet file cannot be read: {str(error)[:200]}") from None
        reason = f"the file is broken here: rows before this one are booked, copy the file again ({str(error)[:200]})"
        yield Rejected(number + 1, "truncated_file", reason)


def _objects(batch: pa.RecordBatch) -> Iterator[dict[str, Any] | None]:
    """Yield the rows of a batch; None for one with a text that is not UTF-8."""
    try:
        yield from batch.to_pylist()
    except UnicodeDecodeError:
        for place in range(batch.num_rows):
            try:
                yield from batch.slice(place, 1).to_pylist()
            except UnicodeDecodeError:
                yield None


def _plain(value: Any) -> Any:
    """Write times as text, and maps (lists of pairs) as objects; numbers and decimals stay exact."""
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, list) and value and all(isinstance(one, tuple) and len(one) == 2 for one in value):
        return dict(value)
    return value
