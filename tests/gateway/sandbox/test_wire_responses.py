from typing import Any

import openai
import pydantic
import pytest
from tests.gateway.sandbox.conftest import Clients, Sandbox

TOOL: Any = {
    "type": "function",
    "name": "get_weather",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
    "strict": True,
}


class Meeting(pydantic.BaseModel):
    title: str
    minutes: int


@pytest.fixture
def client(sandbox: Sandbox, clients: Clients) -> openai.OpenAI:
    return clients.openai(sandbox.url)


def test_a_response_has_text_and_usage(client: openai.OpenAI) -> None:
    reply = client.responses.create(model="gpt-5-mini", input="hello", reasoning={"effort": "low"})
    assert reply.output_text.startswith("Sandbox answer:")
    assert reply.model == "gpt-5-mini-2025-08-07"
    assert reply.usage is not None
    assert 0 < reply.usage.output_tokens_details.reasoning_tokens < reply.usage.output_tokens
    assert [item.type for item in reply.output] == ["reasoning", "message"]


def test_events_are_named_numbered_and_end_with_the_whole_response(sandbox: Sandbox, client: openai.OpenAI) -> None:
    plain = client.responses.create(model="gpt-4o", input="hello")
    raw = sandbox.post("/v1/responses", {"model": "gpt-4o", "input": "hello", "stream": True}).text
    assert raw.startswith('event: response.created\ndata: {"type":"response.created","sequence_number":0,')
    events = list(client.responses.create(model="gpt-4o", input="hello", stream=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert "".join(deltas) == plain.output_text
    last = events[-1]
    assert last.type == "response.completed"
    assert last.response.usage == plain.usage
    assert last.response.output_text == plain.output_text


def test_the_streaming_helper_parses_structured_output(client: openai.OpenAI) -> None:
    plain = client.responses.parse(model="gpt-4o", input="hello", text_format=Meeting)
    assert isinstance(plain.output_parsed, Meeting)
    with client.responses.stream(model="gpt-4o", input="hello", text_format=Meeting) as stream:
        assert stream.get_final_response().output_parsed == plain.output_parsed


def test_a_tool_is_called_and_its_result_answered(client: openai.OpenAI) -> None:
    with client.responses.stream(model="gpt-4.1", input="the weather?", tools=[TOOL]) as stream:
        first = stream.get_final_response()
    call: Any = first.output[0]
    assert (call.type, call.name, set(call.parsed_arguments)) == ("function_call", "get_weather", {"city"})
    result: Any = [{"type": "function_call_output", "call_id": call.call_id, "output": "rain"}]
    second = client.responses.create(model="gpt-4.1", input=result, tools=[TOOL], previous_response_id=first.id)
    assert second.output_text
    assert first.usage is not None
    assert second.usage is not None
    assert second.usage.input_tokens > first.usage.input_tokens


def test_a_conversation_held_again_ends_in_the_same_words_although_its_responses_have_other_ids(
    client: openai.OpenAI,
) -> None:
    def talk() -> tuple[str, str]:
        first = client.responses.create(model="gpt-4.1", input="the weather?", tools=[TOOL])
        call: Any = first.output[0]
        result: Any = [{"type": "function_call_output", "call_id": call.call_id, "output": "rain"}]
        last = client.responses.create(model="gpt-4.1", input=result, tools=[TOOL], previous_response_id=first.id)
        return first.id, last.output_text

    (one, said), (other, said_again) = talk(), talk()
    assert one != other
    assert said == said_again


def test_an_unknown_previous_response_is_an_error(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as raised:
        client.responses.create(model="gpt-4o", input="x", previous_response_id="resp_none")
    assert raised.value.code == "previous_response_not_found"


def test_a_limit_leaves_the_response_incomplete(client: openai.OpenAI) -> None:
    reply = client.responses.create(model="gpt-4o", input="hello", max_output_tokens=5)
    assert reply.status == "incomplete"
    assert reply.incomplete_details is not None
    assert reply.incomplete_details.reason == "max_output_tokens"
    events = list(client.responses.create(model="gpt-4o", input="hello", max_output_tokens=5, stream=True))
    assert events[-1].type == "response.incomplete"


def test_a_refusal_is_a_content_part_of_its_own(client: openai.OpenAI) -> None:
    refuse = {"x-sandbox": "finish=refusal"}
    part: Any = client.responses.create(model="gpt-4o", input="x", extra_headers=refuse).output[0]
    assert part.content[0].type == "refusal"
    kinds = {
        event.type for event in client.responses.create(model="gpt-4o", input="x", stream=True, extra_headers=refuse)
    }
    assert "response.refusal.delta" in kinds
