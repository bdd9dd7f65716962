"""Errors in the shape that the calling protocol's client expects."""

import json

from penstock.metering.reading import Flavour

KINDS = {
    400: "invalid_request_error", 401: "authentication_error", 402: "billing_error", 403: "permission_error",
    404: "not_found_error", 413: "request_too_large", 429: "rate_limit_error", 529: "overloaded_error",
}  # fmt: skip


CUT = "The stream ended here: it is longer than what was reserved for it, and its budget cannot hold more."


def cut_event(flavour: Flavour, request_id: str) -> bytes:
    """Return the server-sent event that tells a client that its stream was cut off for its budget."""
    body = json.loads(refusal_body(flavour, 402, "budget_exceeded", CUT, request_id))
    if flavour == "openai.responses":  # its own shape; `error` is where its client looks
        body = {"type": "error", "code": "budget_exceeded", "message": CUT, "param": None, "sequence_number": 0, **body}
    name = b"event: error\n" if flavour in {"openai.responses", "anthropic.messages"} else b""
    return b"%bdata: %b\n\n" % (name, json.dumps(body).encode())


def refusal_body(flavour: Flavour | None, status: int, code: str, message: str, request_id: str) -> bytes:
    """Return the JSON body of an error: Anthropic's shape on its wire, OpenAI's elsewhere."""
    kind = KINDS.get(status, "api_error")
    if flavour == "anthropic.messages":
        error: dict[str, object] = {"type": kind, "message": message, "code": code}
        return json.dumps({"type": "error", "error": error, "request_id": request_id}).encode()
    return json.dumps({"error": {"message": message, "type": kind, "param": None, "code": code}}).encode()
