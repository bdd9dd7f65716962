"""How OpenAI puts tools before a model: as a TypeScript namespace, not as the JSON that was sent.

White space, `title`, `default`, `minimum` and `additionalProperties` of the JSON therefore cost nothing. The layout
is inferred from what the API billed for known requests (recorded in tests/recorded/openai_chat_overhead.json).
"""

import json
from collections.abc import Sequence
from typing import Any

COMMENT_DEPTH = 2
"""Descriptions of members that lie deeper are left out."""


def namespace(functions: Sequence[dict[str, Any]]) -> str:
    """Render functions (`name`, `description`, `parameters`) as the model sees them."""
    lines = ["namespace functions {", ""]
    for function in functions:
        lines += _comment(function)
        schema = _as_object(function.get("parameters"))
        if schema.get("properties"):
            lines += [f"type {function.get('name', '')} = (_: {{", *_members(schema, 0), "}) => any;", ""]
        else:
            lines += [f"type {function.get('name', '')} = () => any;", ""]
    return "\n".join([*lines, "} // namespace functions"])


def _members(schema: dict[str, Any], depth: int) -> list[str]:
    required = schema.get("required")
    wanted = required if isinstance(required, list) else []
    lines: list[str] = []
    for name, member in _as_object(schema.get("properties")).items():
        member_schema = _as_object(member)
        if depth < COMMENT_DEPTH:
            lines += _comment(member_schema)
        lines.append(f"{name}{'' if name in wanted else '?'}: {_type(member_schema, depth)},")
    return [" " * (2 * depth) + line for line in lines]


def _type(schema: dict[str, Any], depth: int) -> str:
    choices = schema.get("enum")
    if isinstance(choices, list):
        return " | ".join(json.dumps(choice, ensure_ascii=False) for choice in choices)
    for union in ("anyOf", "oneOf", "allOf"):
        options = schema.get(union)
        if isinstance(options, list):
            return " | ".join(_type(_as_object(option), depth) for option in options)
    kind = schema.get("type")
    if isinstance(kind, list):
        return " | ".join(_type({**schema, "type": one}, depth) for one in kind)
    if kind == "object" or "properties" in schema:
        return (
            "\n".join(["{", *_members(schema, depth + 1), " " * (2 * depth) + "}"])
            if "properties" in schema
            else "object"
        )
    if kind == "array":
        return f"{_type(_as_object(schema['items']), depth)}[]" if "items" in schema else "any[]"
    return {"integer": "number", "number": "number", "string": "string", "boolean": "boolean", "null": "null"}.get(
        str(kind), "any"
    )


def _comment(schema: dict[str, Any]) -> list[str]:
    text = schema.get("description")
    return [f"// {text}"] if text else []


def _as_object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
