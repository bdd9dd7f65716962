"""OpenAI embeddings: one number, everything is input. The vectors are skipped, not decoded."""

import msgspec
from msgspec import Raw, Struct

from penstock.metering.readers.openai_usage import WireUsage, disjoint, stated_cost
from penstock.metering.readers.wire import decode, error_code
from penstock.metering.reading import Reading
from penstock.pricing.usage import Usage


class Body(Struct):
    """A list of vectors, by its margins."""

    model: str | None = None
    usage: WireUsage | None = None
    error: Raw = Raw()


BODY = msgspec.json.Decoder(Body)


def read_embeddings(data: bytes) -> Reading:
    """Read an answer of the embeddings endpoint."""
    body = decode(BODY, data)
    if body is None:
        return Reading(error="not_json")
    return Reading(
        usage=disjoint(body.usage) if body.usage else Usage(),
        usage_source="provider" if body.usage else "none",
        model=body.model or "",
        error=error_code(body.error),
        provider_cost=stated_cost(body.usage) if body.usage else None,
    )
