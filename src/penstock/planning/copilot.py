"""Copilot licences: return on hours that people report, licences to take back, and credits (guide, section 7.8)."""

import dataclasses
from decimal import ROUND_CEILING, Decimal

from penstock.errors import PlanError
from penstock.planning.answer import Answer, Correction
from penstock.planning.prices import PriceUsed
from penstock.planning.quantity import (
    Amount,
    AtLeastOne,
    Count,
    Dollars,
    Growth,
    Hours,
    Inputs,
    Share,
    cents,
    exact,
    money,
    percent,
    quotient,
    ratio,
)
from penstock.planning.sensitivity import sensitivity
from penstock.pricing.licences import Licence, Licences

PACK_CREDITS = 25_000
AI_BUILDER_PACK_CREDITS = 1_000_000


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Copilot(Inputs):
    """Licences in a month, who uses them, and what a custom copilot consumes."""

    licences: AtLeastOne = 1000
    """Microsoft 365 Copilot licences that are paid for."""
    active_users: Count = 700
    """Users who were active in the last 30 days."""
    hours_per_week: Hours = Decimal(5)
    """Hours that an active user saves in a week, as people report."""
    hours_low: Hours = Decimal(1)
    """The low end: self-reported hours are often a multiple of measured ones."""
    hours_high: Hours = Decimal(8)
    """The high end."""
    weeks: Amount = Decimal(4)
    """Weeks of a month; a year has 4.33 a month."""
    dollars_per_hour: Dollars = Decimal(50)
    """Loaded cost of an hour of work."""
    spare_licences: Count = 0
    """Licences without an active user that stay assigned on purpose: new joiners, leave, accessibility."""
    classic_answers: Count = 0
    """Copilot Studio, a month: answers written by hand."""
    generative_answers: Count = 0
    """Copilot Studio, a month: generated answers."""
    agent_actions: Count = 0
    """Copilot Studio, a month: actions that an agent takes."""
    tenant_graph_grounding: Count = 0
    """Copilot Studio, a month: messages grounded in the tenant's graph."""
    agent_flow_actions: Count = 0
    """Copilot Studio, a month: actions of flows."""
    ai_builder_credits: Count = 0
    """AI Builder credits that are used in a month."""
    ai_builder_included: Count = 0
    """AI Builder credits that come with other licences; they expire with the month."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class HoursScenario:
    """The return if people save that many hours."""

    scenario: str
    hours_per_week: Hours
    value: Dollars
    roi: Growth
    roi_after_reclaim: Growth | None
    """Empty: no licence is left."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CopilotPlan(Answer):
    """What the licences cost and bring."""

    licence_cost: Dollars
    """A month."""
    value: Dollars
    """Hours saved x dollars an hour, a month."""
    roi: Growth
    """(Value - cost) / cost."""
    active_share: Share
    reclaimable: Count
    """Licences without an active user, less those kept on purpose."""
    reclaim_saving: Dollars
    """A month."""
    roi_after_reclaim: Growth | None
    """Empty: no licence is left."""
    break_even_hours_per_licence: Hours | None
    """Hours a month that one licence must save; empty: an hour is worth nothing."""
    break_even_hours_per_user: Hours | None
    """Hours a month that each active user must save to pay for the idle licences as well; empty: nobody can."""
    dollars_per_hour_saved: Dollars | None
    """Licence cost / hours saved; empty: no hour is saved."""
    studio_credits: Count
    studio_pay_as_you_go: Dollars
    studio_packs: Count
    studio_packs_cost: Dollars
    studio_best: Dollars
    """The cheapest mix of packs and pay-as-you-go."""
    ai_builder_packs: Count
    ai_builder_cost: Dollars
    total_cost: Dollars
    """Licences, Copilot Studio at its cheapest and AI Builder, a month."""
    hours_scenarios: tuple[HoursScenario, ...]


