"""`penstock report latency`: how long answers take, beside what they cost."""

from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from penstock.cli.options import Common, counted
from penstock.cli.report import amount
from penstock.cli.report_options import Asked, flat, grid_by, heads, put, say, show, tell

if TYPE_CHECKING:
    from penstock.analytics.latency import Latency

HELP = """
Shows, for each model (or what `--by` names), quantiles of the duration of answers and of the time to the first token of
streams, output tokens a second, and what a thousand such calls cost: what speed costs.

Examples:

- `penstock report latency --from 7d`
- `penstock report latency --by model,mode --only app=helpdesk`
- `penstock report latency --by deployment --from today --json`
"""

app = App(name="latency", help_epilogue=HELP, default_parameter=Parameter(show_default=False))


@app.default
def latency(
    *,
    by: Annotated[str, Parameter(help="Dimensions, as in model,deployment.")] = "model",
    asked: Asked | None = None,
    common: Common | None = None,
) -> None:
    """Say how long answers take, beside what they cost."""
    from penstock.analytics.latency import latency as measure

    answer = put(measure, by, asked, common)
    nothing = (
        f"No answer with a duration in {answer.period}: calls through the gateway have one, and imports with a column "
        "duration_ms."
    )
    tell(answer, common, fields=lambda found: {"rows": [flat(one) for one in found]}, show=_show, nothing=nothing)


def _show(found: "list[Latency]", names: tuple[str, ...]) -> None:
    numbers = ("calls", "p50", "p90", "p95", "p99", "first p50", "first p95", "tokens/s", "$/1,000 calls")
    grid = grid_by(names, numbers)
    for one in found:
        times = (one.p50_us, one.p90_us, one.p95_us, one.p99_us, one.first_token_p50_us, one.first_token_p95_us)
        grid.add_row(
            *heads(one.group, names), f"{one.calls:,}", *map(_time, times),
            "-" if one.output_per_second is None else f"{one.output_per_second:,.0f}",
            "unpriced" if one.cost_per_thousand is None else amount(one.cost_per_thousand, 4),
        )  # fmt: skip
    show(grid, ("p90", "first p95", "p99", "tokens/s", "first p50", "calls"))
    if unpriced := sum(one.unpriced_events for one in found):
        say(f"Warning: {counted(unpriced, 'call', 'have')} no price: not in the cost.", "yellow")


def _time(microseconds: int | None) -> str:
    if microseconds is None:
        return "-"
    return f"{microseconds / 1000:,.0f} ms" if microseconds < 10_000_000 else f"{microseconds / 1_000_000:,.1f} s"
