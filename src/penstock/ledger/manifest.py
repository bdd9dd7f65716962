"""Which Parquet parts make up the ledger, and which logs are in them already. One transaction, one truth."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal

from msgspec import Struct

from penstock.errors import LedgerError
from penstock.ledger.state import State
from penstock.metering.event import utc_now

PART_FORMAT = 1
"""Of Parquet parts: raised only when old code could misread new parts. Added columns do not raise it."""

Kind = Literal["events", "summary"]


class Part(Struct, frozen=True, kw_only=True):
    """One immutable Parquet file, as the manifest knows it."""

    path: str
    """Relative to the ledger's folder, or to `remote`."""
    kind: Kind = "events"
    day: date
    remote: str = ""
    """Root of the object storage that holds the part; empty: the ledger's own folder."""
    columns: tuple[str, ...]
    rows: int
    first: datetime
    last: datetime
    """Smallest and largest `at` (UTC)."""
    bytes: int
    sha256: str
    cost: Decimal
    """Exact sum of the column `cost`."""
    sources: tuple[str, ...]
    """Values of the column `source`, sorted."""
    number: int = 0
    """Given by the manifest, rising."""


class Writer(Struct, frozen=True, kw_only=True):
    """What was compacted of one writer: `last` sequence number, rows kept or once kept, rows retired since."""

    writer: str
    name: str
    last: int
    rows: int
    retired: int = 0


class Rollup(Struct, frozen=True, kw_only=True):
    """The sums of one part, in a file that holds those of several."""

    part: str
    """Path of the part, wherever that lies."""
    kind: str
    number: int
    """Under which the part's rows stand in the file."""
    rows: int
    """0: the part has nothing for it; -1: it would hardly be smaller than the part. Then it stands in no file."""
    file: str = ""


class ConflictError(LedgerError):
    """Another process changed the parts in between: what was prepared must be prepared anew."""


