"""The first page: what was spent, what will be, what came of it, and what to look at next."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

from msgspec import structs

from penstock.analytics.anomalies import Anomalies
from penstock.analytics.forecast import Forecast, forecast
from penstock.analytics.periods import late_begin
from penstock.analytics.savings import Saving
from penstock.analytics.spend import SpendRow, add, spend
from penstock.analytics.units import Units
from penstock.dashboard.anomalies import judged, told
from penstock.dashboard.asked import Asked, midnight
from penstock.dashboard.asked import asked as read
from penstock.dashboard.budgets import burning, requests_of
from penstock.dashboard.charts import Point, lines, ranked
from penstock.dashboard.charts_frame import HALF
from penstock.dashboard.figure import Card, Column, Figure, Row
from penstock.dashboard.figures_of import by, by_payer, per_day, summed
from penstock.dashboard.house import House
from penstock.dashboard.models import before_label, priced_units
from penstock.dashboard.outcomes import economics, observed, outcome_card, outcomes
from penstock.dashboard.page import Page, Shown
from penstock.dashboard.recommendations import findings, nothing, top
from penstock.dashboard.savings import levers_held, proven_card
from penstock.dashboard.words import begun, exact, money, per_cent, requests_and_tokens, share
from penstock.errors import InputError
from penstock.policies.budgets.status import Standing

TOP, ANOMALIES = 3, "/anomalies"
NO_BUDGET = "There is no budget. Make one with: penstock budgets set 500 --per month"
SAVED = (
    "A saving is proven once a lever runs beside a holdout: a part of the traffic, chosen by chance, goes on without "
    "it, and the difference is measured with its interval. What providers' caches took off is exact, and no lever's."
)
LOOKING = "Still looking."
NO_DAY = (
    "No whole day is booked yet to learn from. Come back tomorrow, or book what was used before: penstock import FILE"
)
GUESS = " There is too little history to try the method on: take the interval as a guess."


def gather(house: House, asked: Asked) -> Shown:
    """Gather the page's figures."""
    teams = by_payer(house, asked).rows
    findings(house, asked, patience=0)  # they are looked for while the other questions are answered
    today = house.now().astimezone(UTC).date()
    month, ledger = today.replace(day=1), house.source()
    since = min(asked.since, midnight(month))
    until = max(asked.until, midnight(today + timedelta(days=1)))
    daily = spend(ledger, by=("day", "provider", "model"), since=since, until=until, where=asked.where, brief=True).rows
    units, held = priced_units(house, asked), levers_held(house, asked)
    budgets = [one.standing for one in burning(house, with_drift=False).budgets]
    ahead, earned = outlook(house, asked), economics(house, asked)
    period, todo = _inside(daily, asked.since, asked.until), top(house, asked, TOP)
    return Shown(
        cards=[
            _spend_card(asked, period, _against(house, asked, period)),
            _month_card(asked, today, _inside(daily, midnight(month), until)),
            _forecast_card(ahead),
            _budget_card(asked, budgets),
            _savings_card(asked, units, held),
            _anomaly_card(house, asked),
            *outcome_card(earned),
        ],
        figures=[
            per_day(asked, period, "model", title="Spend per day, by model"),
            _ahead(ahead, budgets),
            _burn(budgets),
            _savings(units, held),
            *outcomes(earned),
            by(asked, ("model", "provider"), summed(period, ("model", "provider")), title="By model"),
            by(asked, ("team", "app"), teams, title="By team and app"),
        ],
        unpriced=[row for row in summed(period, ("provider", "model")) if row.unpriced_events],
        more={
            "top": todo, "nothing": LOOKING if todo is None else nothing(teams),
            "has_metrics": bool(observed(house)),
        },
    )  # fmt: skip


def outlook(house: House, asked: Asked) -> Forecast | str:
    """Forecast the month's end; a sentence where nothing can be said."""

    def ask() -> Forecast | str:
        try:
            found = forecast(house.source(), house.now(), where=asked.where)
        except InputError as error:
            return str(error)
        return found if found.history else NO_DAY

    return house.remember(("forecast", asked.where), ask)


