from typing import Any

import anthropic
import httpx2
import openai
import pytest
from tests.gateway.sandbox.conftest import Clients, Sandbox, running

from penstock.errors import InputError
from penstock.gateway.sandbox.control import Mishaps, parse
from penstock.gateway.sandbox.settings import SandboxSettings

HELLO: list[Any] = [{"role": "user", "content": "hello"}]
CHAT = {"model": "gpt-4o", "messages": HELLO}
STREAM = CHAT | {"stream": True}


def test_an_unknown_key_or_value_is_named_with_the_known_ones(sandbox: Sandbox) -> None:
    for header in ("eror=429", "error=418", "stall=soon"):
        with pytest.raises(InputError, match="Known keys: error, retry_after"):
            parse(header)
    assert sandbox.post("/v1/chat/completions", CHAT, x_sandbox="eror=429").status_code == 400


@pytest.mark.parametrize(
    ("kind", "error", "claude"),
    [
        ("400", openai.BadRequestError, anthropic.BadRequestError),
        ("401", openai.AuthenticationError, anthropic.AuthenticationError),
        ("404", openai.NotFoundError, anthropic.NotFoundError),
        ("429", openai.RateLimitError, anthropic.RateLimitError),
        ("500", openai.InternalServerError, anthropic.InternalServerError),
        ("503", openai.InternalServerError, anthropic.InternalServerError),
        ("529", openai.InternalServerError, anthropic.InternalServerError),
    ],
)
def test_an_error_on_demand_is_the_clients_own_and_is_not_billed(
    sandbox: Sandbox, clients: Clients, kind: str, error: type[openai.APIStatusError], claude: type[Exception]
) -> None:
    wish = {"x-sandbox": f"error={kind};retry_after=2"}
    with pytest.raises(error) as raised:
        clients.openai(sandbox.url).chat.completions.create(model="gpt-4o", messages=HELLO, extra_headers=wish)
    if kind in ("429", "503"):
        assert raised.value.response.headers["retry-after"] == "2"
    with pytest.raises(error):
        clients.azure(sandbox.url).chat.completions.create(model="chat-prod", messages=HELLO, extra_headers=wish)
    with pytest.raises(claude) as answered:
        clients.anthropic(sandbox.url).messages.create(
            model="claude-sonnet-5", max_tokens=9, messages=HELLO, extra_headers=wish
        )
    assert answered.value.status_code == int(kind)  # type: ignore[attr-defined]
    assert sandbox.bill()["entries"] == []


def test_azures_content_filter_has_an_inner_error(sandbox: Sandbox) -> None:
    path = "/openai/deployments/chat-prod/chat/completions?api-version=2024-10-21"
    reply = sandbox.post(path, CHAT, x_sandbox="error=content_filter")
    error = reply.json()["error"]
    assert (reply.status_code, error["code"]) == (400, "content_filter")
    assert error["innererror"]["code"] == "ResponsibleAIPolicyViolation"


def test_an_answer_may_be_filtered_or_refused_half_way_and_is_billed(sandbox: Sandbox, clients: Clients) -> None:
    client = clients.openai(sandbox.url)
    for finish, reason in (("content_filter", "content_filter"), ("refusal", "stop")):
        wish = {"x-sandbox": f"finish={finish}"}
        choice = client.chat.completions.create(model="gpt-4o", messages=HELLO, extra_headers=wish).choices[0]
        assert choice.finish_reason == reason
        assert (choice.message.refusal is not None) is (finish == "refusal")
    refused = clients.anthropic(sandbox.url).messages.create(
        model="claude-sonnet-5", max_tokens=99, messages=HELLO, extra_headers={"x-sandbox": "finish=refusal"}
    )
    assert refused.stop_reason == "refusal"
    sandbox.entries(3)


def test_a_cut_before_the_head_leaves_no_reply_and_no_bill(sandbox: Sandbox) -> None:
    with pytest.raises(httpx2.RemoteProtocolError):
        sandbox.post("/v1/chat/completions", CHAT, x_sandbox="cut=head")
    assert sandbox.bill()["entries"] == []


def test_a_cut_stream_is_billed_for_what_was_sent(sandbox: Sandbox) -> None:
    with pytest.raises(httpx2.RemoteProtocolError):
        sandbox.post("/v1/chat/completions", STREAM, x_sandbox="cut=stream;after=4")
    (entry,) = sandbox.entries(1)
    assert entry["aborted"]
    assert 0 < entry["usage"]["completion_tokens"] <= 5


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses", "/v1/messages", "/v1/completions"])
def test_an_error_in_mid_stream_ends_it_and_nothing_is_billed(sandbox: Sandbox, path: str) -> None:
    model = {"/v1/messages": "claude-sonnet-5", "/v1/completions": "gpt-3.5-turbo-instruct"}.get(path, "gpt-4o")
    ask = {"model": model, "messages": HELLO, "input": "x", "prompt": "x", "max_tokens": 99, "stream": True}
    reply = sandbox.post(path, ask, x_sandbox="event=error;after=2", anthropic_version="2023-06-01")
    last = reply.text.removesuffix("\n\n").split("\n\n")[-1]
    if path in ("/v1/messages", "/v1/responses"):
        assert last.startswith('event: error\ndata: {"type":"error"')
    else:
        assert last.startswith('data: {"error":{')
    assert "[DONE]" not in reply.text
    assert sandbox.bill()["entries"] == []


