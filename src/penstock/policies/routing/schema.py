"""Whether a value is what a JSON Schema asks for: the part of it that structured outputs and tools use."""

from typing import Any

TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,), "array": (list,), "string": (str,), "integer": (int,), "number": (int, float),
    "boolean": (bool,), "null": (type(None),),
}  # fmt: skip
DEEPEST = 32
"""Levels that are looked at: a schema may name itself."""


def misfit(value: Any, schema: Any, root: Any = None, place: str = "", depth: int = 0) -> str:
    """Say where `value` does not fit; empty: it does, as far as the words that are understood here go."""
    if not isinstance(schema, dict) or depth > DEEPEST:
        return ""
    root = schema if root is None else root
    reference = schema.get("$ref")
    if isinstance(reference, str):
        return misfit(value, _found(root, reference), root, place, depth + 1)
    wrong = _plain_misfit(value, schema, place)
    if wrong:
        return wrong
    for word in ("anyOf", "oneOf"):
        options = schema.get(word)
        if isinstance(options, list) and all(misfit(value, one, root, place, depth + 1) for one in options):
            return f"{place or 'it'} is none of {word}"
    for one in schema.get("allOf") or ():
        if wrong := misfit(value, one, root, place, depth + 1):
            return wrong
    if isinstance(value, dict):
        return _object_misfit(value, schema, root, place, depth)
    if isinstance(value, list):
        for number, item in enumerate(value):
            if wrong := misfit(item, schema.get("items"), root, f"{place}[{number}]", depth + 1):
                return wrong
    return ""


def _plain_misfit(value: Any, schema: dict[str, Any], place: str) -> str:
    named = schema.get("type")
    names = named if isinstance(named, list) else [named] if isinstance(named, str) else []
    known = [TYPES[name] for name in names if name in TYPES]
    if known and not any(
        isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool)) for kinds in known
    ):
        return f"{place or 'it'} is no {' or '.join(names)}"
    if "enum" in schema and value not in schema["enum"]:
        return f"{place or 'it'} is none of its enum"
    if "const" in schema and value != schema["const"]:
        return f"{place or 'it'} is not its const"
    return ""


def _object_misfit(value: dict[str, Any], schema: dict[str, Any], root: Any, place: str, depth: int) -> str:
    properties = schema.get("properties")
    properties = properties if isinstance(properties, dict) else {}
    for name in schema.get("required") or ():
        if name not in value:
            return f"{place}.{name} is missing"
    for name, item in value.items():
        if name in properties:
            if wrong := misfit(item, properties[name], root, f"{place}.{name}", depth + 1):
                return wrong
        elif schema.get("additionalProperties") is False:
            return f"{place}.{name} is not asked for"
    return ""


def _found(root: Any, reference: str) -> Any:
    """Follow `#/$defs/name`; anything else fits everything."""
    if not reference.startswith("#"):
        return {}
    found = root
    for part in reference.lstrip("#").strip("/").split("/"):
        if part:
            found = found.get(part, {}) if isinstance(found, dict) else {}
    return found
