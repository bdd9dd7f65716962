"""What the model wrote, out of a whole reply that reports no usage: for counting it ourselves."""

import json
from typing import Any

WRITTEN = ("content", "text", "arguments", "refusal", "reasoning_content", "reasoning", "name", "input", "thinking")
"""Members that hold what the model wrote, in OpenAI's and Anthropic's replies."""
INSIDE = ("choices", "message", "output", "content", "summary", "tool_calls", "function")
"""Members that lead there."""


def body_text(body: bytes) -> str:
    """Return the text, reasoning and tool arguments of a reply; the body itself where it is no JSON object."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return body.decode("utf-8", "replace")
    return "".join(_written(document)) if isinstance(document, dict) else body.decode("utf-8", "replace")


def _written(part: Any) -> list[str]:
    if isinstance(part, list):
        return [word for item in part for word in _written(item)]
    if not isinstance(part, dict):
        return []
    words = []
    for name, value in part.items():
        if name in WRITTEN and isinstance(value, str):
            words.append(value)
        elif name == "input" and isinstance(value, dict):  # Anthropic's arguments of a tool
            words.append(json.dumps(value, ensure_ascii=False))
        elif name in INSIDE:
            words += _written(value)
    return words