def _inside(rows: Sequence[SpendRow], since: datetime, until: datetime) -> list[SpendRow]:
    first, last = since.astimezone(UTC).date(), (until - timedelta(microseconds=1)).astimezone(UTC).date()
    return [row for row in rows if first <= date.fromisoformat(row.group["day"]) <= last]


def _against(house: House, asked: Asked, rows: Sequence[SpendRow]) -> str:
    """Hold the spend against that of the period before, if the ledger holds all of that."""
    begins = late_begin(house.ledger.moment().span(), asked.before)
    if begins is not None:
        return begun(begins)
    before = spend(house.source(), since=asked.before[0], until=asked.before[1], where=asked.where, brief=True).total
    change = per_cent(add(row.cost for row in rows) - before, before).strip(" ()")
    return f"{change} against {before_label(asked)}" if change else ""


def _spend_card(asked: Asked, rows: Sequence[SpendRow], against: str) -> Card:
    cost = add(row.cost for row in rows)
    unpriced = sum(row.unpriced_events for row in rows)
    return Card(
        name=f"Spend, {asked.label}", said=money(cost), exact=exact(cost),
        sub=" · ".join(filter(None, (against, requests_and_tokens(rows)))),
        note=f"{unpriced:,} unpriced" if unpriced else "", href=asked.to("/models"),
    )  # fmt: skip


def _month_card(asked: Asked, today: date, rows: Sequence[SpendRow]) -> Card:
    cost = add(row.cost for row in rows)
    now = add(row.cost for row in rows if row.group["day"] == today.isoformat())
    return Card(
        name=f"{today:%B} to date", said=money(cost), exact=exact(cost), sub=f"{money(now)} of it today",
        href=asked.to("/models", **{"period": "month", "from": "", "to": ""}),
    )  # fmt: skip


def _forecast_card(ahead: Forecast | str) -> Card:
    if isinstance(ahead, str):
        return Card(name="Forecast", said="–", sub="too little is booked to say")
    return Card(
        name=f"Forecast, end of {ahead.since:%B}", said=money(ahead.expected), exact=exact(ahead.expected),
        sub=f"{money(ahead.low)} to {money(ahead.high)}, "
        + (f"{ahead.level:.0%} interval" if ahead.backtest else "a guess: the history is short"),
        href="#figure-forecast",
    )  # fmt: skip


def _budget_card(asked: Asked, budgets: Sequence[Standing]) -> Card:
    if not budgets:
        return Card(name="Budgets", said="none", sub="penstock budgets set 500 --per month", href=asked.to("/budgets"))
    first = budgets[0]
    return Card(
        name="Fullest budget", said=share(first.spent, first.limit) if first.limit else "no money",
        sub=f"{first.scope}: {money(first.spent)} of {money(first.limit)} per {first.per}",
        exact=exact(first.spent), href=asked.to("/budgets"),
        tone={"ok": "", "forecast over": "warn", "used up": "bad"}[first.state],  # type: ignore[arg-type]
    )  # fmt: skip


def _savings_card(asked: Asked, units: Units, held: Sequence[Saving] | None) -> Card:
    card = proven_card(held, f"caches of providers took {money(units.saved_by_cache)} off")
    return structs.replace(card, href=asked.to("/savings"))


