"""Azure OpenAI's diagnostic logs: from an event hub or a storage account (JSON), or from Log Analytics (JSON, CSV).

Convention: rows of the category RequestResponse hold no token counts at all, so they cannot be priced; each is rejected
and says so. Rows of AzureOpenAIRequestUsage hold `promptTokens` and `completionTokens` (or `generatedTokens`); their
schema is not documented by Microsoft. `properties` is an object, or a text of JSON.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, BinaryIO

from penstock.errors import UsageError
from penstock.ledger.importers.documents import Row, decoded, refused
from penstock.ledger.importers.drafts import Assumed, Draft, Format, Guess, Rejected, Sample, recognise
from penstock.ledger.importers.fields import RowError, instant, label, mapping, micros, whole
from penstock.ledger.importers.tables import any_rows
from penstock.metering.event import UsageEvent
from penstock.pricing.usage import Usage

WITH_TOKENS = "AzureOpenAIRequestUsage"
NO_TOKENS = (
    "RequestResponse logs hold no token counts, so this call cannot be priced: import the log of API Management, Azure"
    " Monitor's metrics or the cost export, or let calls pass the gateway"
)


def sniff(sample: Sample, _assumed: Assumed) -> Guess:
    """Recognise the properties of a call to a deployment."""
    return recognise(
        sample,
        "Azure OpenAI's diagnostic logs",
        "modelDeploymentName",
        "modelName",
        WITH_TOKENS if WITH_TOKENS in sample.text else "RequestResponse",
    )


def read(stream: BinaryIO, assumed: Assumed, now: datetime) -> Iterator[Draft | Rejected]:
    """Make one event of each row that holds tokens."""
    for row in any_rows(stream, "records", "value"):
        if isinstance(row, Rejected):
            yield row
            continue
        try:
            yield _draft(row, assumed, now)
        except (RowError, UsageError) as error:
            yield refused(row.number, error, row.text)


def _draft(row: Row, assumed: Assumed, now: datetime) -> Draft:
    fields = {name.lower(): value for name, value in row.fields.items()}
    category = label(fields.get("category"))
    if category == "RequestResponse":
        raise RowError("no_tokens", NO_TOKENS)
    if category != WITH_TOKENS:
        raise RowError("unknown_kind", f"category {category or '(none)'} is not read: {WITH_TOKENS} is")
    said = _properties(fields.get("properties", fields.get("properties_s")))
    if "promptTokens" not in said:
        raise RowError("no_tokens", f"a row of {WITH_TOKENS} without promptTokens")
    model = label(said.get("modelName")) or assumed.model
    if not model:
        raise RowError("missing_value", "modelName is empty: say --model NAME")
    received = said.get("completionTokens", said.get("generatedTokens"))
    usage = Usage(input=whole(said["promptTokens"], "promptTokens"), output=whole(received, "completionTokens"))
    status = whole(fields.get("resultsignature"), "resultSignature") or 200
    event = UsageEvent(
        id="", request_id=label(fields.get("correlationid")),
        at=instant(fields.get("time") or fields.get("timegenerated"), "time", now), recorded_at=now,
        price_state="unpriced", provider=assumed.provider or "azure", model=model,
        version=label(said.get("modelVersion")), deployment=label(said.get("modelDeploymentName")),
        deployment_type=assumed.deployment_type or "global",
        region=label(fields.get("location")) or assumed.region, mode=assumed.mode or "standard",
        endpoint="chat" if label(fields.get("operationname")).startswith("ChatCompletions") else "", usage=usage,
        status=status, outcome="error" if status >= 400 else "ok", error=f"http_{status}" if status >= 400 else "",
        duration_us=micros(fields.get("durationms"), "durationMs"), team=assumed.team, app=assumed.app,
    )  # fmt: skip
    return Draft(event, row.text, event.request_id, row.number)


def _properties(value: Any) -> dict[str, Any]:
    return mapping(decoded(value)) if isinstance(value, str) and value else mapping(value)


FORMAT = Format("azure_diagnostics", "Azure OpenAI's diagnostic logs", sniff, read)
