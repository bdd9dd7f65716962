"""Rollups: sums of each part in a few small files, so that daily questions need not read every event.

They are derived and never the only copy of anything: a part without them is read itself, their folder may be deleted
at any time, and `verify` makes them anew and compares. A part never changes, so neither do its sums.
A file holds the sums of many parts, told apart by their number: opening files is what costs.
"""
# ruff: noqa: S608  # names of columns and quoted paths

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from msgspec import structs

from penstock.ledger.columns import SCHEMA
from penstock.ledger.engine import Relation, connect
from penstock.ledger.logfile import sync_folder
from penstock.ledger.manifest import Manifest, Part, Rollup, columns_key
from penstock.ledger.measures import BASIC, CORRECTS, FAILED, FULL, MEASURES, OF_RUNS, OPEN, Measure, among
from penstock.ledger.parts import MEMORY, ROW_GROUP
from penstock.metering.event import new_id

LEAST_ROWS = 1_000
"""Parts of today below that get no sums and are read themselves: they are merged soon."""
MOST_FILES = 6
"""Files of one kind; when there are more, they become one."""
SHRINKS = 4
"""How many times smaller than its part a large rollup must be to be worth its rows."""
FEW_ROWS = 10_000
"""Rollups up to that are always kept: to open one more part costs as much as to read as many rows."""


@dataclass(frozen=True, kw_only=True)
class Cube:
    """Sums by some dimensions and by buckets of time (UTC).

    No Struct: Python cannot collect a module's own Structs when it ends, and the engine would complain to the user.
    """

    name: str
    minutes: int
    by: tuple[str, ...]
    measures: tuple[str, ...] = BASIC

    @cached_property
    def kind(self) -> str:
        """Name of its files; another definition is another kind."""
        said = [str((name, (MEASURES[name].what, MEASURES[name].how))) for name in self.measures]
        return f"{self.name}-{columns_key([str(self.minutes), *self.by, *said])[:8]}"

    @property
    def query(self) -> str:
        """SQL that makes it of the view `parts`."""
        bucket = f"time_bucket(INTERVAL {self.minutes} MINUTES, \"at\", TIMESTAMP '2000-01-01') AS bucket"
        names = ", ".join(f'"{name}"' for name in self.by)
        sums = ", ".join(_put_together(name, MEASURES[name]) for name in self.measures)
        return f"SELECT number, {bucket}, {names}, {sums} FROM parts GROUP BY ALL ORDER BY bucket, number"


def _put_together(name: str, measure: Measure) -> str:
    kind = "::BIGINT" if measure.how == "sum" and not measure.money else ""
    return f'{measure.how}({measure.what}){kind} AS "{name}"'


@dataclass(frozen=True, kw_only=True)
class Pick:
    """Events of a part: the few that most questions have to look at one by one."""

    name: str
    condition: str
    of: tuple[str, ...]
    """Columns that the condition speaks of."""
    columns: tuple[str, ...] = tuple(SCHEMA.names)

    @cached_property
    def kind(self) -> str:
        """Name of its files; another condition, or another column of the ledger, is another kind."""
        return f"{self.name}-{columns_key([self.condition, *self.columns])[:8]}"

    @property
    def query(self) -> str:
        """SQL that makes it of the view `parts`."""
        names = ", ".join(f'"{name}"' for name in self.columns)
        return f'SELECT number, {names} FROM parts WHERE {self.condition} ORDER BY "at", number'


CUBES = (
    Cube(name="models", minutes=15, by=("provider", "model")),
    Cube(name="payers", minutes=60, by=("team", "app")),
    Cube(name="keys", minutes=60, by=("key",)),
    Cube(name="users", minutes=1440, by=("user",)),
    Cube(
        name="usage", minutes=1440, measures=FULL,
        by=(
            "provider", "model", "version", "deployment", "deployment_type", "region", "mode", "endpoint", "source",
            "outcome", "purpose", "finish_reason", "price_state", "price_book", "price_row",
        ),
    ),
    Cube(
        name="chargeback", minutes=1440, measures=FULL,
        by=("provider", "model", "team", "app", "feature", "price_state", "price_book", "price_row"),
    ),
    Cube(name="runs", minutes=1440, measures=OF_RUNS, by=("run", "team", "app")),
    Cube(name="tags", minutes=1440, by=("tags",)),
)  # fmt: skip
UNPRICED = Pick(name="unpriced", condition=OPEN, of=("corrects", "price_state"))
CORRECTIONS = Pick(name="corrections", condition=CORRECTS, of=("corrects",))
FAILURES = Pick(name="failures", condition=among("outcome", FAILED), of=("outcome",))
ALWAYS = (UNPRICED, CORRECTIONS)
"""What is worth knowing of any part."""
ROLLUPS: tuple[Cube | Pick, ...] = (*CUBES, *ALWAYS, FAILURES)
KINDS = tuple(rollup.kind for rollup in ROLLUPS)


