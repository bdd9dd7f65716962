"""What an answer can be seen to lack, the exact signs first. A check that finds nothing has proven nothing."""

import json
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from penstock.policies.call import Call
from penstock.policies.deployments import Cascade
from penstock.policies.routing.answer import Answer
from penstock.policies.routing.schema import misfit

PassRate = Callable[[Answer], tuple[float, str] | None]
"""How often answers like this one were good, and what they have in common; None: not known yet."""


def why_failed(cascade: Cascade, call: Call, answer: Answer, pass_rate: PassRate) -> str:
    """Say in a word or two why an answer will not do; empty: nothing speaks against it."""
    request = call.body
    if answer.refused or answer.finish == "content_filter":
        return "refusal"
    if answer.finish == "length" and call.head.output_limit is None:
        return "truncated"  # where the client set the limit, another model would be cut off, too
    if not answer.text.strip() and not answer.tools:
        return "empty"
    if (b"schema" in request or b"json_object" in request or b'"tools"' in request) and answer.finish != "length":
        wrong = misshaped(json.loads(request), answer)
        if wrong:
            return wrong
    if cascade.form and answer.text and not _pattern(cascade.form).search(answer.text):
        return "form"
    return _unsure(cascade, answer, pass_rate)


def misshaped(request: dict[str, Any], answer: Answer) -> str:
    """Say which shape that was asked for an answer lacks, in a word or two; empty: none.

    Some servers answer requests that name no shape in any way their wire knows: of these nothing can be said.
    """
    try:
        return _misshaped(request, answer)
    except (AttributeError, KeyError, TypeError, RecursionError):
        return ""


def _misshaped(request: dict[str, Any], answer: Answer) -> str:
    tools = {one["name"]: one for one in map(_tool, request.get("tools") or ()) if one.get("name")}
    for name, arguments in answer.tools:
        if name not in tools:
            return "unknown tool"
        if not isinstance(arguments, dict):
            return "tool arguments"
        if misfit(arguments, tools[name].get("parameters") or tools[name].get("input_schema")):
            return "tool arguments"
    shape = request.get("response_format") or (request.get("text") or {}).get("format") or {}
    if answer.tools or shape.get("type") not in {"json_object", "json_schema"}:
        return ""
    try:
        value = json.loads(answer.text)
    except ValueError:
        return "no JSON"
    schema = (shape.get("json_schema") or shape).get("schema")
    return "schema" if misfit(value, schema) else ""


def _tool(row: Any) -> dict[str, Any]:
    inner = row.get("function") if isinstance(row, dict) else None
    return inner if isinstance(inner, dict) else row if isinstance(row, dict) else {}


def _unsure(cascade: Cascade, answer: Answer, pass_rate: PassRate) -> str:
    if cascade.min_logprob is not None and answer.logprobs:
        low = sorted(answer.logprobs)[len(answer.logprobs) // 10]
        if low < cascade.min_logprob:
            return "unsure tokens"
    if cascade.min_pass_rate is not None:
        rate = pass_rate(answer)
        if rate is not None and rate[0] < cascade.min_pass_rate:
            return rate[1]
    return ""


@lru_cache(maxsize=64)
def _pattern(form: str) -> re.Pattern[str]:
    return re.compile(form)
