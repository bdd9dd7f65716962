"""Usage readers: one file a flavour. A reply in, a `Reading` out; `UsageError` when its usage contradicts itself."""

from collections.abc import Callable

from penstock.metering.readers.anthropic_messages import MessagesScan, read_message
from penstock.metering.readers.hide import HidingReader
from penstock.metering.readers.openai_chat import ChatScan, read_chat
from penstock.metering.readers.openai_embeddings import read_embeddings
from penstock.metering.readers.openai_responses import ResponsesScan, read_response
from penstock.metering.readers.relay import RelayReader, Scan
from penstock.metering.reading import Flavour, Reading, StreamReader

BODIES: dict[Flavour, Callable[[bytes], Reading]] = {
    "openai.chat": read_chat,
    "openai.completions": read_chat,
    "openai.responses": read_response,
    "openai.embeddings": read_embeddings,
    "anthropic.messages": read_message,
}
SCANS: dict[Flavour, Callable[[], Scan]] = {
    "openai.chat": ChatScan,
    "openai.completions": ChatScan,
    "openai.responses": ResponsesScan,
    "openai.embeddings": ChatScan,
    "anthropic.messages": MessagesScan,
}


def read_body(flavour: Flavour, body: bytes) -> Reading:
    """Read the body of a reply that was not streamed. Not JSON: a reading whose `error` is `not_json`."""
    return BODIES[flavour](body)


def stream_reader(flavour: Flavour, *, hide_usage: bool = False) -> StreamReader:
    """Make the reader of one stream.

    `hide_usage` when the request got its `stream_options.include_usage` from us: OpenAI chat and completions.
    """
    return HidingReader(SCANS[flavour]) if hide_usage else RelayReader(SCANS[flavour])
