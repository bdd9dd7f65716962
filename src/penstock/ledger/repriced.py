"""Events whose price is another one than was booked, by a correction: found once, and again only when that changed."""
# ruff: noqa: S608  # names of columns and quoted paths

import threading
from datetime import UTC, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from penstock.ledger.columns import SCHEMA
from penstock.ledger.engine import Relation, between
from penstock.ledger.manifest import Part
from penstock.ledger.measures import CORRECTS, MEASURES, SETTLES, columns_of
from penstock.ledger.rollups import CORRECTIONS, UNPRICED, Pick
from penstock.ledger.settled import NARROW, holding, picked
from penstock.ledger.snapshot import Snapshot, within
from penstock.ledger.sums import Sums

PRICED_BY = ("price_state", "price_book", "price_row")
"""What the newest correction changes in its event, and in every other correction of that."""
COLUMNS = tuple(dict.fromkeys(("id", "at", "recorded_at", "corrects", *NARROW, *PRICED_BY, *columns_of(MEASURES))))
"""What is known of each row that moves; beside them stands each of `PRICED_BY` as it is now, as `new_...`."""
MOST = 100_000
"""Corrections that are looked for in advance; of more, every event is read."""
_ROWS = pa.schema([SCHEMA.field(name) for name in COLUMNS])
NO_EVENT = pa.Table.from_batches([], SCHEMA)
NOBODY = pa.Table.from_batches([], pa.schema([*_ROWS, *(pa.field(f"new_{name}", pa.string()) for name in PRICED_BY)]))
NEWEST = (
    "SELECT corrects AS corrected, "
    f"{', '.join(f'arg_max({name}, recorded_at) AS new_{name}' for name in PRICED_BY)} "
    f"FROM corrections WHERE {SETTLES} GROUP BY corrects"
)
"""What is in force for each corrected event, of the relation `corrections`."""
INSTANT = timedelta(microseconds=1)
ITSELF = "CASE WHEN corrects = '' THEN id ELSE corrects END"
"""The event that a row is about."""


