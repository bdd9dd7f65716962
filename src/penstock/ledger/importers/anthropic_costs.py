"""Anthropic's cost report: daily pages of `/v1/organizations/cost_report`, what the account was charged.

Convention (Admin API): `amount` is a decimal text in cents. It names no quantities, so nothing of it can be priced:
each line is kept as a mere charge. The priority tier is not in it.
"""

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any, BinaryIO

from penstock.errors import UsageError
from penstock.ledger.importers.anthropic_usage import WITHIN, bucket_of, results
from penstock.ledger.importers.documents import documents, refused
from penstock.ledger.importers.drafts import Assumed, Draft, Format, Guess, Note, Rejected, Sample, recognise
from penstock.ledger.importers.fields import RowError, decimal, label, mapping, money
from penstock.metering.event import UsageEvent

DIMENSIONS = (
    "description", "workspace_id", "model", "cost_type", "token_type", "service_tier", "context_window",
    "inference_geo",
)  # fmt: skip


def sniff(sample: Sample, _assumed: Assumed) -> Guess:
    """Recognise amounts by type of cost."""
    return recognise(sample, "pages of Anthropic's cost report", '"cost_type"', '"amount"', '"starting_at"')


def read(stream: BinaryIO, assumed: Assumed, now: datetime) -> Iterator[Draft | Rejected | Note]:
    """Make one event of each line of each day."""
    pages = documents(stream, WITHIN)
    if pages.found and mapping(pages.found[-1]).get("has_more"):
        yield Note("the last page here says has_more: import the pages that follow it, too")
    number = 0
    for number, (bucket, result) in enumerate(results(pages.found), 1):
        try:
            pages.refuse_garbled(result)
            yield _draft(bucket, result, assumed, now)
        except (RowError, UsageError) as error:
            yield refused(number, error, json.dumps(result, default=str))
    yield from pages.rejected_after(number)


def _draft(bucket: dict[str, Any], result: dict[str, Any], assumed: Assumed, now: datetime) -> Draft:
    currency = label(result.get("currency")).upper()
    if currency not in ("", "USD"):
        raise RowError("wrong_currency", f"currency is {currency}: the ledger is in US dollars")
    if result.get("amount") in (None, ""):
        raise RowError("missing_value", "amount is empty")
    dollars = money(decimal(result["amount"], "amount").scaleb(-2), "amount")
    event = UsageEvent(
        id="", request_id="", at=bucket_of(bucket, now), recorded_at=now, price_state="unpriced",
        provider=assumed.provider or "anthropic",
        model=label(result.get("model")) or assumed.model or label(result.get("description")) or "all usage",
        mode=label(result.get("service_tier")) or assumed.mode or "standard",
        deployment_type=assumed.deployment_type or "global",
        region=label(result.get("inference_geo")) or assumed.region,
        endpoint=label(result.get("token_type")) or label(result.get("cost_type")), requests=0, usage_source="none",
        provider_cost=dollars, team=label(result.get("workspace_id")) or assumed.team, app=assumed.app,
    )  # fmt: skip
    dimensions = (label(result.get(name)) for name in DIMENSIONS)
    own = "\x1f".join((label(bucket.get("starting_at")), label(bucket.get("ending_at")), *dimensions))
    return Draft(event, f"{own}\x1f{dollars}", own, only_charged=True, meter=label(result.get("description")))


FORMAT = Format("anthropic_costs", "JSON pages of Anthropic's cost report", sniff, read, kind="bill")
