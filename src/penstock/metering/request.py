"""What a gateway must know of a request's body, read in one pass. Everything else is skipped, the bytes stay."""

import json
from typing import Any

import msgspec
from msgspec import Raw, Struct

from penstock.errors import InputError
from penstock.metering.reading import Flavour
from penstock.metering.surrogates import mended

EMPTY = frozenset({b"", b"null", b"[]", b"{}"})


class StreamOptions(Struct, frozen=True, gc=False):
    """OpenAI's `stream_options`."""

    include_usage: bool | None = None


class RequestHead(Struct, frozen=True):
    """The members of a request that decide where it goes, who pays, and how much it may use at most."""

    model: str = ""
    """As the client asks for it; empty where the path names a deployment."""
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    max_output_tokens: int | None = None
    n: int | None = None
    service_tier: str | None = None
    user: str | None = None
    safety_identifier: str | None = None
    metadata: Raw = Raw()
    tools: Raw = Raw()

    @property
    def include_usage(self) -> bool:
        """Whether the client itself wants usage at the end of the stream."""
        return bool(self.stream_options and self.stream_options.include_usage)

    @property
    def has_tools(self) -> bool:
        """Whether the model may call tools."""
        return bytes(self.tools) not in EMPTY

    @property
    def output_limit(self) -> int | None:
        """The most tokens that one answer may have, if the client says so."""
        for limit in (self.max_completion_tokens, self.max_output_tokens, self.max_tokens):
            if limit is not None:
                return limit
        return None

    def metadata_items(self) -> dict[str, Any]:
        """Return the request's own `metadata`, decoded now; empty when it is no JSON object."""
        data = bytes(self.metadata)
        if data in EMPTY:
            return {}
        metadata = json.loads(data)  # takes lone surrogates, which msgspec refuses
        return metadata if isinstance(metadata, dict) else {}


NO_METADATA = RequestHead().metadata
"""What stands there when the request has none."""
HEAD = msgspec.json.Decoder(RequestHead)


def read_request(flavour: Flavour, body: bytes) -> RequestHead:
    """Read the head of a request's body; `InputError` says where it is not JSON, or which member is of a wrong type."""
    try:
        return HEAD.decode(body)
    except msgspec.ValidationError as problem:
        raise InputError(f"The {flavour} request cannot be used: {problem}. Correct that member.") from None
    except msgspec.DecodeError as problem:
        whole = mended(body)
        if whole is not None:
            return read_request(flavour, whole)
        sentence = str(problem).removeprefix("JSON is malformed: ")
        place = sentence if "(byte " in sentence else f"{sentence} (byte {len(body)})"
        raise InputError(f"The request's body is not JSON: {place}. Send one JSON object.") from None
    except RecursionError:
        raise InputError("The request's body nests too deeply. Send plainer JSON.") from None
    except UnicodeDecodeError as problem:
        raise InputError(f"The request's body is not UTF-8: {problem.reason}. Send JSON in UTF-8.") from None