class Repriced:
    """What was found last, one a ledger; safe to use from several threads. Parts never change, so it stays true."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._key: tuple[tuple[str, ...], ...] = ((), ())
        self._newest, self._moved = NO_EVENT, NOBODY

    def find(self, cursor: duckdb.DuckDBPyConnection, snapshot: Snapshot, sums: Sums) -> pa.Table | None:
        """Return every event and correction whose price is another one now, as it was booked and with what holds now.

        None: there are too many corrections to look for their events.
        """
        parts, tail = snapshot.parts, snapshot.tail
        corrected = holding(parts, CORRECTIONS, sums)
        late = pc.sum(pc.binary_length(tail.column("corrects")).cast(pa.bool_())).as_py() or 0
        if not corrected and not late:
            return NOBODY
        if sum(_rows(part, sums) for part in corrected) + late > MOST:
            return None
        if late:
            return _find(cursor, snapshot, sums)[1]
        newest, moved = self._of_parts(cursor, parts, corrected, sums)
        if not tail.num_rows or not newest.num_rows:
            return moved
        found = tail.filter(pc.is_in(tail.column("id"), newest.column("corrected"))).select(COLUMNS)
        return pa.concat_tables([moved, _moved(cursor, [found], newest)]) if found.num_rows else moved

    def _of_parts(
        self, cursor: duckdb.DuckDBPyConnection, parts: list[Part], corrected: list[Part], sums: Sums
    ) -> tuple[pa.Table, pa.Table]:
        key = tuple(tuple(part.path for part in some) for some in (corrected, parts))
        with self._lock:
            if self._key != key[: len(self._key)]:
                self._newest, self._moved, is_all = _find(cursor, Snapshot(parts, NO_EVENT), sums)
                self._key = key[:1] if is_all else key  # what is missing may be in any part that comes
            return self._newest, self._moved


def _find(cursor: duckdb.DuckDBPyConnection, snapshot: Snapshot, sums: Sums) -> tuple[pa.Table, pa.Table, bool]:
    """Return what is in force for each corrected event, the rows that move, and whether every event was found."""
    parts, tail = snapshot.parts, snapshot.tail
    booked = Snapshot(holding(parts, CORRECTIONS, sums), tail)
    corrections = _picked(cursor, sums, CORRECTIONS, booked, CORRECTS)
    newest = _ask(cursor, NEWEST, corrections=corrections)
    if not newest.num_rows:
        return newest, NOBODY, True
    wanted = "corrects = '' AND id IN (SELECT corrected FROM newest)"
    opened = Snapshot(holding(parts, UNPRICED, sums), tail)
    found = [_picked(cursor, sums, UNPRICED, opened, wanted, newest=newest)]
    span = pc.min_max(corrections.column("at")).as_py()
    first, last = (span[name].replace(tzinfo=UTC) for name in ("min", "max"))
    for since, until in ((first, last + INSTANT), (None, None)):  # a correction begins when its event does; mostly
        missing = newest.filter(pc.invert(pc.is_in(newest.column("corrected"), _ids(found))))
        if not missing.num_rows:
            break
        some = Snapshot(within(parts, since, until), NO_EVENT)
        found.append(_picked(cursor, sums, None, some, f"{wanted} AND {between(since, until)}", newest=missing))
    is_all = len(_ids(found)) == newest.num_rows
    return newest, _moved(cursor, [corrections, *found], newest), is_all


def _moved(cursor: duckdb.DuckDBPyConnection, rows: list[pa.Table], newest: pa.Table) -> pa.Table:
    """Keep the rows whose price is another one now, and put that beside each."""
    differs = " OR ".join(f"{name} IS DISTINCT FROM new_{name}" for name in PRICED_BY)
    listed = ", ".join(f'"{name}"' for name in (*COLUMNS, *(f"new_{name}" for name in PRICED_BY)))
    query = f"SELECT {listed} FROM booked JOIN newest ON corrected = {ITSELF} WHERE {differs}"
    return _ask(cursor, query, booked=pa.concat_tables(rows), newest=newest).cast(NOBODY.schema)


def _picked(
    cursor: duckdb.DuckDBPyConnection, sums: Sums, pick: Pick | None, of: Snapshot, condition: str, **tables: pa.Table
) -> pa.Table:
    """Return the events that meet a condition, of those that a pick holds, or of all."""
    if pick is None:
        relation = Relation(cursor, sums.folder, of.parts, of.tail, columns=COLUMNS)
        source = relation.sql
    else:
        relation, source = picked(cursor, sums, pick, COLUMNS, of)
    try:
        listed = ", ".join(f'"{name}"' for name in COLUMNS)
        return _ask(cursor, f"SELECT {listed} FROM ({source}) WHERE {condition}", **tables).cast(_ROWS)
    finally:
        relation.release()


def _ask(cursor: duckdb.DuckDBPyConnection, query: str, **tables: pa.Table) -> pa.Table:
    """Answer a query that speaks of some tables in memory."""
    known = {name: Relation(cursor, Path(), [], table, columns=table.column_names, schema=table.schema)
             for name, table in tables.items()}  # fmt: skip
    try:
        named = ", ".join(f"{name} AS ({relation.sql})" for name, relation in known.items())
        return cursor.sql(f"WITH {named} {query}" if named else query).to_arrow_table()
    finally:
        for relation in known.values():
            relation.release()


def _ids(found: list[pa.Table]) -> pa.ChunkedArray:
    return pa.chunked_array([chunk for table in found for chunk in table.column("id").chunks], pa.string())


def _rows(part: Part, sums: Sums) -> int:
    """Return how many corrections a part holds, at most."""
    noted = sums.of(part, CORRECTIONS.kind)
    return part.rows if noted is None else noted.rows
