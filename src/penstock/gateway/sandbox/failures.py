"""Error bodies in each provider's own shape. The sentences are the sandbox's, so that nobody takes them for real."""

from typing import Any, Literal

from msgspec import Struct

Dialect = Literal["openai", "azure", "anthropic"]

_OPENAI: dict[str, tuple[int, str, str | None, str]] = {
    # our name: status, type, code, sentence
    "400": (400, "invalid_request_error", None, "The request cannot be used."),
    "401": (401, "invalid_request_error", "invalid_api_key", "The API key is wrong."),
    "404": (404, "invalid_request_error", "model_not_found", "There is no such model."),
    "405": (405, "invalid_request_error", "method_not_supported", "There is no such method here."),
    "413": (413, "invalid_request_error", None, "The request is too large."),
    "429": (429, "requests", "rate_limit_exceeded", "Too many requests; wait before the next one."),
    "500": (500, "server_error", None, "The server met an error of its own."),
    "503": (503, "server_error", "service_unavailable", "The server is overloaded."),
    "507": (507, "server_error", "bill_full", "The sandbox's bill is full; reset it with DELETE /sandbox/bill."),
    "529": (503, "server_error", "service_unavailable", "The server is overloaded."),
}

_ANTHROPIC: dict[str, tuple[int, str, str]] = {
    "400": (400, "invalid_request_error", "The request cannot be used."),
    "401": (401, "authentication_error", "The API key is wrong."),
    "404": (404, "not_found_error", "There is no such model."),
    "405": (405, "invalid_request_error", "There is no such method here."),
    "413": (413, "request_too_large", "The request is too large."),
    "429": (429, "rate_limit_error", "Too many requests; wait before the next one."),
    "500": (500, "api_error", "The server met an error of its own."),
    "503": (503, "api_error", "The server is not available."),
    "507": (507, "api_error", "The sandbox's bill is full; reset it with DELETE /sandbox/bill."),
    "529": (529, "overloaded_error", "The server is overloaded."),
}

_AZURE_CODES = {"401": "401", "404": "DeploymentNotFound", "429": "429", "500": "InternalServerError", "503": "503"}


class Failed(Exception):  # noqa: N818 - a turn of the sandbox's own flow, answered and never shown as a traceback
    """The call is answered with an error. `kind` is a key of the tables above, or `content_filter`."""

    def __init__(
        self,
        kind: str,
        sentence: str = "",
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after: float = 1,
    ) -> None:
        self.kind, self.sentence, self.param, self.code = kind, sentence, param, code
        self.retry_after = retry_after
        super().__init__(sentence or kind)


class Answered(Struct, frozen=True):
    """An error as it goes out."""

    status: int
    body: dict[str, Any]


def shape(failed: Failed, dialect: Dialect, request_id: str) -> Answered:
    """Give an error the status and the body of the dialect."""
    if dialect == "anthropic":
        status, kind, sentence = _ANTHROPIC["400" if failed.kind == "content_filter" else failed.kind]
        error = {"type": kind, "message": _said(failed, sentence)}
        return Answered(status, {"type": "error", "error": error, "request_id": request_id})
    if failed.kind == "content_filter":
        return Answered(400, {"error": _filtered(dialect)})
    status, kind, code, sentence = _OPENAI[failed.kind]
    if dialect == "azure" and failed.kind in _AZURE_CODES:
        return Answered(status, {"error": {"code": _AZURE_CODES[failed.kind], "message": _said(failed, sentence)}})
    error_body = {
        "message": _said(failed, sentence), "type": kind, "param": failed.param, "code": failed.code or code,
    }  # fmt: skip
    return Answered(status, {"error": error_body})


def _said(failed: Failed, sentence: str) -> str:
    return f"Sandbox: {failed.sentence or sentence}"


def _filtered(dialect: Dialect) -> dict[str, Any]:
    error: dict[str, Any] = {
        "message": "Sandbox: the prompt was stopped by the content filter.",
        "type": None if dialect == "azure" else "invalid_request_error",
        "param": "prompt",
        "code": "content_filter",
    }
    if dialect == "azure":
        error["status"] = 400
        error["innererror"] = {
            "code": "ResponsibleAIPolicyViolation",
            "content_filter_result": FILTER_OK | {"violence": {"filtered": True, "severity": "high"}},
        }
    return error


FILTER_OK = {name: {"filtered": False, "severity": "safe"} for name in ("hate", "self_harm", "sexual", "violence")}
"""What Azure's content filter says of a harmless text."""
