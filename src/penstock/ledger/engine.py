"""DuckDB over parts and tails: the SQL that makes one table of them."""
# ruff: noqa: S608  # names of columns and quoted paths; values are bound

from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path

import duckdb

from penstock.ledger.columns import SCHEMA, default_of
from penstock.ledger.manifest import Part

OFFLINE: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
}
"""DuckDB must not fetch extensions from the internet on its own."""


def connect(folder: Path) -> duckdb.DuckDBPyConnection:
    """Open an engine in memory, which spills into the ledger's `tmp` when a question is larger than that."""
    connection = duckdb.connect(":memory:", config=OFFLINE)
    connection.execute(f"SET temp_directory = {quoted(str(folder / 'tmp' / 'duckdb'))}")
    return connection


def quoted(text: str) -> str:
    """Quote an SQL string."""
    return "'" + text.replace("'", "''") + "'"


def select_parts(folder: Path, parts: Iterable[Part], columns: Sequence[str] = SCHEMA.names) -> list[str]:
    """Make one SELECT for each generation of local parts; columns that a part does not have get their default."""
    selects = []
    local = sorted((part for part in parts if not part.remote), key=lambda part: part.columns)
    for names, group in groupby(local, key=lambda part: part.columns):
        files = ", ".join(quoted(str(folder / part.path)) for part in group)
        selects.append(f"SELECT {listed(columns, names)} FROM read_parquet([{files}], hive_partitioning = false)")
    return selects


def listed(columns: Sequence[str], present: Sequence[str]) -> str:
    """List columns for a SELECT over parts that have only those `present`."""
    there = set(present)
    return ", ".join(f'"{name}"' if name in there else f'{default_of(name)} AS "{name}"' for name in columns)
