"""What an outcome costs and earns, where business metrics are known."""

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

from penstock.analytics.unit_economics import Economics, metrics_in, unit_economics
from penstock.dashboard.asked import Asked
from penstock.dashboard.figure import Card, Column, Figure, Row
from penstock.dashboard.house import House
from penstock.dashboard.outlook import dollars_of
from penstock.dashboard.words import exact, money, plain_number
from penstock.errors import InputError
from penstock.ledger.business_metrics import MetricStore, Observation, together

NO_METRICS = (
    "No business metric is known, so dollars cannot be held against outcomes. Book some: "
    "penstock metrics import FILE (date, metric, value)."
)


def observed(house: House) -> Sequence[Observation]:
    """Return the metrics that the ledger keeps, and those of the settings' file."""
    file: Path | None = house.info.get("metrics")
    return together(MetricStore(house.ledger.state).all(), metrics_in(file) if file else ())


def economics(house: House, asked: Asked) -> Economics | str:
    """Hold the page's spend against the first metric; a sentence where that cannot be."""
    metrics = observed(house)
    if not metrics:
        return NO_METRICS
    value = dollars_of(asked.fields, "value_each")
    try:
        return unit_economics(
            house.source(), metrics, since=asked.since, until=asked.until, where=asked.where,
            value_each=value, per="day",
        )  # fmt: skip
    except InputError as error:
        return str(error)


def outcome_card(found: Economics | str) -> list[Card]:
    """Show the return of every dollar, or else what an outcome costs; no metric, no card."""
    if isinstance(found, str) or found.total.cost_per_outcome is None:
        return []
    total = found.total
    cost = total.cost_per_outcome or Decimal(0)
    each = f"{money(cost, 4 if cost < 1 else 2)} each, for {plain_number(total.outcomes)} {found.metric}"
    if total.roi_multiple is None:
        return [Card(name=f"Unit cost: {found.metric}", said=money(cost, 4 if cost < 1 else 2), exact=exact(cost),
                     sub="give its value below to see the return")]  # fmt: skip
    return [Card(name="Return on a dollar", said=f"${total.roi_multiple:.2f}", exact=str(total.roi_multiple), sub=each)]


def outcomes(found: Economics | str) -> list[Figure]:
    """Show outcomes day by day."""
    is_bare = isinstance(found, str) or found.total.value is None
    columns = (
        Column("day", "Day"), Column("outcomes", "Outcomes", "number"), Column("spend", "Spend", "money"),
        Column("cost_per_outcome", "Cost of one", "money"), Column("value", "Value", "money", hidden=True),
        Column("net", "Net", "money", hidden=is_bare), Column("roi_multiple", "Return", "number", hidden=is_bare),
    )  # fmt: skip
    if isinstance(found, str):
        return [Figure(name="outcomes", title="Return", columns=columns, rows=(), empty=found, half=True)]
    days = [
        Row(
            (
                day.first.isoformat() if day.first else "", day.outcomes, day.spend, day.cost_per_outcome, day.value,
                day.net, day.roi_multiple,
            )
        )
        for day in found.rows
    ]  # fmt: skip
    total, missing = found.total, sum(len(gap.days) for gap in found.missing)
    return [
        Figure(
            name="outcomes", title=f"Return: spend held against {found.metric}", half=True, columns=columns,
            rows=days[::-1],
            total=("All", total.outcomes, total.spend, total.cost_per_outcome, total.value, total.net,
                   total.roi_multiple),
            note=f"Days with spend and no {found.metric}, which count in no figure: {missing}." if missing else "",
            empty=f"No day of this period has a count of {found.metric}.", shown=10,
        )
    ]  # fmt: skip
