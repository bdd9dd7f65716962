"""Amazon Bedrock's model invocation logs: JSON Lines, gzip or not, as S3 and CloudWatch get them.

Convention: `inputTokenCount` is without what was read from or written to the cache; the caller is an ARN; a model may
be named by the ARN of an inference profile.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, BinaryIO

from penstock.errors import UsageError
from penstock.ledger.importers.documents import Row, json_rows, refused
from penstock.ledger.importers.drafts import Assumed, Draft, Format, Guess, Rejected, Sample, recognise
from penstock.ledger.importers.fields import RowError, instant, label, mapping, whole
from penstock.metering.event import UsageEvent
from penstock.pricing.usage import Usage

ENDPOINTS = {
    "Converse": "chat", "ConverseStream": "chat", "InvokeModel": "invoke", "InvokeModelWithResponseStream": "invoke",
}  # fmt: skip
ERRORS = {"ThrottlingException": (429, "rate_limited"), "ModelTimeoutException": (408, "timeout")}


def sniff(sample: Sample, _assumed: Assumed) -> Guess:
    """Recognise the name of the schema."""
    return recognise(sample, "Bedrock's invocation log", '"ModelInvocationLog"', '"modelId"', '"requestId"')


def read(stream: BinaryIO, assumed: Assumed, now: datetime) -> Iterator[Draft | Rejected]:
    """Make one event an invocation."""
    for row in json_rows(stream, "records"):
        if isinstance(row, Rejected):
            yield row
            continue
        try:
            yield _draft(row, assumed, now)
        except (RowError, UsageError) as error:
            yield refused(row.number, error, row.text)


def _draft(row: Row, assumed: Assumed, now: datetime) -> Draft:
    fields = row.fields
    model = label(fields.get("modelId")).rpartition("/")[2] or assumed.model
    if not model:
        raise RowError("missing_value", "modelId is empty: whose price applies?")
    operation, failure = label(fields.get("operation")), label(fields.get("errorCode"))
    status, error = ERRORS.get(failure, (0, "failure")) if failure else (200, "")
    usage = _usage(mapping(fields.get("input")), mapping(fields.get("output")))
    tags = {label(name): label(value) for name, value in mapping(fields.get("requestMetadata")).items() if label(name)}
    event = UsageEvent(
        id="", request_id=label(fields.get("requestId")), at=instant(fields.get("timestamp"), "timestamp", now),
        recorded_at=now, price_state="unpriced", provider=assumed.provider or "aws", model=model,
        requested_model=label(fields.get("modelId")), deployment_type=assumed.deployment_type or "global",
        region=label(fields.get("region")) or assumed.region, mode=assumed.mode or "standard",
        endpoint=ENDPOINTS.get(operation, operation), stream=operation.endswith(("Stream", "ResponseStream")),
        usage=usage, usage_source="provider" if usage.units() else "none", status=status, error=error,
        outcome="error" if failure else "ok", team=tags.get("team", "") or assumed.team,
        app=tags.get("app", "") or assumed.app, user=label(mapping(fields.get("identity")).get("arn")), tags=tags,
    )  # fmt: skip
    return Draft(event, row.text, event.request_id, row.number)


def _usage(sent: dict[str, Any], received: dict[str, Any]) -> Usage:
    return Usage(
        input=whole(sent.get("inputTokenCount"), "inputTokenCount"),
        cache_read=whole(sent.get("cacheReadInputTokenCount"), "cacheReadInputTokenCount"),
        cache_write=whole(sent.get("cacheWriteInputTokenCount"), "cacheWriteInputTokenCount"),
        output=whole(received.get("outputTokenCount"), "outputTokenCount"),
    )


FORMAT = Format("bedrock", "Amazon Bedrock's model invocation logs", sniff, read)
