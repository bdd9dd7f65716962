"""Events that were booked without a price and were given one since: found once, and again only when that changed."""
# ruff: noqa: S608  # names of columns and quoted paths

import threading
from collections.abc import Iterable, Sequence

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from penstock.ledger.columns import SCHEMA
from penstock.ledger.engine import Relation
from penstock.ledger.manifest import Part
from penstock.ledger.measures import OPEN, SETTLES
from penstock.ledger.rollups import CORRECTIONS, CUBES, UNPRICED, Pick
from penstock.ledger.snapshot import Snapshot
from penstock.ledger.sums import Sums

NARROW = tuple(dict.fromkeys(name for cube in CUBES for name in cube.by if name != "tags"))
"""Dimensions that questions ask for most."""
_MATCHED = ("corrects", "price_state")
"""What tells an unpriced event, and what settles one."""
COLUMNS = ("id", "at", *NARROW, "requests", "input_tokens", "output_tokens", "duration_us")
NOBODY = pa.Table.from_batches([], pa.schema([SCHEMA.field(name) for name in COLUMNS]))


class Settled:
    """What was found last, one a ledger; safe to use from several threads.

    It depends on the parts that hold unpriced events, and on those that hold corrections, and a part never changes.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._key: tuple[tuple[str, ...], ...] = ()
        self._found = NOBODY

    def find(self, cursor: duckdb.DuckDBPyConnection, snapshot: Snapshot, sums: Sums) -> pa.Table:
        """Return the settled events of a snapshot, with `COLUMNS`."""
        tail = snapshot.tail
        # To compare with a text would import pandas, which takes half a second.
        corrects = pc.binary_length(tail.column("corrects")).cast(pa.bool_())
        unpriced = pc.match_substring_regex(tail.column("price_state"), "^unpriced$")
        late_open = Snapshot([], tail.filter(pc.and_not(unpriced, corrects)))
        late_settling = Snapshot([], tail.filter(pc.and_not(corrects, unpriced)))
        open_ = Snapshot(holding(snapshot.parts, UNPRICED, sums), tail.slice(0, 0))
        settling = Snapshot(holding(snapshot.parts, CORRECTIONS, sums), tail.slice(0, 0))
        found = [NOBODY]
        if open_.parts and settling.parts:
            found.append(self._of_parts(cursor, open_, settling, sums))
        if late_open.tail.num_rows and (settling.parts or late_settling.tail.num_rows):
            found.append(_settled(cursor, late_open, Snapshot(settling.parts, late_settling.tail), sums))
        if late_settling.tail.num_rows and open_.parts:
            late = _settled(cursor, open_, late_settling, sums)
            known = pa.chunked_array([chunk for one in found for chunk in one.column("id").chunks], pa.string())
            found.append(late.filter(pc.invert(pc.is_in(late.column("id"), known))))
        return found[1] if len(found) == 2 else pa.concat_tables([one.cast(NOBODY.schema) for one in found])

    def _of_parts(self, cursor: duckdb.DuckDBPyConnection, open_: Snapshot, settling: Snapshot, sums: Sums) -> pa.Table:
        key = tuple(tuple(part.path for part in some.parts) for some in (open_, settling))
        with self._lock:
            if key != self._key:
                found = _settled(cursor, open_, settling, sums)
                for name in NARROW:  # a handful of names, and many events
                    place = found.schema.get_field_index(name)
                    found = found.set_column(place, name, found.column(name).dictionary_encode())
                self._key, self._found = key, found
            return self._found


def picked(
    cursor: duckdb.DuckDBPyConnection, sums: Sums, pick: Pick, columns: Sequence[str], of: Snapshot
) -> tuple[Relation, str]:
    """Return columns of the picked events; of parts without a pick, and of the tail, all events."""
    noted = [part for part in of.parts if sums.of(part, pick.kind) is not None]
    others = [part for part in of.parts if sums.of(part, pick.kind) is None]
    relation = Relation(cursor, sums.folder, others, of.tail, columns=columns)
    files, condition = sums.source(pick.kind, noted)
    listed = ", ".join(f'"{name}"' for name in columns)
    more = f" UNION ALL SELECT {listed} FROM {files} WHERE {condition}" if files else ""
    return relation, relation.sql + more


def _settled(cursor: duckdb.DuckDBPyConnection, open_: Snapshot, settling: Snapshot, sums: Sums) -> pa.Table:
    """Find the unpriced events of one that the other settles."""
    opens, opened = picked(cursor, sums, UNPRICED, tuple(dict.fromkeys((*COLUMNS, *_MATCHED))), open_)
    settles, settled = picked(cursor, sums, CORRECTIONS, _MATCHED, settling)
    listed = ", ".join(f'"{name}"' for name in COLUMNS)
    try:
        return cursor.sql(
            f"SELECT {listed} FROM ({opened}) WHERE {OPEN} AND id IN (SELECT corrects FROM ({settled}) WHERE {SETTLES})"
        ).to_arrow_table()
    finally:
        opens.release()
        settles.release()


def holding(parts: Iterable[Part], pick: Pick, sums: Sums) -> list[Part]:
    """Keep the parts that hold some of it, or of which nobody knows."""
    return [part for part in parts if (rollup := sums.of(part, pick.kind)) is None or rollup.rows]
