import math
from typing import Any

import anthropic
import httpx2
import openai
import pytest
from tests.gateway.sandbox.conftest import Clients, Sandbox, running

from penstock.gateway.sandbox.settings import SandboxSettings

HELLO: list[Any] = [{"role": "user", "content": "hello"}]


def test_every_reply_says_that_it_comes_from_the_sandbox(sandbox: Sandbox) -> None:
    for reply in (
        sandbox.post("/v1/chat/completions", {"model": "gpt-4o", "messages": HELLO}),
        sandbox.post("/v1/chat/completions", {"model": "gpt-4o", "messages": HELLO, "stream": True}),
        sandbox.post("/v1/chat/completions", {"model": "none", "messages": HELLO}),
        sandbox.post("/nowhere", {}),
        httpx2.get(f"{sandbox.url}/v1/models", timeout=60),
    ):
        assert reply.headers["x-sandbox"] == "1"


def test_a_body_that_is_no_text_is_said_to_be_none(sandbox: Sandbox) -> None:
    body = b'{"model": "gpt-4o", "messages": [{"role": "user", "content": "\xff"}]}'
    reply = httpx2.post(f"{sandbox.url}/v1/chat/completions", content=body, timeout=60)
    assert reply.status_code == 400
    assert "not JSON" in reply.text


def test_replies_carry_the_headers_that_clients_look_at(sandbox: Sandbox) -> None:
    reply = sandbox.post("/v1/chat/completions", {"model": "gpt-4o", "messages": HELLO})
    assert {"x-request-id", "openai-processing-ms", "x-ratelimit-remaining-tokens"} <= set(reply.headers)
    ask = {"model": "claude-sonnet-5", "max_tokens": 9, "messages": HELLO}
    reply = sandbox.post("/v1/messages", ask, anthropic_version="2023-06-01")
    assert {"request-id", "anthropic-ratelimit-tokens-remaining"} <= set(reply.headers)


def test_models_are_owned_by_the_sandbox(sandbox: Sandbox, clients: Clients) -> None:
    client = clients.openai(sandbox.url)
    assert {model.owned_by for model in client.models.list()} == {"penstock-sandbox"}
    assert client.models.retrieve("gpt-4o").id == "gpt-4o"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("gpt-none")
    claude = clients.anthropic(sandbox.url)
    assert "claude-haiku-4-5-20251001" in {model.id for model in claude.models.list()}


def test_an_azure_deployment_serves_its_model_and_filters_the_text(sandbox: Sandbox, clients: Clients) -> None:
    client = clients.azure(sandbox.url)
    reply: Any = client.chat.completions.create(model="chat-prod", messages=HELLO)
    assert reply.model == "gpt-4o-2024-08-06"
    assert reply.prompt_filter_results[0]["content_filter_results"]["hate"] == {"filtered": False, "severity": "safe"}
    chunks = list(client.chat.completions.create(model="chat-prod", messages=HELLO, stream=True))
    assert chunks[0].choices == []  # Azure's own first chunk
    assert client.embeddings.create(model="text-embedding-3-small", input="x").data[0].embedding
    with pytest.raises(openai.NotFoundError) as raised:
        client.chat.completions.create(model="nowhere", messages=HELLO)
    assert raised.value.code == "DeploymentNotFound"
    assert [entry["deployment"] for entry in sandbox.entries(3)] == ["chat-prod", "chat-prod", "text-embedding-3-small"]


def test_azure_answers_on_its_newer_paths_too(sandbox: Sandbox, clients: Clients) -> None:
    client = clients.openai(sandbox.url, path="/openai/v1")
    assert client.chat.completions.create(model="chat-prod", messages=HELLO).model == "gpt-4o-2024-08-06"
    assert client.responses.create(model="chat-prod", input="hello").output_text
    missing = sandbox.post("/openai/deployments/chat-prod/chat/completions", {"messages": HELLO})
    assert missing.status_code == 404


def test_a_configured_key_is_demanded_in_each_protocols_header(clients: Clients) -> None:
    with running(SandboxSettings(api_key="right")) as sandbox:
        ask: Any = {"model": "gpt-4o", "messages": HELLO}
        good = clients.openai(sandbox.url, "right")
        assert good.chat.completions.create(**ask).choices
        assert clients.azure(sandbox.url, "right").chat.completions.create(**ask).choices
        claude = clients.anthropic(sandbox.url, "right")
        assert claude.messages.create(model="claude-sonnet-5", max_tokens=9, messages=HELLO).content
        with pytest.raises(openai.AuthenticationError) as raised:
            clients.openai(sandbox.url, "bad").chat.completions.create(**ask)
        assert raised.value.code == "invalid_api_key"
        with pytest.raises(anthropic.AuthenticationError):
            clients.anthropic(sandbox.url, "bad").models.list()


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v1/chat/completions", [], 400),
        ("/v1/chat/completions", {"model": "gpt-4o"}, 400),
        ("/v1/chat/completions", {"model": "gpt-4o", "messages": "x"}, 400),
        ("/v1/chat/completions", {"model": "gpt-4o", "messages": HELLO, "tools": [{"type": "function"}]}, 400),
        ("/v1/chat/completions", {"model": "gpt-4o", "messages": HELLO, "stream_options": {}, "stream": False}, 200),
        (
            "/v1/chat/completions",
            {"model": "gpt-4o", "messages": HELLO, "stream_options": {"include_usage": True}},
            400,
        ),
        ("/v1/chat/completions", {"model": "text-embedding-3-small", "messages": HELLO}, 400),
        ("/v1/chat/completions", {"model": "claude-sonnet-5", "messages": HELLO}, 404),
        ("/v1/embeddings", {"model": "text-embedding-3-small"}, 400),
        ("/v1/responses", {"model": "gpt-4o"}, 400),
    ],
)
def test_a_request_of_the_wrong_form_is_answered_in_the_openai_shape(
    sandbox: Sandbox, path: str, body: Any, status: int
) -> None:
    reply = sandbox.post(path, body)
    assert reply.status_code == status
    if status != 200:
        assert set(reply.json()["error"]) == {"message", "type", "param", "code"}


def test_embeddings_of_texts_that_share_words_lie_near(sandbox: Sandbox, clients: Clients) -> None:
    client = clients.openai(sandbox.url)
    texts = ["reset my password", "how to reset a password", "the weather in Oslo"]
    reply = client.embeddings.create(model="text-embedding-3-small", input=texts)
    a, b, c = (item.embedding for item in reply.data)
    assert len(a) == 1536
    assert math.hypot(*a) == pytest.approx(1, abs=1e-6)
    assert _dot(a, b) > 0.3 > _dot(a, c)
    short = client.embeddings.create(model="text-embedding-3-large", input="x", dimensions=256, encoding_format="float")
    assert len(short.data[0].embedding) == 256
    assert reply.usage.prompt_tokens == 12


def _dot(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def test_old_text_completions_stream_too(sandbox: Sandbox, clients: Clients) -> None:
    client = clients.openai(sandbox.url)
    ask: Any = {"model": "gpt-3.5-turbo-instruct", "prompt": "hello", "max_tokens": 9}
    plain = client.completions.create(**ask)
    assert plain.choices[0].finish_reason == "length"
    chunks = list(client.completions.create(**ask, stream=True, stream_options={"include_usage": True}))
    assert "".join(chunk.choices[0].text for chunk in chunks if chunk.choices) == plain.choices[0].text
    assert chunks[-1].usage == plain.usage
