"""What is saved: proven by a holdout, realised by the provider's prices, and estimated."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from msgspec import structs

from penstock.analytics.change import rates_in
from penstock.analytics.realised import RealisedAll, realised
from penstock.analytics.savings import USUAL, Saving, Terms
from penstock.analytics.savings_book import savings_of
from penstock.analytics.spend import add
from penstock.dashboard.asked import Asked
from penstock.dashboard.asked import asked as read
from penstock.dashboard.charts import ranked
from penstock.dashboard.figure import Card, Column, Figure, Row
from penstock.dashboard.house import House
from penstock.dashboard.page import Page, Shown
from penstock.dashboard.recommendations import KEPT, NOT_YET, findings
from penstock.dashboard.words import exact, money
from penstock.optimization.findings import Finding

LEVERS = {
    "prompt_cache": "Order prompts for the cache",
    "batch": "Batch what can wait",
    "cheaper_model": "A cheaper model of the same class",
    "deployment": "Deploy where it costs less",
    "ptu": "Provisioned throughput",
}
"""Kinds of findings that are levers, and what they are called."""


def measured(house: House, asked: Asked) -> RealisedAll:
    """Say what the provider's cache and cheaper tiers took off in the page's period; kept for a while."""

    def ask() -> RealisedAll:
        catalog = house.catalog.load() if house.catalog else None
        return realised(
            house.ledger.moment(), rates_in(house.ledger, lambda: house.catalog),
            lambda key, at: catalog.row(key, at) if catalog else None,
            since=asked.since, until=asked.until, where=asked.where,
        )  # fmt: skip

    return house.remember(("realised", asked.since, asked.until, asked.where), ask)


def gather(house: House, asked: Asked) -> Shown:
    """Gather the page's figures."""
    found, held = measured(house, asked), levers_held(house, asked)
    listed = findings(house, asked)
    levers = [one for one in listed or () if one.kind in LEVERS and one.saving]
    cache, tiers = (
        add(row.saved for row in found.rows if (row.by == "prompt cache") is is_cache) for is_cache in (True, False)
    )
    estimated = add(one.saving for one in levers if one.saving is not None)
    notes = []
    if found.unknown:
        notes.append(f"{found.unknown:,} requests are left out: nobody knows the plain price of their tokens any more.")
    is_known = listed is not None and held is not None
    if not is_known:
        notes.append(NOT_YET)
    return Shown(
        cards=[
            proven_card(held),
            Card(name="The provider's prompt cache", said=money(cache), exact=exact(cache),
                 sub="realised by the provider's cache, not a lever"),
            Card(name="Batch and flex", said=money(tiers), exact=exact(tiers), sub="against the standard tier"),
            Card(name="Could be saved, a month", said=money(estimated) if listed is not None else "–",
                 exact=exact(estimated) if listed is not None else "", sub="estimate, not proven"),
        ],
        figures=[_proven(held), _realised(asked, found), _estimates(levers, is_known=listed is not None)],
        notes=notes, pending=not is_known,
    )  # fmt: skip


def levers_held(house: House, asked: Asked) -> list[Saving] | None:
    """Hold each lever of the page's period against its control arm; kept for a while. None: not done yet."""
    terms: Terms = house.info.get("terms", USUAL)

    def ask() -> list[Saving]:
        return savings_of(house.ledger, since=asked.since, until=asked.until, terms=terms)

    return house.later(("levers held", asked.since, asked.until), ask, KEPT)


def proven_card(held: Sequence[Saving] | None, beside: str = "") -> Card:
    """Show what levers saved that is proven; `beside` is said where nothing is. None: it is not known yet."""
    if held is None:
        return Card(name="Saved, proven", said="–", sub=beside)
    proven = [one.net for one in held if one.state == "proven" and one.net is not None]
    if proven:
        net = add(proven)
        return Card(name="Saved, proven", said=money(net), exact=exact(net), sub="net of what the levers cost")
    sub = f"{len(held)} measured" if held else "no lever runs beside a control group"
    return Card(name="Saved, proven", said="none yet", sub=beside or sub)


