"""JSON in the forms that exports come in: one object a line, an array, or one document with a list inside."""

import json
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, BinaryIO, NamedTuple

from msgspec.structs import replace

from penstock.errors import InputError, UsageError
from penstock.ledger.importers.cut_json import NO_LISTS, Lists, whole_parts
from penstock.ledger.importers.drafts import Rejected
from penstock.ledger.importers.fields import RowError
from penstock.ledger.importers.lines import BROKEN, LINE_LIMIT, SHOWN, lines

DOCUMENT_LIMIT = 256 * 2**20
"""Bytes. One JSON document is read whole; one object a line is not, and has no limit."""
PIECE = 2**20
CUT = "truncated_file"
PACKED_CUT = "the compressed data ends early: what stands whole before is booked, copy the file again"
NOT_UTF8 = "not UTF-8: save the file as UTF-8"
ESCAPED = re.compile("[\udc80-\udcff]")
"""What stands in a text for a byte that is not UTF-8."""


class Row(NamedTuple):
    """One JSON object, and where it stands: its line, or its place in the list, from 1."""

    number: int
    text: str
    fields: dict[str, Any]
    is_utf8: bool = True
    """Of the file. If not, `is_garbled` knows what of it is not."""


def decoded(text: str) -> Any:
    """Read JSON, every number with a fraction exactly; what is none is a `RowError`."""
    try:
        return json.loads(text, parse_float=Decimal)
    except (ValueError, RecursionError) as error:
        raise RowError("not_json", f"not a JSON object: {str(error)[:200]}") from None


def json_rows(stream: BinaryIO, *lists: str, within: Lists = NO_LISTS, by_row: bool = True) -> Iterator[Row | Rejected]:
    """Yield the objects of a file: one a line (of any length of file), an array, or the list under one of `lists`.

    `within`: lists inside of an object whose elements may stand without the rest of it, as in `documents`. Not
    `by_row`: an object holds what many calls used, and the caller looks for wrong encodings in each.
    """
    if not _is_a_row(stream, lists):
        try:
            whole = documents(stream, dict.fromkeys(lists, ()) | dict(within))
        except InputError:
            stream.seek(0)  # no JSON, or too much of it: then each line answers for itself
        else:
            yield from _rows_of(whole, lists, by_row=by_row)
            return
    for line in lines(stream):
        if isinstance(line, Rejected):
            yield line
            continue
        try:
            found = decoded(line.text)
            if not isinstance(found, dict):
                raise RowError("not_json", "not a JSON object")
            yield Row(line.number, line.text, found)
        except RowError as error:
            yield refused(line.number, error, line.text)


def _rows_of(whole: "Documents", lists: tuple[str, ...], *, by_row: bool) -> Iterator[Row | Rejected]:
    number = 0
    for number, found in enumerate(_unpacked(whole.found, lists), 1):
        text = json.dumps(found, default=str, sort_keys=True)
        if not isinstance(found, dict):
            yield Rejected(number, "not_json", "not a JSON object", text[:SHOWN])
        elif by_row and not whole.is_utf8 and is_garbled(found):
            yield Rejected(number, "wrong_encoding", NOT_UTF8, text[:SHOWN])
        else:
            yield Row(number, text, found, whole.is_utf8)
    yield from whole.rejected_after(number)


def refused(number: int, error: RowError | UsageError, text: str) -> Rejected:
    """Set a row aside with what is wrong with it."""
    code = error.problem if isinstance(error, RowError) else error.code
    return Rejected(number, code, str(error), text[:SHOWN])


class Documents(NamedTuple):
    """JSON documents of a file, in order, and what of the file could not be read."""

    found: list[Any]
    """Lists are taken apart. Of a document that breaks off, only what stands whole in it."""
    rejected: list[Rejected]
    """`line` is 0 where the documents are not one a line."""
    is_utf8: bool = True
    """If not, look at each row with `is_garbled`."""

    def rejected_after(self, number: int) -> list[Rejected]:
        """Give what has no line the place after row `number`."""
        return [replace(one, line=one.line or number + 1) for one in self.rejected]

    def refuse_garbled(self, *objects: Any) -> None:
        """Raise RowError where one of the objects holds bytes that are not UTF-8."""
        if not self.is_utf8 and any(map(is_garbled, objects)):
            raise RowError("wrong_encoding", NOT_UTF8)


