import asyncio
import json
from typing import Any

import openai
import pydantic
import pytest
from tests.gateway.sandbox.conftest import Clients, Sandbox

HELLO: list[Any] = [{"role": "user", "content": "hello"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
TIME = {"type": "function", "function": {"name": "get_time", "parameters": {"type": "object", "properties": {}}}}


class Meeting(pydantic.BaseModel):
    title: str
    people: list[str]
    minutes: int


@pytest.fixture
def client(sandbox: Sandbox, clients: Clients) -> openai.OpenAI:
    return clients.openai(sandbox.url)


def frames(sandbox: Sandbox, path: str, body: dict[str, Any], **headers: str) -> list[str]:
    reply = sandbox.post(path, body, **headers)
    assert reply.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert reply.text.endswith("\n\n")
    return reply.text.removesuffix("\n\n").split("\n\n")


def test_the_same_question_has_the_same_answer_and_the_count_is_right(client: openai.OpenAI) -> None:
    first, second = (client.chat.completions.create(model="gpt-4o", messages=HELLO) for _ in range(2))
    assert first.choices == second.choices
    assert first.id != second.id
    assert first.model == "gpt-4o-2024-08-06"
    assert first.usage is not None
    assert first.usage.prompt_tokens == 8  # 3 to frame the message, its role, its text, 3 to prime the reply
    assert first.usage.total_tokens == 8 + first.usage.completion_tokens
    assert first.choices[0].finish_reason == "stop"


def test_a_stream_has_the_text_and_the_usage_of_the_plain_reply(client: openai.OpenAI) -> None:
    plain = client.chat.completions.create(model="gpt-4o", messages=HELLO)
    chunks = list(
        client.chat.completions.create(
            model="gpt-4o", messages=HELLO, stream=True, stream_options={"include_usage": True}
        )
    )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == plain.choices[0].message.content
    assert chunks[-1].choices == []
    assert chunks[-1].usage == plain.usage
    assert {chunk.usage for chunk in chunks[:-1]} == {None}


def test_a_stream_is_framed_as_openai_frames_it(sandbox: Sandbox) -> None:
    ask = {"model": "gpt-4o", "messages": HELLO, "stream": True}
    bare = frames(sandbox, "/v1/chat/completions", ask)
    assert all(frame.startswith("data: ") for frame in bare)
    assert bare[-1] == "data: [DONE]"
    assert not any('"usage"' in frame for frame in bare)
    counted = frames(sandbox, "/v1/chat/completions", ask | {"stream_options": {"include_usage": True}})
    assert all('"usage":null' in frame for frame in counted[:-2])
    assert '"choices":[],"usage":{' in counted[-2]


def test_more_choices_differ_and_all_are_counted(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(model="gpt-4o-mini", messages=HELLO, n=3)
    texts = [choice.message.content for choice in reply.choices]
    assert len(set(texts)) == 3
    one = client.chat.completions.create(model="gpt-4o-mini", messages=HELLO)
    assert reply.usage is not None
    assert one.usage is not None
    assert reply.usage.prompt_tokens == one.usage.prompt_tokens
    assert reply.usage.completion_tokens > one.usage.completion_tokens
    chunks = list(client.chat.completions.create(model="gpt-4o-mini", messages=HELLO, n=3, stream=True))
    for index, text in enumerate(texts):
        parts = [c.choices[0].delta.content or "" for c in chunks if c.choices[0].index == index]
        assert "".join(parts) == text


def test_a_limit_cuts_the_answer_at_that_many_tokens(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(model="gpt-4o", messages=HELLO, max_tokens=7)
    assert reply.choices[0].finish_reason == "length"
    assert reply.usage is not None
    assert reply.usage.completion_tokens == 7


def test_a_stop_sequence_ends_the_answer_before_it(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(model="gpt-4o", messages=HELLO, stop=[" same"])
    whole = client.chat.completions.create(model="gpt-4o", messages=HELLO)
    assert whole.choices[0].message.content is not None
    assert reply.choices[0].message.content == whole.choices[0].message.content.partition(" same")[0]
    assert reply.choices[0].finish_reason == "stop"


def test_a_seed_changes_the_answer(client: openai.OpenAI) -> None:
    texts = {
        client.chat.completions.create(model="gpt-4o", messages=HELLO, seed=seed).choices[0].message.content
        for seed in (1, 2, 1)
    }
    assert len(texts) == 2


def test_a_tool_is_called_when_the_text_asks_for_it_and_its_result_is_answered_with_text(client: openai.OpenAI) -> None:
    tools: Any = [WEATHER, TIME]
    ask: list[Any] = [{"role": "user", "content": "What is the weather, and what is the time?"}]
    reply = client.chat.completions.create(model="gpt-4.1", messages=ask, tools=tools).choices[0]
    assert reply.finish_reason == "tool_calls"
    calls: Any = reply.message.tool_calls
    assert [call.function.name for call in calls] == ["get_weather", "get_time"]
    assert set(json.loads(calls[0].function.arguments)) == {"city"}
    single = client.chat.completions.create(model="gpt-4.1", messages=ask, tools=tools, parallel_tool_calls=False)
    assert len(single.choices[0].message.tool_calls or ()) == 1
    results = [{"role": "tool", "tool_call_id": call.id, "content": "4"} for call in calls]
    after = client.chat.completions.create(
        model="gpt-4.1", messages=[*ask, reply.message, *results], tools=tools
    ).choices[0]
    assert after.finish_reason == "stop"
    assert after.message.content


def test_a_conversation_held_again_ends_in_the_same_words_although_its_calls_have_other_ids(
    client: openai.OpenAI,
) -> None:
    def talk(result: str) -> tuple[str, str | None]:
        ask: list[Any] = [{"role": "user", "content": "the weather?"}]
        tools: Any = [WEATHER]
        message: Any = client.chat.completions.create(model="gpt-4o", messages=ask, tools=tools).choices[0].message
        call = message.tool_calls[0].id
        ask += [message, {"role": "tool", "tool_call_id": call, "content": result}]
        last = client.chat.completions.create(model="gpt-4o", messages=ask, tools=tools).choices[0].message
        return call, last.content

    (one, said), (other, said_again), (_, otherwise) = talk("rain"), talk("rain"), talk('{"id":"sun"}')
    assert one != other
    assert said == said_again != otherwise
    assert talk('{"id":"snow"}')[1] != otherwise


def test_a_tool_is_called_when_the_caller_insists_and_never_when_it_forbids(client: openai.OpenAI) -> None:
    tools: Any = [TIME, WEATHER]
    named: Any = {"type": "function", "function": {"name": "get_weather"}}
    for choice, names in (("auto", []), ("required", ["get_time"]), (named, ["get_weather"]), ("none", [])):
        reply = client.chat.completions.create(model="gpt-4o", messages=HELLO, tools=tools, tool_choice=choice)
        calls: Any = reply.choices[0].message.tool_calls or []
        assert [call.function.name for call in calls] == names


def test_streamed_tool_calls_add_up_to_the_plain_ones(client: openai.OpenAI) -> None:
    ask: Any = {"model": "gpt-4o", "messages": [{"role": "user", "content": "weather"}], "tools": [WEATHER]}
    with client.chat.completions.stream(**ask) as stream:
        streamed: Any = stream.get_final_completion().choices[0].message.tool_calls
    plain: Any = client.chat.completions.create(**ask).choices[0].message.tool_calls
    assert [call.function.arguments for call in streamed] == [call.function.arguments for call in plain]


def test_structured_output_parses(client: openai.OpenAI) -> None:
    plain = client.chat.completions.parse(model="gpt-4o", messages=HELLO, response_format=Meeting)
    assert isinstance(plain.choices[0].message.parsed, Meeting)
    with client.chat.completions.stream(model="gpt-4o", messages=HELLO, response_format=Meeting) as stream:
        assert stream.get_final_completion().choices[0].message.parsed == plain.choices[0].message.parsed
    loose = client.chat.completions.create(model="gpt-4o", messages=HELLO, response_format={"type": "json_object"})
    assert isinstance(json.loads(loose.choices[0].message.content or ""), dict)


def test_hidden_reasoning_is_counted_inside_the_completion(client: openai.OpenAI) -> None:
    usages = {}
    for effort in ("minimal", "high"):
        reply = client.chat.completions.create(model="gpt-5", messages=HELLO, reasoning_effort=effort)  # type: ignore[arg-type]
        assert reply.usage is not None
        assert reply.usage.completion_tokens_details is not None
        usages[effort] = reply.usage.completion_tokens_details.reasoning_tokens or 0
        assert reply.usage.completion_tokens > usages[effort]
    assert usages["minimal"] == 0 < usages["high"]
    cut = client.chat.completions.create(model="gpt-5", messages=HELLO, max_completion_tokens=20)
    assert cut.choices[0].finish_reason == "length"
    assert cut.choices[0].message.content == ""
    assert cut.usage is not None
    assert cut.usage.completion_tokens == 20
    with pytest.raises(openai.BadRequestError, match="max_completion_tokens"):
        client.chat.completions.create(model="gpt-5", messages=HELLO, max_tokens=20)


def test_the_service_tier_that_served_is_named(client: openai.OpenAI, sandbox: Sandbox) -> None:
    for model, asked, served in (
        ("gpt-5", "flex", "flex"), ("gpt-5", "priority", "priority"), ("gpt-4o", None, "default"),
        ("o3-mini", "priority", "default"),
    ):  # fmt: skip
        reply = client.chat.completions.create(model=model, messages=HELLO, service_tier=asked)  # type: ignore[call-overload]
        assert reply.service_tier == served
    with pytest.raises(openai.BadRequestError, match="flex"):
        client.chat.completions.create(model="gpt-4o", messages=HELLO, service_tier="flex")
    assert [entry["tier"] for entry in sandbox.entries(4)] == ["flex", "priority", "default", "default"]


def test_fifty_asynchronous_calls_at_once_are_all_billed(sandbox: Sandbox) -> None:
    async def ask() -> list[str]:
        async with openai.AsyncOpenAI(base_url=f"{sandbox.url}/v1", api_key="any", max_retries=0) as client:
            asked = (
                client.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": f"{n}"}])
                for n in range(50)
            )
            return [reply.id for reply in await asyncio.gather(*asked)]

    ids = asyncio.run(ask())
    assert {entry["id"] for entry in sandbox.entries(50)} == set(ids)
