"""One call as the sandbox works on it, and what each protocol must be able to do with it."""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

import msgspec
from msgspec import Struct

from penstock.gateway.sandbox.answer import Answer
from penstock.gateway.sandbox.ask import Ask
from penstock.gateway.sandbox.control import Control
from penstock.gateway.sandbox.failures import Dialect
from penstock.gateway.sandbox.prices import Metered

_PIECES = re.compile(r"\s*\S{1,12}|\s+")


class Call(Struct, kw_only=True):
    """Everything that is known of a call once it is to be answered."""

    id: str
    """Unique part of the ids in the reply."""
    request_id: str
    path: str
    dialect: Dialect
    deployment: str = ""
    tier: str = "default"
    stream: bool = False
    created: int
    ask: Ask
    control: Control
    answers: tuple[Answer, ...]
    metered: Metered


class Piece(NamedTuple):
    """Bytes of a stream, and the text of which choice they carry; no text: a frame around it."""

    frame: bytes
    choice: int = 0
    text: str = ""


class Wire(Protocol):
    """One protocol: how a reply looks, whole and in pieces."""

    reply_id: str

    def usage(self, metered: Metered) -> dict[str, Any]:
        """Say what was used, in the protocol's own terms."""
        ...

    def body(self) -> dict[str, Any]:
        """Return the whole reply."""
        ...

    def pieces(self) -> Iterator[Piece]:
        """Yield the stream up to its last text."""
        ...

    def closing(self, metered: Metered) -> bytes:
        """Return the end of the stream."""
        ...

    def broken(self) -> bytes:
        """Return the event that says that the stream broke."""
        ...


def reported(call: Call, usage: dict[str, Any], wrong: dict[str, Any]) -> dict[str, Any] | None:
    """Return the usage as the reply tells it: right, not at all, or wrong, as the caller wished."""
    match call.control.usage:
        case "none":
            return None
        case "wrong":
            return usage | wrong
        case _:
            return usage


def data(document: dict[str, Any]) -> bytes:
    """Frame a server-sent event without a name."""
    return b"data: " + msgspec.json.encode(document) + b"\n\n"


def event(document: dict[str, Any]) -> bytes:
    """Frame a server-sent event that is named like the document's type."""
    return b"event: " + str(document["type"]).encode() + b"\n" + data(document)


def split(text: str) -> list[str]:
    """Split a text into pieces about as large as the real streams'."""
    return _PIECES.findall(text)
