"""Read a file of `tests/data`, or a text, as an import does."""

import io
from datetime import UTC, datetime
from pathlib import Path

from penstock.ledger.importers.drafts import Assumed, Draft, Format, Note, Rejected

DATA = Path(__file__).parents[2] / "data"
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def read(format_: Format, source: str | bytes, **assumed: str) -> list[Draft | Rejected | Note]:
    data = source.encode() if isinstance(source, str) else source
    return list(format_.read(io.BytesIO(data), Assumed(**assumed), NOW))


def rejected(format_: Format, source: str | bytes, **assumed: str) -> list[tuple[int, str]]:
    return [(item.line, item.code) for item in read(format_, source, **assumed) if isinstance(item, Rejected)]