def copilot(inputs: Copilot, licences: Licences) -> CopilotPlan:
    """Work out the return on licences and the bill for credits."""
    if inputs.active_users > inputs.licences:
        raise PlanError("active_users", f"{inputs.active_users} active users have {inputs.licences} licences")
    if inputs.hours_low > inputs.hours_high:
        raise PlanError(
            "hours_low", f"{inputs.hours_low} h is above the high end of {inputs.hours_high} h; exchange them"
        )
    price = licences.products["m365_copilot"].dollars
    cost, value = inputs.licences * price, _value(inputs, inputs.hours_per_week)
    idle = max(0, inputs.licences - inputs.active_users - inputs.spare_licences)
    kept = (inputs.licences - idle) * price
    hours = inputs.active_users * inputs.hours_per_week * inputs.weeks
    credits_used = _credits(inputs, licences)
    payg, packs, packs_cost, best = _studio(credits_used, licences)
    more = max(0, inputs.ai_builder_credits - inputs.ai_builder_included)
    ai_packs = -(-more // AI_BUILDER_PACK_CREDITS)
    ai_cost = ai_packs * licences.products["ai_builder_pack"].dollars
    return CopilotPlan(
        answer=_sentence(inputs, cost, value, idle * price),
        licence_cost=cents(cost),
        value=cents(value),
        roi=ratio(value - cost, cost),
        active_share=ratio(inputs.active_users, inputs.licences),
        reclaimable=idle,
        reclaim_saving=cents(idle * price),
        roi_after_reclaim=quotient(value - kept, kept),
        break_even_hours_per_licence=quotient(price, inputs.dollars_per_hour),
        break_even_hours_per_user=quotient(cost, inputs.active_users * inputs.dollars_per_hour),
        dollars_per_hour_saved=exact(ratio(cost, hours)) if hours else None,
        studio_credits=credits_used,
        studio_pay_as_you_go=cents(payg),
        studio_packs=packs,
        studio_packs_cost=cents(packs_cost),
        studio_best=cents(best),
        ai_builder_packs=ai_packs,
        ai_builder_cost=cents(ai_cost),
        total_cost=cents(cost + best + ai_cost),
        hours_scenarios=tuple(
            HoursScenario(
                scenario=name,
                hours_per_week=each,
                value=cents(_value(inputs, each)),
                roi=ratio(_value(inputs, each) - cost, cost),
                roi_after_reclaim=quotient(_value(inputs, each) - kept, kept),
            )
            for name, each in (
                ("low", inputs.hours_low),
                ("as given", inputs.hours_per_week),
                ("high", inputs.hours_high),
            )
        ),
        notes=NOTES,
        prices=tuple(_used(one) for one in licences.products.values()),
        assumptions=(
            f"A month has {inputs.weeks} weeks (the guide's convention; 4.33 would be a twelfth of a year).",
            "Hours are self-reported: the report of active users does not contain them.",
        ),
        corrections=CORRECTIONS,
        moved="the monthly net value",
        sensitivity=sensitivity(inputs, lambda changed: _net(changed, price), leave_out=("hours_low", "hours_high")),
    )


def _value(inputs: Copilot, hours: Decimal) -> Decimal:
    return inputs.active_users * hours * inputs.weeks * inputs.dollars_per_hour


def _net(inputs: Copilot, price: Decimal) -> Decimal:
    return _value(inputs, inputs.hours_per_week) - inputs.licences * price


def _credits(inputs: Copilot, licences: Licences) -> int:
    uses = {
        "classic_answer": inputs.classic_answers,
        "generative_answer": inputs.generative_answers,
        "agent_action": inputs.agent_actions,
        "tenant_graph_grounding": inputs.tenant_graph_grounding,
        "agent_flow_actions": inputs.agent_flow_actions,
    }
    total = sum(
        (licences.studio[name].credits * count / licences.studio[name].per for name, count in uses.items()), Decimal(0)
    )
    return int(total.to_integral_value(rounding=ROUND_CEILING))


def _studio(credits_used: int, licences: Licences) -> tuple[Decimal, int, Decimal, Decimal]:
    """Return pay-as-you-go, the packs that hold everything, their cost, and the cheapest mix of both."""
    each, pack = licences.products["copilot_credit"].dollars, licences.products["copilot_credit_pack"].dollars
    packs = -(-credits_used // PACK_CREDITS)
    whole, rest = divmod(credits_used, PACK_CREDITS)
    best = min(credits_used * each, whole * pack + min(rest * each, pack if rest else Decimal(0)))
    return credits_used * each, packs, packs * pack, best


def _sentence(inputs: Copilot, cost: Decimal, value: Decimal, spare: Decimal) -> str:
    roi = ratio(value - cost, cost).quantize(Decimal("0.01"))
    more = f"; taking back idle licences saves {money(spare)} a month" if spare else ""
    return (
        f"{inputs.licences:,} licences cost {money(cost)} a month and return {money(cents(value))} "
        f"(ROI {percent(roi)}){more}."
    )


def _used(one: Licence) -> PriceUsed:
    return PriceUsed(
        id=f"licences/{one.product}@{one.valid_from}",
        valid_from=one.valid_from,
        source=one.source,
        read=one.read,
        rates={one.per: one.dollars},
    )


NOTES = (
    "Take back in steps: a nudge after 30 idle days, the manager after 60, back to the waiting list after 90.",
    "Keep licences of people who are new, on leave, or rely on it for accessibility.",
    "A low value per hour, not the price, usually breaks the case: look at the low scenario first.",
)

CORRECTIONS = (
    Correction(
        section="7.8",
        says="< $6 per hour saved, at > 5 hours a week",
        computed="$1.50 at 5 hours a week (4 weeks)",
        why="$6 is $30 / 5: it fits 5 hours a month, not a week. By 4.33 weeks it is $1.38.",
    ),
    Correction(
        section="7.8",
        says="200 active users: ROI 167%; reclaim 800 licences",
        computed="ROI 1,233 % after reclaiming",
        why="The guide does not show what its own action does: $80,000 on 200 licences ($6,000).",
    ),
    Correction(
        section="7.8",
        says="700 users x 5 hours against 200 users x 2 hours",
        computed="two inputs change at once",
        why="With 5 hours, 200 users return $200,000 (ROI 567 %); with 2 hours, 700 users return $280,000 (833 %).",
    ),
    Correction(
        section="7.8",
        says="x 4 weeks",
        computed="4.33 weeks a month",
        why="Four weeks understate a month by 8 %; kept as the convention, and an input here.",
    ),
)