def test_a_caller_who_leaves_a_stream_pays_for_what_was_sent(sandbox: Sandbox) -> None:
    text = []
    wish = {"x-sandbox": "stall=600;after=6;tokens=60"}
    with httpx2.stream("POST", f"{sandbox.url}/v1/chat/completions", json=STREAM, headers=wish, timeout=60) as reply:
        for line in reply.iter_lines():
            if '"content":"' in line and '"content":""' not in line:
                text.append(line)
            if len(text) == 6:
                break
    (entry,) = sandbox.entries(1)
    assert entry["aborted"]
    assert entry["stream"]
    assert entry["usage"]["completion_tokens"] == 7  # "Sandbox" is two tokens, five more words are one each
    assert entry["usage"]["prompt_tokens"] == 8


def test_a_caller_who_leaves_before_the_head_pays_nothing(sandbox: Sandbox) -> None:
    hasty = httpx2.Timeout(60, read=0.2)
    with pytest.raises(httpx2.ReadTimeout):
        httpx2.post(f"{sandbox.url}/v1/chat/completions", json=CHAT, headers={"x-sandbox": "stall=600"}, timeout=hasty)
    sandbox.post("/v1/chat/completions", CHAT)
    assert len(sandbox.bill()["entries"]) == 1


def test_usage_may_be_missing_or_wrong_and_the_bill_stays_right(sandbox: Sandbox) -> None:
    good = sandbox.post("/v1/chat/completions", CHAT).json()["usage"]
    assert "usage" not in sandbox.post("/v1/chat/completions", CHAT, x_sandbox="usage=none").json()
    wrong = sandbox.post("/v1/chat/completions", CHAT, x_sandbox="usage=wrong").json()["usage"]
    assert wrong["prompt_tokens_details"]["cached_tokens"] > wrong["prompt_tokens"]
    counted = STREAM | {"stream_options": {"include_usage": True}}
    assert '"usage":{' not in sandbox.post("/v1/chat/completions", counted, x_sandbox="usage=none").text
    assert [entry["usage"] for entry in sandbox.entries(4)] == [good] * 4


def test_a_mishap_may_be_for_one_model_and_for_the_first_calls_only(sandbox: Sandbox) -> None:
    wish = "error=503;times=2;id=this-test;only=gpt-4o"
    statuses = [sandbox.post("/v1/chat/completions", CHAT, x_sandbox=wish).status_code for _ in range(3)]
    assert statuses == [503, 503, 200]
    other = sandbox.post("/v1/chat/completions", CHAT | {"model": "gpt-4.1"}, x_sandbox="error=503;only=gpt-4o")
    assert other.status_code == 200


def test_length_reasoning_and_calls_can_be_asked_for(sandbox: Sandbox) -> None:
    usage = sandbox.post("/v1/chat/completions", CHAT, x_sandbox="tokens=300").json()["usage"]
    assert usage["completion_tokens"] == 300
    reasoned = sandbox.post("/v1/chat/completions", CHAT | {"model": "gpt-5"}, x_sandbox="reasoning=77").json()["usage"]
    assert reasoned["completion_tokens_details"]["reasoning_tokens"] == 77
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}
    reply = sandbox.post("/v1/chat/completions", CHAT | {"tools": [tool]}, x_sandbox="calls=3").json()
    assert len(reply["choices"][0]["message"]["tool_calls"]) == 3


def test_chance_is_the_same_for_the_same_seed_and_near_its_rate() -> None:
    settings = SandboxSettings(error_rate=0.2, rate_limit_rate=0.1, seed=7)
    runs = [[Mishaps(settings).decide("", "m", anthropic=True).error for _ in range(1)] for _ in range(2)]
    assert runs[0] == runs[1]
    mishaps = Mishaps(settings)
    drawn = [mishaps.decide("", "m", anthropic=True).error for _ in range(4_000)]
    assert set(drawn) == {"", "429", "500", "529"}
    assert 0.08 < drawn.count("429") / 4_000 < 0.12
    assert 0.17 < (drawn.count("500") + drawn.count("529")) / 4_000 < 0.23


def test_the_pace_is_kept() -> None:
    with running(SandboxSettings(first_token_ms=80, token_ms=2)) as sandbox:
        began = sandbox.post("/v1/chat/completions", STREAM, x_sandbox="tokens=30")
        assert began.elapsed.total_seconds() > 0.08 + 20 * 0.002


def test_a_call_may_ask_for_a_pace_of_its_own() -> None:
    with running(SandboxSettings(first_token_ms=3_600_000, token_ms=3_600_000)) as sandbox:
        reply = sandbox.post("/v1/chat/completions", CHAT, x_sandbox="first_ms=0;token_ms=0")
        assert reply.status_code == 200
