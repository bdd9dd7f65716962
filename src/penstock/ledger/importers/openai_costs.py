"""OpenAI's organization costs API: daily pages of `/v1/organization/costs`, what the account was charged.

Convention (openai Python package 3.54): a line item is a model and a kind of token, with its quantity; `amount.value`
is dollars. A line that is no known kind of token, or has no quantity, is a mere charge: it is kept and not priced.
"""

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any, BinaryIO

from penstock.errors import UsageError
from penstock.ledger.importers.documents import documents, refused
from penstock.ledger.importers.drafts import Assumed, Draft, Format, Guess, Note, Rejected, Sample, recognise
from penstock.ledger.importers.fields import RowError, instant, label, mapping, money, whole
from penstock.ledger.importers.openai_usage import WITHIN, buckets
from penstock.metering.event import UsageEvent
from penstock.pricing.usage import Usage

KINDS = {
    "input": "input", "cached input": "cache_read", "output": "output", "audio input": "input_audio",
    "cached audio input": "cache_read_audio", "audio output": "output_audio", "image input": "input_image",
    "cached image input": "cache_read_image", "image output": "output_image", "cache write": "cache_write",
}  # fmt: skip
"""Second half of a line item -> bucket."""


def sniff(sample: Sample, _assumed: Assumed) -> Guess:
    """Recognise buckets of costs."""
    return recognise(sample, "pages of OpenAI's costs API", "organization.costs.result", '"amount"')


def read(stream: BinaryIO, assumed: Assumed, now: datetime) -> Iterator[Draft | Rejected | Note]:
    """Make one event of each line item of each day."""
    number = 0
    pages = documents(stream, WITHIN)
    if pages.found and mapping(pages.found[-1]).get("has_more"):
        yield Note("the last page here says has_more: import the pages that follow it, too")
    for page in pages.found:
        for bucket in buckets(page):
            for result in bucket.get("results") or bucket.get("result") or ():
                number += 1
                try:
                    pages.refuse_garbled(result)
                    yield _draft(bucket, mapping(result), assumed, now)
                except (RowError, UsageError) as error:
                    yield refused(number, error, json.dumps(result, default=str))
    yield from pages.rejected_after(number)


def _draft(bucket: dict[str, Any], result: dict[str, Any], assumed: Assumed, now: datetime) -> Draft:
    amount = mapping(result.get("amount"))
    if label(amount.get("currency")).lower() not in ("", "usd"):
        raise RowError("wrong_currency", f"currency is {label(amount['currency'])}: the ledger is in US dollars")
    charged = money(amount.get("value"), "amount.value")
    if charged is None:
        raise RowError("missing_value", "amount.value is empty")
    at, end = instant(bucket.get("start_time"), "start_time", now), whole(bucket.get("end_time"), "end_time")
    if end > now.timestamp():
        raise RowError("unfinished_bucket", "the bucket is not over and its amounts still grow: export it again later")
    line = label(result.get("line_item")) or "all line items"
    model, _, kind = line.rpartition(", ")
    is_tokens = kind in KINDS and label(result.get("quantity_unit")) == "tokens" and result.get("quantity") is not None
    event = UsageEvent(
        id="", request_id="", at=at, recorded_at=now, price_state="unpriced", provider=assumed.provider or "openai",
        model=model if is_tokens else line, deployment_type=assumed.deployment_type or "global", region=assumed.region,
        mode=assumed.mode or "standard", requests=0, provider_cost=charged,
        usage=Usage(**{KINDS[kind]: whole(result["quantity"], "quantity")}) if is_tokens else Usage(),
        usage_source="provider" if is_tokens else "none", team=assumed.team,
        app=label(result.get("project_id")) or assumed.app, key=label(result.get("api_key_id")),
    )  # fmt: skip
    own = "\x1f".join((str(bucket.get("start_time")), str(end), line, event.app, event.key))
    content = f"{own}\x1f{charged}\x1f{result.get('quantity')}"
    return Draft(event, content, own, only_charged=not is_tokens or not event.usage.units(), meter=line)


FORMAT = Format("openai_costs", "JSON pages of OpenAI's /v1/organization/costs", sniff, read, kind="bill")
