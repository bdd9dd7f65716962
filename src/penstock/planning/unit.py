"""Unit economics: what an interaction costs and earns, and when the project pays (guide, section 7.11)."""

import dataclasses
from decimal import Decimal

from penstock.planning.answer import Answer, Correction
from penstock.planning.prices import Prices
from penstock.planning.quantity import (
    AtLeastOne,
    Balance,
    Dollars,
    Growth,
    Inputs,
    Months,
    Ratio,
    Saved,
    Share,
    cents,
    exact,
    money,
    percent,
    quotient,
    ratio,
)
from penstock.planning.sensitivity import sensitivity


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Case(Inputs):
    """One use case: what an interaction costs and what it is worth."""

    name: str
    """What it is called."""
    cost: Dollars
    """Dollars per interaction."""
    value: Dollars
    """Dollars that an interaction is worth."""


GUIDE_CASES = (
    Case(name="Customer support chatbot", cost=Decimal("0.003"), value=Decimal("2.50")),
    Case(name="Document summarization", cost=Decimal("0.008"), value=Decimal("0.50")),
    Case(name="Code review assistant", cost=Decimal("0.02"), value=Decimal("15.00")),
    Case(name="Sales email personalization", cost=Decimal("0.005"), value=Decimal("0.10")),
    Case(name="Legal contract analysis", cost=Decimal("0.15"), value=Decimal("50.00")),
    Case(name="Image generation", cost=Decimal("0.05"), value=Decimal("0.30")),
    Case(name="Full reasoning pipeline (o1)", cost=Decimal("0.50"), value=Decimal("5.00")),
)
"""The table of section 7.11."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class UnitEconomics(Inputs):
    """A product with AI in it, in a month."""

    interactions: AtLeastOne = 100_000
    """Interactions a month."""
    token_cost: Dollars = Decimal(255)
    """Dollars a month for tokens."""
    infra_cost: Dollars = Decimal(45)
    """Dollars a month for everything else: hosting, search, monitoring."""
    value_per_interaction: Dollars = Decimal("2.50")
    """What an interaction is worth: a call deflected, minutes saved."""
    success_share: Share = Decimal(1)
    """Share of the interactions that are worth it."""
    revenue: Dollars = Decimal(300_000)
    """Dollars of revenue a month that the product influences."""
    active_users: AtLeastOne = 200
    """Users active in the month."""
    investment: Dollars = Decimal(0)
    """Dollars to build it, once."""
    value_range: Share = Decimal("0.5")
    """How far the value may be off, up and down: it is an estimate."""
    cost_range: Growth = Decimal("0.5")
    """How far the cost may be off, up and down."""
    cases: tuple[Case, ...] = GUIDE_CASES
    """Use cases to set side by side, each as name=...,cost=...,value=...; by default the guide's."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CaseResult:
    """One use case, judged."""

    use_case: str
    cost: Dollars
    value: Dollars
    roi_multiple: Ratio | None
    """Value over cost; empty: it costs nothing."""
    margin: Saved | None
    """Empty: it is worth nothing."""
    verdict: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """The month with value and cost at the ends of their ranges."""

    scenario: str
    value: Dollars
    cost: Dollars
    net: Balance
    roi_multiple: Ratio | None
    payback_months: Months | None
    """Months until the investment is back; empty: never."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class UnitPlan(Answer):
    """The template of the guide, filled in."""

    cost_per_interaction: Dollars
    """(Tokens + the rest) / interactions."""
    value_created: Dollars
    net_per_month: Balance
    gross_margin: Saved | None
    """(Value - cost) / value; empty: no value."""
    roi_multiple: Ratio | None
    """Value over cost; empty: no cost."""
    cost_share_of_revenue: Growth | None
    """Empty: no revenue."""
    cost_per_active_user: Dollars
    payback_months: Months | None
    """Investment / net value a month; empty: never."""
    break_even_value: Dollars
    """An interaction must be worth this much."""
    scenarios: tuple[Scenario, ...]
    use_cases: tuple[CaseResult, ...]


def unit(inputs: UnitEconomics, prices: Prices) -> UnitPlan:  # noqa: ARG001  (every calculator takes both)
    """Fill in the business case template."""
    cost, value = inputs.token_cost + inputs.infra_cost, _value(inputs)
    each = cost / inputs.interactions
    payback = _payback(inputs, value - cost)
    margin = f", margin {percent(ratio(value - cost, value))}" if value else ""
    when = "" if not inputs.investment else f"; paid back after {payback} months" if payback else "; never paid back"
    return UnitPlan(
        answer=f"An interaction costs {money(_fine(each))} and is worth {money(_fine(value / inputs.interactions))}: "
        f"{money(cents(value - cost))} a month net{margin}{when}.",
        cost_per_interaction=_fine(each),
        value_created=cents(value),
        net_per_month=cents(value - cost),
        gross_margin=quotient(value - cost, value),
        roi_multiple=quotient(value, cost),
        cost_share_of_revenue=quotient(cost, inputs.revenue),
        cost_per_active_user=_fine(cost / inputs.active_users),
        payback_months=payback,
        break_even_value=_fine(each),
        scenarios=_scenarios(inputs, cost, value),
        use_cases=tuple(judge(case) for case in inputs.cases),
        assumptions=("Value is an estimate: show its range, and check it against an experiment.",),
        corrections=CORRECTIONS,
        moved="the monthly margin",
        sensitivity=sensitivity(
            inputs,
            lambda changed: _value(changed) - changed.token_cost - changed.infra_cost,
            leave_out=("value_range", "cost_range"),
        ),
    )


def judge(case: Case) -> CaseResult:
    """Set value against cost. From 100 times on it is strongly viable, from 20 viable, from 10 to be watched."""
    multiple = quotient(case.value, case.cost)
    verdicts = ((100, "strongly viable"), (20, "viable"), (10, "monitor closely"), (1, "marginal"))
    if multiple is None:
        verdict = "costs nothing" if case.value else "neither costs nor earns"
    else:
        verdict = next((word for least, word in verdicts if multiple >= least), "loses money")
    return CaseResult(
        use_case=case.name,
        cost=exact(case.cost),
        value=exact(case.value),
        roi_multiple=multiple,
        margin=quotient(case.value - case.cost, case.value),
        verdict=verdict,
    )


def _value(inputs: UnitEconomics) -> Decimal:
    return inputs.interactions * inputs.value_per_interaction * inputs.success_share


def _payback(inputs: UnitEconomics, net: Decimal) -> Decimal | None:
    if not inputs.investment:
        return Decimal(0)
    return ratio(inputs.investment, net).quantize(Decimal("0.01")) if net > 0 else None


def _scenarios(inputs: UnitEconomics, cost: Decimal, value: Decimal) -> tuple[Scenario, ...]:
    ends = (("pessimistic", -1), ("expected", 0), ("optimistic", 1))
    lines = []
    for name, sign in ends:
        worth, spent = value * (1 + sign * inputs.value_range), cost * max(1 - sign * inputs.cost_range, Decimal(0))
        lines.append(
            Scenario(
                scenario=name,
                value=cents(worth),
                cost=cents(spent),
                net=cents(worth - spent),
                roi_multiple=quotient(worth, spent),
                payback_months=_payback(inputs, worth - spent),
            )
        )
    return tuple(lines)


def _fine(amount: Decimal) -> Decimal:
    return exact(ratio(amount, 1))


CORRECTIONS = (
    Correction(
        section="7.11",
        says="Support chatbot: $0.003 per interaction",
        computed="$0.000255 or $0.00425 by section 7.2",
        why="12 times gpt-4o-mini's cost and 0.7 of gpt-4o's: the figure must include more than tokens; say what.",
    ),
    Correction(section="7.11", says="Gross margin 99.8%", computed="99.88 %", why="($2.50 - $0.003) / $2.50."),
    Correction(
        section="7.11",
        says="Image generation (GPT-4o vision)",
        computed="another model and meter",
        why="Vision reads images; generating them is billed by a model of its own.",
    ),
    Correction(
        section="7.11",
        says="$1.50 per active user, payback of 2 months",
        computed="500 interactions at $0.003; no inputs given",
        why="Neither can be recomputed from the guide; give your own users, investment and value.",
    ),
)
