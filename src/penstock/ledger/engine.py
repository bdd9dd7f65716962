"""DuckDB over parts and tails: the SQL that makes one table of them."""
# ruff: noqa: S608  # names of columns and quoted paths; values are bound

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import count, groupby
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from penstock.ledger.columns import SCHEMA, default_of
from penstock.ledger.manifest import Part
from penstock.metering.event import new_id

OFFLINE: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
}
"""DuckDB must not fetch extensions from the internet on its own."""
_numbers = count(1)


def connect(folder: Path, *, memory: str = "") -> duckdb.DuckDBPyConnection:
    """Open an engine in memory; what does not fit (or is more than `memory`) spills into the ledger's `tmp`."""
    connection = duckdb.connect(":memory:", config=OFFLINE)
    connection.execute("SET parquet_metadata_cache = true")  # parts never change
    connection.execute(f"SET temp_directory = {quoted(str(folder / 'tmp' / f'duckdb-{new_id()}'))}")
    if memory:
        connection.execute(f"SET memory_limit = {quoted(memory)}")
    return connection


def quoted(text: str) -> str:
    """Quote an SQL string."""
    return "'" + text.replace("'", "''") + "'"


def first_row(connection: duckdb.DuckDBPyConnection, query: str) -> tuple[Any, ...]:
    """Return the first row of an answer, and leave the connection free for the next question."""
    row: tuple[Any, ...] = connection.execute(query).fetchall()[0]
    return row


def between(since: datetime | None, until: datetime | None) -> str:
    """Make the condition on `at`: from `since` on and before `until`."""
    bounds = [f'"at" {sign} TIMESTAMP {quoted(_plain(at))}' for sign, at in ((">=", since), ("<", until)) if at]
    return " AND ".join(bounds) or "true"


def _plain(at: datetime) -> str:
    return at.astimezone(UTC).replace(tzinfo=None).isoformat(sep=" ")


class Relation:
    """SQL over parts and tail. What it registers with the connection stays until `release`."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        folder: Path,
        parts: Iterable[Part],
        tail: pa.Table | None = None,
        *,
        columns: Sequence[str] = SCHEMA.names,
        schema: pa.Schema = SCHEMA,
        more: str = "",
    ) -> None:
        """`more` is selected as well: SQL that may speak of the files' virtual columns."""
        self._connection, self._folder, self._columns = connection, folder, columns
        self._more = f"{more}, " if more else ""
        self._registered: list[str] = []
        self._selects = list[str]()
        if tail is not None and tail.num_rows:
            self._selects.append(self._select(self._register(tail.select(columns)), columns))
        alike = sorted(parts, key=lambda part: (part.remote, part.columns))
        for (remote, names), group in groupby(alike, key=lambda part: (part.remote, part.columns)):
            self._selects.append(self._select(self._source(remote, list(group)), names))
        if not self._selects:
            empty = pa.Table.from_batches([], schema).select(columns)
            self._selects.append(self._select(self._register(empty), columns))

    @property
    def sql(self) -> str:
        """One SELECT over everything."""
        return " UNION ALL ".join(self._selects)

    def release(self) -> None:
        """Unregister; the SQL is of no use afterwards."""
        for name in self._registered:
            self._connection.unregister(name)

    def _source(self, remote: str, parts: Sequence[Part]) -> str:
        if not remote:
            files = ", ".join(quoted(str(self._folder / part.path)) for part in parts)
            return f"read_parquet([{files}], hive_partitioning = false)"
        import pyarrow.dataset as ds  # noqa: PLC0415  # half a second that only remote parts are worth

        from penstock.ledger.objects import object_store  # noqa: PLC0415

        store = object_store(remote)
        paths = [store.path(part.path) for part in parts]
        return self._register(ds.dataset(paths, format="parquet", filesystem=store.filesystem))

    def _register(self, data: Any) -> str:
        name = f"relation_{next(_numbers)}"
        self._connection.register(name, data)
        self._registered.append(name)
        return name

    def _select(self, source: str, present: Sequence[str]) -> str:
        """Select the columns; those that the source is too old to have get their default."""
        there = set(present)
        listed = ", ".join(
            f'"{name}"' if name in there else f'{default_of(name)} AS "{name}"' for name in self._columns
        )
        return f"SELECT {self._more}{listed} FROM {source}"
