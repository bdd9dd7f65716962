"""The official clients work unchanged, and every call of theirs is in the ledger at its exact price."""

import asyncio
import json
import time
from decimal import Decimal

import anthropic
import openai
import pytest
from pydantic import BaseModel

PRICES = {  # dollars for a million tokens: input, cached, output
    "gpt-4o": ("2.50", "1.25", "10"),
    "gpt-4o-mini": ("0.15", "0.075", "0.60"),
}
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


@pytest.fixture
def client(server):
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="any", max_retries=0) as one:
        yield one


@pytest.fixture
def claude(server):
    with anthropic.Anthropic(base_url=server.url, api_key="any", max_retries=0) as one:
        yield one


def exact(model: str, usage) -> Decimal:
    fresh, cached, out = (Decimal(price) / 1_000_000 for price in PRICES[model])
    read = usage.prompt_tokens_details.cached_tokens if usage.prompt_tokens_details else 0
    return (usage.prompt_tokens - read) * fresh + read * cached + usage.completion_tokens * out


def event_of(server, request_id: str) -> dict:
    """Look a request up as a user would; the log is written every 50 ms."""
    deadline = time.monotonic() + 60
    while True:
        try:
            found = server.get(f"/api/requests/{request_id}")
            return found["events"][-1]["event"] | {"cost": found["cost"]}
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def test_a_chat_call_says_what_it_cost(client, server):
    raw = client.chat.completions.with_raw_response.create(
        model="gpt-4o-mini", messages=[{"role": "user", "content": "Say hello"}], user="ada",
        extra_headers={"x-penstock-team": "support", "x-penstock-app": "helpdesk"},
    )  # fmt: skip
    answer = raw.parse()
    assert answer.choices[0].message.content
    cost = exact("gpt-4o-mini", answer.usage)
    assert Decimal(raw.headers["x-penstock-cost"]) == cost
    found = event_of(server, raw.headers["x-penstock-request-id"])
    assert Decimal(found["cost"]) == cost
    assert found["team"] == "support"
    assert found["app"] == "helpdesk"
    assert found["user"] == "ada"
    assert found["model"] == "gpt-4o-mini"


def test_a_stream_without_a_wish_for_usage_is_metered_and_shows_none(client, server):
    with client.chat.completions.with_streaming_response.create(
        model="gpt-4o", messages=[{"role": "user", "content": "Tell me a story"}], stream=True
    ) as raw:
        request_id = raw.headers["x-penstock-request-id"]
        lines = list(raw.iter_lines())
    data = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
    assert data
    assert all("usage" not in chunk for chunk in data)
    assert all(chunk["choices"] for chunk in data)
    assert "data: [DONE]" in lines
    trailer = next(line for line in lines if line.startswith(": penstock"))
    found = event_of(server, request_id)
    assert Decimal(found["cost"]) > 0
    assert f"cost={found['cost']}" in trailer
    assert found["usage_source"] == "provider"


def test_a_stream_that_asks_for_usage_gets_it(client):
    stream = client.chat.completions.create(
        model="gpt-4o", messages=[{"role": "user", "content": "Tell me a story"}], stream=True,
        stream_options={"include_usage": True},
    )  # fmt: skip
    chunks = list(stream)
    assert chunks[-1].usage.completion_tokens > 0
    assert chunks[-1].choices == []


def test_tools_and_structured_output_pass_through(client):
    answer = client.chat.completions.create(
        model="gpt-4o", messages=[{"role": "user", "content": "What is the weather in Oslo?"}], tools=[WEATHER],
        tool_choice="required",
    )  # fmt: skip
    assert answer.choices[0].message.tool_calls[0].function.name == "get_weather"

    class City(BaseModel):
        name: str
        population: int

    parsed = client.chat.completions.parse(
        model="gpt-4o", messages=[{"role": "user", "content": "A city"}], response_format=City
    )
    assert isinstance(parsed.choices[0].message.parsed, City)


def test_responses_streamed_and_not(client):
    answer = client.responses.create(model="gpt-5-mini", input="Say hello")
    assert answer.output_text
    assert answer.usage.output_tokens > 0
    kinds = [event.type for event in client.responses.create(model="gpt-5-mini", input="Say hello", stream=True)]
    assert kinds[0] == "response.created"
    assert kinds[-1] == "response.completed"


def test_embeddings(client):
    answer = client.embeddings.create(model="text-embedding-3-small", input=["one", "two"])
    assert len(answer.data) == 2
    assert answer.usage.prompt_tokens > 0


def test_models_are_listed(client):
    assert "gpt-4o" in {model.id for model in client.models.list()}


def test_azure_openai_by_its_own_paths(server):
    with openai.AzureOpenAI(
        azure_endpoint=server.url, api_key="any", api_version="2024-10-21", azure_deployment="gpt-4o", max_retries=0
    ) as client:
        answer = client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "Hello"}])
    assert answer.choices[0].message.content


def test_messages_streamed_and_not(claude, server):
    raw = claude.messages.with_raw_response.create(
        model="claude-sonnet-5", max_tokens=200, messages=[{"role": "user", "content": "Hello"}],
        metadata={"user_id": "grace"},
    )  # fmt: skip
    answer = raw.parse()
    assert answer.content[0].text
    cost = answer.usage.input_tokens * Decimal("0.000002") + answer.usage.output_tokens * Decimal("0.00001")
    assert Decimal(raw.headers["x-penstock-cost"]) == cost
    assert event_of(server, raw.headers["x-penstock-request-id"])["user"] == "grace"
    with claude.messages.stream(
        model="claude-sonnet-5", max_tokens=200, messages=[{"role": "user", "content": "Hello"}]
    ) as stream:
        assert "".join(stream.text_stream)
        assert stream.get_final_message().usage.output_tokens > 0


def test_tokens_are_counted_for_nothing(claude):
    counted = claude.messages.count_tokens(
        model="claude-sonnet-5", messages=[{"role": "user", "content": "How many tokens is this?"}]
    )
    assert counted.input_tokens > 0


def test_errors_keep_the_providers_shape(client, claude):
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="gpt-none", messages=[{"role": "user", "content": "x"}])
    with pytest.raises(anthropic.NotFoundError):
        claude.messages.create(model="claude-none", max_tokens=5, messages=[{"role": "user", "content": "x"}])
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="", messages=[{"role": "user", "content": "x"}])
    assert "model" in str(caught.value)


def test_fifty_at_once(server):
    async def main():
        async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="any", max_retries=0) as client:

            async def one(number: int) -> int:
                if number % 2:
                    stream = await client.chat.completions.create(
                        model="gpt-4o-mini", messages=[{"role": "user", "content": f"Number {number}"}], stream=True
                    )
                    return len([chunk async for chunk in stream])
                answer = await client.chat.completions.create(
                    model="gpt-4o-mini", messages=[{"role": "user", "content": f"Number {number}"}]
                )
                return len(answer.choices)

            return await asyncio.gather(*(one(number) for number in range(50)))

    assert all(asyncio.run(main()))
