"""How many tokens a text or a request has."""

from typing import Any

from penstock.metering.reading import Flavour


def count_text(_model: str, text: str) -> int:
    """Count the tokens of a text."""
    return (len(text.encode()) + 3) // 4


def count_request(flavour: Flavour, model: str, body: dict[str, Any]) -> int:
    """Count the input tokens of a request's body."""
    return count_text(model, flavour + repr(body.get("messages") or body.get("input") or body.get("prompt")))
