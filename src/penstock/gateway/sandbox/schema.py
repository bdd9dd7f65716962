"""Make a value that fits a JSON Schema: the answer to structured output, and the arguments of a tool call.

Covers what people send: types, enum, const, $ref, anyOf/oneOf/allOf, objects, arrays, bounds, common formats and
simple patterns. The same schema and digest give the same value.
"""

import hashlib
import math
import re
from typing import Any

DEPTH = 6
"""Below this depth only what is required is made, so that recursive schemas end."""

_FORMATS = {
    "date": "2026-11-23",
    "date-time": "2026-11-23T12:00:00Z",
    "time": "12:00:00Z",
    "duration": "PT5M",
    "email": "sandbox@example.com",
    "hostname": "sandbox.example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://sandbox.example.com/",
    "uuid": "3f2504e0-4f89-41d3-9a0c-0305e82c3301",
}
_WORDS = ("amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "harbour")
_CLASS = re.compile(r"\^?(\[[^\]]+\]|\\d|\\w|\.)(?:\{(\d+)(?:,\d*)?\}|(\+|\*))?\$?")


def fit(schema: dict[str, Any], digest: bytes) -> Any:
    """Return a value that fits the schema."""
    return _Maker(schema, digest).make(schema, "$", 0)


class _Maker:
    def __init__(self, root: dict[str, Any], digest: bytes) -> None:
        self._root, self._digest = root, digest

    def make(self, schema: Any, path: str, depth: int) -> Any:
        if not isinstance(schema, dict):  # `true` allows anything
            return "anything"
        if "$ref" in schema:
            return self.make(self._resolve(schema["$ref"]), path, depth + 1)
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            return schema["enum"][self._pick(path, len(schema["enum"]))]
        if "allOf" in schema:
            return self.make(self._merge(schema), path, depth)
        for word in ("anyOf", "oneOf"):
            if schema.get(word):
                return self.make(self._branch(schema[word], path, depth), path, depth)
        return self._typed(schema, path, depth)

    def _typed(self, schema: dict[str, Any], path: str, depth: int) -> Any:
        kind = schema.get("type") or (
            "object" if "properties" in schema else "array" if "items" in schema else "string"
        )
        if isinstance(kind, list):
            kind = "null" if "null" in kind and depth > DEPTH else next((k for k in kind if k != "null"), "null")
        match kind:
            case "object":
                return self._object(schema, path, depth)
            case "array":
                return self._array(schema, path, depth)
            case "integer" | "number":
                return self._number(schema, path, whole=kind == "integer")
            case "boolean":
                return bool(self._pick(path, 2))
            case "null":
                return None
            case _:
                return self._string(schema, path)

    def _object(self, schema: dict[str, Any], path: str, depth: int) -> dict[str, Any]:
        properties: dict[str, Any] = schema.get("properties", {})
        required = schema.get("required", [])
        names = [name for name in properties if depth < DEPTH or name in required]
        made = {name: self.make(properties[name], f"{path}.{name}", depth + 1) for name in names}
        for name in required:
            made.setdefault(name, "anything")
        if not properties and isinstance(schema.get("additionalProperties"), dict):
            made["sample"] = self.make(schema["additionalProperties"], f"{path}.sample", depth + 1)
        return made

    def _array(self, schema: dict[str, Any], path: str, depth: int) -> list[Any]:
        least, most = schema.get("minItems", 0), schema.get("maxItems", 10)
        first = schema.get("prefixItems", [])
        wanted = least if depth >= DEPTH else max(least, min(most, 1 + self._pick(path, 3)), len(first))
        shapes = [*first, *[schema.get("items", {"type": "string"})] * max(0, wanted - len(first))]
        return [self.make(shape, f"{path}[{n}]", depth + 1) for n, shape in enumerate(shapes[: max(wanted, least)])]

    def _number(self, schema: dict[str, Any], path: str, *, whole: bool) -> int | float:
        step = schema.get("multipleOf") or (1 if whole else 0.5)
        low, high = schema.get("minimum"), schema.get("maximum")
        if "exclusiveMinimum" in schema:
            low = math.floor(schema["exclusiveMinimum"]) + 1 if whole else schema["exclusiveMinimum"] + step / 4
        if "exclusiveMaximum" in schema:
            high = math.ceil(schema["exclusiveMaximum"]) - 1 if whole else schema["exclusiveMaximum"] - step / 4
        if low is None:
            low = 0 if high is None else high - 100 * step
        first = math.ceil(low / step)
        last = first + 100 if high is None else math.floor(high / step)
        if last < first:  # no multiple of the step lies in so narrow a range
            return float(low)
        value = (first + self._pick(path, last - first + 1)) * step
        return int(value) if whole else float(value)

    def _string(self, schema: dict[str, Any], path: str) -> str:
        least: int = schema.get("minLength", 0)
        most: int = schema.get("maxLength", 10_000)
        if schema.get("format") in _FORMATS:
            return str(_FORMATS[schema["format"]])
        if found := _CLASS.fullmatch(schema.get("pattern", "-")):
            return _letter(found[1]) * max(int(found[2] or 3), int(least))
        word: str = _WORDS[self._pick(path, len(_WORDS))]
        return (word * (least // len(word) + 1) if len(word) < least else word)[: max(least, min(most, 5_000))]

    def _branch(self, branches: list[Any], path: str, depth: int) -> Any:
        if depth >= DEPTH:
            for branch in branches:
                if isinstance(branch, dict) and branch.get("type") == "null":
                    return branch
        solid = [branch for branch in branches if not (isinstance(branch, dict) and branch.get("type") == "null")]
        return solid[self._pick(path, len(solid))] if solid else {"type": "null"}

    def _merge(self, schema: dict[str, Any]) -> dict[str, Any]:
        whole: dict[str, Any] = {key: value for key, value in schema.items() if key != "allOf"}
        for part in schema["allOf"]:
            resolved = self._resolve(part["$ref"]) if "$ref" in part else part
            flat = self._merge(resolved) if "allOf" in resolved else resolved
            properties = whole.get("properties", {}) | flat.get("properties", {})
            required = [*whole.get("required", []), *flat.get("required", [])]
            whole = flat | whole
            if properties:
                whole |= {"properties": properties, "required": required}
        return whole

    def _resolve(self, reference: str) -> dict[str, Any]:
        found: Any = self._root
        for step in reference.removeprefix("#").strip("/").split("/"):
            if step:
                found = found[step.replace("~1", "/").replace("~0", "~")]
        return found if isinstance(found, dict) else {}

    def _pick(self, path: str, count: int) -> int:
        return int.from_bytes(hashlib.blake2b(path.encode(), key=self._digest[:64], digest_size=4).digest()) % count


def _letter(group: str) -> str:
    if group == r"\d":
        return "7"
    if group in (r"\w", "."):
        return "a"
    return next((sign for sign in "a7A_-" if re.fullmatch(group, sign)), group[1])
