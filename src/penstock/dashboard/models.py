"""What models cost: by deployment, region, tier and kind of token, and why it changed."""

from datetime import datetime, timedelta

from penstock.analytics.change import EFFECTS, Change, change, rates_in
from penstock.analytics.periods import late_begin
from penstock.analytics.spend import add
from penstock.analytics.units import Units, units
from penstock.dashboard.asked import Asked
from penstock.dashboard.charts import Step, ranked, waterfall
from penstock.dashboard.figure import Card, Column, Figure, Row
from penstock.dashboard.figures_of import FEW_SECONDS, by, per_day, spent, summed
from penstock.dashboard.house import House
from penstock.dashboard.page import Page, Shown
from penstock.dashboard.words import begun, day, exact, money, per_cent, requests_and_tokens, unit_name

PLACES = ("provider", "model", "deployment", "deployment_type", "region", "mode")
REGIONS = ("region", "deployment_type")
EFFECT_NAMES = {
    "volume": "Requests",
    "mix": "Mix of models",
    "tokens_per_request": "Tokens a request",
    "token_kinds": "Kinds of tokens",
    "price": "Prices",
}


def gather(house: House, asked: Asked) -> Shown:
    """Gather the page's figures."""
    daily = spent(house, asked, ("day", "provider", "model")).rows
    placed = spent(house, asked, PLACES, seconds=FEW_SECONDS).rows
    models = summed(placed, ("model", "provider"))
    moved = changed(house, asked)
    total = add(row.cost for row in placed)
    change_ = moved.total.change
    dearest, begins = models[0] if models else None, late_begin(house.ledger.moment().span(), asked.before)
    return Shown(
        cards=[
            Card(
                name="Spend", said=money(total), exact=exact(total),
                sub=requests_and_tokens(placed),
            ),
            Card(name=f"Against {before_label(asked)}", said="–", sub=begun(begins)) if begins else Card(
                name=f"Against {before_label(asked)}", said=f"{'+' if change_ > 0 else ''}{money(change_)}",
                exact=exact(change_), sub=f"from {money(moved.total.before)}{per_cent(change_, moved.total.before)}",
            ),
            Card(
                name="Most expensive model", said=(dearest.group["model"] or "no model") if dearest else "–",
                sub=f"{money(dearest.cost)} of {len(models)} model{'' if len(models) == 1 else 's'}" if dearest else "",
            ),
        ],
        figures=[
            _bridge(asked, moved, begins),
            per_day(asked, daily, "model", title="Spend per day, by model"),
            by(asked, ("model", "provider"), models, title="By model"),
            _kinds(asked, priced_units(house, asked)),
            by(asked, ("deployment",), summed(placed, ("deployment",)), title="By deployment"),
            by(asked, REGIONS, summed(placed, REGIONS), title="By region and type"),
            by(asked, ("mode",), summed(placed, ("mode",)), title="By tier",
               note="Standard, batch, flex or priority processing, as it was served."),
            _lines(asked, moved, begins),
        ],
        unpriced=[row for row in summed(placed, ("provider", "model")) if row.unpriced_events],
    )  # fmt: skip


def changed(house: House, asked: Asked) -> Change:
    """Say why spend changed against the period before; kept for a while, since it reads two periods."""
    end = min(asked.until, asked.now + timedelta(days=1))

    def ask() -> Change:
        rates = rates_in(house.ledger, lambda: house.catalog)
        return change(
            house.source(), by=("model",), before=asked.before, after=(asked.since, end), rates=rates,
            where=asked.where,
        )  # fmt: skip

    return house.remember(("change", asked.since, asked.until, asked.where), ask)


def priced_units(house: House, asked: Asked) -> Units:
    """Say what each kind of token cost."""

    def ask() -> Units:
        rates = rates_in(house.ledger, lambda: house.catalog)
        return units(house.source(), rates, since=asked.since, until=asked.until, where=asked.where)

    return house.remember(("units", asked.since, asked.until, asked.where), ask)


def before_label(asked: Asked) -> str:
    """Say which days are compared with."""
    first, last = (day(at) for at in (asked.before[0], asked.before[1] - timedelta(microseconds=1)))
    return first if first == last else f"{first} to {last}"


def _bridge(asked: Asked, moved: Change, begins: datetime | None) -> Figure:
    total = moved.total
    steps = [
        Step(before_label(asked), total.before, is_level=True),
        *(Step(EFFECT_NAMES[name], getattr(total, name)) for name in EFFECTS),
        Step("This period", total.after, is_level=True),
    ]
    told = f"Spend went from {money(total.before)} to {money(total.after)}: " + ", ".join(
        f"{step.name} {money(step.amount)}" for step in steps[1:-1]
    )
    unpriced = moved.unpriced_before + moved.unpriced_after
    return Figure(
        name="change", title="Why spend changed",
        note=f"{_against(asked, begins)} The effects add up to the change exactly."
        + (f" {unpriced:,} event{'' if unpriced == 1 else 's'} without a price: in none of them." if unpriced else ""),
        columns=(Column("step", "Step"), Column("amount", "Dollars", "money")),
        rows=[Row((step.name, step.amount)) for step in steps] if total.before or total.after else (),
        chart=waterfall(steps, title=told),
        empty="Nothing was spent in this period and the one before, so there is no change to explain.",
    )  # fmt: skip


def _kinds(asked: Asked, found: Units) -> Figure:
    rows = [Row((unit_name(one.unit), one.quantity, one.cost)) for one in found.units]
    if found.rest:
        rows.append(Row(("corrections, and rates nobody knows any more", None, found.rest)))
    drawn = [(unit_name(one.unit), one.cost) for one in found.units if one.cost]
    return Figure(
        name="by-token-kind", title="By kind of token", half=True,
        columns=(
            Column("unit", "Kind"), Column("quantity", "Quantity", "count"), Column("cost", "Cost", "money", bar=True),
        ),
        rows=rows, total=("All", "", found.cost) if rows else (),
        chart=ranked(drawn, title=f"Spend by kind of token, {asked.label}: {money(found.cost)} in all.")
        if len(drawn) > 1 else None,
    )  # fmt: skip


def _against(asked: Asked, begins: datetime | None) -> str:
    said = f"Against {before_label(asked)}{', up to the same time of day' if asked.is_running else ''}."
    return f"{said} The ledger begins on {begins:%Y-%m-%d}, so that period is not whole." if begins else said


def _lines(asked: Asked, moved: Change, begins: datetime | None) -> Figure:
    return Figure(
        name="change-by-model", title="What changed, by model", note=_against(asked, begins),
        columns=(
            Column("model", "Model"), Column("status", "Status", less=True), Column("before", "Before", "money"),
            Column("after", "After", "money"), Column("change", "Change", "money"),
            *(Column(name, EFFECT_NAMES[name], "money", less=True) for name in EFFECTS),
        ),
        rows=[
            Row(
                (
                    line.group["model"], line.status, line.moved.before, line.moved.after, line.moved.change,
                    *(getattr(line.moved, name) for name in EFFECTS),
                ),
                href=asked.narrowed("/models", line.group),
            )
            for line in moved.lines
            if line.moved.before or line.moved.after
        ],
    )  # fmt: skip


PAGE = Page(
    path="/models", name="Models", title="Model costs", group="Spend", gather=gather,
    lead="What each model costs, where and how it is served, and why that changed.",
)  # fmt: skip
