"""A scheduled report as people get it: a title, plain text, and HTML that mail programs show as it is meant.

Mail programs drop scripts, style sheets, SVG and what is loaded from elsewhere: the HTML is tables with their styles
inline, and bars are cells with a colour.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cache
from shlex import quote
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from msgspec import Struct

from penstock.analytics.anomalies import Anomaly
from penstock.analytics.budget_outlook import BudgetOutlook
from penstock.analytics.change import EFFECTS, Moved
from penstock.analytics.digest import Bar, Digest, Line
from penstock.analytics.zones import zone
from penstock.dashboard.words import begun, exact, money, places_for, short

SHOWN = 10
"""Rows of a table before the rest is summed up in a sentence."""
HEIGHT = 96
"""Pixels of the tallest bar."""
LABELS = {"volume": "volume", "mix": "mix", "tokens_per_request": "length", "token_kinds": "kinds", "price": "price"}
"""What the effects are called, as in `penstock report change`."""


class Letter(Struct, frozen=True, kw_only=True):
    """One report, written."""

    title: str
    text: str
    html: str


class Column(Struct, frozen=True, kw_only=True):
    """One column of the trend's drawing: heights in pixels."""

    label: str
    said: str
    height: int
    before: int


def letter(found: Digest) -> Letter:
    """Write a report."""
    words = _words(found)
    return Letter(title=words["title"], text=_text(found, words), html=_page().render(found=found, **words))


