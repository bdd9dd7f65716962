"""OpenAI's `usage` objects made disjoint.

Convention: `prompt_tokens` (`input_tokens`) and `completion_tokens` (`output_tokens`) are totals, and everything under
`*_details` lies inside them. The total may exceed both: xAI and Gemini leave hidden reasoning out of
`completion_tokens` and bill it as output all the same.
"""

from decimal import Decimal

import msgspec
from msgspec import Raw, Struct

from penstock.errors import UsageError
from penstock.metering.readers.wire import ABSENT, glance
from penstock.pricing.usage import Usage, part_of


class Modalities(Struct):
    """`cached_tokens_details`: the cached tokens by kind, where a server tells."""

    text_tokens: int | None = None
    audio_tokens: int | None = None
    image_tokens: int | None = None


class LongWrites(Struct):
    """`cache_write_tokens_details`: writes by how long they live."""

    ttl_12h_tokens: int | None = None


class InputDetails(Struct):
    """`prompt_tokens_details` or `input_tokens_details`."""

    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    cache_write_tokens_details: LongWrites | None = None
    cached_tokens_details: Modalities | None = None
    audio_tokens: int | None = None
    image_tokens: int | None = None
    video_tokens: int | None = None


class OutputDetails(Struct):
    """`completion_tokens_details` or `output_tokens_details`. Prediction tokens, taken or not, are output."""

    reasoning_tokens: int | None = None
    audio_tokens: int | None = None
    image_tokens: int | None = None


class WireUsage(Struct):
    """`usage` of chat, completions, embeddings and responses: one shape, two vocabularies."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    total_tokens: int | None = None
    prompt_tokens_details: InputDetails | None = None
    input_tokens_details: InputDetails | None = None
    completion_tokens_details: OutputDetails | None = None
    output_tokens_details: OutputDetails | None = None
    prompt_cache_hit_tokens: int | None = None
    """DeepSeek: read from its cache; with `prompt_cache_miss_tokens` it makes up `prompt_tokens`."""
    prompt_cache_miss_tokens: int | None = None
    cost: Raw = ABSENT
    """OpenRouter: dollars charged, a number. Others put an object here."""


COST = msgspec.json.Decoder(Decimal)
NOTHING_IN, NOTHING_OUT = InputDetails(), OutputDetails()


def stated_cost(wire: WireUsage) -> Decimal | None:
    """Return the dollars that the reply itself names."""
    return None if wire.cost is ABSENT else glance(COST, bytes(wire.cost))


def disjoint(wire: WireUsage) -> Usage:
    """Sort the tokens of `wire` into disjoint buckets; UsageError when its numbers contradict each other."""
    sent = wire.prompt_tokens if wire.prompt_tokens is not None else wire.input_tokens or 0
    received = wire.completion_tokens if wire.completion_tokens is not None else wire.output_tokens or 0
    given = wire.prompt_tokens_details or wire.input_tokens_details or NOTHING_IN
    made = wire.completion_tokens_details or wire.output_tokens_details or NOTHING_OUT
    reasoning = made.reasoning_tokens or 0
    rich = (
        given.audio_tokens or given.image_tokens or given.video_tokens or given.cache_write_tokens
        or made.audio_tokens or made.image_tokens or wire.prompt_cache_hit_tokens or wire.prompt_cache_miss_tokens
    )  # fmt: skip
    if not rich:
        # Nearly every report: text, some of it cached. What does not add up goes on, to be named below.
        cached = given.cached_tokens or 0
        if 0 <= cached <= sent and 0 <= reasoning <= received and (wire.total_tokens or 0) in {0, sent + received}:
            return Usage(input=sent - cached, cache_read=cached, output=received, reasoning=reasoning)
    hidden = _hidden(sent, received, wire.total_tokens, reasoning)
    received, reasoning = received + hidden, reasoning or hidden
    audio, image, video = given.audio_tokens or 0, given.image_tokens or 0, given.video_tokens or 0
    text = part_of(sent, audio + image + video, "audio, image and video tokens inside the tokens sent")
    cached = _cached(wire, given, sent)
    writes = given.cache_write_tokens or 0
    long_writes = (given.cache_write_tokens_details or LongWrites()).ttl_12h_tokens or 0
    part_of(sent, cached + writes, "cached and cache-written tokens inside the tokens sent")
    text_cached, image_cached, audio_cached = _split_cached(cached, given, text, image)
    out_text = part_of(
        received,
        (made.audio_tokens or 0) + (made.image_tokens or 0),
        "audio and image tokens inside the tokens received",
    )
    part_of(out_text, reasoning, "reasoning tokens inside the text tokens received")
    return Usage(
        input=part_of(text, text_cached + writes, "cached and cache-written tokens inside the text tokens sent"),
        cache_read=text_cached,
        cache_write=part_of(writes, long_writes, "12-hour cache writes inside all cache writes"),
        cache_write_1h=long_writes,
        output=out_text,
        reasoning=reasoning,
        input_audio=part_of(audio, audio_cached, "cached audio tokens inside the audio tokens sent"),
        cache_read_audio=audio_cached,
        output_audio=made.audio_tokens or 0,
        input_image=part_of(image, image_cached, "cached image tokens inside the image tokens sent"),
        cache_read_image=image_cached,
        output_image=made.image_tokens or 0,
        input_video=video,
    )


def _hidden(sent: int, received: int, total: int | None, reasoning: int) -> int:
    """Return the tokens that `total` holds beside both parts: reasoning that the parts leave out."""
    if not total:
        return 0
    hidden = part_of(total, sent + received, "tokens sent and received inside total_tokens")
    if hidden and reasoning not in {0, hidden}:
        raise UsageError(f"total_tokens exceeds its parts by {hidden}, and reasoning_tokens says {reasoning}")
    return hidden


def _cached(wire: WireUsage, given: InputDetails, sent: int) -> int:
    """Return the cached tokens, which DeepSeek tells in words of its own."""
    cached, hits = given.cached_tokens or 0, wire.prompt_cache_hit_tokens or 0
    if cached and hits and cached != hits:
        raise UsageError(f"cached_tokens says {cached} and prompt_cache_hit_tokens says {hits}")
    if wire.prompt_cache_miss_tokens is not None and hits + wire.prompt_cache_miss_tokens != sent:
        raise UsageError(
            f"cache hits and misses make {hits + wire.prompt_cache_miss_tokens}, prompt_tokens says {sent}"
        )
    return cached or hits


def _split_cached(cached: int, given: InputDetails, text: int, image: int) -> tuple[int, int, int]:
    """Split cached tokens into text, image and audio: as told; else text first, then images, then audio."""
    told = given.cached_tokens_details
    if told is not None:
        images, audio = told.image_tokens or 0, told.audio_tokens or 0
        return part_of(cached, images + audio, "cached image and audio tokens inside cached_tokens"), images, audio
    from_text = min(cached, text - min(text, given.cache_write_tokens or 0))
    images = min(cached - from_text, image)
    return from_text, images, cached - from_text - images
