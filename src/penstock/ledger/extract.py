"""Events of a span as one file, for others: Parquet, CSV or JSON lines, with every digit of every amount."""
# ruff: noqa: S608  # names of columns and quoted paths

import csv
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Literal

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from penstock.errors import InputError
from penstock.ledger.columns import SCHEMA, to_events
from penstock.ledger.compaction import Progress, silent
from penstock.ledger.engine import Relation, between, connect, first_row
from penstock.ledger.snapshot import Snapshot, within

Form = Literal["parquet", "csv", "jsonl"]
CHUNK = 50_000


def extract(
    folder: Path,
    snapshot: Snapshot,
    file: Path,
    form: Form,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    progress: Progress = silent,
) -> int:
    """Write `file` whole or not at all, oldest event first; return the number of events."""
    part = file.with_name(f".{file.name}.part")
    engine = connect(folder, memory="1GB")
    try:
        booked = Relation(engine, folder, within(snapshot.parts, since, until), snapshot.tail).sql
        (count,) = first_row(engine, f"SELECT count(*) FROM ({booked}) WHERE {between(since, until)}")
        query = f'SELECT * FROM ({booked}) WHERE {between(since, until)} ORDER BY "at", id'
        done = 0
        with ExitStack() as files:
            write = WRITERS[form](part, files)
            for batch in engine.sql(query).to_arrow_reader(CHUNK):
                write(pa.Table.from_batches([batch]).cast(SCHEMA))
                done += batch.num_rows
                progress("Events", done, count)
        part.replace(file)
    except OSError as error:
        raise InputError(f"Cannot write {file}: {error.strerror}.") from error
    finally:
        part.unlink(missing_ok=True)
        engine.close()
    return done


def _parquet(file: Path, files: ExitStack) -> Callable[[pa.Table], None]:
    out = files.enter_context(pq.ParquetWriter(file, SCHEMA, compression="zstd"))

    def write(table: pa.Table) -> None:
        out.write_table(table)

    return write


def _jsonl(file: Path, files: ExitStack) -> Callable[[pa.Table], None]:
    """One event a line as `UsageEvent` spells itself: amounts are strings, and what has its default is left out."""
    out = files.enter_context(file.open("wb"))
    encode = msgspec.json.Encoder().encode_lines

    def write(table: pa.Table) -> None:
        out.write(encode(to_events(table)))

    return write


def _csv(file: Path, files: ExitStack) -> Callable[[pa.Table], None]:
    """The ledger's columns; times in UTC, tags as JSON, an empty cell where there is no amount."""
    text = files.enter_context(file.open("w", newline="", encoding="utf-8"))
    out = csv.writer(text)
    out.writerow(SCHEMA.names)

    def write(table: pa.Table) -> None:
        columns = (map(_CELL.get(name, str), table.column(name).to_pylist()) for name in SCHEMA.names)
        out.writerows(zip(*columns, strict=True))

    return write


def _amount(value: object) -> str:
    return "" if value is None else f"{value:f}".rstrip("0").rstrip(".")


def _time(value: datetime) -> str:
    return f"{value.isoformat()}Z"


def _truth(value: bool) -> str:
    return "true" if value else "false"


def _tags(value: list[tuple[str, str]]) -> str:
    return msgspec.json.encode(dict(value)).decode() if value else ""


_CELL: dict[str, Callable[..., str]] = {
    "at": _time, "recorded_at": _time, "cost": _amount, "provider_cost": _amount, "stream": _truth, "tags": _tags,
}  # fmt: skip
WRITERS: dict[Form, Callable[[Path, ExitStack], Callable[[pa.Table], None]]] = {
    "parquet": _parquet, "csv": _csv, "jsonl": _jsonl,
}  # fmt: skip
