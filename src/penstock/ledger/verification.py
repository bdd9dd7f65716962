"""Is the book sound? Checksums, gaps, duplicates, columns and sums, each checked against what was noted before."""
# ruff: noqa: S608  # names of columns and quoted paths

from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from msgspec import Struct, structs

from penstock.errors import LedgerError
from penstock.ledger.columns import EXACT, SCHEMA
from penstock.ledger.compaction import Progress, silent
from penstock.ledger.engine import Relation, connect, first_row, quoted
from penstock.ledger.log import LogPart, list_logs, read_log
from penstock.ledger.logfile import is_live
from penstock.ledger.manifest import Manifest, Part, Writer
from penstock.ledger.objects import object_store
from penstock.ledger.parts import MEMORY, digest_of
from penstock.ledger.rollups import ROLLUPS, Cube, Pick, rollup_files, rollup_path, view_parts
from penstock.ledger.tail import EMPTY, decode_frames

SHOWN = 20
"""Findings of one kind that are listed; the rest is counted."""


class Problem(Struct, frozen=True, kw_only=True):
    """One thing that is wrong."""

    kind: str
    """Stable: frame, event, gap, missing, checksum, columns, rows, cost, duplicate, price_state or rollup."""
    place: str
    detail: str


class Verified(Struct, kw_only=True):
    """What was looked at, what is wrong, and what is worth knowing."""

    events: int = 0
    parts: int = 0
    logs: int = 0
    cost: Decimal = Decimal(0)
    problems: list[Problem] = []
    notes: list[str] = []

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    def add(self, kind: str, place: object, detail: str) -> None:
        """Note a problem."""
        self.problems.append(Problem(kind=kind, place=str(place), detail=detail))


def verify(folder: Path, manifest: Manifest, *, progress: Progress = silent) -> Verified:
    """Read everything and compare it with the manifest. Nothing is changed."""
    found = Verified()
    logs = list_logs(folder)
    parts, compacted = manifest.snapshot()
    tail, writers = _check_logs([log for log in logs if log.name not in compacted], found)
    sound = []
    for number, part in enumerate(parts, 1):
        if _check_part(folder, part, found):
            sound.append(part)
        progress("Parts", number, len(parts))
    _check_rollups(folder, manifest, sound, found)
    for part in manifest.parts("summary"):
        _check_part(folder, part, found)
    _check_gaps([*manifest.writers(), *writers], found)
    booked = sum(writer.rows - writer.retired for writer in manifest.writers())
    if booked != sum(part.rows for part in parts):
        found.add("rows", "manifest", f"{booked:,} events were booked, parts hold {sum(part.rows for part in parts):,}")
    engine = connect(folder)
    try:
        _check_rows(engine, folder, sound, tail, found)
        _check_sums(engine, folder, sound, found)
    finally:
        engine.close()
    _note_torn(folder, found)
    return found


def _check_logs(logs: Iterable[Path], found: Verified) -> tuple[pa.Table, list[Writer]]:
    """Check each frame; return the events of the logs, and what their writers wrote."""
    tables, writers = [EMPTY], []
    for log in logs:
        live = is_live(log)
        try:
            part = read_log(log)
        except FileNotFoundError:
            continue  # compacted meanwhile
        except LedgerError as error:
            found.notes.append(str(error))
            continue
        found.logs += 1
        table, unreadable = decode_frames(part.header, part.frames)
        tables.append(table)
        for event in unreadable:
            found.add("event", log, f"event {event.sequence} cannot be understood: {event.problem}")
        for damage in part.damages:
            if not damage.torn:
                found.add("frame", log, f"bytes {damage.start} to {damage.end} do not match their checksum")
            elif not live:
                found.notes.append(f"{log}: torn end at byte {damage.start}: a write that never finished")
        writers.append(_writer_of(part, table))
    return pa.concat_tables(tables), writers


def _writer_of(part: LogPart, table: pa.Table) -> Writer:
    last = max((frame.sequence for frame in part.frames), default=part.header.first - 1)
    return Writer(writer=part.header.writer, name=part.header.name, last=last, rows=table.num_rows)


def _check_gaps(writers: Iterable[Writer], found: Verified) -> None:
    """Compare how many events each writer numbered with how many came in."""
    last: dict[str, int] = {}
    rows: dict[str, int] = {}
    names: dict[str, str] = {}
    for writer in writers:
        names[writer.writer] = writer.name
        last[writer.writer] = max(last.get(writer.writer, 0), writer.last)
        rows[writer.writer] = rows.get(writer.writer, 0) + writer.rows
    for key, name in names.items():
        if rows[key] != last[key]:
            found.add("gap", f"{name} ({key})", f"{last[key]:,} events were numbered, {rows[key]:,} are booked")


