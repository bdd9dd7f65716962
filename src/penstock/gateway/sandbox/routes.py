"""Which path means what: the protocol, and whose manners (OpenAI's, Azure's or Anthropic's) the reply has."""

import re

from msgspec import Struct

from penstock.gateway.sandbox.failures import Dialect
from penstock.metering.reading import Flavour


class Route(Struct, frozen=True):
    """A path, understood. `flavour` is None for what is not a model call; `what` then names it."""

    dialect: Dialect
    flavour: Flavour | None = None
    deployment: str = ""
    what: str = ""


_FLAVOURS: dict[str, Flavour] = {
    "chat/completions": "openai.chat",
    "completions": "openai.completions",
    "responses": "openai.responses",
    "embeddings": "openai.embeddings",
}
_AZURE = re.compile(r"/openai/deployments/([^/]+)/(chat/completions|completions|embeddings)")
_PLAIN = re.compile(r"(/openai)?/v1/(chat/completions|completions|responses|embeddings)|/openai/(responses)")
_MODELS = re.compile(r"(?:/openai)?(?:/v1)?/models(?:/(.+))?")


def route(path: str, *, anthropic: bool = False) -> Route | None:
    """Understand a path; None: there is nothing there. `anthropic`: the caller speaks its protocol."""
    if found := _PLAIN.fullmatch(path):
        azure = path.startswith("/openai/")
        return Route("azure" if azure else "openai", _FLAVOURS[found[2] or found[3]])
    if found := _AZURE.fullmatch(path):
        return Route("azure", _FLAVOURS[found[2]], found[1])
    if path == "/v1/messages":
        return Route("anthropic", "anthropic.messages")
    if path == "/v1/messages/count_tokens":
        return Route("anthropic", None, what="count")
    if found := _MODELS.fullmatch(path):
        dialect: Dialect = "anthropic" if anthropic else "openai"
        return Route(dialect, None, deployment=found[1] or "", what="models")
    if path == "/sandbox/bill":
        return Route("openai", None, what="bill")
    return None
