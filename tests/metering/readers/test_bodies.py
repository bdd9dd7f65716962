"""What the model wrote, out of replies that report no usage."""

import json

import pytest

from penstock.metering.readers.bodies import body_text

CHAT = {"choices": [{"message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}]}
CALLS = {"choices": [{"message": {"content": None, "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}}]}
RESPONSE = {"id": "resp", "output": [{"type": "message", "content": [{"type": "output_text", "text": "Hello"}]}]}
MESSAGE = {"content": [{"type": "text", "text": "Hi "}, {"type": "tool_use", "name": "f", "input": {"a": 1}}]}


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (CHAT, "Hello"),
        (CALLS, "f{}"),
        (RESPONSE, "Hello"),
        (MESSAGE, 'Hi f{"a": 1}'),
        ({"choices": [{"text": "old"}]}, "old"),
        ({}, ""),
    ],
)
def test_what_was_written_is_found(body, text):
    assert body_text(json.dumps(body).encode()) == text


@pytest.mark.parametrize("body", [b"plain words", b"[1]", b"\xff"])
def test_what_is_no_reply_is_taken_as_it_is(body):
    assert body_text(body) == body.decode("utf-8", "replace")
