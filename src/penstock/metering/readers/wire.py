"""Decoding what others wrote: named fields only, and never an exception that a relay would trip over."""

from typing import TypeVar

import msgspec
from msgspec import Raw, Struct

from penstock.errors import UsageError
from penstock.metering.surrogates import mended

T = TypeVar("T")


class ErrorBody(Struct):
    """The object under `error`: OpenAI, Azure, Anthropic and most others say `code` or `type`."""

    code: str | int | None = None
    type: str | None = None


ERROR_BODY = msgspec.json.Decoder(ErrorBody)
NULL = b"null"
ABSENT = Raw()
"""What stands in the place of a member that is not there."""


def decode(decoder: msgspec.json.Decoder[T], data: bytes) -> T | None:
    """Decode `data`; None when it is not JSON at all. JSON of an unexpected shape raises `UsageError`."""
    try:
        return decoder.decode(data)
    except msgspec.ValidationError as problem:
        raise UsageError(f"The reply does not have the shape of its protocol: {problem}") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        whole = mended(data)
        return decode(decoder, whole) if whole is not None else None
    except RecursionError:
        return None


def glance(decoder: msgspec.json.Decoder[T], data: bytes) -> T | None:
    """Decode `data` where nothing depends on it: None when it is not JSON, or not of that shape."""
    try:
        return decode(decoder, data)
    except UsageError:
        return None


def error_code(raw: Raw) -> str:
    """Name the error under `raw`: its code if that is a word, else its type, else its number."""
    if raw is ABSENT:
        return ""
    data = bytes(raw)
    if not data or data == NULL:
        return ""
    body = glance(ERROR_BODY, data)
    if body is None:
        return "provider_error"
    if isinstance(body.code, str) and body.code:
        return body.code
    return body.type or (str(body.code) if body.code else "provider_error")