@cache
def _page() -> Any:
    environment = Environment(
        loader=PackageLoader("penstock.dashboard"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.globals.update(
        exact=exact, money=money, short=short, signed=signed, spent=spent, events=events, named=named,
        budget=budget_said, effects=effects_said, SHOWN=SHOWN,
    )  # fmt: skip
    return environment.get_template("letter.html")


def _words(found: Digest) -> dict[str, Any]:
    """Say once what both forms say."""
    report, place = found.report, zone(found.report.time_zone)
    last = found.edition.until.astimezone(place) - timedelta(days=1)
    first = found.edition.since.astimezone(place)
    period = {"day": f"{first:%A}, {first:%Y-%m-%d}", "month": f"{first:%B %Y}"}.get(
        report.every, f"week {first:%V}, {first:%Y-%m-%d} to {last:%Y-%m-%d}"
    )
    only = "".join(f" --only {quote(f'{name}={value}')}" for name, value in report.where)
    zoned = "" if report.time_zone == "UTC" else f" --time-zone {report.time_zone}"
    label = found.edition.label
    return {
        "title": f"{report.name}: {money(found.total, _places(found))}, {period}",
        "period": period,
        "grown": grown(found, place),
        "scope": ", ".join(f"{name} {value or '(none)'}" for name, value in report.where) or "all spend",
        "places": _places(found),
        "columns": _columns(found.trend, _places(found)),
        "movers": [line for line in found.movers.lines if line.moved.change][:5] if found.movers else [],
        "forecast_month": f"{found.forecast.days[-1].day:%B %Y}" if found.forecast else "",
        "command": f"penstock report --by {report.by} --from {label} --to {label}{only}{zoned}",
        "against": " to ".join(f"{at.astimezone(place):%Y-%m-%d %H:%M}" for at in found.before),
        "stamp": f"{found.as_of.astimezone(place):%Y-%m-%d %H:%M} {report.time_zone}",
        "anomalies": [anomaly_said(one, place) for one in found.anomalies or ()],
        "wants": report.sections,
        "tokens": token_rows(found),
    }


def _places(found: Digest) -> int:
    return places_for([found.total, found.total_before])


def signed(amount: Decimal, places: int) -> str:
    """Write a difference with its sign."""
    return f"+{money(amount, places)}" if amount > 0 else money(amount, places)


def grown(found: Digest, place: Any) -> str:
    """Say by how much spend grew; of nothing, and of a period that is not wholly in the ledger, it cannot be said."""
    if found.begins is not None:
        return begun(found.begins, place)
    now, before = found.total, found.total_before
    return f"{(now - before) / before:+.1%}" if before > 0 else "new" if now else "–"


def spent(line: Line, places: int) -> str:
    """Write what a row cost; what has no price is never nothing."""
    if not line.unpriced_events:
        return money(line.cost, places)
    return f"{money(line.cost, places)} and {line.unpriced_events:,} unpriced" if line.cost else "unpriced"


def events(count: int) -> str:
    """Count events."""
    return f"{count:,} event{'' if count == 1 else 's'}"


def named(group: dict[str, str]) -> str:
    """Name a group."""
    return " · ".join(value or "(none)" for value in group.values())


def _columns(trend: Sequence[Bar], places: int) -> list[Column]:
    most = max((max(bar.cost, bar.before or Decimal(0)) for bar in trend), default=Decimal(0))

    def height(amount: Decimal | None) -> int:
        return max(1, round(amount / most * HEIGHT)) if amount and amount > 0 and most > 0 else 0

    every = max(1, -(-len(trend) // 8))
    columns = []
    for n, bar in enumerate(trend):
        label = bar.label[11:13] if "T" in bar.label else f"{int(bar.label[8:])}"
        said = f"{bar.label.replace('T', ' ')}: {money(bar.cost, places)}"
        if bar.before is not None:
            said += f", the period before {money(bar.before, places)}"
        shown = label if len(trend) <= 8 or n % every == 0 else ""
        columns.append(Column(label=shown, said=said, height=height(bar.cost), before=height(bar.before)))
    return columns


def effects_said(moved: Moved, places: int) -> str:
    """Say what a change is made of, the largest first."""
    parts = [(LABELS[name], getattr(moved, name)) for name in EFFECTS]
    parts = [part for part in parts if round(part[1], places)] or parts[:1]
    parts.sort(key=lambda part: -abs(part[1]))
    return ", ".join(f"{label} {signed(value, places)}" for label, value in parts)


def budget_said(one: BudgetOutlook) -> str:
    """Say whether, and when, a budget is used up."""
    match one.state:
        case "used up":
            return "used up" if one.hard else "over (soft)"
        case "will be used up":
            chance = "" if one.probability is None else f" (probability {one.probability:.0%})"
            return f"used up on {one.day}{chance}"
        case "unknown":
            return one.reason
    if one.expected is not None:
        chance = "less than 1%" if (one.probability or 0) < 0.01 else f"{one.probability:.0%}"
        return f"{money(one.expected)} expected; probability of more than the budget: {chance}"
    return one.reason or "not used up within a year"


def anomaly_said(one: Anomaly, place: Any) -> str:
    """Say what was out of the usual, and why."""
    whose = ", ".join(f"{name} {value or '(none)'}" for name, value in one.scope.items()) or "all spend"
    places = places_for([one.observed, one.expected])
    said = (
        f"{_span(one.since.astimezone(place), one.until.astimezone(place), one.grain)}: {one.kind} of {whose}, "
        f"{money(one.observed, places)} instead of {money(one.expected, places)} ({signed(one.excess, places)})"
    )
    if one.cause is None:
        return f"{said}. Cause unknown: there is nothing before to compare with."
    movers = "; ".join(
        f"{mover.dimension} {mover.value or '(none)'} {money(mover.spent, places)} instead of "
        f"{money(mover.usual, places)}"
        for mover in one.cause.movers[:2]
    )
    effects = effects_said(one.cause.effects, places)
    return f"{said}." + (f" {movers}." if movers else "") + (f" By {effects}." if effects else "")


def _span(since: datetime, until: datetime, grain: str) -> str:
    if grain == "hour":
        return f"{since:%Y-%m-%d %H:%M} to {until:%H:%M}"
    last = until - timedelta(hours=1)
    return f"{since:%Y-%m-%d}" + (f" to {last:%Y-%m-%d}" if last.date() > since.date() else "")


# Plain text


def _text(found: Digest, words: dict[str, Any]) -> str:
    places = words["places"]
    report = found.report
    lines = [
        f"{words['scope']}, {words['period']}",
        f"Spent: {exact(found.total)}, {words['grown']}",
        f"The {report.every} before: {exact(found.total_before)}",
        f"{found.requests:,} requests, {short(found.tokens)} tokens",
    ]
    writers = {
        "spend": _spend_lines, "trend": _trend_lines, "movers": _mover_lines, "budgets": _budget_lines,
        "forecast": _forecast_lines, "anomalies": _anomaly_lines, "unpriced": _unpriced_lines, "tokens": _token_lines,
    }  # fmt: skip
    for section in report.sections:
        said = writers[section](found, words, places)
        if section in found.missing:
            said = [f"{section.capitalize()}: {found.missing[section]}"]
        lines += ["", *said] if said else []
    return "\n".join([*lines, "", f"The same figures: {words['command']}", f"As of {words['stamp']}."]) + "\n"


def _spend_lines(found: Digest, _words: dict[str, Any], places: int) -> list[str]:
    lines = [
        f"- {named(line.group)}: {spent(line, places)}" + ("" if found.begins else f" ({signed(line.change, places)})")
        for line in found.lines[:SHOWN]
    ]
    if len(found.lines) > SHOWN:
        lines.append(f"- and {len(found.lines) - SHOWN} more")
    return [f"Spend by {found.report.by}:", *lines] if lines else ["Nothing was spent."]


def _trend_lines(found: Digest, _words: dict[str, Any], places: int) -> list[str]:
    lines = [f"- {bar.label.replace('T', ' ')}: {money(bar.cost, places)}" for bar in found.trend if bar.cost]
    return ["Trend:", *lines] if lines else []


def _mover_lines(found: Digest, words: dict[str, Any], places: int) -> list[str]:
    if not words["movers"]:
        return []
    assert found.movers is not None
    whole = f"Change {signed(found.movers.total.change, places)}: {effects_said(found.movers.total, places)}"
    return [whole, *(
        f"- {named(line.group)}: {signed(line.moved.change, places)} ({effects_said(line.moved, places)})"
        for line in words["movers"]
    )]  # fmt: skip


def _budget_lines(found: Digest, _words: dict[str, Any], _places: int) -> list[str]:
    if found.budgets is None or not found.budgets.budgets:
        return []
    return ["Budgets:", *(
        f"- {one.scope} per {one.per}: {money(one.spent)} of {money(one.dollars)} spent; {budget_said(one)}"
        for one in found.budgets.budgets
    )]  # fmt: skip


def _forecast_lines(found: Digest, words: dict[str, Any], places: int) -> list[str]:
    if (ahead := found.forecast) is None:
        return []
    return [
        (
            f"Forecast of {words['forecast_month']}: {money(ahead.expected, places)}, "
            f"{money(ahead.low, places)} to {money(ahead.high, places)} ({ahead.level:.0%} interval); "
            f"{money(ahead.spent, places)} booked."
        )
    ]


def _anomaly_lines(found: Digest, words: dict[str, Any], _places: int) -> list[str]:
    if found.anomalies is None:
        return []
    return ["Out of the usual:", *(f"- {said}" for said in words["anomalies"])] if found.anomalies else [
        "Nothing was out of the usual."
    ]  # fmt: skip


def _unpriced_lines(found: Digest, _words: dict[str, Any], _places: int) -> list[str]:
    if not found.unpriced_events:
        return []
    return [f"Without a price, and in no sum above: {events(found.unpriced_events)}", *(
        f"- {row.model} at {row.provider}: {events(row.events)}, {short(row.input_tokens)} tokens in, "
        f"{short(row.output_tokens)} out"
        for row in found.unpriced[:SHOWN]
    )]  # fmt: skip


def _token_lines(found: Digest, words: dict[str, Any], _places: int) -> list[str]:
    if found.efficiency is None:
        return []
    return ["Tokens:", *(f"- {name}: {now} (before: {before})" for name, now, before in words["tokens"])]


def token_rows(found: Digest) -> list[tuple[str, str, str]]:
    """Return what is said of tokens: a name, this period, the one before."""
    one, old = found.efficiency, found.efficiency_before

    def percent(value: Decimal | None) -> str:
        return "–" if value is None else f"{value:.1%}"

    def each(name: str, write: Any) -> tuple[str, str]:
        values = (getattr(one, name) if one else None, getattr(old, name) if old else None)
        now, before = ("–" if value is None else write(value) for value in values)
        return now, before

    return [
        ("tokens per request", *each("tokens_per_request", lambda value: f"{value:,.0f}")),
        ("input read from cache", *each("cached_share", percent)),
        ("output per input token", *each("output_per_input", lambda value: f"{value:.2f}")),
        ("dollars per million tokens", *each("cost_per_million", lambda value: money(value, 4))),
        ("failed attempts", *each("failed_share", percent)),
        ("answers cut short", *each("cut_share", percent)),
        ("spent on failed attempts", *each("wasted", lambda value: money(value, 4))),
    ]
