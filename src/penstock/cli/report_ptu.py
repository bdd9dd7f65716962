"""`penstock report ptu`: what provisioned capacity was used for."""

from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter, validators

from penstock.cli.options import Common, console, counted, print_json, table
from penstock.cli.report import amount
from penstock.cli.report_options import Asked, dollars_of, say

if TYPE_CHECKING:
    from penstock.analytics.ptu_use import Offer, PtuUse

HELP = """
Holds a model's traffic on PTUs (deployment types global_ptu, data_zone_ptu, regional_ptu) against the PTUs that were
paid: how busy they were, what idle capacity cost, what the same tokens would have cost by the token, from which
utilisation on they pay, and how much traffic spilled over to deployments by the token.

Without `--from` it is the last thirty days. The price of a PTU is Azure's, unless `--dollars-per-month` says yours.

Examples:

- `penstock report ptu --model gpt-4.1 --ptus 100`
- `penstock report ptu --model gpt-4o --ptus 50 --term year --deployment-type data_zone --from 2026-03 --to 2026-03`
- `penstock report ptu --model gpt-4.1 --ptus 100 --dollars-per-month 245 --json`
"""

app = App(name="ptu", help_epilogue=HELP, default_parameter=Parameter(show_default=False))


@app.default
def ptu(
    *,
    model: Annotated[str, Parameter(help="The model that the PTUs serve.")],
    ptus: Annotated[int, Parameter(help="PTUs that are deployed.", validator=validators.Number(gte=1, lte=10_000_000))],
    term: Annotated[Literal["hourly", "month", "year"], Parameter(help="How they are paid.")] = "month",
    deployment_type: Annotated[
        Literal["global", "data_zone", "regional"], Parameter(help="Where they are deployed.")
    ] = "global",
    region: Annotated[str, Parameter(help="Region, where the price depends on it.")] = "",
    dollars_per_month: Annotated[str, Parameter(help="Your price of one PTU for a month of 730 hours.")] = "",
    asked: Asked | None = None,
    common: Common | None = None,
) -> None:
    """Say what PTUs were used for: utilisation, coverage, waste, savings."""
    from penstock.analytics import periods
    from penstock.analytics.ptu_use import offer_of, ptu_use
    from penstock.analytics.zones import zone
    from penstock.app import catalog_for, ledger_for
    from penstock.errors import InputError
    from penstock.metering.event import utc_now
    from penstock.settings import load

    asked, common = asked or Asked(), common or Common()
    settings, now = load(common.config, data=common.data), utc_now()
    since, until = asked.bounds(now)
    since, until = since or periods.since("30d", now, zone(asked.time_zone)), min(until or now, now)
    if since >= until:
        raise InputError(f"--from {asked.from_} is not before now: there is no time between them")
    dollars = dollars_of(dollars_per_month, "--dollars-per-month") if dollars_per_month else None
    offer = offer_of(
        catalog_for(settings), model, until, deployment_type=deployment_type, term=term, region=region,
        dollars_per_month=dollars,
    )  # fmt: skip
    dollars, row = offer.dollars_per_month, offer.by_token
    with ledger_for(settings, create=False) as ledger:
        found = ptu_use(
            asked.source(ledger), offer.capacity, ptus=ptus, dollars_per_month=dollars, rates=row.rates, since=since,
            until=until, deployment_type=offer.deployment_type, where=asked.where,
        )  # fmt: skip
    if common.json:
        print_json(document(found, offer, since, until))
    else:
        _show(found, asked.said(since, until), dollars, row.id)


def document(found: "PtuUse", offer: "Offer", since: datetime, until: datetime) -> dict[str, object]:
    """Lay the answer out as JSON."""
    from msgspec.structs import asdict

    about = {"from": since, "to": until, "dollars_per_month": offer.dollars_per_month, "by_token": offer.by_token.id}
    return about | asdict(found)


def _show(found: "PtuUse", period: str, dollars: Decimal, by_token: str) -> None:
    if not found.requests:
        say(f"No traffic of {found.model} on PTUs in {period}. Deployments on PTUs have the type "
            "global_ptu, data_zone_ptu or regional_ptu.", "yellow")  # fmt: skip
    grid = table("", "", numbers=("",))
    grid.columns[0].justify, grid.show_header = "left", False
    rate = "-" if found.saving_rate is None else f"{found.saving_rate:.1%}"
    for name, value in (
        ("PTUs paid", f"{found.ptus:,} for {found.minutes:,} minutes"),
        ("utilisation", f"{found.utilisation:.1%}"),
        ("PTUs needed, p95 and peak", f"{found.p95:,.1f} and {found.peak:,.1f}"),
        ("minutes that took all of them", f"{found.full_minutes:,} of {found.busy_minutes:,} busy ones"),
        ("cost of the PTUs", amount(found.cost, 2)),
        ("of it idle", amount(found.idle, 2)),
        ("the same tokens, by the token", amount(found.value, 2)),
        ("saved (effective savings rate)", f"{amount(found.saved, 2)} ({rate})"),
        ("pays from a utilisation of", "-" if found.break_even is None else f"{found.break_even:.1%}"),
        ("coverage (tokens on PTUs)", "-" if found.coverage is None else f"{found.coverage:.1%}"),
        (
            "spilled over, by the token",
            f"{counted(found.spilled_requests, 'request')}, {amount(found.spilled_cost, 4)}",
        ),
    ):
        grid.add_row(name, value)
    console.print(grid)
    say(f"{period}; a PTU at {amount(dollars, 2)} for 730 hours; by the token: {by_token}", "dim")
    if found.unpriced_events:
        say(f"Warning: {counted(found.unpriced_events, 'spilled event', 'have')} no price.", "yellow")
