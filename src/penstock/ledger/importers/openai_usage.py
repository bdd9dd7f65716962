"""OpenAI's organization usage API: pages of time buckets of `/v1/organization/usage/completions` and `/embeddings`.

Convention (openai Python package 3.54, `types/admin/organization`): `input_tokens` holds cached and cache-write tokens;
`input_audio_tokens` and `input_image_tokens` are uncached parts of it. Before 2026 the type had no
`input_uncached_tokens`, and audio stood outside of `input_tokens`.
"""

import json
from collections.abc import Iterator
from datetime import datetime
from itertools import chain
from typing import Any, BinaryIO

from penstock.errors import UsageError
from penstock.ledger.importers.cut_json import Lists
from penstock.ledger.importers.documents import documents, refused
from penstock.ledger.importers.drafts import Assumed, Draft, Format, Guess, Note, Rejected, Sample
from penstock.ledger.importers.fields import RowError, instant, label, mapping, whole
from penstock.metering.event import UsageEvent
from penstock.pricing.usage import Usage, part_of

ENDPOINTS = {
    "organization.usage.completions.result": "chat",
    "organization.usage.embeddings.result": "embeddings",
}
TIERS = {"default": "standard", "auto": "standard"}
WITHIN: Lists = {"data": (), "results": ("start_time", "end_time"), "result": ("start_time", "end_time")}
"""Lists whose elements may be booked where a page breaks off."""
DIMENSIONS = ("project_id", "user_id", "api_key_id", "model", "batch", "service_tier", "api_source")


def sniff(sample: Sample, _assumed: Assumed) -> Guess:
    """Recognise buckets of usage, and tell the costs API from it."""
    if any(name in sample.text for name in ENDPOINTS):
        return Guess(True, "it holds buckets of organization.usage results")
    if "organization.costs.result" in sample.text:
        return Guess(False, "it is a page of the costs API: that is openai_costs")
    if "organization.usage." in sample.text:
        return Guess(False, "of the usage API, completions and embeddings are read; this is another page")
    return Guess(False, "it holds no organization.usage results")


def read(stream: BinaryIO, assumed: Assumed, now: datetime) -> Iterator[Draft | Rejected | Note]:
    """Make one event of each result of each bucket: a page, a list of pages, or one page or bucket a line."""
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
                    yield _draft(mapping(bucket), mapping(result), assumed, now)
                except (RowError, UsageError) as error:
                    yield refused(number, error, json.dumps(result, default=str))
    yield from pages.rejected_after(number)


def buckets(page: Any) -> Iterator[dict[str, Any]]:
    """Return the buckets of a page, of a page of pages, or the one that this is."""
    found = mapping(page)
    if found.get("object") == "bucket":
        return iter([found])
    inner = found.get("data")
    return chain.from_iterable(buckets(bucket) for bucket in inner) if isinstance(inner, list) else iter(())


def _draft(bucket: dict[str, Any], result: dict[str, Any], assumed: Assumed, now: datetime) -> Draft:
    endpoint = ENDPOINTS.get(str(result.get("object")))
    if endpoint is None:
        raise RowError("unknown_kind", f"{label(result.get('object')) or 'a result without object'} is not read")
    model = label(result.get("model")) or assumed.model
    if not model:
        raise RowError("missing_value", "the result names no model: export with group_by=model, or say --model NAME")
    at = instant(bucket.get("start_time"), "start_time", now)
    end = whole(bucket.get("end_time"), "end_time")
    if end > now.timestamp():
        raise RowError("unfinished_bucket", "the bucket is not over and its counts still grow: export it again later")
    tier = label(result.get("service_tier")).lower()
    batch = result.get("batch") is True
    event = UsageEvent(
        id="", request_id="", at=at, recorded_at=now, price_state="unpriced", provider=assumed.provider or "openai",
        model=model, deployment_type=assumed.deployment_type or "global", region=assumed.region,
        mode="batch" if batch else TIERS.get(tier, tier) or assumed.mode or "standard", endpoint=endpoint,
        requests=whole(result.get("num_model_requests"), "num_model_requests"), usage=_usage(result),
        team=assumed.team, app=label(result.get("project_id")) or assumed.app, user=label(result.get("user_id")),
        key=label(result.get("api_key_id")),
    )  # fmt: skip
    # The bucket and its dimensions are the id: a bucket that is over does not change.
    own = [str(bucket.get("start_time")), str(end), endpoint, *(label(result.get(name)) for name in DIMENSIONS)]
    counts = [f"{name}={result[name]}" for name in sorted(result) if name.endswith(("_tokens", "_requests"))]
    return Draft(event, "\x1f".join(own + counts), "\x1f".join(own))


def _usage(result: dict[str, Any]) -> Usage:
    def count(name: str) -> int:
        return whole(result.get(name), name)

    cached, written, written_long = (
        count("input_cached_tokens"), count("input_cache_write_tokens"), count("input_cache_write_12h_tokens"),
    )  # fmt: skip
    audio, image = count("input_audio_tokens"), count("input_image_tokens")
    cached_audio, cached_image = count("input_cached_audio_tokens"), count("input_cached_image_tokens")
    spoken, drawn = count("output_audio_tokens"), count("output_image_tokens")
    inside = result.get("input_uncached_tokens") is not None
    text = part_of(
        count("input_tokens"), cached + written + (audio + image if inside else 0), "cached and other parts of input"
    )
    if inside and result.get("input_text_tokens") is not None and text != count("input_text_tokens"):
        raise UsageError(f"input_text_tokens says {count('input_text_tokens')}, the other counts leave {text}")
    return Usage(
        input=text, input_audio=audio, input_image=image, cache_read_audio=cached_audio, cache_read_image=cached_image,
        cache_read=part_of(cached, cached_audio + cached_image, "cached audio and image of input_cached_tokens"),
        cache_write=part_of(written, written_long, "input_cache_write_12h_tokens of input_cache_write_tokens"),
        cache_write_1h=written_long,
        output=part_of(count("output_tokens"), spoken + drawn if inside else 0, "audio and image of output_tokens"),
        output_audio=spoken, output_image=drawn,
    )  # fmt: skip


FORMAT = Format(
    "openai_usage", "JSON pages of OpenAI's /v1/organization/usage/completions and /embeddings", sniff, read,
    kind="aggregate",
)  # fmt: skip
