"""Finding a few events among many: by request, by time, the newest ones."""
# ruff: noqa: S608  # names of columns and quoted paths; the request's id is bound

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb

from penstock.ledger.columns import SCHEMA, to_events
from penstock.ledger.engine import Relation, between
from penstock.ledger.manifest import Part
from penstock.ledger.snapshot import Snapshot, within
from penstock.metering.event import UsageEvent

VERSION_7 = re.compile(r"([0-9a-f]{12})7[0-9a-f]{3}[89ab][0-9a-f]{15}")
BEFORE, AFTER = timedelta(hours=1), timedelta(hours=48)
"""When the attempts of a request may have begun, seen from the instant in its id: a batch waits for up to a day."""


def find_events(
    connection: duckdb.DuckDBPyConnection,
    folder: Path,
    snapshot: Snapshot,
    *,
    request_id: str = "",
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int | None = None,
    newest_first: bool = False,
) -> list[UsageEvent]:
    """Return events by `at`; only the parts that can hold them are opened."""
    parts = within(snapshot.parts, since, until)
    if limit is not None and newest_first and until is None and not request_id:
        parts = newest(parts, limit)
    order = "DESC" if newest_first else "ASC"
    tail = f'AND {between(since, until)} ORDER BY "at" {order}, id {order}{"" if limit is None else f" LIMIT {limit}"}'

    def find(some: Sequence[Part]) -> list[UsageEvent]:
        booked = Relation(connection, folder, some, snapshot.tail)
        query = f"SELECT * FROM ({booked.sql}) WHERE (request_id = $1 OR $1 = '') {tail}"
        found = to_events(connection.sql(query, params=[request_id]).to_arrow_table().cast(SCHEMA))
        booked.release()
        return found

    if named := VERSION_7.fullmatch(request_id):
        begun = datetime.fromtimestamp(int(named[1], 16) / 1000, UTC)
        near = within(parts, begun - BEFORE, begun + AFTER)
        if len(near) < len(parts) and (found := find(near)):
            return found
    return find(parts)


def newest(parts: Sequence[Part], rows: int) -> list[Part]:
    """Keep the parts that hold the youngest `rows` rows, and every part that overlaps with these."""
    missing = rows
    begin: datetime | None = None
    for part in sorted(parts, key=lambda part: part.first, reverse=True):
        if missing <= 0:
            break
        begin = part.first
        missing -= part.rows
    return within(parts, begin, None)
