"""Agents' runs one by one: those of a time, and one of them step by step."""
# ruff: noqa: S608  # names of columns; values are bound

from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal

from msgspec import Struct

from penstock.analytics.question import TAG, trimmed
from penstock.analytics.requests import FIELDS, Request, request_of
from penstock.analytics.spend import check, given
from penstock.ledger.moment import Moment

COLUMNS = (
    "id", "run", "request_id", "corrects", "price_state", "purpose", "outcome", "requests", "tool_calls",
    "input_tokens", "output_tokens", "cost", "duration_us", "team", "app", "model",
)  # fmt: skip
ORDERS = {"cost": "cost DESC NULLS LAST", "steps": "steps DESC", "newest": "last DESC"}
Order = Literal["cost", "steps", "newest"]
OF_ALL = (
    "count(*) OVER () AS all_runs, sum(cost) OVER () AS all_cost, max(cost) OVER () AS cost_most, "
    "median(steps) OVER () AS steps_median, max(steps) OVER () AS steps_most"
)
MOST_STEPS = 2_000


class AgentRun(Struct, frozen=True, kw_only=True):
    """One run. Steps are requests; each may have several attempts."""

    run: str
    team: str
    """Of its first step, as is the app."""
    app: str
    models: int
    steps: int
    attempts: int
    failed: int
    """Attempts without an answer."""
    tool_calls: int
    input_tokens: int
    output_tokens: int
    cost: Decimal
    """Dollars, without unpriced attempts."""
    unpriced_events: int
    first: datetime
    """When its first attempt began, and when its last one ended."""
    last: datetime


class AgentRuns(Struct, frozen=True, kw_only=True):
    """The first runs of some order, and figures of all that there are."""

    first: tuple[AgentRun, ...]
    count: int = 0
    cost: Decimal = Decimal(0)
    """Dollars of all, without unpriced attempts."""
    cost_most: Decimal = Decimal(0)
    """Of the dearest one."""
    steps_median: float = 0
    steps_most: int = 0


class Attempt(Struct, frozen=True, kw_only=True):
    """One attempt of a step, with what corrections added to it."""

    attempt: int
    purpose: str
    provider: str
    model: str
    outcome: str
    status: int
    error: str
    finish_reason: str
    at: datetime
    duration_us: int
    input_tokens: int
    output_tokens: int
    cost: Decimal | None
    """None: no price."""


class Step(Struct, frozen=True, kw_only=True):
    """One request of a run."""

    request: Request
    attempts: tuple[Attempt, ...]


def agent_runs(
    moment: Moment,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    where: Sequence[tuple[str, str]] = (),
    order: Order = "cost",
    limit: int = 100,
) -> AgentRuns:
    """Sum up the runs that have attempts in [since, until); the first ones are the dearest, longest or newest."""
    check([name for name, _value in where], grains=())
    found = moment.select(
        f"""
        SELECT *, {OF_ALL} FROM (
        SELECT run, arg_min(team, "at") AS team, arg_min(app, "at") AS app, count(DISTINCT model) AS models,
            count(DISTINCT request_id) FILTER (corrects = '') AS steps, count(*) FILTER (corrects = '') AS attempts,
            count(*) FILTER (corrects = '' AND outcome IN ('error', 'aborted')) AS failed,
            sum(tool_calls) FILTER (corrects = '')::BIGINT AS tool_calls, sum(input_tokens)::BIGINT AS input_tokens,
            sum(output_tokens)::BIGINT AS output_tokens, sum(cost) AS cost,
            list(id) FILTER (corrects = '' AND price_state = 'unpriced') AS open,
            list(corrects) FILTER (corrects > '' AND price_state <> 'unpriced') AS settled,
            min("at") AS first, max("at" + to_microseconds(duration_us)) AS last
        FROM events WHERE run > '' AND {given(where)} GROUP BY run HAVING attempts > 0)
        ORDER BY {ORDERS[order]}, run LIMIT {limit:d}""",
        [value for _name, value in where],
        columns=(*COLUMNS, *("tags" if name.startswith(TAG) else name for name, _value in where)),
        since=since, until=until,
    ).to_pylist()  # fmt: skip
    if not found:
        return AgentRuns(first=())
    sums = found[0]
    return AgentRuns(
        first=tuple(_run(row) for row in found), count=sums["all_runs"],
        cost=trimmed(sums["all_cost"] or Decimal(0)), cost_most=trimmed(sums["cost_most"] or Decimal(0)),
        steps_median=sums["steps_median"], steps_most=sums["steps_most"],
    )  # fmt: skip


def _run(row: dict[str, Any]) -> AgentRun:
    plain = {name: row[name] for name in AgentRun.__struct_fields__ if name in row}
    return AgentRun(**plain | {
        "cost": trimmed(row["cost"] or Decimal(0)),
        "unpriced_events": len(set(row["open"] or ()) - set(row["settled"] or ())),
        "first": row["first"].replace(tzinfo=UTC), "last": row["last"].replace(tzinfo=UTC),
    })  # fmt: skip


def steps_of(moment: Moment, run: str) -> list[Step]:
    """Return the steps of a run in order of time, at most `MOST_STEPS` attempts; no step: there is no such run."""
    columns = (*FIELDS, "run", "finish_reason")
    listed = ", ".join(f'"{name}"' for name in columns)
    rows = moment.select(
        f'SELECT {listed} FROM events WHERE run = $1 ORDER BY "at", attempt LIMIT {MOST_STEPS}', [run], columns=columns
    ).to_pylist()
    grouped: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        grouped[row["request_id"]].append(row)
    steps = [Step(request=request_of(some), attempts=_attempts(some)) for some in grouped.values()]
    return sorted(steps, key=lambda step: (step.request.at, step.request.request_id))


def span_of(steps: Sequence[Step]) -> timedelta:
    """Return how long a run took, from its first attempt's begin to its last one's end."""
    ends = [one.at + timedelta(microseconds=one.duration_us) for step in steps for one in step.attempts]
    return max(ends) - min(step.request.at for step in steps)


def _attempts(rows: Sequence[dict[str, Any]]) -> tuple[Attempt, ...]:
    corrections: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        if row["corrects"]:
            corrections[row["corrects"]].append(row)
    return tuple(
        Attempt(
            at=row["at"].replace(tzinfo=UTC), cost=_cost([row, *corrections[row["id"]]]),
            **{name: row[name] for name in Attempt.__struct_fields__ if name not in ("at", "cost")},
        )
        for row in rows
        if not row["corrects"]
    )  # fmt: skip


def _cost(rows: Sequence[dict[str, Any]]) -> Decimal | None:
    known = [row["cost"] for row in rows if row["price_state"] != "unpriced" and row["cost"] is not None]
    return trimmed(sum(known, Decimal(0))) if known else None
