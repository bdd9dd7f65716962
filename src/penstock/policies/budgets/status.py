"""How far every budget is: spent, reserved, forecast, and whether the counters are what the ledger says."""

from collections.abc import Container, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Literal

from msgspec import Struct, structs

from penstock.policies.alerts import Alert
from penstock.policies.budgets.counters import dollars_of
from penstock.policies.budgets.rules import Rule, Rules
from penstock.policies.budgets.shared import RedisCounters
from penstock.policies.budgets.store import Published
from penstock.policies.budgets.windows import Window, elapsed

EARLY = 0.05
"""Before so much of a period has gone by, a forecast would be a guess."""


class Figure(Struct, frozen=True, gc=False):
    """One counter, in atto-dollars."""

    counter: int | None = 0
    """None: nobody keeps one now."""
    reserved: int = 0
    mine: int | None = 0
    """The part of the counter that this ledger's events are."""
    ledger: int | None = None
    """What this ledger says; None: it was not asked."""


class Standing(Struct, frozen=True, kw_only=True):
    """How far one budget is, for one value of its stars. Dollars, exact."""

    scope: str
    group: dict[str, str]
    """Dimensions that its calls have."""
    per: str
    period: str
    """The window, such as `2026-11`."""
    begins: datetime | None
    """None: it counts from the ledger's begin."""
    ends: datetime | None
    hard: bool
    limit: Decimal
    spent: Decimal
    reserved: Decimal
    forecast: Decimal | None
    """What will be spent at the period's end if it goes on like this; None: too early, or no such period."""
    ledger: Decimal | None
    drift: Decimal | None
    """The counter less the ledger; None where one of them was not asked."""
    state: Literal["ok", "forecast over", "used up"]

    @property
    def share(self) -> Decimal:
        """Spent part of the limit."""
        return self.spent / self.limit if self.limit else Decimal(1)


NONE = Figure()


def standings(rules: Rules, figures: Mapping[str, Figure], now: datetime) -> list[Standing]:
    """Return one row for each counter of each budget; a budget without any spending has one row all the same."""
    rows = []
    for budget in rules.budgets:
        rule = Rule(budget)
        window = rule.window(now)
        values = _by_value(rule, window, figures)
        if not values and not rule.scope.each:
            values = {"": NONE}
        found = [_standing(rule, window, value, figure, now) for value, figure in values.items()]
        rows += sorted(found, key=lambda row: (-row.share, row.scope))
    return rows


def counters_of(rule: Rule, window: Window) -> tuple[str, ...]:
    """Return how the names of a rule's counters of this window begin."""
    if not window.piece:
        return (f"{rule.id}/{window.label}/",)
    return (*(f"{rule.id}/{piece}/" for piece in window.pieces), f"{rule.id}/reserved/")


def _by_value(rule: Rule, window: Window, figures: Mapping[str, Figure]) -> dict[str, Figure]:
    """Put the pieces of each value together."""
    begins = set(counters_of(rule, window))
    found: dict[str, Figure] = {}
    for name, figure in figures.items():
        first, label, value = name.split("/", 2)
        if f"{first}/{label}/" not in begins:
            continue
        old = found.get(value, NONE)
        found[value] = Figure(
            _plus(old.counter, figure.counter), old.reserved + figure.reserved, _plus(old.mine, figure.mine),
            None if figure.ledger is None else (old.ledger or 0) + figure.ledger,
        )  # fmt: skip
    return found


