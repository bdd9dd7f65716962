"""Azure API Management's log of language models (table ApiManagementGatewayLlmLog), as JSON or CSV.

Convention: a call is one row with its tokens, `SequenceNumber` 0, and further rows with pieces of prompt and reply,
which repeat nothing. What was cached is not in it: everything sent is priced as uncached. Who called stands in another
table; joined to it (see the documentation), `ApimSubscriptionId` names the key.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import BinaryIO

from penstock.errors import UsageError
from penstock.ledger.importers.documents import Row, refused
from penstock.ledger.importers.drafts import Assumed, Draft, Format, Guess, Note, Rejected, Sample, recognise
from penstock.ledger.importers.fields import RowError, instant, label, whole
from penstock.ledger.importers.tables import any_rows
from penstock.metering.event import UsageEvent
from penstock.pricing.usage import Usage


def sniff(sample: Sample, _assumed: Assumed) -> Guess:
    """Recognise calls in numbered pieces."""
    return recognise(
        sample, "API Management's log of language models", "SequenceNumber", "CorrelationId", "PromptTokens"
    )


def read(stream: BinaryIO, assumed: Assumed, now: datetime) -> Iterator[Draft | Rejected | Note]:
    """Make one event a call: of its rows the one that has the tokens."""
    pieces = others = booked = 0
    for row in any_rows(stream, "value", "records"):
        if isinstance(row, Rejected):
            yield row
            continue
        if "PromptTokens" not in row.fields:
            others += 1
            continue
        try:
            draft = _draft(row, assumed, now)
        except (RowError, UsageError) as error:
            yield refused(row.number, error, row.text)
            continue
        pieces += draft is None
        if draft is not None:
            booked += 1
            yield draft
    if pieces:
        yield Note(f"{pieces:,} rows are further pieces of prompts and replies of calls, and hold no tokens")
    if others:
        yield Note(f"{others:,} rows are of another table: join it before the export, to have ApimSubscriptionId here")
    if booked:
        yield Note("API Management does not log cached tokens: everything sent is priced as uncached")


def _draft(row: Row, assumed: Assumed, now: datetime) -> Draft | None:
    fields = row.fields
    sent, received = whole(fields["PromptTokens"], "PromptTokens"), whole(fields.get("CompletionTokens"), "Completion")
    if not sent and not received:
        if whole(fields.get("SequenceNumber"), "SequenceNumber"):
            return None
        raise RowError("no_tokens", "API Management counted no tokens for this call: it failed, or was not understood")
    total = whole(fields.get("TotalTokens"), "TotalTokens")
    if total and total != sent + received:
        raise UsageError(f"TotalTokens says {total}, its parts add up to {sent + received}")
    model = label(fields.get("ModelName")) or assumed.model or label(fields.get("DeploymentName"))
    if not model:
        raise RowError("missing_value", "ModelName is empty: say --model NAME")
    event = UsageEvent(
        id="", request_id=label(fields.get("CorrelationId")),
        at=instant(fields.get("TimeGenerated"), "TimeGenerated", now), recorded_at=now, price_state="unpriced",
        provider=assumed.provider or "azure", model=model, deployment=label(fields.get("DeploymentName")),
        deployment_type=assumed.deployment_type or "global",
        region=label(fields.get("Region")) or assumed.region, mode=assumed.mode or "standard",
        endpoint="embeddings" if "embedding" in label(fields.get("OperationName")).lower() else "chat",
        stream=label(fields.get("IsStreamCompletion")).lower() == "true", usage=Usage(input=sent, output=received),
        key=label(fields.get("ApimSubscriptionId")), team=assumed.team, app=label(fields.get("ApiId")) or assumed.app,
    )  # fmt: skip
    return Draft(event, row.text, event.request_id, row.number)


FORMAT = Format("apim_llm", "API Management's ApiManagementGatewayLlmLog, as JSON or CSV", sniff, read)
