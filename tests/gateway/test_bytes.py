"""Bodies and streams reach the client as the provider sent them, however the network cuts them."""

import http.client
import json
import random
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tests.gateway.scripted import Scripted, stream, whole

RECORDED = Path(__file__).parents[1] / "recorded"
FLAVOURS = {
    "chat": "/v1/chat/completions",
    "completions": "/v1/completions",
    "responses": "/v1/responses",
    "embeddings": "/v1/embeddings",
    "messages": "/v1/messages",
}
BODIES = sorted(RECORDED.glob("*/*_*.json"))
STREAMS = sorted(RECORDED.glob("*/*_*.sse"))


@pytest.fixture(scope="module")
def provider():
    script = {}

    def answer(asked):
        return script["pieces"]

    one = Scripted(answer)
    one.script = script
    yield one
    one.close()


@pytest.fixture(scope="module")
def door(tmp_path_factory, provider):
    from tests.gateway.conftest import Server

    settings = f"""
[gateway]
stream_trailer = false
[[providers]]
name = "openai"
base_url = "{provider.url}/v1"
[[providers]]
name = "anthropic"
kind = "anthropic"
base_url = "{provider.url}"
"""
    one = Server(tmp_path_factory.mktemp("door"), settings)
    yield one
    one.stop()


def post(door, path: str, body: dict) -> tuple[int, bytes]:
    address = urlsplit(door.url)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=30)
    connection.request("POST", path, json.dumps(body), {"content-type": "application/json"})
    reply = connection.getresponse()
    received = reply.read()
    connection.close()
    return reply.status, received


def name(file: Path) -> str:
    return f"{file.parent.name}/{file.name}"


@pytest.mark.parametrize("file", BODIES, ids=name)
def test_a_body_is_relayed_to_the_byte(file, door, provider):
    body = file.read_bytes()
    provider.script["pieces"] = whole(body)
    path = FLAVOURS[file.name.split("_")[0]]
    assert post(door, path, {"model": "gpt-4o", "input": "x", "messages": []}) == (200, body)


@pytest.mark.parametrize("file", STREAMS, ids=name)
def test_a_stream_is_relayed_to_the_byte_however_it_is_cut(file, door, provider):
    body = file.read_bytes()
    cuts = sorted(random.Random(file.name).sample(range(1, len(body)), min(12, len(body) - 1)))
    pieces = [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    provider.script["pieces"] = stream(pieces)
    path = FLAVOURS[file.name.split("_")[0]]
    asked = {"model": "gpt-4o", "input": "x", "messages": [], "stream": True, "stream_options": {"include_usage": True}}
    assert post(door, path, asked) == (200, body)


def test_what_the_client_sent_reaches_the_provider_to_the_byte(door, provider):
    provider.script["pieces"] = whole(b"{}")
    sent = b'{ "model" : "gpt-4o",\n "messages":[{"role":"user","content":"\\u00e9 \xc3\xa9  "}] , "x":1.50 }'
    door.post("/v1/chat/completions", sent, {"x-custom": "kept", "x-penstock-team": "not passed on"})
    asked = provider.asked[-1]
    assert asked.body == sent
    assert asked.headers["x-custom"] == "kept"
    assert "x-penstock-team" not in asked.headers
    assert asked.target == "/v1/chat/completions"


def test_usage_is_asked_for_and_nothing_else_changes(door, provider):
    provider.script["pieces"] = stream([b"data: [DONE]\n\n"])
    sent = b'{"model":"gpt-4o","messages":[],"stream":true,"n":1}'
    door.post("/v1/chat/completions", sent)
    got = provider.asked[-1].body
    assert json.loads(got) == {**json.loads(sent), "stream_options": {"include_usage": True}}
    assert got.endswith(sent[1:])
