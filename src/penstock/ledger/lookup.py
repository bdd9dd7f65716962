"""Finding a few events among many: by request, by time, the newest ones."""
# ruff: noqa: S608  # names of columns and quoted paths; the request's id is bound

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from penstock.ledger.columns import SCHEMA, to_events
from penstock.ledger.engine import Relation, between
from penstock.ledger.manifest import Part
from penstock.ledger.objects import object_store
from penstock.ledger.snapshot import Snapshot, within
from penstock.metering.event import UsageEvent


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
    parts = [part for part in parts if not request_id or _may_hold(folder, part, request_id)]
    booked = Relation(connection, folder, parts, snapshot.tail)
    query = f"SELECT * FROM ({booked.sql}) WHERE (request_id = $1 OR $1 = '') {tail}"
    found = to_events(connection.sql(query, params=[request_id]).to_arrow_table().cast(SCHEMA))
    booked.release()
    return found


def _may_hold(folder: Path, part: Part, request_id: str) -> bool:
    """Whether an event of this request may be in a part.

    When it happened says little: batches wait for a day, and clocks are set. What its footer says of ids is certain.
    """
    span = _request_ids(folder, part.path, part.remote)
    return span is None or span[0] <= request_id <= span[1]


@lru_cache(maxsize=20_000)
def _request_ids(folder: Path, path: str, remote: str) -> tuple[str, str] | None:
    """Return the first and the last request id of a part in the order of the alphabet; None: it does not say.

    A part never changes, so a footer is read once.
    """
    try:
        if remote:
            store = object_store(remote)
            with store.filesystem.open_input_file(store.path(path)) as file:
                footer = pq.read_metadata(file)
        else:
            footer = pq.read_metadata(folder / path)
        place = footer.schema.names.index("request_id")
        said = [footer.row_group(n).column(place).statistics for n in range(footer.num_row_groups)]
    except (OSError, pa.ArrowException):  # whoever opens it next will say what is wrong
        return None
    if not said or not all(one is not None and one.has_min_max for one in said):
        return None
    return min(one.min for one in said), max(one.max for one in said)


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
