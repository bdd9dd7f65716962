"""`penstock report runs`: how often agents go round."""

from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter, validators
from rich.markup import escape

from penstock.cli.options import Common, console, counted, table
from penstock.cli.report import known_amount
from penstock.cli.report_options import Asked, flat, grid_by, heads, put, say, show, tell

if TYPE_CHECKING:
    from penstock.analytics.runs import Iterations

HELP = """
Shows, for each app (or what `--by` names), how many steps an agent's run takes and costs, and the longest runs: a run
with many times the usual steps is a loop. A run is what calls name in the header `x-penstock-run`.

Examples:

- `penstock report runs --from 7d`
- `penstock report runs --by feature --longest 25`
- `penstock report runs --only app=researcher --json`
"""

app = App(name="runs", help_epilogue=HELP, default_parameter=Parameter(show_default=False))


@app.default
def runs(
    *,
    by: Annotated[str, Parameter(help="Dimensions, as in app,feature.")] = "app",
    longest: Annotated[
        int, Parameter(help="How many of the longest runs to list.", validator=validators.Number(gte=0, lte=10_000))
    ] = 10,
    asked: Asked | None = None,
    common: Common | None = None,
) -> None:
    """Say how many steps agents' runs take and cost, and which went furthest."""
    from penstock.analytics.runs import iterations

    answer = put(iterations, by, asked, common, limit=longest)
    nothing = f"No runs in {answer.period}: name them in the header x-penstock-run, or import a column run."
    tell(answer, common, fields=_fields, show=_show, nothing=nothing)


def _fields(found: "Iterations") -> dict[str, object]:
    rows, longest = ([flat(one) for one in some] for some in (found.groups, found.longest))
    return {"rows": rows, "longest": longest, "without": found.without}


def _show(found: "Iterations", names: tuple[str, ...]) -> None:
    numbers = ("runs", "steps", "p50", "p95", "most", "tool calls", "cost", "$/run", "dearest")
    grid = grid_by(names, numbers)
    for one in found.groups:
        places = 2 if one.cost >= 100 else 4
        grid.add_row(
            *heads(one.group, names), f"{one.runs:,}", f"{one.steps:,}",
            f"{one.steps_p50:,}", f"{one.steps_p95:,}", f"{one.steps_most:,}", f"{one.tool_calls:,}",
            *(known_amount(cost, one.unpriced_events, decimals) for cost, decimals in
              ((one.cost, places), (one.cost_each, 4), (one.cost_most, places))),
        )  # fmt: skip
    show(grid, ("dearest", "tool calls", "p50", "$/run"))
    if found.longest:
        of_run = ("steps", "failed", "tool calls", "input", "output", "cost", "minutes")
        most = table("longest runs", *names, *of_run, numbers=of_run)
        for run in found.longest:
            counts = (run.steps, run.failed, run.tool_calls, run.input_tokens, run.output_tokens)
            most.add_row(
                escape(run.run), *heads(run.group, names),
                *[f"{n:,}" for n in counts], known_amount(run.cost, run.unpriced_events, 4),
                f"{(run.last - run.first).total_seconds() / 60:,.1f}",
            )  # fmt: skip
        console.print()
        show(most, ("minutes", "input", "output", "tool calls", "failed"))
    if found.without:
        say(f"Note: {counted(found.without, 'attempt', 'are')} of no run.", "dim")
    if unpriced := sum(one.unpriced_events for one in found.groups):
        say(f"Warning: {counted(unpriced, 'step', 'have')} no price; costs are too low by them.", "yellow")
