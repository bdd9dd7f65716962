import asyncio
import json
from typing import Any

import anthropic
import pydantic
import pytest
from tests.gateway.sandbox.conftest import Clients, Sandbox

HELLO: list[Any] = [{"role": "user", "content": "hello"}]
TOOL: Any = {
    "name": "get_weather",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


class Meeting(pydantic.BaseModel):
    title: str
    minutes: int


@pytest.fixture
def client(sandbox: Sandbox, clients: Clients) -> anthropic.Anthropic:
    return clients.anthropic(sandbox.url)


def test_a_message_has_text_and_usage(client: anthropic.Anthropic) -> None:
    reply = client.messages.create(model="claude-haiku-4-5", max_tokens=200, messages=HELLO)
    assert reply.model == "claude-haiku-4-5-20251001"
    assert reply.stop_reason == "end_turn"
    assert reply.content[0].type == "text"
    assert reply.usage.cache_read_input_tokens == 0
    counted = client.messages.count_tokens(model="claude-haiku-4-5", messages=HELLO)
    assert reply.usage.input_tokens == counted.input_tokens > 0


def test_events_are_framed_as_anthropic_frames_them(sandbox: Sandbox) -> None:
    ask = {"model": "claude-sonnet-5", "max_tokens": 50, "messages": HELLO, "stream": True}
    raw = sandbox.post("/v1/messages", ask, anthropic_version="2023-06-01").text
    frames = [frame.split("\n") for frame in raw.removesuffix("\n\n").split("\n\n")]
    documents = [json.loads(data.removeprefix("data: ")) for _, data in frames]
    assert [f"event: {document['type']}" for document in documents] == [name for name, _ in frames]
    kinds = list(dict.fromkeys(document["type"] for document in documents))
    assert kinds == [
        "message_start", "content_block_start", "content_block_delta", "content_block_stop", "ping", "message_delta",
        "message_stop",
    ]  # fmt: skip
    assert documents[0]["message"]["usage"]["output_tokens"] == 1
    assert documents[-2]["usage"]["output_tokens"] > 1
    assert documents[-2]["delta"] == {"stop_reason": "max_tokens", "stop_sequence": None}


def test_the_streaming_helper_gathers_the_plain_reply(client: anthropic.Anthropic) -> None:
    ask: Any = {"model": "claude-sonnet-5", "max_tokens": 200, "messages": HELLO}
    plain = client.messages.create(**ask)
    with client.messages.stream(**ask) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert text == final.content[0].text  # type: ignore[union-attr]
    assert text == plain.content[0].text  # type: ignore[union-attr]
    assert final.usage.output_tokens == plain.usage.output_tokens


def test_a_tool_is_called_and_its_result_answered(client: anthropic.Anthropic) -> None:
    ask: list[Any] = [{"role": "user", "content": "the weather?"}]
    with client.messages.stream(model="claude-sonnet-5", max_tokens=1000, messages=ask, tools=[TOOL]) as stream:
        first = stream.get_final_message()
    assert first.stop_reason == "tool_use"
    call: Any = first.content[-1]
    assert set(call.input) == {"city"}
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "rain"}
    turns = [*ask, {"role": "assistant", "content": first.content}, {"role": "user", "content": [result]}]
    second = client.messages.create(model="claude-sonnet-5", max_tokens=1000, messages=turns, tools=[TOOL])
    assert second.stop_reason == "end_turn"
    forced: Any = {"type": "any"}
    third = client.messages.create(
        model="claude-sonnet-5", max_tokens=99, messages=HELLO, tools=[TOOL], tool_choice=forced
    )
    assert third.stop_reason == "tool_use"


def test_a_conversation_held_again_ends_in_the_same_words_although_its_calls_have_other_ids(
    client: anthropic.Anthropic,
) -> None:
    def talk() -> tuple[str, str]:
        ask: list[Any] = [{"role": "user", "content": "the weather?"}]
        options: Any = {"model": "claude-haiku-4-5", "max_tokens": 4000, "tools": [TOOL]}
        options["thinking"] = {"type": "enabled", "budget_tokens": 1024}
        first = client.messages.create(messages=ask, **options)
        call: Any = first.content[-1]
        result = {"type": "tool_result", "tool_use_id": call.id, "content": "rain"}
        ask += [{"role": "assistant", "content": first.content}, {"role": "user", "content": [result]}]
        last: Any = client.messages.create(messages=ask, **options).content[-1]
        return call.id, last.text

    (one, said), (other, said_again) = talk(), talk()
    assert one != other
    assert said == said_again


def test_structured_output_parses(client: anthropic.Anthropic) -> None:
    reply = client.messages.parse(model="claude-sonnet-5", max_tokens=200, messages=HELLO, output_format=Meeting)
    assert isinstance(reply.parsed_output, Meeting)


def test_visible_thinking_is_billed_as_output(client: anthropic.Anthropic) -> None:
    ask: Any = {"model": "claude-haiku-4-5", "max_tokens": 2000, "messages": HELLO}
    thinking: Any = {"type": "enabled", "budget_tokens": 1024}
    with client.messages.stream(**ask, thinking=thinking) as stream:
        reply = stream.get_final_message()
    assert [block.type for block in reply.content] == ["thinking", "text"]
    assert reply.usage.output_tokens > client.messages.create(**ask).usage.output_tokens


def test_a_stop_sequence_is_named(client: anthropic.Anthropic) -> None:
    reply = client.messages.create(
        model="claude-sonnet-5", max_tokens=200, messages=HELLO, stop_sequences=["zzz", ". "]
    )
    assert (reply.stop_reason, reply.stop_sequence) == ("stop_sequence", ". ")


def test_what_the_protocol_demands_is_demanded(sandbox: Sandbox) -> None:
    ask = {"model": "claude-sonnet-5", "max_tokens": 50, "messages": HELLO}
    for body, headers in (
        (ask, {}),
        ({"model": "claude-sonnet-5", "messages": HELLO}, {"anthropic_version": "2023-06-01"}),
        (ask | {"messages": []}, {"anthropic_version": "2023-06-01"}),
    ):
        reply = sandbox.post("/v1/messages", body, **headers)
        assert reply.status_code == 400
        assert reply.json()["error"]["type"] == "invalid_request_error"
        assert reply.json()["request_id"] == reply.headers["request-id"]


async def _ask(url: str) -> str:
    async with (
        anthropic.AsyncAnthropic(base_url=url, api_key="any", max_retries=0) as client,
        client.messages.stream(model="claude-opus-5", max_tokens=50, messages=HELLO) as stream,
    ):
        return (await stream.get_final_message()).model


def test_the_asynchronous_client_streams(sandbox: Sandbox) -> None:
    assert asyncio.run(_ask(sandbox.url)) == "claude-opus-5"
