"""The ledger as Ibis tables: one engine connection a thread, one view a question."""

from collections import deque
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa

from penstock.ledger.columns import SCHEMA
from penstock.ledger.engine import Relation
from penstock.ledger.manifest import Part

if TYPE_CHECKING:
    import ibis

KEPT_VIEWS = 32
"""Tables of `Ledger.table()` that stay usable in a thread; the 33rd call ends the first one."""


class Views:
    """The tables that one thread asked for: views over parts and tail, the youngest of which are kept."""

    def __init__(self, cursor: duckdb.DuckDBPyConnection, folder: Path) -> None:
        import ibis  # noqa: PLC0415  # takes half a second: only those who ask questions wait for it

        self._operations, self._schema_of = ibis.expr.operations, cache(ibis.Schema.from_pyarrow)
        self.cursor, self._folder, self._count = cursor, folder, 0
        self._backend = ibis.duckdb.from_connection(cursor)
        self._kept: deque[tuple[str, Relation]] = deque()

    def make(self, parts: Iterable[Part], tail: pa.Table, schema: pa.Schema = SCHEMA) -> "ibis.Table":
        """Make a view of parts and tail and return it as an Ibis table."""
        self._count += 1
        name = f"events_{self._count}"
        relation = Relation(self.cursor, self._folder, parts, tail, columns=schema.names, schema=schema)
        self.cursor.execute(f"CREATE TEMP VIEW {name} AS {relation.sql}")
        self._kept.append((name, relation))
        if len(self._kept) > KEPT_VIEWS:
            old, of_old = self._kept.popleft()
            self.cursor.execute(f"DROP VIEW {old}")
            of_old.release()
        return self._operations.DatabaseTable(  # as backend.table() does, less a query for the columns
            name, schema=self._schema_of(schema), source=self._backend, namespace=self._operations.Namespace()
        ).to_expr()