def _anomaly_card(house: House, asked: Asked) -> Card:
    """Show what was out of the usual lately and nobody has looked at: by the answer that the page of anomalies keeps.

    It takes seconds to find, so it is asked once for all traffic, and a filter only chooses among what was found.
    """
    lately = read(ANOMALIES, {}, asked.now)
    found = judged(house, lately)
    name = f"Out of the usual, {lately.label}"
    if not isinstance(found, Anomalies):
        why = "too little history to say" if found else LOOKING
        return Card(name=name, said="–", sub=why, href=asked.to(ANOMALIES))
    unheeded = [
        one.one
        for one in told(house, lately, found)
        if one.now.status == "open" and all(one.one.scope.get(key) == value for key, value in asked.where)
    ]
    excess = add(one.excess for one in unheeded if one.excess > 0)
    return Card(
        name=name, said=f"{len(unheeded)}", tone="warn" if unheeded else "", href=asked.to(ANOMALIES),
        sub=f"not looked at yet · {money(excess)} above the usual" if unheeded else "nothing that is not looked at",
    )  # fmt: skip


def _ahead(ahead: Forecast | str, budgets: Sequence[Standing]) -> Figure:
    columns = (
        Column("day", "Day"), Column("spent", "Booked", "money"), Column("expected", "Expected", "money"),
        Column("sum", "Sum", "money"), Column("low", "Low", "money"), Column("high", "High", "money"),
    )  # fmt: skip
    if isinstance(ahead, str):
        return Figure(name="forecast", title="Forecast", columns=columns, rows=(), empty=ahead, half=True)
    limit = next((row.limit for row in budgets if (row.scope, row.per) == ("everything", "month")), None)
    points = [Point(day.day, day.sum, day.low, day.high) for day in ahead.days]
    told = (
        f"Sum of the month day by day: {money(ahead.spent)} booked, {money(ahead.expected)} expected at its end, "
        f"{money(ahead.low)} to {money(ahead.high)}."
    )
    return Figure(
        name="forecast", title="Forecast of the month", period=f"{ahead.since:%B %Y}", half=True,
        note=f"The sum so far, then what is expected (dashed) with its {ahead.level:.0%} interval."
        + ("" if limit is None else f" The dashed line across is the budget, {money(limit)}.")
        + ("" if ahead.backtest else GUESS)
        + (" The ledger is old: it is taken as it stood then." if ahead.stale else ""),
        columns=columns,
        rows=[Row((day.day.isoformat(), day.spent, day.expected, day.sum, day.low, day.high)) for day in ahead.days],
        chart=lines(points, title=told, limit=limit, width=HALF), shown=31,
    )  # fmt: skip


def _burn(budgets: Sequence[Standing]) -> Figure:
    shown = [row for row in budgets if row.limit][:12]
    return Figure(
        name="budgets", title="Budget burn", half=True, period="now",
        columns=(
            Column("scope", "Scope"), Column("per", "Per"), Column("limit", "Limit", "money"),
            Column("spent", "Spent", "money"), Column("share", "Share", "share"),
            Column("forecast", "At this pace", "money", less=True), Column("state", "State"),
        ),
        rows=[
            Row(
                (row.scope, row.per, row.limit, row.spent, row.share, row.forecast, row.state), href=requests_of(row),
            )
            for row in budgets
        ],
        chart=ranked(
            [(f"{row.scope} · {row.per}", row.spent) for row in shown], limits=[row.limit for row in shown],
            title="Spent of each budget: " + "; ".join(f"{row.scope} {share(row.spent, row.limit)}" for row in shown),
        ) if shown else None,
        empty=NO_BUDGET,
    )  # fmt: skip


def _savings(units: Units, held: Sequence[Saving] | None) -> Figure:
    proven = [(f"{one.lever}, {one.key}", "proven", one.net) for one in held or () if one.state == "proven"]
    cache = [("Prompt caches of the providers", "exact", units.saved_by_cache)] if units.saved_by_cache else []
    return Figure(
        name="savings", title="Savings", half=True, note=SAVED,
        columns=(Column("lever", "Lever", "sentence"), Column("basis", "Basis"), Column("dollars", "Dollars", "money")),
        rows=[Row(row) for row in (*proven, *cache)],
        empty="Nothing is proven yet, and no input of this period came from a prompt cache.",
    )  # fmt: skip


PAGE = Page(
    path="/", name="Summary", group="Spend", gather=gather, template="summary.html", live=True, own=("value_each",)
)
