"""The documented columns in a Parquet file: as the CSV, with types instead of text."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import BinaryIO

import pyarrow.parquet as pq

from penstock.errors import InputError, UsageError
from penstock.ledger.importers.documents import refused
from penstock.ledger.importers.drafts import Assumed, Draft, Format, Guess, Note, Rejected, Sample
from penstock.ledger.importers.fields import RowError, label, mapping
from penstock.ledger.importers.plain_csv import TAG, draft_of, header_of, lacks, missing
from penstock.ledger.importers.tables import parquet_rows


def sniff(sample: Sample, assumed: Assumed) -> Guess:
    """Recognise columns with a time, a model and tokens."""
    if not sample.is_parquet:
        return Guess(False, "it is not a Parquet file")
    guess = lacks(sample, assumed)
    return replace(guess, near=max(guess.near, 0.5))


def read(stream: BinaryIO, assumed: Assumed, now: datetime) -> Iterator[Draft | Rejected | Note]:
    """Make one event a row; a map in a column `tags` is the row's tags."""
    try:
        names = [str(name) for name in pq.read_schema(stream).names]
    except (OSError, ValueError) as error:
        raise InputError(f"not a whole Parquet file: {str(error)[:200]}") from None
    stream.seek(0)
    header = header_of("\t".join(name.replace("\t", " ") for name in names) + "\t")
    if lacking := missing(header, assumed):
        raise InputError(f"there is no column {', '.join(lacking)}")
    columns = dict(zip(names, header.columns, strict=False))
    if ignored := [name for name in header.ignored if name != "tags"]:
        yield Note(f"columns not read: {', '.join(ignored)}")
    for row in parquet_rows(stream):
        if isinstance(row, Rejected):
            yield row
            continue
        cells = {columns[name]: label(value) for name, value in row.fields.items() if columns[name]}
        cells |= {f"{TAG}{name}": label(value) for name, value in mapping(row.fields.get("tags")).items()}
        try:
            yield draft_of(cells, assumed, now, row.number)
        except (RowError, UsageError) as error:
            yield refused(row.number, error, row.text)


FORMAT = Format("parquet", "Parquet with at, provider, model, input_tokens, output_tokens, ... by name", sniff, read)