def _proven(held: Sequence[Saving] | None) -> Figure:
    return Figure(
        name="proven", title="Proven",
        note="A saving is proven when a random part of the traffic goes on without the lever, and the difference in "
        "cost is known with an interval, while the quality of the answers holds. All traffic of the period, whatever "
        "the filters say.",
        columns=(
            Column("lever", "Lever"), Column("key", "For"), Column("state", "State"),
            Column("net", "Saved, net", "money"), Column("low", "At least", "money"),
            Column("high", "At most", "money"),
            Column("treated", "With it", "count", less=True), Column("control", "Without it", "count", less=True),
            Column("quality", "Quality", "sentence"), Column("why", "Why", "sentence", less=True),
        ),
        rows=[
            Row((
                one.lever, one.key, one.state, one.net, one.low, one.high, one.treated_calls, one.control_calls,
                _quality(one), one.reason,
            ))
            for one in held or ()
        ],
        empty=NOT_YET
        if held is None
        else "No lever runs beside a control group yet, so nothing is proven. Look for a route that can try one with: "
        "penstock savings rightsize. What follows is what providers' prices took off, and what is an estimate.",
    )  # fmt: skip


def _quality(one: Saving) -> str:
    found = one.quality
    if found.certified:
        return f"holds, by {found.count:,} judged"
    if found.breached:
        return "has fallen"
    return f"{found.count:,} of about {found.needed:,} judged" if found.needed else f"{found.count:,} judged"


def _realised(asked: Asked, found: RealisedAll) -> Figure:
    drawn = [(f"{row.by}: {row.model} · {row.provider}", row.saved) for row in found.rows if row.saved > 0][:12]
    return Figure(
        name="realised", title="Realised by providers' prices",
        note="Exact, from the price row of each event. Cache: tokens read from the prompt cache, at the plain input "
        "price less what they cost, and less what writing to the cache cost more. Batch and flex: the same tokens at "
        "the standard tier's price of that day. Realised by the provider's cache, not a lever of Penstock.",
        columns=(
            Column("by", "By"), Column("model", "Model"), Column("provider", "Provider", less=True),
            Column("requests", "Requests", "count", less=True), Column("tokens", "Tokens", "tokens"),
            Column("plain", "Plain price", "money", less=True), Column("paid", "Paid", "money"),
            Column("saved", "Saved", "money", bar=True),
        ),
        rows=[
            Row(
                (row.by, row.model, row.provider, row.requests, row.tokens, row.plain, row.paid, row.saved),
                href=asked.narrowed(
                    "/requests", {"model": row.model, "provider": row.provider}
                    | ({} if row.by == "prompt cache" else {"mode": row.by}),
                ),
            )
            for row in found.rows
        ],
        total=(
            "All", "", "", "", sum(row.tokens for row in found.rows), add(row.plain for row in found.rows),
            add(row.paid for row in found.rows),
            add(row.saved for row in found.rows),
        ) if found.rows else (),
        chart=ranked(drawn, title=f"Saved, {asked.label}: " + ", ".join(f"{n} {money(a)}" for n, a in drawn))
        if len(drawn) > 1 else None,
        empty="Nothing was read from a prompt cache in this period, and nothing ran in a batch or flex tier.",
    )  # fmt: skip


def _estimates(levers: list[Finding], *, is_known: bool) -> Figure:
    return Figure(
        name="estimates", title="Estimates, a month",
        note="Your own traffic of this period at other prices. Not proven, and no sum: two may be about the same "
        "dollars. Evidence and next steps are under Recommendations.",
        columns=(
            Column("lever", "Lever", "sentence"), Column("finding", "Where", "sentence"),
            Column("estimate", "Estimate", "money", bar=True),
            Column("at_stake", "Spent on it", "money", less=True), Column("holdout", "Holdout"),
            Column("evidence", "Evidence", hidden=True),
        ),
        rows=[
            Row((LEVERS[one.kind], one.title, one.saving, one.at_stake, "none", one.evidence), href="/recommendations")
            for one in levers
        ],
        empty="No lever would save anything worth a word at today's prices." if is_known else NOT_YET,
    )  # fmt: skip


def get_realised(house: House, fields: dict[str, str]) -> dict[str, Any]:
    """Answer `GET /api/savings/realised`."""
    question = read("/api/savings/realised", fields, house.now())
    found = measured(house, question)
    return {
        "from": question.since, "to": min(question.until, question.now),
        "realised": [structs.asdict(row) for row in found.rows],
        "realised_total": add(row.saved for row in found.rows) or Decimal("0.00"), "unknown_requests": found.unknown,
    }  # fmt: skip


PAGE = Page(
    path="/savings", name="Savings", group="Improve", gather=gather,
    lead="What is proven, what providers' own prices took off, and what is only an estimate.",
)  # fmt: skip