def _check_part(folder: Path, part: Part, found: Verified) -> bool:
    """Check file, digest, columns and row count; return whether the part can be read."""
    found.parts += 1
    try:
        if part.remote:
            store = object_store(part.remote)
            digest = store.digest(part.path)
            file = pq.ParquetFile(store.filesystem.open_input_file(store.path(part.path)))
        else:
            digest = digest_of(folder / part.path)
            file = pq.ParquetFile(folder / part.path)
    except FileNotFoundError:
        found.add("missing", part.path, "the manifest names it, and it is not there")
        return False
    except (OSError, pa.ArrowException) as error:
        found.add("checksum", part.path, f"it cannot be read as Parquet: {error}")
        return False
    with file:
        schema, rows = file.schema_arrow, file.metadata.num_rows
    names = tuple(schema.names)
    wrong = [name for name in names if name in SCHEMA.names and schema.field(name).type != SCHEMA.field(name).type]
    if digest != part.sha256:
        found.add("checksum", part.path, f"its SHA-256 is {digest[:16]}..., the manifest says {part.sha256[:16]}...")
        return False
    if names != part.columns or wrong:
        found.add("columns", part.path, f"columns differ from the manifest: {', '.join(wrong) or 'names'}")
        return False
    if rows != part.rows:
        found.add("rows", part.path, f"{rows:,} rows; the manifest says {part.rows:,}")
    return True


def _check_rollups(folder: Path, manifest: Manifest, parts: list[Part], found: Verified) -> None:
    """Make the rollups of each part anew, and compare."""
    known = manifest.rollups()
    engine = connect(folder, memory=MEMORY)
    try:
        for rollup in ROLLUPS:
            there = rollup_files(folder, rollup.kind)
            noted = [known[part.path][rollup.kind] for part in parts if rollup.kind in known.get(part.path, {})]
            usable = {one.part: one for one in noted if one.rows >= 0 and (not one.file or one.file in there)}
            some = [structs.replace(part, number=usable[part.path].number) for part in parts if part.path in usable]
            files = {usable[part.path].file for part in some} - {""}
            if some and (problem := _rollup_problem(engine, folder, rollup, some, files)):
                place = ", ".join(rollup_path(rollup.kind, file) for file in sorted(files)) or f"rollups/{rollup.kind}"
                found.add("rollup", place, f"{problem}; delete it and run penstock ledger compact: it is derived")
    finally:
        engine.close()


def _rollup_problem(
    engine: duckdb.DuckDBPyConnection, folder: Path, rollup: Cube | Pick, parts: list[Part], files: Iterable[str]
) -> str:
    view_parts(engine, folder, parts)
    right = f"SELECT * FROM ({rollup.query})"
    listed = ", ".join(quoted(str(folder / rollup_path(rollup.kind, file))) for file in files)
    numbers = ", ".join(str(part.number) for part in parts)
    made = f"SELECT * FROM read_parquet([{listed}], hive_partitioning = false) WHERE number IN ({numbers})"
    made = made if listed else f"{right} LIMIT 0"
    try:
        engine.execute(f"CREATE OR REPLACE TEMP TABLE wanted AS {right}")
        engine.execute(f"CREATE OR REPLACE TEMP TABLE made AS {made}")
        (odd,) = first_row(
            engine,
            "SELECT count(*) FROM ((FROM wanted EXCEPT ALL FROM made) UNION ALL (FROM made EXCEPT ALL FROM wanted))",
        )
    except duckdb.Error as error:
        return f"it cannot be read: {error}"
    return f"{odd:,} rows are not what the parts add up to" if odd else ""


def _check_rows(
    engine: duckdb.DuckDBPyConnection, folder: Path, parts: list[Part], tail: pa.Table, found: Verified
) -> None:
    """Look for events that stand in the book twice, and for costs that do not fit their price state."""
    columns = ["id", "writer", "seq", "cost", "price_state"]
    booked = Relation(engine, folder, parts, tail, columns=columns).sql
    found.events, found.cost = first_row(engine, f"SELECT count(*), coalesce(sum(cost), 0) FROM ({booked})")
    for key, kind in (("id", "id"), ("writer, seq", "place in the log")):
        twice = engine.execute(
            f"SELECT {key}, count(*) FROM ({booked}) GROUP BY {key} HAVING count(*) > 1 LIMIT {SHOWN}"
        ).fetchall()
        for *place, count in twice:
            found.add("duplicate", "/".join(map(str, place)), f"{count} events have this {kind}")
    odd = engine.execute(
        f"SELECT id, price_state, cost FROM ({booked}) WHERE (cost IS NULL) <> (price_state = 'unpriced') LIMIT {SHOWN}"
    ).fetchall()
    for event, state, cost in odd:
        found.add("price_state", event, f"the state is {state} and the cost {'missing' if cost is None else cost}")


def _check_sums(engine: duckdb.DuckDBPyConnection, folder: Path, parts: list[Part], found: Verified) -> None:
    """Compare each part's costs, added up anew, with the sum noted when it was written."""
    for part in parts:
        relation = Relation(engine, folder, [part], columns=["cost"])
        (total,) = first_row(engine, f"SELECT coalesce(sum(cost), 0) FROM ({relation.sql})")
        relation.release()
        if EXACT.compare(total, part.cost) != 0:
            found.add("cost", part.path, f"its costs add up to {total}; the manifest says {part.cost}")


def _note_torn(folder: Path, found: Verified) -> None:
    names = sorted(path.name for path in (folder / "torn").glob("*"))
    if names:
        found.notes.append(f"{len(names)} pieces were set aside in {folder / 'torn'}: {', '.join(names[:3])} ...")
