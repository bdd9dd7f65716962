"""Anthropic's usage report: pages of `/v1/organizations/usage_report/messages`.

Convention (Admin API): `uncached_input_tokens` is without what was read from or written to the cache; buckets do not
say how many requests they hold. `context_window` tells the long-context price from the ordinary one.
"""

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any, BinaryIO

from penstock.errors import UsageError
from penstock.ledger.importers.cut_json import Lists
from penstock.ledger.importers.documents import documents, refused
from penstock.ledger.importers.drafts import Assumed, Draft, Format, Guess, Note, Rejected, Sample, recognise
from penstock.ledger.importers.fields import RowError, instant, label, mapping, whole
from penstock.metering.event import UsageEvent
from penstock.pricing.usage import Usage

DIMENSIONS = ("model", "workspace_id", "api_key_id", "service_tier", "context_window", "inference_geo", "speed")
WITHIN: Lists = {"data": (), "results": ("starting_at", "ending_at")}
"""Lists whose elements may be booked where a page breaks off."""
SHORT = ("", "0-200k")
"""Of `context_window`: calls at the ordinary price."""


def sniff(sample: Sample, _assumed: Assumed) -> Guess:
    """Recognise results of the report."""
    return recognise(
        sample, "pages of Anthropic's usage report", '"uncached_input_tokens"', '"cache_creation"', '"starting_at"'
    )


def read(stream: BinaryIO, assumed: Assumed, now: datetime) -> Iterator[Draft | Rejected | Note]:
    """Make one event of each result of each bucket."""
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


def results(pages: list[Any]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Return each result with its bucket, of pages or of buckets one a line."""
    for page in map(mapping, pages):
        for bucket in map(mapping, page["data"] if isinstance(page.get("data"), list) else [page]):
            for result in bucket.get("results") or ():
                yield bucket, mapping(result)


def bucket_of(bucket: dict[str, Any], now: datetime) -> datetime:
    """Return when a bucket begins; one that is not over is a `RowError`."""
    at = instant(bucket.get("starting_at"), "starting_at", now)
    try:
        end = instant(bucket.get("ending_at"), "ending_at", now)
    except RowError as error:
        if error.problem != "future_date":
            raise
        end = None
    if end is None or end > now:
        raise RowError("unfinished_bucket", "the bucket is not over and its counts still grow: export it again later")
    return at


def _draft(bucket: dict[str, Any], result: dict[str, Any], assumed: Assumed, now: datetime) -> Draft:
    at = bucket_of(bucket, now)
    model = label(result.get("model")) or assumed.model
    if not model:
        raise RowError("missing_value", "the result names no model: export with group_by[]=model, or say --model NAME")
    window = label(result.get("context_window"))
    event = UsageEvent(
        id="", request_id="", at=at, recorded_at=now, price_state="unpriced", provider=assumed.provider or "anthropic",
        model=model, deployment_type=assumed.deployment_type or "global",
        region=label(result.get("inference_geo")) or assumed.region,
        mode=label(result.get("service_tier")) or assumed.mode or "standard", endpoint="messages",
        # How many requests is not known, but of long ones there was one at least: their price depends on the size.
        requests=int(window not in SHORT), usage=_usage(result), team=label(result.get("workspace_id")) or assumed.team,
        app=assumed.app, key=label(result.get("api_key_id")),
    )  # fmt: skip
    dimensions = (label(result.get(name)) for name in DIMENSIONS)
    own = "\x1f".join((label(bucket.get("starting_at")), label(bucket.get("ending_at")), *dimensions))
    return Draft(event, own + repr(event.usage), own)


def _usage(result: dict[str, Any]) -> Usage:
    written, tools = mapping(result.get("cache_creation")), mapping(result.get("server_tool_use"))
    return Usage(
        input=whole(result.get("uncached_input_tokens"), "uncached_input_tokens"),
        cache_read=whole(result.get("cache_read_input_tokens"), "cache_read_input_tokens"),
        cache_write=whole(written.get("ephemeral_5m_input_tokens"), "ephemeral_5m_input_tokens"),
        cache_write_1h=whole(written.get("ephemeral_1h_input_tokens"), "ephemeral_1h_input_tokens"),
        output=whole(result.get("output_tokens"), "output_tokens"),
        web_searches=whole(tools.get("web_search_requests"), "web_search_requests"),
    )


FORMAT = Format("anthropic_usage", "JSON pages of Anthropic's usage report", sniff, read, kind="aggregate")
