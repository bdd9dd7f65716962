"""Agents' runs: what each one cost, and one of them step by step."""

from decimal import Decimal
from typing import Any

from penstock.analytics.agent_runs import ORDERS, AgentRuns, agent_runs, span_of, steps_of
from penstock.analytics.spend import add
from penstock.dashboard.asked import Asked
from penstock.dashboard.charts import ranked
from penstock.dashboard.figure import Card, Column, Figure, Row
from penstock.dashboard.figures_of import BARS
from penstock.dashboard.house import House, NotFoundError
from penstock.dashboard.page import Field, Page, Shown
from penstock.dashboard.words import exact, link, money, run_path

MOST = 200
EMPTY = (
    "No request of this period belongs to a run. Send the header x-penstock-run with each step of an agent, "
    "and its steps are added up here."
)


def gather(house: House, asked: Asked) -> Shown:
    """Gather the list."""
    order = asked.own("order", tuple(ORDERS))
    bounds: dict[str, Any] = {"since": asked.since, "until": asked.until, "where": asked.where}
    found = agent_runs(house.ledger.moment(), order=order, limit=MOST, **bounds)  # type: ignore[arg-type]
    return Shown(cards=_cards(asked, found) if found.count else (), figures=[_list(asked, found)])


def _cards(asked: Asked, found: AgentRuns) -> list[Card]:
    each = found.cost / found.count
    return [
        Card(name="Runs", said=f"{found.count:,}", sub=f"{money(found.cost)} in all", exact=exact(found.cost)),
        Card(
            name="Cost of a run", said=money(each, places := 4 if each < 1 else 2), exact=exact(each),
            sub=f"mean; at most {money(found.cost_most, places)}",
        ),
        Card(
            name="Steps of a run", said=f"{found.steps_median:g}", sub=f"median; at most {found.steps_most:,}",
            href=asked.link(order="steps"),
        ),
    ]  # fmt: skip


def _list(asked: Asked, found: AgentRuns) -> Figure:
    drawn = [(run.run, run.cost) for run in found.first if run.cost][:BARS]
    more = f" These are the first {MOST:,} in this order." if found.count > MOST else ""
    return Figure(
        name="runs", title="Runs", open=True, note=f"Each leads to its steps.{more}",
        columns=(
            Column("run", "Run"), Column("team", "Team", less=True), Column("app", "App", less=True),
            Column("first", "Began", "time", less=True), Column("steps", "Steps", "count"),
            Column("attempts", "Attempts", "count", less=True), Column("failed", "Failed", "count"),
            Column("tool_calls", "Tool calls", "count", less=True), Column("models", "Models", "count", hidden=True),
            Column("input_tokens", "Input", "tokens", less=True),
            Column("output_tokens", "Output", "tokens", less=True),
            Column("cost", "Cost", "money"), Column("unpriced_events", "Unpriced", "count", hidden=True),
        ),
        rows=[
            Row(
                (
                    run.run, run.team, run.app, run.first, run.steps, run.attempts, run.failed, run.tool_calls,
                    run.models, run.input_tokens, run.output_tokens,
                    None if run.unpriced_events and not run.cost else run.cost, run.unpriced_events,
                ),
                href=link(run_path(run.run), asked.kept),
                badge=f"{run.unpriced_events:,} unpriced" if run.unpriced_events else "",
            )
            for run in found.first
        ],
        chart=ranked(drawn, title=f"Cost of runs, {asked.label}: at most {money(found.cost_most)}.")
        if len(drawn) > 1 else None,
        empty=EMPTY, shown=50,
    )  # fmt: skip


def one_run(house: House, run: str) -> dict[str, Any]:
    """Gather the page of one run."""
    steps = steps_of(house.ledger.moment(), run)
    if not steps:
        raise NotFoundError(f"There is no run {run[:200]!r} in the ledger.")
    sums, reached = [], Decimal(0)
    for step in steps:
        reached = add((reached, step.request.priced_part))
        sums.append(reached)
    attempts = [attempt for step in steps for attempt in step.attempts]
    return {
        "here": "/runs", "run": run, "steps": list(zip(steps, sums, strict=True)), "total": reached,
        "most": max(step.request.priced_part for step in steps), "attempts": len(attempts),
        "failed": sum(one.outcome in ("error", "aborted") for one in attempts),
        "unpriced": sum(one.cost is None for one in attempts),
        "input_tokens": sum(step.request.input_tokens for step in steps),
        "output_tokens": sum(step.request.output_tokens for step in steps),
        "took": span_of(steps).total_seconds() * 1_000_000, "first": steps[0].request,
        "last": steps[-1].request,
    }  # fmt: skip


PAGE = Page(
    path="/runs", name="Agent runs", group="Usage", gather=gather, own=("order",),
    fields=(Field("order", "Order", (("cost", "dearest"), ("steps", "longest"), ("newest", "newest")), blank=False),),
    lead="What agents and conversations cost from their first step to their last.",
)  # fmt: skip
