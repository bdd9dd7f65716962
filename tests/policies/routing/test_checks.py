"""What an answer can be seen to lack."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.metering.attribution import NOBODY
from penstock.metering.request import read_request
from penstock.policies.call import Call
from penstock.policies.deployments import Cascade
from penstock.policies.routing.answer import Answer, read_answer
from penstock.policies.routing.checks import misshaped, why_failed
from penstock.policies.routing.schema import misfit

SCHEMA = {
    "type": "object", "additionalProperties": False, "required": ["intent", "tags"],
    "properties": {
        "intent": {"enum": ["refund", "other"]}, "tags": {"type": "array", "items": {"$ref": "#/$defs/tag"}},
        "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
    },
    "$defs": {"tag": {"type": "string"}},
}  # fmt: skip
TOOLS = [{"type": "function", "function": {"name": "add", "parameters": {
    "type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}}}]  # fmt: skip


def call(flavour="openai.chat", **body) -> Call:
    data = json.dumps({"model": "auto", **body}).encode()
    return Call(
        "r", datetime(2026, 11, 26, tzinfo=UTC), flavour, read_request(flavour, data), data, NOBODY, (), 0, "auto", []
    )


def chat(content="fine", finish="stop", **more) -> bytes:
    choice = {"message": {"content": content, **more.pop("message", {})}, "finish_reason": finish, **more}
    return json.dumps({"choices": [choice]}).encode()


def tool(name: str, arguments: str) -> dict:
    return {"tool_calls": [{"id": "1", "type": "function", "function": {"name": name, "arguments": arguments}}]}


def why_not(cascade: Cascade, asked: Call, reply: bytes, rate: tuple[float, str] | None = None) -> str:
    answer = read_answer(asked.flavour, reply)
    return why_failed(cascade, asked, answer, lambda _: rate) if answer else ""


FORMAT = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}


@pytest.mark.parametrize(
    ("body", "reply", "why"),
    [
        ({}, chat(), ""),
        ({}, chat(finish="length"), "truncated"),
        ({"max_tokens": 5}, chat(finish="length"), ""),
        ({}, chat(finish="content_filter"), "refusal"),
        ({}, chat(None, message={"refusal": "I cannot"}), "refusal"),
        ({}, chat(" "), "empty"),
        ({"response_format": {"type": "json_object"}}, chat("{"), "no JSON"),
        ({"response_format": FORMAT}, chat('{"intent": "refund", "tags": ["a"]}'), ""),
        ({"response_format": FORMAT}, chat('{"intent": "refund"}'), "schema"),
        ({"response_format": FORMAT}, chat('{"intent": "maybe", "tags": []}'), "schema"),
        ({"tools": TOOLS}, chat(None, "tool_calls", message=tool("add", '{"a": 1}')), ""),
        ({"tools": TOOLS}, chat(None, "tool_calls", message=tool("add", '{"a": "one"}')), "tool arguments"),
        ({"tools": TOOLS}, chat(None, "tool_calls", message=tool("add", "{")), "tool arguments"),
        ({"tools": TOOLS}, chat(None, "tool_calls", message=tool("take", "{}")), "unknown tool"),
        ({}, b"no reply that can be read", ""),
    ],
)
def test_a_chat(body: dict, reply: bytes, why: str) -> None:
    assert why_not(Cascade(), call(**body), reply) == why


def test_the_other_wires() -> None:
    cut = json.dumps({"content": [{"type": "text", "text": "so"}], "stop_reason": "max_tokens"}).encode()
    assert why_not(Cascade(), call("anthropic.messages"), cut) == "truncated"
    bad = json.dumps(
        {"content": [{"type": "tool_use", "name": "add", "input": {}}], "stop_reason": "tool_use"}
    ).encode()
    asked = call("anthropic.messages", tools=[{"name": "add", "input_schema": {"required": ["a"]}}], max_tokens=9)
    assert why_not(Cascade(), asked, bad) == "tool arguments"
    short = {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}, "output": [
        {"type": "message", "content": [{"type": "output_text", "text": "so"}]}]}  # fmt: skip
    assert why_not(Cascade(), call("openai.responses"), json.dumps(short).encode()) == "truncated"


def test_a_form_that_the_settings_ask_for() -> None:
    cascade = Cascade(form=r"answer is \([A-J]\)")
    assert why_not(cascade, call(), chat("the answer is (B)")) == ""
    assert why_not(cascade, call(), chat("B")) == "form"


def test_the_lowest_tenth_of_the_tokens_decides_and_not_their_sum() -> None:
    cascade = Cascade(min_logprob=-1.0)
    sure = {"content": [{"logprob": -0.01}] * 200}
    unsure = {"content": [{"logprob": -0.01}] * 17 + [{"logprob": -2.0}] * 3}
    assert why_not(cascade, call(), chat(logprobs=sure)) == ""
    assert why_not(cascade, call(), chat(logprobs=unsure)) == "unsure tokens"


def test_answers_like_one_that_were_seldom_good_are_not_good_enough() -> None:
    cascade, reply = Cascade(min_pass_rate=0.8), chat('{"answer": "x", "confidence": "High"}')
    assert why_not(cascade, call(), reply) == ""
    assert why_not(cascade, call(), reply, (0.6, "confidence high")) == "confidence high"
    assert why_not(cascade, call(), reply, (0.9, "confidence high")) == ""
    assert why_not(Cascade(), call(), reply, (0.1, "confidence high")) == ""


def test_a_schema_that_names_itself_ends() -> None:
    schema = {"type": "object", "properties": {"child": {"$ref": "#"}}}
    value: dict = {}
    for _ in range(60):
        value = {"child": value}
    assert misfit(value, schema) == ""
    assert misfit({"child": 3}, schema) == ".child is no object"
    assert misfit(True, {"type": "integer"}) == "it is no integer"
    assert misfit(1, {"type": ["integer", "null"]}) == ""


WORDS = st.sampled_from([
    "type", "json_schema", "json_object", "schema", "object", "properties", "required", "enum", "items", "anyOf",
    "allOf", "$ref", "#/a", "function", "name", "parameters", "content", "message", "text", "tool_calls", "arguments",
    "output", "logprobs", "logprob", "finish_reason", "stop_reason", "choices", "input", "tool_use",
])  # fmt: skip
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=4), max_leaves=12,
)  # fmt: skip


@settings(max_examples=300)
@given(ANYTHING, ANYTHING, ANYTHING, ANYTHING)
def test_a_request_in_no_shape_of_its_wire_fails_no_call(tools, shape, text, written) -> None:
    request = {"tools": tools, "response_format": shape, "text": text}
    for answer in (Answer(text=json.dumps(written)), Answer(tools=[("name", written), ("other", {})])):
        assert isinstance(misshaped(request, answer), str)


@settings(max_examples=300)
@given(st.sampled_from(["openai.chat", "openai.responses", "anthropic.messages"]), ANYTHING, ANYTHING)
def test_an_answer_in_no_shape_of_its_wire_is_none(flavour, one, other) -> None:
    for body in (one, {"choices": one, "output": one, "content": other, "stop_reason": other}, {"choices": [one]}):
        answer = read_answer(flavour, json.dumps(body).encode())
        assert answer is None or isinstance(answer.text, str)
