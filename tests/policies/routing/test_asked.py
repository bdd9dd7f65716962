"""What is read out of a request, on each wire, and which task it is."""

import json

import pytest

from penstock.policies.routing.asked import read_asked
from penstock.policies.routing.tasks import task_of


def asked(**body):
    return read_asked(json.dumps(body).encode())


def test_a_chat() -> None:
    one = asked(
        messages=[
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Hello"},
            {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]},
            {"role": "tool", "content": "42", "tool_call_id": "1"},
        ],
        tools=[{"type": "function", "function": {"name": "add", "parameters": {}}}],
        parallel_tool_calls=True, logprobs=True, response_format={"type": "json_schema", "json_schema": {}},
    )  # fmt: skip
    assert (one.system, one.first, one.last, one.turns) == ("Be brief.", "Hello", "Hello", 3)
    assert one.tools == ("add",)
    assert one.needs == {"tools", "parallel_tools", "logprobs", "json_schema"}
    assert one.in_tool_loop


def test_a_message_of_anthropics() -> None:
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "x"}}
    one = asked(
        system=[{"type": "text", "text": "Be brief."}], tools=[{"name": "add", "input_schema": {}}],
        messages=[{"role": "user", "content": [{"type": "text", "text": "What is it?"}, picture]}],
    )  # fmt: skip
    assert (one.system, one.last, one.tools, one.needs) == ("Be brief.", "What is it?", ("add",), {"tools", "images"})
    result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "42"}]}
    assert asked(messages=[{"role": "user", "content": "x"}, result]).in_tool_loop


def test_the_bytes_of_a_picture_are_not_taken_for_tokens() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 900_000}}
    one = asked(messages=[{"role": "user", "content": [{"type": "text", "text": "What is it?"}, picture]}])
    assert one.prompt_tokens < 5_000
    assert asked(messages=[{"role": "user", "content": "A" * 900_000}]).prompt_tokens > 300_000


def test_a_response() -> None:
    one = asked(instructions="Be brief.", input="Hello", text={"format": {"type": "json_object"}})
    assert (one.system, one.last, one.needs) == ("Be brief.", "Hello", {"json_object"})
    parts = [{"role": "user", "content": [{"type": "input_text", "text": "See"}, {"type": "input_image"}]}]
    assert asked(input=parts).needs == {"images"}
    assert asked(input="more", previous_response_id="r1").stored


@pytest.mark.parametrize("body", [b"{}", b"[]", b"no", b'{"messages": 3}', b'{"input": [1, 2]}', b"\xff"])
def test_what_cannot_be_read_asks_for_nothing(body: bytes) -> None:
    one = read_asked(body)
    assert (one.last, one.needs, task_of(one)) == ("", frozenset(), "unknown")


@pytest.mark.parametrize(
    ("text", "task"),
    [
        ("Classify the following email as spam or not spam", "classification"),
        ("Please summarize the report below", "summarization"),
        ("Extract the invoice number and the date as JSON", "extraction"),
        ("Translate this into French: good evening", "translation"),
        ("Fix this function:\ndef f(x): return x +", "code"),
        ("Tom has 3 apples and buys 5 more. How many does he have?", "maths"),
        ("Is this content harmful, hate or harassment?", "moderation"),
        ("I want a refund for my order, the delivery never came to my account", "support"),
        ("", "unknown"),
        ("hm", "unknown"),
    ],
)
def test_tasks(text: str, task: str) -> None:
    assert task_of(asked(messages=[{"role": "user", "content": text}])) == task


def test_the_structure_of_a_request_comes_before_its_words() -> None:
    messages = [{"role": "user", "content": "hm"}]
    assert task_of(asked(messages=messages, tools=[{"name": "add"}])) == "tools"
    assert task_of(asked(messages=messages, response_format={"type": "json_object"})) == "extraction"