class Manifest:
    """The tables `parts`, `compacted` and `writers` of the small state."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._seen: tuple[tuple[int, int], tuple[list[Part], set[str]], dict[str, dict[str, Rollup]]] | None = None

    def parts(self, kind: Kind = "events") -> list[Part]:
        """List the parts in force, by day and age."""
        rows = self._state.read(
            "SELECT path, kind, day, remote, format, names, rows, first, last, bytes, sha256, cost, sources, number "
            "FROM parts JOIN part_columns ON key = columns WHERE dropped IS NULL AND kind = ? ORDER BY day, number",
            kind,
        )
        return [_part(row) for row in rows]

    def compacted(self) -> set[str]:
        """Return the names of logs whose events are in parts."""
        return {str(name) for (name,) in self._state.read("SELECT log FROM compacted")}

    def writers(self) -> list[Writer]:
        """List the writers whose logs were compacted."""
        rows = self._state.read("SELECT writer, name, last, rows, retired FROM writers")
        return [Writer(writer=w, name=n, last=last, rows=rows, retired=retired) for w, n, last, rows, retired in rows]

    def snapshot(self) -> tuple[list[Part], set[str]]:
        """Return parts and compacted logs as of one instant."""
        (parts, compacted), _ = self.everything()
        return list(parts), compacted

    def everything(self) -> tuple[tuple[list[Part], set[str]], dict[str, dict[str, Rollup]]]:
        """Return parts and compacted logs, and the rollups, as of one instant; read again only when they changed."""
        with self._state.reading():
            version = self._state.version()
            if self._seen is None or self._seen[0] != version:
                self._seen = version, (self.parts(), self.compacted()), self.rollups()
            return self._seen[1], self._seen[2]

    def commit(
        self,
        *,
        add: Sequence[Part] = (),
        drop: Sequence[Part] = (),
        logs: dict[str, int] | None = None,
        writers: Sequence[Writer] = (),
        retired: dict[str, int] | None = None,
        settings: dict[str, str] | None = None,
        unless_added: tuple[int, frozenset[str]] | None = None,
    ) -> None:
        """Change what the ledger is made of, all of it or nothing.

        `logs`: names and row counts of logs that the added parts contain; `retired`: rows dropped for good, by writer.
        Raise `ConflictError` when a part to drop is no longer in force, when a log was compacted already, or,
        with `unless_added`, when a part younger than that number holds one of those sources.
        """
        now = utc_now().isoformat()
        with self._state.transaction() as write:
            for part in drop:
                if write.execute(
                    "UPDATE parts SET dropped = ? WHERE path = ? AND remote = ? AND dropped IS NULL",
                    (now, part.path, part.remote),
                ).rowcount != 1:  # fmt: skip
                    raise ConflictError(f"{part.path} was replaced by another process. Run the command again.")
            for log, rows in (logs or {}).items():
                if write.execute("INSERT OR IGNORE INTO compacted VALUES (?, ?, ?)", (log, rows, now)).rowcount != 1:
                    raise ConflictError(f"{log} was compacted by another process. Run the command again.")
            if unless_added:
                number, sources = unless_added
                for (text,) in write.execute(
                    "SELECT sources FROM parts WHERE number > ? AND dropped IS NULL", (number,)
                ):
                    if sources.intersection(json.loads(text)):
                        raise ConflictError("Another import booked events of the same source meanwhile. Run it again.")
            for part in add:
                key = columns_key(part.columns)
                write.execute("INSERT OR IGNORE INTO part_columns VALUES (?, ?)", (key, json.dumps(part.columns)))
                write.execute(
                    "INSERT INTO parts (path, kind, day, remote, format, columns, rows, first, last, bytes, sha256,"
                    " cost, sources, added) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        part.path, part.kind, part.day.isoformat(), part.remote, PART_FORMAT, key, part.rows,
                        part.first.isoformat(), part.last.isoformat(), part.bytes, part.sha256, str(part.cost),
                        json.dumps(part.sources), now,
                    ),
                )  # fmt: skip
            for writer in writers:
                write.execute(
                    "INSERT INTO writers VALUES (?, ?, ?, ?, 0) ON CONFLICT (writer) DO UPDATE SET"
                    " last = max(last, excluded.last), rows = rows + excluded.rows",
                    (writer.writer, writer.name, writer.last, writer.rows),
                )
            for key, value in (settings or {}).items():
                write.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (key, value))
            for name, rows in (retired or {}).items():
                write.execute("UPDATE writers SET retired = retired + ? WHERE writer = ?", (rows, name))

    def newest(self) -> int:
        """Return the number of the youngest part there ever was."""
        return int(self._state.read("SELECT coalesce(max(number), 0) FROM parts")[0][0])

    def dropped(self, *, older_than: timedelta) -> list[tuple[str, str]]:
        """List dropped parts that no reader can still be reading: path, remote."""
        limit = (utc_now() - older_than).isoformat()
        return [
            (str(path), str(remote))
            for path, remote in self._state.read("SELECT path, remote FROM parts WHERE dropped <= ?", limit)
        ]

    def rollups(self) -> dict[str, dict[str, Rollup]]:
        """Return what was rolled up of each part, by path and kind."""
        found: dict[str, dict[str, Rollup]] = {}
        for part, kind, number, rows, file in self._state.read("SELECT part, kind, number, rows, file FROM rollups"):
            found.setdefault(part, {})[kind] = Rollup(part=part, kind=kind, number=number, rows=rows, file=file)
        return found

    def note_rollups(self, made: Iterable[Rollup] = (), *, gone: Iterable[Rollup] = ()) -> None:
        """Enter rollups whose files are on the disk, in place of older ones, and strike out those that are gone."""
        with self._state.transaction() as write:
            write.executemany("DELETE FROM rollups WHERE part = ? AND kind = ?", [(one.part, one.kind) for one in gone])
            write.executemany(
                "INSERT OR REPLACE INTO rollups VALUES (?, ?, ?, ?, ?)",
                [(one.part, one.kind, one.number, one.rows, one.file) for one in made],
            )

    def forget(self, parts: Iterable[tuple[str, str]] = (), logs: Iterable[str] = ()) -> None:
        """Strike dropped parts (path, remote) and compacted logs out, once their files are gone."""
        with self._state.transaction() as write:
            write.executemany("DELETE FROM parts WHERE path = ? AND remote = ? AND dropped IS NOT NULL", parts)
            write.executemany("DELETE FROM compacted WHERE log = ?", [(log,) for log in logs])

    def known_paths(self, *, anywhere: bool = False) -> set[str]:
        """Return the paths of all parts that lie here, or `anywhere`; dropped ones included."""
        where = "" if anywhere else "WHERE remote = ''"
        return {str(path) for (path,) in self._state.read(f"SELECT path FROM parts {where}")}  # noqa: S608  # constants


def columns_key(names: Sequence[str]) -> str:
    """Name a list of columns by its digest."""
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]


def _part(row: tuple[Any, ...]) -> Part:
    path, kind, day, remote, version, names, rows, first, last, size, sha256, cost, sources, number = row
    if version > PART_FORMAT:
        raise LedgerError(f"{path} was written by a newer Penstock (part format {version}). Upgrade this one.")
    return Part(
        path=path, kind=kind, day=date.fromisoformat(day), remote=remote, columns=tuple(json.loads(names)),
        rows=rows, first=datetime.fromisoformat(first), last=datetime.fromisoformat(last),
        bytes=size, sha256=sha256, cost=Decimal(cost), sources=tuple(json.loads(sources)), number=number,
    )  # fmt: skip
