"""How often agents go round: attempts, tokens and dollars of a run, and the runs that went furthest."""
# ruff: noqa: S608  # names of columns; values are bound

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from msgspec import Struct

from penstock.analytics.attempts import (
    MADE,
    attempts_of,
    group_of,
    keys,
    one_by_one,
    summed,
)
from penstock.analytics.question import EXACT, Bound, Where, columns_for, trimmed
from penstock.analytics.spend import add, dimension, given
from penstock.ledger.moment import Moment


class Runs(Struct, frozen=True, kw_only=True):
    """All runs of one group. Steps are attempts; quantiles are interpolated by the engine."""

    group: dict[str, str]
    runs: int
    steps: int
    steps_p50: Decimal
    steps_p95: Decimal
    steps_most: int
    tool_calls: int
    cost: Decimal
    """Dollars, without unpriced steps."""
    cost_each: Decimal
    """Mean of a run, to nine decimals."""
    cost_most: Decimal
    """Of the most expensive run."""
    unpriced_events: int


class Run(Struct, frozen=True, kw_only=True):
    """One run."""

    group: dict[str, str]
    run: str
    steps: int
    tool_calls: int
    failed: int
    input_tokens: int
    output_tokens: int
    cost: Decimal
    unpriced_events: int
    first: datetime
    """When its first and its last step began."""
    last: datetime


class Iterations(Struct, frozen=True, kw_only=True):
    """Groups by cost, and the longest runs."""

    groups: tuple[Runs, ...]
    longest: tuple[Run, ...]
    without: int
    """Attempts that belong to no run."""


def iterations(
    source: Any,
    *,
    by: Sequence[str] = ("app",),
    since: datetime | None = None,
    until: datetime | None = None,
    where: Sequence[tuple[str, str]] = (),
    limit: int = 10,
) -> Iterations:
    """Sum up runs by group, and return the `limit` longest ones. `source` is as for `spend`.

    A run that has steps in several groups is a run of each of them.
    """
    names = tuple(dict.fromkeys(by))
    asked = one_by_one(source, by=names, since=since, until=until, where=where)
    ask = _of_moment if isinstance(asked, Moment) else _of_table
    found, longest, without = ask(asked, names, limit, since=since, until=until, where=where)
    groups = [_runs(group_of(row, names), row) for row in found if row["runs"]]
    return Iterations(
        groups=tuple(sorted(groups, key=lambda group: (-group.cost, *group.group.values()))),
        longest=tuple(_run(group_of(row, names), row) for row in longest), without=without,
    )  # fmt: skip


SUMS = ("events", "tool_calls", "failed", "input_tokens", "output_tokens", "cost", "unpriced_events")
Rows = list[dict[str, Any]]


def _of_moment(
    moment: Moment, names: tuple[str, ...], limit: int, *, since: Bound, until: Bound, where: Where
) -> tuple[Rows, Rows, int]:
    """Return the sums of each group's runs, the longest runs, and how many attempts belong to none."""
    groups = "".join(f"{dimension(name)} AS by_{n}, " for n, name in enumerate(names))
    measures = ("first", "last", *SUMS)
    listed = "".join(f"{key}, " for key in keys(names))
    rows = moment.ask(
        f"""
        , runs AS (
            SELECT {groups}run, {", ".join(map(summed, measures))} FROM facts WHERE {given(where)} GROUP BY ALL
        ), summed AS (
            SELECT {listed}count(*) AS runs, sum(events) AS events, quantile_cont(events::DOUBLE, 0.5) AS p50,
                quantile_cont(events::DOUBLE, 0.95) AS p95, max(events) AS most, sum(tool_calls) AS tool_calls,
                sum(cost) AS cost, max(cost) AS cost_most, sum(unpriced_events) AS unpriced_events
            FROM runs WHERE run > '' GROUP BY ALL
        ), longest AS (
            SELECT * FROM runs WHERE run > ''
            ORDER BY events DESC, cost DESC NULLS LAST, {", ".join(("run", *keys(names)))} LIMIT {limit:d}
        )
        SELECT 'group' AS kind, * FROM summed UNION ALL BY NAME SELECT 'run' AS kind, * FROM longest
        UNION ALL BY NAME SELECT 'rest' AS kind, sum(events) AS events FROM runs WHERE run = ''""",
        [value for _name, value in where], columns=("run", *columns_for(names, where)), measures=measures,
        since=since, until=until,
    ).to_pylist()  # fmt: skip
    of_kind = {kind: [row for row in rows if row["kind"] == kind] for kind in ("group", "run", "rest")}
    longest = sorted(of_kind["run"], key=lambda row: _order(row, names))
    return of_kind["group"], longest, int(of_kind["rest"][0]["events"] or 0)


def _order(row: dict[str, Any], names: Sequence[str]) -> tuple[Any, ...]:
    """Put the longest run first, of like ones the most expensive."""
    cost = row["cost"]
    return (-row["events"], cost is None, -(cost or 0), row["run"], *group_of(row, names).values())


def _of_table(
    table: Any, names: tuple[str, ...], limit: int, *, since: Bound, until: Bound, where: Where
) -> tuple[Rows, Rows, int]:
    events = attempts_of(table, by=names, since=since, until=until, where=where)
    steps = events.filter(events.run != "")
    runs = steps.group_by([*keys(names), "run"]).aggregate(
        **{name: MADE[name](steps) for name in SUMS}, first=steps["at"].min(), last=steps["at"].max()
    )
    size = runs.events.cast("float64")
    sums = {
        "runs": runs.count(), "events": runs.events.sum(), "p50": size.quantile(0.5), "p95": size.quantile(0.95),
        "most": runs.events.max(), "tool_calls": runs.tool_calls.sum(), "cost": runs.cost.sum(),
        "cost_most": runs.cost.max(), "unpriced_events": runs.unpriced_events.sum(),
    }  # fmt: skip
    found = runs.group_by(keys(names)).aggregate(**sums) if names else runs.aggregate(**sums)
    longest = runs.order_by([runs.events.desc(), runs.cost.desc(), runs.run, *keys(names)]).limit(limit)
    [rest] = events.aggregate(n=(events.run == "").ifelse(events.is_event, 0).sum()).to_pyarrow().to_pylist()
    return found.to_pyarrow().to_pylist(), longest.to_pyarrow().to_pylist(), int(rest["n"] or 0)


def _runs(group: dict[str, str], row: dict[str, Any]) -> Runs:
    cost = row["cost"] or Decimal(0)
    return Runs(
        group=group, runs=int(row["runs"]), steps=int(row["events"]), steps_p50=_tenth(row["p50"]),
        steps_p95=_tenth(row["p95"]),
        steps_most=int(row["most"]), tool_calls=int(row["tool_calls"]), cost=trimmed(cost),
        cost_each=EXACT.quantize(EXACT.divide(cost, Decimal(int(row["runs"]))), Decimal("0.000000001")),
        cost_most=trimmed(row["cost_most"] or Decimal(0)), unpriced_events=int(row["unpriced_events"]),
    )  # fmt: skip


def _tenth(value: float) -> Decimal:
    return Decimal(value).quantize(Decimal("0.1"))


def _run(group: dict[str, str], row: dict[str, Any]) -> Run:
    counts = ("tool_calls", "failed", "input_tokens", "output_tokens", "unpriced_events")
    first, last = (row[name].replace(tzinfo=UTC) for name in ("first", "last"))
    return Run(
        group=group, run=row["run"], steps=int(row["events"]), **{name: int(row[name]) for name in counts},
        cost=trimmed(add([row["cost"] or Decimal(0)])), first=first, last=last,
    )  # fmt: skip
