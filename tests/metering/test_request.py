"""The head of a request: what a gateway must know of it, and nothing else."""

import json

import pytest

from penstock.errors import InputError
from penstock.metering.request import read_request


def test_the_head_names_model_stream_limit_and_wish_for_usage() -> None:
    body = {
        "model": "gpt-4o", "stream": True, "stream_options": {"include_usage": True}, "max_completion_tokens": 7,
        "n": 2, "service_tier": "flex", "user": "u", "tools": [{"type": "function"}], "messages": [{"content": [{}]}],
    }  # fmt: skip
    head = read_request("openai.chat", json.dumps(body).encode())
    assert (head.model, head.stream, head.include_usage, head.output_limit) == ("gpt-4o", True, True, 7)
    assert (head.n, head.service_tier, head.user, head.has_tools) == (2, "flex", "u", True)


@pytest.mark.parametrize(
    "member", ["model_x", "stream", "stream_options", "max_tokens", "n", "service_tier", "user", "metadata", "tools"]
)
def test_null_is_as_good_as_absent(member: str) -> None:
    head = read_request("openai.chat", json.dumps({"model": "m", member: None}).encode())
    assert (head.include_usage, head.has_tools, head.output_limit, head.metadata_items()) == (False, False, None, {})


@pytest.mark.parametrize("limit", ["max_tokens", "max_completion_tokens", "max_output_tokens"])
def test_each_protocols_limit_is_the_limit(limit: str) -> None:
    assert read_request("openai.responses", json.dumps({limit: 0}).encode()).output_limit == 0


@pytest.mark.parametrize("tools", ["[]", "null"])
def test_an_empty_list_of_tools_is_no_tools(tools: str) -> None:
    assert not read_request("openai.chat", f'{{"tools":{tools}}}'.encode()).has_tools


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (b'{"model": gpt}', "byte 10"),
        (b'{"model": "gpt', "byte 14"),
        (b"", "byte 0"),
        (b'{"model":"a"} x', "byte 15"),
        (b'{"model": 5}', r"\$\.model"),
        (b'{"stream": "yes"}', r"\$\.stream"),
        (b"[1]", "object"),
        (b'{"model": "\xff"}', "UTF-8"),
        (b'{"a":' + b"[" * 100_000, "nests"),
    ],
)
def test_a_wrong_body_is_refused_with_its_place(body: bytes, place: str) -> None:
    with pytest.raises(InputError, match=place):
        read_request("openai.chat", body)


def test_half_of_a_character_does_not_stop_a_request() -> None:
    body = rb'{"messages":[{"content":"\ud83d \ud83d\ude00 \ude00"}],"model":"gpt-4o","metadata":{"team":"\ud83d"}}'
    head = read_request("openai.chat", body)
    assert head.model == "gpt-4o"
    assert "team" in head.metadata_items()
