"""`penstock forecast`: what will be spent."""

from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter
from rich.markup import escape

from penstock.cli.options import Common, answer_no, console, counted, dollars, print_json, table
from penstock.cli.report_options import Sources, counting

if TYPE_CHECKING:
    from penstock.analytics.budget_outlook import BudgetOutlook, BudgetOutlooks
    from penstock.analytics.forecast import Forecast

HELP = """
Says what this month will cost, or the next N days: booked dollars plus what is still to come, with an interval. Beside
it stands how far the same method was off on your own past, and what the plain rule (mean of all days, x 30) would say.
Below stands of each budget, of penstock.toml and made by command, whether and on which day it will be used up.

Methods: drift (the latest level and most of its drift, in the shape of the week; no extra package), x30 (the plain
rule), autotheta (statsforecast; needs `pip install 'penstock[forecast]'`). With less than two weeks of history every
method is the plain rule, and says so. Events without a price are named, and never counted as zero.

Examples:

- `penstock forecast`
- `penstock forecast --check`
- `penstock forecast --budget 5000 --check`
- `penstock forecast --days 30 --by team,model`
- `penstock forecast --only team=support --time-zone Europe/Berlin --svg forecast.svg`
- `penstock forecast --method autotheta --json`
"""

app = App(name="forecast", help_epilogue=HELP, default_parameter=Parameter(show_default=False))


@app.default
def forecast(
    *,
    days: Annotated[int | None, Parameter(help="Days from now on; without it, to the end of the month.")] = None,
    by: Annotated[str, Parameter(help="Dimensions, as in team,model; the groups add up to the total.")] = "",
    only: Annotated[
        tuple[str, ...], Parameter(help="Keep one value, as in team=support. May be repeated.", negative="")
    ] = (),
    budget: Annotated[Decimal | None, Parameter(help="Dollars not to pass in the period.")] = None,
    check: Annotated[
        bool,
        Parameter(help="Exit with 1 if more than --budget is expected; without it, than any budget.", negative=""),
    ] = False,
    method: Annotated[str, Parameter(help="drift (by default), x30 or autotheta.")] = "drift",
    level: Annotated[float, Parameter(help="Share of intervals that should hold the truth; by default 0.8.")] = 0.8,
    as_of: Annotated[str, Parameter(help="Forecast from then: 2026-03-14, yesterday, 7d, ...; by default now.")] = "",
    time_zone: Annotated[str, Parameter(help="Where days begin and end: Europe/Berlin.")] = "UTC",
    top: Annotated[int, Parameter(help="Groups to show; the others are summed up.")] = 10,
    svg: Annotated[Path | None, Parameter(help="Write the drawing to this file.")] = None,
    sources: Sources = "best",
    common: Common | None = None,
) -> None:
    """Say what will be spent to the end of the month, or in some days, and how sure that is."""
    from penstock.analytics import periods
    from penstock.analytics.budget_outlook import budget_outlook
    from penstock.analytics.forecast import forecast as ask
    from penstock.analytics.forecast_chart import svg as draw
    from penstock.analytics.zones import zone
    from penstock.app import allowances_for, ledger_for
    from penstock.errors import InputError
    from penstock.metering.event import utc_now
    from penstock.settings import load

    common = common or Common()
    if budget is not None and not (budget.is_finite() and budget >= 0):
        raise InputError(f"--budget must be dollars, from 0 on, not {budget}")
    if top < 1:
        raise InputError(f"--top must be at least 1, not {top}")
    now = utc_now()
    if as_of:
        now = min(now, periods.since(as_of, now, zone(time_zone)))
    where = [(name, value) for name, found, value in (pair.partition("=") for pair in only) if found]
    if len(where) != len(only):
        raise InputError("--only takes a dimension and a value, as in: --only team=support")
    names = tuple(dict.fromkeys(name.strip() for name in by.split(",") if name.strip()))
    settings = load(common.config, data=common.data)
    with ledger_for(settings, create=False) as ledger:
        counted = counting(ledger, sources)
        found = ask(
            counted, now, days=days, by=names, time_zone=time_zone, where=where, method=method, level=level,
            amount=budget, most_rows=top,
        )  # fmt: skip
        budgets = budget_outlook(counted, now, allowances_for(settings), where=where, method=method)
    if check and budget is None and not budgets.budgets:
        raise InputError("--check needs a budget to check against: --budget 5000, or a [[budgets]] row")
    if svg is not None:
        try:
            svg.write_text(draw(found, _heading(found, time_zone)), "utf-8")
        except OSError as error:
            raise InputError(f"{svg} cannot be written: {error.strerror}") from None
    if common.json:
        print_json(document(found, names, time_zone) | {"budgets": budgets.budgets, "more_budgets": budgets.others})
    else:
        _show(found, names, time_zone)
        _show_budgets(budgets)
    over = any(one.state in ("used up", "will be used up") for one in budgets.budgets)
    if check and (found.limit.expected_over > 0 if found.limit else over):
        answer_no()


def document(found: "Forecast", names: tuple[str, ...], time_zone: str) -> dict[str, Any]:
    """Return what `--json` prints."""
    import msgspec

    fields = msgspec.structs.asdict(found)
    rows = [row.group | {name: getattr(row, name) for name in ("spent", "expected", "low", "high", "method")}
            for row in found.rows]  # fmt: skip
    fields["from"], fields["to"] = fields.pop("since"), fields.pop("until")
    fields["budget"] = fields.pop("limit")
    return fields | {"rows": rows, "by": names, "time_zone": time_zone}