def documents(stream: BinaryIO, lists: Lists = NO_LISTS) -> Documents:
    """Read the JSON documents of a file: one, a list of them, or one a line.

    Where the file ends early or breaks, what stands whole before is kept: documents, and elements of the lists in
    `lists`, if the names that belong to one of these come before it in its object. Raises InputError for a file that
    is no JSON, or too large.
    """
    data, is_whole = _bytes_of(stream)
    text, is_utf8 = _text_of(data)
    rejected: list[Rejected] = []
    try:
        found = [json.loads(text, parse_float=Decimal)]
    except (ValueError, RecursionError) as error:
        if text[:1] not in ("{", "["):
            raise InputError(f"not JSON, and not one JSON object a line: {error}") from None
        found, rejected = (_by_line if _is_by_line(text) else _as_far_as_whole)(text, lists)
    if not is_whole:
        rejected = [one for one in rejected if one.code != CUT] + [Rejected(0, CUT, PACKED_CUT)]
    return Documents(_flat(found), rejected, is_utf8)


def is_garbled(found: Any) -> bool:
    """Say whether there is a byte in it that was not UTF-8 when the file was read."""
    return bool(ESCAPED.search(json.dumps(found, ensure_ascii=False, default=str)))


def _bytes_of(stream: BinaryIO) -> tuple[bytes, bool]:
    """Read a file; and say whether it was there to its end."""
    data = bytearray()
    try:
        while piece := stream.read1(PIECE):  # type: ignore[attr-defined]
            data += piece
            if len(data) > DOCUMENT_LIMIT:
                raise InputError(
                    f"the document is larger than {DOCUMENT_LIMIT // 2**20} MiB: export fewer days at a time"
                )
    except BROKEN:
        return bytes(data), False
    return bytes(data), True


def _text_of(data: bytes) -> tuple[str, bool]:
    try:
        return data.decode("utf-8-sig").strip(), True
    except UnicodeDecodeError:
        return data.decode("utf-8-sig", "surrogateescape").strip(), False


def _flat(found: list[Any]) -> list[Any]:
    return [one for document in found for one in (document if isinstance(document, list) else [document])]


def _is_by_line(text: str) -> bool:
    """Say whether each line is a document: the first one is, or, where that is broken, the second."""
    first, _, rest = text.partition("\n")
    second = rest.lstrip().partition("\n")[0]
    return _is_json(first) or (text[0] == "{" and second[:1] == "{" and _is_json(second))


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _by_line(text: str, lists: Lists) -> tuple[list[Any], list[Rejected]]:
    found: list[Any] = []
    rejected: list[Rejected] = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            found.append(json.loads(line, parse_float=Decimal))
        except (ValueError, RecursionError) as error:
            value, _ = whole_parts(line.strip(), 0, lists)
            found += [] if value is None else [value]
            rejected.append(
                Rejected(number, "not_json", f"not a whole JSON document: {str(error)[:200]}", line[:SHOWN])
            )
    return found, rejected


def _as_far_as_whole(text: str, lists: Lists) -> tuple[list[Any], list[Rejected]]:
    value, end = whole_parts(text, 0, lists)
    line, column = text.count("\n", 0, end) + 1, end - text.rfind("\n", 0, end)
    reason = (
        f"the JSON breaks off in line {line:,}, column {column:,}: what stands whole before is booked, export it again"
    )
    return [] if value is None else [value], [Rejected(0, CUT, reason, ascii(text[end : end + SHOWN])[1:-1][:SHOWN])]


def _is_a_row(stream: BinaryIO, lists: tuple[str, ...]) -> bool:
    """Say whether the first line is an object of its own (or if not, the next); leave the stream as it was."""
    begin: list[bytes] = []
    try:
        while len(begin) < 2 and (data := stream.readline(LINE_LIMIT)):
            begin += [data] if data.strip() else []
    except BROKEN:
        return False
    finally:
        stream.seek(0)
    return any(_holds_a_row(line, lists) for line in begin if not begin[0].lstrip(b"\xef\xbb\xbf").startswith(b"["))


def _holds_a_row(line: bytes, lists: tuple[str, ...]) -> bool:
    try:
        found = json.loads(line.decode("utf-8-sig", errors="replace"))
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and not any(isinstance(found.get(name), list) for name in lists)


def _unpacked(found: list[Any], lists: tuple[str, ...]) -> Iterator[Any]:
    for document in found:
        inner = (
            next((document[name] for name in lists if name in document), None) if isinstance(document, dict) else None
        )
        if isinstance(inner, list):
            yield from inner
        else:
            yield document