def _plus(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one + other


def _standing(rule: Rule, window: Window, value: str, figure: Figure, now: datetime) -> Standing:
    budget = rule.budget
    known = figure.counter if figure.counter is not None else figure.ledger or 0
    spent = dollars_of(known)
    part = elapsed(window, now)
    forecast = None
    if part is not None and part >= EARLY:
        forecast = dollars_of(int(known / Decimal(part)))
    drift = None
    if figure.mine is not None and figure.ledger is not None:
        drift = dollars_of(figure.mine - figure.ledger)
    state: Literal["ok", "forecast over", "used up"] = "ok"
    if spent >= budget.dollars:
        state = "used up"
    elif forecast is not None and forecast > budget.dollars:
        state = "forecast over"
    return Standing(
        scope=rule.scope.spelled(value), group=rule.scope.held(value), per=budget.per,
        period="" if window.piece else window.label,
        begins=window.start if window.end else None, ends=None if window.piece else window.end,
        hard=budget.hard, limit=budget.dollars, spent=spent,
        reserved=dollars_of(figure.reserved), forecast=forecast,
        ledger=None if figure.ledger is None else dollars_of(figure.ledger), drift=drift, state=state,
    )  # fmt: skip


def alerts_for(rules: Rules, figures: Mapping[str, Figure], now: datetime) -> list[Alert]:
    """Return what somebody should be told: the highest threshold that each counter has crossed, spent or forecast."""
    alerts = []
    for budget in rules.budgets:
        for row in standings(Rules(budgets=(budget,)), figures, now):
            if not row.limit:
                continue
            period = row.period or f"{now:%Y-%m-%d}"  # a rolling window: once a day
            alerts += _crossed(row, budget.thresholds, row.spent, "spent", period)
            if row.forecast is not None and row.state != "used up":
                alerts += _crossed(row, budget.forecast_thresholds, row.forecast, "forecast", period)
    return alerts


def _crossed(
    row: Standing, thresholds: tuple[int, ...], amount: Decimal, what: Literal["spent", "forecast"], period: str
) -> list[Alert]:
    crossed = max((one for one in thresholds if amount * 100 >= row.limit * one), default=None)
    if crossed is None:
        return []
    verb = "has spent" if what == "spent" else "is on the way to spend"
    text = (
        f"{row.scope} {verb} ${amount:.4f} of ${row.limit:f} ({amount / row.limit:.0%}) per {row.per}"
        + (f", period {row.period}" if row.period else "")
        + f". Spent so far: ${row.spent:.4f}.\n"
        + ("Calls beyond the budget are refused.\n" if row.hard else "It is a soft budget: nothing is refused.\n")
    )
    over = crossed >= 100 and what == "spent"
    return [
        Alert(
            kind="budget.threshold" if what == "spent" else "budget.forecast", subject=f"{row.scope} per {row.per}",
            period=f"{period} {crossed}%", title=f"{row.scope} {verb} {crossed} % of its budget",
            text=text, severity="critical" if over and row.hard else "warning",
        )
    ]  # fmt: skip


def from_published(found: Published | None) -> dict[str, Figure]:
    """Return the counters of a worker that keeps them in its memory."""
    if found is None:
        return {}
    names = found.spent.keys() | found.reserved.keys()
    spent = {name: int(found.spent.get(name, "0")) for name in names}
    return {name: Figure(spent[name], int(found.reserved.get(name, "0")), spent[name]) for name in names}


async def from_redis(counters: RedisCounters, rules: Rules, now: datetime) -> dict[str, Figure]:
    """Return the counters that all gateways share. Raises UnavailableError."""
    names: list[str] = []
    for budget in rules.budgets:
        rule = Rule(budget)
        for begin in counters_of(rule, rule.window(now)):
            names += await counters.counters(begin) if rule.scope.each else [begin]
    found: dict[str, Figure] = {}
    for start in range(0, len(names), 1000):
        some = names[start : start + 1000]
        for name, (spent, reserved, mine) in zip(some, await counters.read_parts(some), strict=True):
            if spent or reserved or mine:
                found[name] = Figure(spent, reserved, mine)
    return found


def beside(
    figures: Mapping[str, Figure], sums: Mapping[str, tuple[int, int]], kept: Container[str]
) -> dict[str, Figure]:
    """Put what the ledger says beside the counters; `kept`: the budgets that somebody keeps counters of now."""
    unknown = Figure(None, 0, None)
    return {
        name: structs.replace(
            figures.get(name, NONE if name.partition("/")[0] in kept else unknown), ledger=sums.get(name, (0, 0))[0]
        )
        for name in figures.keys() | sums.keys()
    }
