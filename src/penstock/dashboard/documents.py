"""Values as JSON and CSV have them: money as decimal strings, times in UTC."""

import csv
import io
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import msgspec
from msgspec import Struct


def plain(value: Any) -> Any:
    """Turn a value into JSON's own kinds; decimals become strings with all their digits."""
    match value:
        case Decimal():
            return format(value, "f")
        case datetime():
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case date():
            return value.isoformat()
        case Struct():
            return {name: plain(getattr(value, name)) for name in value.__struct_fields__}
        case dict():
            return {str(name): plain(item) for name, item in value.items()}
        case list() | tuple():
            return [plain(item) for item in value]
        case _:
            return value


def encode(document: Any) -> bytes:
    """Write a document."""
    return msgspec.json.encode(plain(document))


def csv_of(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Write rows as CSV: money with all its digits, times in ISO 8601, what is unknown empty."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(names)
    for row in rows:
        writer.writerow([_cell(value) for value in row])
    return out.getvalue()


def _cell(value: Any) -> Any:
    """Keep a spreadsheet from running a name as a formula."""
    if not isinstance(value, str):
        return "" if value is None else plain(value)
    return f"'{value}" if value[:1] in ("=", "+", "-", "@", "\t", "\r") else value
