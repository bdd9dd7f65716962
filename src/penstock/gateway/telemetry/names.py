"""What OpenTelemetry's GenAI conventions call what Penstock knows (semantic-conventions-genai, read 2026-11-26)."""

from functools import lru_cache

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from penstock.metering.event import UsageEvent

OPERATIONS = {
    "chat": "chat", "responses": "chat", "messages": "chat", "completions": "text_completion",
    "embeddings": "embeddings",
}  # fmt: skip
PROVIDERS = {
    "azure": "azure.ai.openai", "aws": "aws.bedrock", "google": "gcp.gemini", "mistral": "mistral_ai", "x-ai": "x_ai",
}  # fmt: skip
"""Our name of a provider -> the conventions', where they differ."""
TIERS = {"standard": "default"}
"""Our name of a processing mode -> OpenAI's `service_tier`."""


def operation_of(endpoint: str) -> str:
    """Name the operation of an endpoint."""
    return OPERATIONS.get(endpoint, endpoint)


def provider_name(provider: str) -> str:
    """Name who bills."""
    return PROVIDERS.get(provider, provider)


def model_name(event: UsageEvent) -> str:
    """Name the model that served, with its version, as replies do."""
    return f"{event.model}-{event.version}" if event.version and event.version not in event.model else event.model


def filled(pairs: dict[str, str]) -> list[KeyValue]:
    """Return text attributes; those that say nothing are left out."""
    return [KeyValue(key=name, value=AnyValue(string_value=value)) for name, value in pairs.items() if value]


# Attributes of spans, as bytes: they come again and again, and protobuf lets a message be put together of pieces.


def piece(number: int, data: bytes) -> bytes:
    """Return a field of a message that holds bytes or another message; `number` is below 16."""
    size, head = len(data), bytearray((number << 3 | 2,))
    while size > 0x7F:
        head.append(size & 0x7F | 0x80)
        size >>= 7
    head.append(size)
    return bytes(head) + data


def _attribute(name: str, value: AnyValue) -> bytes:
    return piece(Span.ATTRIBUTES_FIELD_NUMBER, KeyValue(key=name, value=value).SerializeToString())


def unique(name: str, value: str) -> list[bytes]:
    """Return a text that will not come again, if there is one."""
    return [_attribute(name, AnyValue(string_value=value))] if value else []


@lru_cache(maxsize=8192)
def word(name: str, value: str) -> bytes:
    """Return a text."""
    return _attribute(name, AnyValue(string_value=value))


@lru_cache(maxsize=1024)
def words(name: str, value: str) -> bytes:
    """Return a list with one text."""
    return _attribute(name, AnyValue(array_value=ArrayValue(values=[AnyValue(string_value=value)])))


@lru_cache(maxsize=8192)
def count(name: str, value: int) -> bytes:
    """Return a whole number."""
    return _attribute(name, AnyValue(int_value=value))


def figure(name: str, value: float) -> bytes:
    """Return a number. OTLP knows no decimals: money is the nearest double, which agrees to 15 digits."""
    return _attribute(name, AnyValue(double_value=value))


@lru_cache(maxsize=2)
def flag(name: str, value: bool) -> bytes:
    """Return yes or no."""
    return _attribute(name, AnyValue(bool_value=value))


def texts(pairs: dict[str, str]) -> list[bytes]:
    """Return texts; those that say nothing are left out."""
    return [word(name, value) for name, value in pairs.items() if value]
