"""Old days go; their totals stay: one summary row for each month, model and payer."""
# ruff: noqa: S608  # names of columns and quoted paths

from collections.abc import Iterable
from datetime import date, timedelta
from decimal import Decimal
from itertools import groupby
from pathlib import Path

import pyarrow as pa
from msgspec import Struct

from penstock.ledger.columns import BUCKETS, EXACT, MONEY
from penstock.ledger.compaction import Progress, silent
from penstock.ledger.engine import Relation, connect
from penstock.ledger.manifest import Manifest, Part
from penstock.ledger.parts import PartWriter, at_work
from penstock.metering.event import utc_now

DIMENSIONS = (
    "source", "provider", "model", "version", "deployment_type", "region", "mode", "endpoint", "outcome",
    "price_state", "key", "team", "app", "feature",
)  # fmt: skip
COUNTS = ("requests", "tool_calls", *BUCKETS, "input_tokens", "output_tokens")
SUMMARY = pa.schema(
    [pa.field("at", pa.timestamp("us"))]
    + [pa.field(name, pa.string()) for name in DIMENSIONS]
    + [pa.field("events", pa.int64())]
    + [pa.field(name, pa.int64()) for name in COUNTS]
    + [pa.field("cost", MONEY), pa.field("provider_cost", MONEY)]
)
"""`at` is the first instant of the month; `events` counts attempts, corrections not among them."""

RETIRED = "retired_before"
"""Setting: the day (UTC) before which events were dropped. Nothing older may be imported: it would count twice."""


class Retained(Struct, frozen=True, kw_only=True):
    """What went, or with a dry run would go."""

    before: date
    """First day that is kept."""
    days: int
    events: int
    bytes: int
    cost: Decimal
    dry_run: bool


def retain(
    folder: Path, manifest: Manifest, *, days: int, dry_run: bool = False, progress: Progress = silent
) -> Retained:
    """Drop whole days (UTC) that are older than `days`, month by month, each with its summary in one commit."""
    before = utc_now().date() - timedelta(days=days)
    old = [part for part in manifest.parts() if part.day < before]
    report = Retained(
        before=before, days=len({part.day for part in old}), events=sum(part.rows for part in old),
        bytes=sum(part.bytes for part in old), cost=_sum(part.cost for part in old), dry_run=dry_run,
    )  # fmt: skip
    if dry_run:
        return report
    done = 0
    for month, group in groupby(old, key=lambda part: part.day.replace(day=1)):
        parts = list(group)
        _retire(folder, manifest, before, month, parts)
        done += len(parts)
        progress("Parts", done, len(old))
    return report


def _retire(folder: Path, manifest: Manifest, before: date, month: date, parts: list[Part]) -> None:
    """Put these parts of one month into its summary, and what an earlier run summed up of it."""
    earlier = [part for part in manifest.parts("summary") if part.day == month]
    engine = connect(folder, memory="1GB")
    try:
        booked = Relation(engine, folder, parts).sql
        summed = Relation(engine, folder, earlier, schema=SUMMARY, columns=SUMMARY.names).sql
        listed = ", ".join(f'"{name}"' for name in DIMENSIONS)
        counts = ", ".join(f'"{name}"' for name in COUNTS)
        sums = ", ".join(f'sum("{name}") AS "{name}"' for name in ("events", *COUNTS, "cost", "provider_cost"))
        start = f"TIMESTAMP '{month.isoformat()} 00:00:00' AS \"at\""
        table = engine.sql(
            f'SELECT "at", {listed}, {sums} FROM (SELECT {start}, {listed}, '
            f"CASE WHEN corrects = '' THEN 1 ELSE 0 END AS events, {counts}, cost, provider_cost FROM ({booked}) "
            f"UNION ALL {summed}) GROUP BY ALL ORDER BY ALL"
        ).to_arrow_table()
        gone = engine.execute(f"SELECT writer, count(*) FROM ({booked}) GROUP BY writer").fetchall()
    finally:
        engine.close()
    with at_work(folder):
        writer = PartWriter(folder, month, SUMMARY, "summary")
        try:
            writer.put(table.cast(SUMMARY))
            part = writer.close()
        except BaseException:
            writer.abandon()
            raise
        manifest.commit(add=[part], drop=[*parts, *earlier], retired=dict(gone), settings={RETIRED: before.isoformat()})


def _sum(amounts: Iterable[Decimal]) -> Decimal:
    total = Decimal(0)
    for amount in amounts:
        total = EXACT.add(total, amount)
    return total