def _heading(found: "Forecast", time_zone: str) -> str:
    from penstock.analytics.zones import zone

    place = zone(time_zone)
    first = found.since.astimezone(place)
    last = found.days[-1].day
    what = f"{first:%B %Y}" if first.day == 1 and first.month == last.month else f"{first:%Y-%m-%d} to {last}"
    return f"{what}: {dollars(found.expected, 2)} expected, {dollars(found.low, 2)} to {dollars(found.high, 2)}"


def _show(found: "Forecast", names: tuple[str, ...], time_zone: str) -> None:
    from penstock.analytics.forecast_chart import blocks
    from penstock.analytics.zones import zone

    def say(text: str, style: str = "") -> None:
        console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)

    places = 2 if found.expected >= 10 else 4
    at = found.as_of.astimezone(zone(time_zone))
    say(f"{_heading(found, time_zone)} ({found.level:.0%} interval)", "bold")
    to_come = dollars(found.expected - found.spent, places)
    say(f"{dollars(found.spent, places)} booked by {at:%Y-%m-%d %H:%M} {time_zone}, {to_come} to come")
    if found.limit:
        _say_limit(found, say)
    say("")
    say(blocks(found, console.width))
    say("")
    if found.rows:
        numbers = ("booked", "expected", "low", "high")
        grid = table(*names, *numbers, numbers=numbers)
        for row in found.rows:
            cells = [escape(row.group[name]) or "(none)" for name in names]
            grid.add_row(*cells, *(dollars(value, places) for value in (row.spent, row.expected, row.low, row.high)))
        grid.add_section()
        whole = (found.spent, found.expected, found.low, found.high)
        grid.add_row("total", *[""] * (len(names) - 1), *(dollars(value, places) for value in whole), style="bold")
        console.print(grid)
    _say_how(found, say, places)


COLOURS = {"ok": "green", "will be used up": "yellow", "used up": "red", "unknown": "dim"}


def _show_budgets(found: "BudgetOutlooks") -> None:
    """Say of each budget whether, and when, it will be used up."""
    if not found.budgets:
        return
    console.print()
    grid = table("budget", "spent", "of", "expected", "outlook", numbers=("spent", "of", "expected"))
    for one in found.budgets:
        expected = "-" if one.expected is None else dollars(one.expected, 2)
        grid.add_row(
            escape(f"{one.scope} per {one.per}"), dollars(one.spent, 2), dollars(one.dollars, 2), expected,
            f"[{COLOURS[one.state]}]{escape(_outlook(one))}[/]",
        )  # fmt: skip
    console.print(grid)
    if found.others:
        console.print(f"{counted(found.others, 'value')} of budgets with a * have spent less and are left out.")


def _outlook(one: "BudgetOutlook") -> str:
    some = "" if one.probability is None else f"{one.probability:.0%}" if one.probability >= 0.01 else "less than 1%"
    chance = some and f", probability {some}"
    match one.state:
        case "used up":
            return "used up" if one.hard else "over (soft)"
        case "will be used up":
            return f"used up on {one.day}{chance}"
        case "ok" if not one.reason and one.until is None:
            return "not used up within a year"
    return one.reason or f"not used up{chance}"


def _say_limit(found: "Forecast", say: Any) -> None:
    limit = found.limit
    assert limit is not None
    chance = "less than 1%" if limit.probability < 0.01 else f"{limit.probability:.0%}"
    if limit.expected_over > 0:
        when = f", passed on {limit.day}" if limit.day else ""
        say(f"Over the budget of {dollars(limit.amount, 2)} by {dollars(limit.expected_over, 2)}{when}; "
            f"probability of ending above it: {chance}", "red")  # fmt: skip
    else:
        say(f"Within the budget of {dollars(limit.amount, 2)}, {dollars(-limit.expected_over, 2)} to spare; "
            f"probability of ending above it: {chance}", "green")  # fmt: skip


def _say_how(found: "Forecast", say: Any, places: int) -> None:
    """Say where the figure comes from, how good it was, and what it leaves out."""
    why = f" instead of {found.asked}: {found.reason}" if found.reason and found.method != found.asked else ""
    say(f"Method {found.method}{why}; {counted(found.history, 'whole day')} of history. "
        f"The plain rule (x30) says {dollars(found.plain, places)}.")  # fmt: skip
    past = found.backtest
    if past is None:
        say("There is too little history to try the method on: take the interval as a guess.", "yellow")
    else:
        say(f"On your own past, {counted(past.windows, 'window')} of {counted(past.days, 'day')}: total off by "
            f"{past.error:.1%} (median; worst {past.worst:.1%}), x30 by {past.plain_error:.1%}; days off by "
            f"{past.wape:.1%}; the interval held {past.inside} of {past.windows}.")  # fmt: skip
        if past.plain_error < past.error and past.windows > 2 and found.method != "x30":
            say("The plain rule did better on this past; try --method x30.", "yellow")
    if found.stale:
        say(f"The newest event is old, so this is the forecast as of {found.as_of:%Y-%m-%d %H:%M} UTC.", "yellow")
    if found.gaps:
        listed = ", ".join(str(day) for day in found.gaps[:5]) + (", ..." if len(found.gaps) > 5 else "")
        say(f"Days without any event are taken as missing, not as $0: {listed}", "yellow")
    say_unpriced(found, say)


def say_unpriced(found: Any, say: Any) -> None:
    """Name the events without a price; their dollars are missing, not zero."""
    if not found.unpriced_events:
        return
    some = counted(found.unpriced_events, "event", "have")
    say(f"Warning: {some} no price, so every sum here is too low by what they cost:", "yellow")
    for row in found.unpriced:
        how = f"penstock prices set {row.model} --provider {row.provider} --input … --output …"
        say(f"  {row.events:,} of model {row.model} at {row.provider}. Add a price with: {how}, "
            "then: penstock ledger reprice", "yellow")  # fmt: skip
