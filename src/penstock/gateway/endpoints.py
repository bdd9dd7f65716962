"""Which paths are AI calls, and in whose wire."""

import re
from urllib.parse import unquote_to_bytes

from msgspec import Struct

from penstock.metering.reading import Flavour


class Endpoint(Struct, frozen=True, gc=False):
    """One kind of call: what it is named in events, its wire, and where OpenAI-like servers keep it."""

    name: str
    flavour: Flavour
    path: str
    """Below a provider's base address."""


CHAT = Endpoint("chat", "openai.chat", "/chat/completions")
COMPLETIONS = Endpoint("completions", "openai.completions", "/completions")
RESPONSES = Endpoint("responses", "openai.responses", "/responses")
EMBEDDINGS = Endpoint("embeddings", "openai.embeddings", "/embeddings")
MESSAGES = Endpoint("messages", "anthropic.messages", "/v1/messages")

OPENAI = {endpoint.path: endpoint for endpoint in (CHAT, COMPLETIONS, RESPONSES, EMBEDDINGS)}
METERED: dict[bytes, Endpoint] = {
    **{b"/v1" + path.encode(): endpoint for path, endpoint in OPENAI.items()},
    **{b"/openai/v1" + path.encode(): endpoint for path, endpoint in OPENAI.items()},
    b"/openai/responses": RESPONSES,
    b"/v1/messages": MESSAGES,
}
"""Calls that cost money, by their path."""

COUNT_TOKENS = b"/v1/messages/count_tokens"
MODELS = b"/v1/models"
OUTCOMES = b"/v1/outcomes"
"""Ours: how good an answer was."""
FREE_PREFIXES = (
    MODELS, COUNT_TOKENS, b"/v1/files", b"/v1/batches", b"/openai/v1/files", b"/openai/v1/batches",
    b"/openai/v1/models",
)  # fmt: skip
"""Paths that are passed on unmetered: what they start is billed elsewhere, or nothing."""
TELEMETRY = frozenset({b"/v1/traces", b"/v1/metrics", b"/v1/logs"})
"""Where OpenTelemetry's exporters send to: the control process books what they say of calls made elsewhere."""
SLY = re.compile(rb"/\.{0,2}(;[^/]*)?/|/\.{1,2}(;[^/]*)?$|\\|%(2e|2f|5c)", re.IGNORECASE)
"""Segments that lead elsewhere, at least with servers that strip `;...` from them, or decode a path twice."""
STORED = (b"/v1/responses/", b"/openai/v1/responses/")
AZURE_DEPLOYMENTS = b"/openai/deployments/"


def metered(method: str, path: bytes) -> tuple[Endpoint | None, str]:
    """Say which call a request is, if it is one that costs money, and the deployment that its path names, if any."""
    if method != "POST":
        return None, ""
    endpoint = METERED.get(path)
    if endpoint is not None:
        return endpoint, ""
    deployment, endpoint = azure_deployment(path) or ("", None)
    return endpoint, deployment


def azure_deployment(path: bytes) -> tuple[str, Endpoint] | None:
    """Take `/openai/deployments/NAME/chat/completions` apart."""
    if not path.startswith(AZURE_DEPLOYMENTS):
        return None
    name, slash, rest = path[len(AZURE_DEPLOYMENTS) :].partition(b"/")
    endpoint = OPENAI.get((slash + rest).decode("latin-1"))
    return (name.decode("latin-1"), endpoint) if endpoint else None


def is_free(method: str, path: bytes) -> bool:
    """Tell whether a request of the AI wire costs nothing itself. What is not known to be free is not."""
    if SLY.search(unquote_to_bytes(path)) or b"%2f" in path.lower():
        return False  # what a front of the provider would make of it is not what it says here
    if any(path == free or path.startswith(free + b"/") for free in FREE_PREFIXES):
        return True
    free_post = path.endswith((b"/cancel", b"/input_tokens"))
    return path.startswith(STORED) and (method in {"GET", "DELETE"} or free_post)


def starts_nothing(path: bytes) -> bool:
    """Tell whether a free path neither starts work nor shows what others have left at the provider."""
    return path in {MODELS, b"/openai" + MODELS, COUNT_TOKENS} or path.startswith(
        (MODELS + b"/", b"/openai/v1/models/")
    )


def is_ai_path(path: bytes) -> bool:
    """Tell whether a path belongs to the AI wire: it is never handed to the control plane."""
    return path.startswith((b"/v1/", b"/openai/"))
