"""Rollups: sums of each part in a few small files, so that daily questions need not read every event.

They are derived and never the only copy of anything: a part without them is read itself, their folder may be deleted
at any time, and `verify` makes them anew and compares. A part never changes, so neither do its sums.
A file holds the sums of many parts, told apart by their number: opening files is what costs.
"""
# ruff: noqa: S608  # names of columns and quoted paths

import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from functools import cache
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from msgspec import Struct, structs

from penstock.ledger.columns import SCHEMA
from penstock.ledger.engine import Relation, connect
from penstock.ledger.logfile import sync_folder
from penstock.ledger.manifest import Manifest, Part, Rollup, columns_key
from penstock.ledger.parts import MEMORY, ROW_GROUP
from penstock.metering.event import new_id

LEAST_ROWS = 1_000
"""Parts of today below that are read themselves: they are merged soon."""
MOST_FILES = 6
"""Files of one kind; when there are more, they become one."""
SHRINKS = 4
"""How many times smaller than its part a rollup must be to be worth its file."""

OPEN = "(corrects = '' AND price_state = 'unpriced')"
"""Booked without a price; a correction may have given it one since."""
SETTLES = "(corrects > '' AND price_state <> 'unpriced')"
"""A correction that gives its event a price."""

MEASURES: dict[str, tuple[str, str]] = {
    "first": ('"at"', "min"),
    "last": ('"at"', "max"),
    "events": ("(corrects = '')::BIGINT", "sum"),
    "requests": ("requests", "sum"),
    "input_tokens": ("input_tokens", "sum"),
    "cached_tokens": ("(cache_read + cache_read_audio + cache_read_image)", "sum"),
    "output_tokens": ("output_tokens", "sum"),
    "cost": ("cost", "sum"),
    "unpriced_events": (f"{OPEN}::BIGINT", "sum"),
    "unpriced_input_tokens": (f"CASE WHEN {OPEN} THEN input_tokens ELSE 0 END", "sum"),
    "unpriced_output_tokens": (f"CASE WHEN {OPEN} THEN output_tokens ELSE 0 END", "sum"),
    "newest_price": ("right(price_row, 10)", "max"),
}
"""Name -> what one event says, and how what many say is put together. A row's id ends in the day it starts."""


class Cube(Struct, frozen=True, kw_only=True, cache_hash=True):
    """Sums by some dimensions and by buckets of time (UTC)."""

    name: str
    minutes: int
    by: tuple[str, ...]

    @property
    @cache  # noqa: B019  # there are eight of them, for ever
    def kind(self) -> str:
        """Name of its files; another definition is another kind."""
        return f"{self.name}-{columns_key([str(self.minutes), *self.by, *map(str, MEASURES.items())])[:8]}"

    @property
    def query(self) -> str:
        """SQL that makes it of the view `parts`."""
        bucket = f"time_bucket(INTERVAL {self.minutes} MINUTES, \"at\", TIMESTAMP '2000-01-01') AS bucket"
        names = ", ".join(f'"{name}"' for name in self.by)
        sums = ", ".join(
            f"{how}({what}){'::BIGINT' if how == 'sum' and name != 'cost' else ''} AS {name}"
            for name, (what, how) in MEASURES.items()
        )
        return f"SELECT number, {bucket}, {names}, {sums} FROM parts GROUP BY ALL ORDER BY bucket, number"


class Pick(Struct, frozen=True, kw_only=True, cache_hash=True):
    """Whole events of a part: the few that most questions have to look at one by one."""

    name: str
    condition: str

    @property
    @cache  # noqa: B019  # there are eight of them, for ever
    def kind(self) -> str:
        """Name of its files; another condition, or another column of the ledger, is another kind."""
        return f"{self.name}-{columns_key([self.condition, *SCHEMA.names])[:8]}"

    @property
    def query(self) -> str:
        """SQL that makes it of the view `parts`."""
        return f'SELECT number, * EXCLUDE number FROM parts WHERE {self.condition} ORDER BY "at", number'


CUBES = (
    Cube(name="models", minutes=15, by=("provider", "model")),
    Cube(name="payers", minutes=60, by=("team", "app")),
    Cube(name="keys", minutes=60, by=("key",)),
    Cube(name="users", minutes=1440, by=("user",)),
    Cube(
        name="usage", minutes=1440,
        by=("provider", "model", "deployment", "endpoint", "source", "outcome", "price_row"),
    ),
    Cube(name="chargeback", minutes=1440, by=("provider", "model", "team", "app", "feature")),
)  # fmt: skip
UNPRICED = Pick(name="unpriced", condition=OPEN)
SETTLING = Pick(name="settling", condition=SETTLES)
ROLLUPS: tuple[Cube | Pick, ...] = (*CUBES, UNPRICED, SETTLING)
KINDS = tuple(rollup.kind for rollup in ROLLUPS)