def rollup_path(kind: str, file: str) -> str:
    """Return where a file of rollups lies, relative to the ledger's folder."""
    return f"rollups/{kind}/{file}"


def rollup_files(folder: Path, kind: str) -> frozenset[str]:
    """Return the names of the files of a kind."""
    place = folder / "rollups" / kind
    return frozenset(file.name for file in place.iterdir()) if place.is_dir() else frozenset()


def lacking(part: Part, known: Mapping[str, Mapping[str, Rollup]], today: date) -> list[Cube | Pick]:
    """Return the rollups that a part is worth and lacks."""
    noted = known.get(part.path, {})
    worth = ROLLUPS if part.rows >= LEAST_ROWS or part.day < today else ALWAYS
    return [rollup for rollup in worth if rollup.kind not in noted]


def roll_up(folder: Path, manifest: Manifest, parts: Sequence[Part], today: date) -> None:
    """Write the rollups that some parts lack, one file a kind: on the disk first, then in the manifest."""
    known = manifest.rollups()
    engine = connect(folder, memory=MEMORY)
    try:
        for rollup in ROLLUPS:
            some = [part for part in parts if rollup in lacking(part, known, today)]
            manifest.note_rollups(_roll_up(folder, engine, rollup, some))
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
    kept = {part.number for part in parts if 0 < rows.get(part.number, 0) <= max(part.rows // SHRINKS, FEW_ROWS)}
    if kept != rows.keys():
        table = table.filter(pc.is_in(table.column("number"), pa.array(kept, pa.int64())))
    file = _write(folder, rollup.kind, table) if table.num_rows else ""
    return [
        Rollup(part=part.path, kind=rollup.kind, number=part.number, rows=count, file=file if count > 0 else "")
        for part in parts
        for count in [rows[part.number] if part.number in kept else -1 if part.number in rows else 0]
    ]


def view_parts(engine: duckdb.DuckDBPyConnection, folder: Path, parts: Iterable[Part]) -> None:
    """Make some parts the view `parts`, of which the queries of rollups speak.

    Files that are alike are read by one function: a hundred of them take a second to plan.
    """
    groups: dict[tuple[str, ...], list[Part]] = {}
    for part in parts:
        groups.setdefault((part.path,) if part.remote else part.columns, []).append(part)
    selects = []
    for some in groups.values():
        numbers = f"([{', '.join(str(part.number) for part in some)}]::BIGINT[])"
        more = f"{numbers}[{'1' if some[0].remote else '(file_index + 1)::BIGINT'}] AS number"
        selects.append(Relation(engine, folder, some, more=more).sql)
    engine.execute(f"CREATE OR REPLACE TEMP VIEW parts AS {' UNION ALL '.join(selects)}")


def consolidate(folder: Path, manifest: Manifest, kind: str) -> None:
    """Make one file of those of a kind, when there are many; the old ones stay for readers a while."""
    noted = [made[kind] for made in manifest.rollups().values() if kind in made and made[kind].file]
    files = sorted({one.file for one in noted})
    if len(files) <= MOST_FILES:
        return
    in_force = {part.path for part in manifest.parts()}
    kept = [one for one in noted if one.part in in_force]
    tables = [pq.read_table(folder / rollup_path(kind, file)) for file in files]
    numbers = pa.array([one.number for one in kept], pa.int64())
    table = pa.concat_tables(tables)
    table = table.filter(pc.is_in(table.column("number"), numbers))
    first = "bucket" if "bucket" in table.column_names else "at"
    name = _write(folder, kind, table.sort_by([(first, "ascending"), ("number", "ascending")]))
    moved = [structs.replace(one, file=name) for one in kept]
    manifest.note_rollups(moved, gone=[one for one in noted if one.part not in in_force])
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
