"""Writing Parquet parts: events in any order go in, one sorted part a day comes out."""

import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from penstock.ledger.columns import EXACT, SCHEMA
from penstock.ledger.engine import connect
from penstock.ledger.logfile import sync_folder
from penstock.ledger.manifest import PART_FORMAT, Kind, Part
from penstock.metering.event import new_id

ROW_GROUP = 122_880
"""DuckDB's own unit of work: one thread, one row group."""

MEMORY = "1GB"
"""What a sort may take; the rest spills."""


class Staging:
    """Tables that come in any order and any number: kept on disk, read back as one relation `staged`."""

    def __init__(self, folder: Path, work: Path) -> None:
        self.folder, self._work, self._count = folder, work, 0
        self.rows = 0
        self.engine: duckdb.DuckDBPyConnection = connect(folder, memory=MEMORY)

    def put(self, table: pa.Table) -> None:
        """Add a table of `SCHEMA`."""
        if not table.num_rows:
            return
        with (
            pa.OSFile(str(self._work / f"{self._count:06d}.arrow"), "wb") as file,
            pa.ipc.new_file(file, SCHEMA) as out,
        ):
            out.write_table(table)
        self._count += 1
        self.rows += table.num_rows

    def ready(self) -> None:
        """Make the relation `staged`; nothing may be put in any more."""
        tables = []
        for path in sorted(self._work.glob("*.arrow")):
            with pa.memory_map(str(path)) as file:
                tables.append(pa.ipc.open_file(file).read_all())
        self.engine.register("staged", pa.concat_tables([pa.Table.from_batches([], SCHEMA), *tables]))

    def write(self, query: str, *, renumber: bool = False) -> list[Part]:
        """Write what `query` gives (all columns, sorted by `at`) as one part a day, under the names they will keep.

        With `renumber` the column `seq` counts the rows anew, from 1.
        """
        reader = self.engine.sql(query).to_arrow_reader(ROW_GROUP)
        return write_parts(self.folder, reader, renumber=renumber)


@contextmanager
def at_work(folder: Path) -> Iterator[Path]:
    """Open a working folder, gone afterwards. It is locked: as long as one is, no part is taken for an orphan.

    The age of a file says nothing where somebody sets the clock.
    """
    work = folder / "tmp" / new_id()
    work.mkdir(parents=True)
    lock = os.open(work, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)
        os.close(lock)


@contextmanager
def staging(folder: Path) -> Iterator[Staging]:
    """Open a staging area; it is gone afterwards, whatever happens."""
    with at_work(folder) as work:
        stage = Staging(folder, work)
        try:
            yield stage
        finally:
            stage.engine.close()


def write_parts(folder: Path, batches: Iterator[pa.RecordBatch], *, renumber: bool = False) -> list[Part]:
    """Write batches that are sorted by `at`, one part for each day. The parts are on the disk, not in the manifest.

    On an error (a full disk) nothing is left of them.
    """
    parts: list[Part] = []
    try:
        _write_parts(folder, batches, parts, renumber=renumber)
    except BaseException:
        for part in parts:
            (folder / part.path).unlink(missing_ok=True)
        raise
    return parts


def _write_parts(folder: Path, batches: Iterator[pa.RecordBatch], parts: list[Part], *, renumber: bool) -> None:
    writer: PartWriter | None = None
    try:
        for day, rows in _days(batches, renumber=renumber):
            if writer is None or writer.day != day:
                if writer is not None:
                    parts.append(writer.close())
                writer = PartWriter(folder, day)
            writer.put(rows)
        if writer is not None:
            parts.append(writer.close())
    except BaseException:
        if writer is not None:
            writer.abandon()
        raise


def _days(batches: Iterator[pa.RecordBatch], *, renumber: bool) -> Iterator[tuple[date, pa.Table]]:
    seen = 0
    for batch in batches:
        if not batch.num_rows:
            continue
        table = pa.Table.from_batches([batch]).cast(SCHEMA)
        if renumber:
            numbers = pa.array(range(seen + 1, seen + table.num_rows + 1), pa.int64())
            table = table.set_column(SCHEMA.get_field_index("seq"), "seq", numbers)
        seen += table.num_rows
        yield from _by_day(table)


class PartWriter:
    """One part in the making: a hidden file until it is whole and on the disk."""

    def __init__(self, folder: Path, day: date, schema: pa.Schema = SCHEMA, kind: Kind = "events") -> None:
        self.day, self._folder, self._schema, self._kind = day, folder, schema, kind
        place = folder / kind / f"day={day.isoformat()}"
        place.mkdir(parents=True, exist_ok=True)
        self._final = place / f"part-{new_id()}.parquet"
        self._hidden = self._final.with_name(f".{self._final.name}.new")
        marked = schema.with_metadata({"penstock.format": str(PART_FORMAT)})
        self._out = pq.ParquetWriter(
            self._hidden, marked, compression="zstd", compression_level=3, store_decimal_as_integer=False
        )
        self._rows, self._cost, self._sources = 0, Decimal(0), set[str]()
        self._span: tuple[datetime, ...] = ()

    def put(self, table: pa.Table) -> None:
        """Add rows of this day."""
        self._out.write_table(table.cast(self._out.schema), row_group_size=ROW_GROUP)
        self._rows += table.num_rows
        self._cost = EXACT.add(self._cost, exact_sum(table.column("cost")))
        self._sources.update(pc.unique(table.column("source")).to_pylist())
        span = pc.min_max(table.column("at")).as_py()
        self._span = (
            (min(*self._span, span["min"]), max(*self._span, span["max"])) if self._span else (span["min"], span["max"])
        )

    def abandon(self) -> None:
        """Leave nothing behind."""
        with suppress(OSError, pa.ArrowException):
            self._out.close()
        self._hidden.unlink(missing_ok=True)

    def close(self) -> Part:
        """Finish the file: on the disk first, then under its name."""
        self._out.close()
        with self._hidden.open("rb") as file:
            os.fsync(file.fileno())
        self._hidden.replace(self._final)
        sync_folder(self._final.parent)
        sync_folder(self._final.parent.parent)
        return Part(
            path=str(self._final.relative_to(self._folder)), kind=self._kind, day=self.day,
            columns=tuple(self._schema.names), rows=self._rows,
            first=min(self._span).replace(tzinfo=UTC), last=max(self._span).replace(tzinfo=UTC),
            bytes=self._final.stat().st_size, sha256=digest_of(self._final), cost=self._cost,
            sources=tuple(sorted(self._sources)),
        )  # fmt: skip


def digest_of(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def exact_sum(column: pa.ChunkedArray) -> Decimal:
    """Sum money exactly; what is missing adds nothing."""
    return pc.sum(column).as_py() or Decimal(0)


def _by_day(table: pa.Table) -> Iterator[tuple[date, pa.Table]]:
    """Cut a table that is sorted by `at` at midnight (UTC)."""
    times = table.column("at")
    begin = 0
    while begin < table.num_rows:
        day = times[begin].as_py().date()
        midnight = pa.scalar(datetime.combine(day + timedelta(days=1), datetime.min.time()), times.type)
        rows = pc.sum(pc.less(times.slice(begin), midnight)).as_py()
        yield day, table.slice(begin, rows)
        begin += rows