def rollup_path(kind: str, file: str) -> str:
    """Return where a file of rollups lies, relative to the ledger's folder."""
    return f"rollups/{kind}/{file}"


def rollup_files(folder: Path, kind: str) -> frozenset[str]:
    """Return the names of the files of a kind."""
    place = folder / "rollups" / kind
    return frozenset(file.name for file in place.iterdir()) if place.is_dir() else frozenset()


def without_rollups(parts: Iterable[Part], known: Mapping[str, Mapping[str, Rollup]], today: date) -> list[Part]:
    """Keep the parts that are worth rollups and lack some."""
    wanted = set(KINDS)
    return [
        part
        for part in parts
        if (part.rows >= LEAST_ROWS or part.day < today) and not known.get(part.path, {}).keys() >= wanted
    ]


def roll_up(folder: Path, manifest: Manifest, parts: Sequence[Part]) -> None:
    """Write the rollups of some parts, one file a kind: on the disk first, then in the manifest."""
    known = manifest.rollups()
    engine = connect(folder, memory=MEMORY)
    try:
        for rollup in ROLLUPS:
            lacking = [part for part in parts if rollup.kind not in known.get(part.path, {})]
            manifest.note_rollups(_roll_up(folder, engine, rollup, lacking))
    finally:
        engine.close()


def _roll_up(
    folder: Path, engine: duckdb.DuckDBPyConnection, rollup: Cube | Pick, parts: Sequence[Part]
) -> list[Rollup]:
    if not parts:
        return []
    view_parts(engine, folder, parts)
    try:
        table = engine.sql(rollup.query).to_arrow_table()
    except (duckdb.ConversionException, duckdb.OutOfRangeException):  # sums too large for whole numbers of 64 bits
        if len(parts) == 1:
            return [Rollup(part=parts[0].path, kind=rollup.kind, number=parts[0].number, rows=-1)]
        return [one for part in parts for one in _roll_up(folder, engine, rollup, [part])]
    counted = table.group_by("number").aggregate([([], "count_all")]).to_pydict()
    rows = dict(zip(counted["number"], counted["count_all"], strict=True))
    kept = {part.number for part in parts if 0 < rows.get(part.number, 0) <= part.rows // SHRINKS}
    if kept != rows.keys():
        table = table.filter(pc.is_in(table.column("number"), pa.array(kept, pa.int64())))
    file = _write(folder, rollup.kind, table) if table.num_rows else ""
    return [
        Rollup(part=part.path, kind=rollup.kind, number=part.number, rows=count, file=file if count > 0 else "")
        for part in parts
        for count in [rows[part.number] if part.number in kept else -1 if part.number in rows else 0]
    ]


def view_parts(engine: duckdb.DuckDBPyConnection, folder: Path, parts: Iterable[Part]) -> None:
    """Make some parts the view `parts`, of which the queries of rollups speak."""
    selects = [
        f"SELECT {part.number}::BIGINT AS number, * FROM ({Relation(engine, folder, [part], name='rolled').sql})"
        for part in parts
    ]
    engine.execute(f"CREATE OR REPLACE TEMP VIEW parts AS {' UNION ALL '.join(selects)}")


def consolidate(folder: Path, manifest: Manifest, kind: str) -> None:
    """Make one file of those of a kind, when there are many; the old ones stay for readers a while."""
    noted = [made[kind] for made in manifest.rollups().values() if kind in made and made[kind].file]
    files = sorted({one.file for one in noted})
    if len(files) <= MOST_FILES:
        return
    tables = [pq.read_table(folder / rollup_path(kind, file)) for file in files]
    numbers = pa.array([one.number for one in noted], pa.int64())
    table = pa.concat_tables(tables)
    table = table.filter(pc.is_in(table.column("number"), numbers))
    first = "bucket" if "bucket" in table.column_names else "at"
    name = _write(folder, kind, table.sort_by([(first, "ascending"), ("number", "ascending")]))
    manifest.note_rollups([structs.replace(one, file=name) for one in noted])
    for file in files:
        os.utime(folder / rollup_path(kind, file))


def _write(folder: Path, kind: str, table: pa.Table) -> str:
    name = f"rollup-{new_id()}.parquet"
    file = folder / rollup_path(kind, name)
    file.parent.mkdir(parents=True, exist_ok=True)
    hidden = file.with_name(f".{name}.new")
    try:
        pq.write_table(table, hidden, compression="zstd", store_decimal_as_integer=False, row_group_size=ROW_GROUP)
        with hidden.open("rb") as written:
            os.fsync(written.fileno())
        hidden.replace(file)
    except BaseException:
        hidden.unlink(missing_ok=True)
        raise
    sync_folder(file.parent)
    return name
