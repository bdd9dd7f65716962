"""Retries, fallbacks and breakages: one event for each attempt, and the client gets the best that can be given."""

import gzip
import http.client
import json
import time
from decimal import Decimal

import pytest
from tests.gateway.scripted import Scripted, stream, whole

OK = {
    "id": "chatcmpl-1", "object": "chat.completion", "model": "gpt-4o-2024-08-06",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "fine"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110},
}  # fmt: skip
COST = Decimal("0.00035")
BUSY = {"error": {"message": "busy", "type": "requests", "code": "rate_limit_exceeded"}}
CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Say fine"}]}


@pytest.fixture
def providers():
    made = []

    def make(answer):
        made.append(Scripted(answer))
        return made[-1]

    yield make
    for one in made:
        one.close()


def settings(*urls: str, more: str = "", extra: str = "") -> str:
    text = more
    for number, url in enumerate(urls):
        text += f'[[providers]]\nname = "p{number}"\nbase_url = "{url}/v1"\n{extra}\n'
        text += f'[[deployments]]\nname = "d{number}"\nprovider = "p{number}"\nmodel = "gpt-4o"\n'
    names = ", ".join(f'"d{number}"' for number in range(len(urls)))
    return text + f'[[routes]]\nmodel = "gpt-4o"\ndeployments = [{names}]\n'


def found(server, headers: dict) -> dict:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            found = server.get(f"/api/requests/{headers['x-penstock-request-id']}")
            if len(found["events"]) == headers["x-penstock-decision"].count("#"):
                return found | {"attempts": [one["event"] for one in found["events"]]}
        except OSError:
            pass  # nothing of it yet
        time.sleep(0.05)
    raise AssertionError("the request never reached the ledger")


def test_a_busy_deployment_is_followed_by_the_next_one_at_once(start, providers):
    first = providers(lambda _: whole(json.dumps(BUSY).encode(), "429 Too Many Requests", extra="retry-after: 30\r\n"))
    second = providers(lambda _: whole(json.dumps(OK).encode()))
    server = start(settings(first.url, second.url))
    status, headers, body = server.post("/v1/chat/completions", CHAT)
    assert status == 200
    assert json.loads(body) == OK
    assert headers["x-penstock-decision"] == "d0#1; d1#2 fallback"
    assert Decimal(headers["x-penstock-cost"]) == COST
    attempts = found(server, headers)["attempts"]
    assert [(one["status"], one["purpose"], one["cost"]) for one in attempts] == [
        (429, "call", "0"),
        (200, "fallback", "0.00035"),
    ]


def test_one_deployment_is_tried_again_after_a_pause(start, providers):
    answers = iter([whole(b"{}", "503 Service Unavailable"), whole(b"{}", "500 Internal Server Error")])
    only = providers(lambda _: next(answers, whole(json.dumps(OK).encode())))
    server = start(settings(only.url))
    status, headers, _ = server.post("/v1/chat/completions", CHAT)
    assert status == 200
    assert [one["purpose"] for one in found(server, headers)["attempts"]] == ["call", "retry", "retry"]


def test_a_mistake_of_the_client_is_not_tried_again(start, providers):
    wrong = json.dumps({"error": {"message": "no", "type": "invalid_request_error", "code": None}}).encode()
    only = providers(lambda _: whole(wrong, "400 Bad Request"))
    server = start(settings(only.url))
    status, headers, body = server.post("/v1/chat/completions", CHAT)
    assert (status, body) == (400, wrong)
    assert len(only.asked) == 1
    assert headers["x-penstock-cost"] == "0"


def test_a_provider_that_hangs_up_gives_a_502_that_says_so(start, providers):
    only = providers(lambda _: [None])
    server = start(settings(only.url))
    status, headers, body = server.post("/v1/chat/completions", CHAT)
    assert status == 502
    assert json.loads(body)["error"]["code"] == "upstream_connection"
    assert [one["error"] for one in found(server, headers)["attempts"]] == ["connection"] * 3


def test_a_provider_that_is_not_there_gives_a_502(start):
    server = start(settings("http://127.0.0.1:9"))
    status, _, body = server.post("/v1/chat/completions", CHAT)
    assert status == 502
    assert "127.0.0.1:9" in json.loads(body)["error"]["message"]


def test_a_provider_that_stays_silent_gives_a_504_and_its_input_is_booked_as_counted(start, providers):
    def silent(_):
        time.sleep(3)
        return [None]

    server = start(settings(providers(silent).url, extra="timeout = 0.5"))
    status, headers, _ = server.post("/v1/chat/completions", {**CHAT, "model": "d0"})
    assert status == 504
    attempt = found(server, headers)["attempts"][0]
    assert (attempt["error"], attempt["usage_source"]) == ("timeout", "counted")
    assert Decimal(attempt["cost"]) > 0


def test_a_stream_that_breaks_is_broken_for_the_client_too_and_what_came_is_counted(start, providers):
    event = b'data: {"id":"x","model":"gpt-4o-2024-08-06","choices":[{"index":0,"delta":{"content":"some words"}}]}\n\n'
    only = providers(lambda _: stream([event], end=False))
    server = start(settings(only.url))
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.request("POST", "/v1/chat/completions", json.dumps({**CHAT, "stream": True}))
    reply = connection.getresponse()
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        reply.read()
    reply.close()
    connection.close()
    attempt = found(server, dict(reply.headers))["attempts"][0]
    assert (attempt["outcome"], attempt["error"], attempt["usage_source"]) == ("error", "connection", "counted")
    assert attempt["usage"]["output"] == 2


def test_a_messages_stream_that_breaks_is_not_booked_with_the_token_it_began_with(start, providers):
    usage = {"input_tokens": 1000, "cache_read_input_tokens": 300, "output_tokens": 1}
    began = {"type": "message_start", "message": {"id": "m", "model": "claude-sonnet-5", "usage": usage}}
    wrote = {
        "type": "content_block_delta",
        "index": 0,
        "delta": {"type": "text_delta", "text": "some more words " * 50},
    }
    sent = [f"event: {one['type']}\ndata: {json.dumps(one)}\n\n".encode() for one in (began, wrote)]
    only = providers(lambda _: stream(sent, end=False))
    server = start(f'[[providers]]\nname = "anthropic"\nkind = "anthropic"\nbase_url = "{only.url}"\n')
    body = {"model": "claude-sonnet-5", "max_tokens": 900, "messages": CHAT["messages"], "stream": True}
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.request("POST", "/v1/messages", json.dumps(body), {"anthropic-version": "2023-06-01"})
    reply = connection.getresponse()
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        reply.read()
    reply.close()
    connection.close()
    attempt = found(server, dict(reply.headers))["attempts"][0]
    assert (attempt["outcome"], attempt["error"], attempt["usage_source"]) == ("error", "connection", "estimated")
    assert (attempt["usage"]["input"], attempt["usage"]["cache_read"]) == (1000, 300)
    assert attempt["usage"]["output"] > 100


def test_another_penstock_behind_this_one_does_not_speak_in_its_name(start):
    behind = start()
    server = start(settings(behind.url))
    for streamed in (False, True):
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        connection.request("POST", "/v1/chat/completions", json.dumps({**CHAT, "stream": streamed}))
        with connection.getresponse() as reply:
            reply.read()
            said = [(name, value) for name, value in reply.getheaders() if name.startswith("x-penstock-")]
        connection.close()
        assert len(dict(said)) == len(said) == (2 if streamed else 4)
        assert dict(said)["x-penstock-decision"] == "d0#1"
        assert found(server, dict(said))["attempts"][0]["outcome"] == "ok"


def test_a_packed_reply_is_read_although_it_is_passed_on_packed(start, providers):
    packed = gzip.compress(json.dumps(OK).encode())
    only = providers(lambda _: whole(packed, extra="content-encoding: gzip\r\n"))
    server = start(settings(only.url))
    status, headers, body = server.post("/v1/chat/completions", CHAT)
    assert (status, body) == (200, packed)
    assert Decimal(headers["x-penstock-cost"]) == COST


@pytest.mark.parametrize(("on_abort", "source"), [("drain", "provider"), ("cancel", "counted")])
def test_a_client_that_leaves_is_booked_as_the_settings_say(on_abort, source, start):
    sandbox = '[[providers]]\nname = "s"\nkind = "sandbox"\nbills_as = "openai"\n'
    server = start(f'[gateway]\non_abort = "{on_abort}"\n{sandbox}')
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    body = {**CHAT, "stream": True, "messages": [{"role": "user", "content": "A long story"}]}
    pause = "stall=4" if on_abort == "drain" else "stall=600"  # the client leaves in it
    connection.request("POST", "/v1/chat/completions", json.dumps(body), {"x-sandbox": f"tokens=200;after=20;{pause}"})
    reply = connection.getresponse()
    reply.read(600)
    connection.sock.close()
    reply.close()
    request = found(server, dict(reply.headers))
    attempt = request["attempts"][0]
    assert (attempt["outcome"], attempt["usage_source"]) == ("aborted", source)
    if on_abort == "drain":
        assert attempt["usage"]["output"] == 200
        assert Decimal(request["cost"]) == Decimal(server.bill()["totals"]["cost"])
    else:
        assert 0 < attempt["usage"]["output"] < 200


def test_a_model_without_a_price_is_served_and_said_to_be_unpriced(start):
    server = start()
    status, headers, _ = server.post("/v1/chat/completions", {**CHAT, "model": "sandbox-mystery-1"})
    assert status == 200
    assert headers["x-penstock-cost"] == "unpriced"
    request = found(server, headers)
    assert request["cost"] is None
    assert request["attempts"][0]["price_state"] == "unpriced"


def test_a_model_without_a_price_is_refused_where_the_settings_say_so(start):
    server = start('[prices]\nunpriced = "refuse"\n[[providers]]\nname = "s"\nkind = "sandbox"\nbills_as = "openai"\n')
    status, headers, body = server.post("/v1/chat/completions", {**CHAT, "model": "sandbox-mystery-1"})
    assert status == 403
    assert json.loads(body)["error"]["code"] == "unpriced_model"
    assert headers["x-should-retry"] == "false"
    assert server.post("/v1/chat/completions", CHAT)[0] == 200
    assert len(server.bill()["entries"]) == 1


def test_a_deployment_that_asked_for_a_pause_is_asked_last_while_it_rests(start, providers):
    first = providers(lambda _: whole(json.dumps(BUSY).encode(), "429 Too Many Requests", extra="retry-after: 30\r\n"))
    second = providers(lambda _: whole(json.dumps(OK).encode()))
    server = start(settings(first.url, second.url))
    decisions = [server.post("/v1/chat/completions", CHAT)[1]["x-penstock-decision"] for _ in range(2)]
    assert decisions == ["d0#1; d1#2 fallback", "d1#1"]
    assert len(first.asked) == 1


def test_a_reply_without_usage_is_counted_and_marked(start, providers):
    bare = {key: value for key, value in OK.items() if key != "usage"}
    server = start(settings(providers(lambda _: whole(json.dumps(bare).encode())).url))
    _, headers, _ = server.post("/v1/chat/completions", CHAT)
    attempt = found(server, headers)["attempts"][0]
    assert attempt["usage_source"] == "counted"
    assert (attempt["usage"]["input"], attempt["usage"]["output"]) == (9, 1)  # 3 to prime, 3 a message, 1 role, 2 words


def test_a_path_that_could_cost_and_is_not_metered_is_not_let_through(start):
    server = start()
    for path in ("/v1/images/generations", "/v1/responses/compact", "/openai/deployments/x/audio/speech"):
        status, _, body = server.post(path, {"model": "gpt-4o"})
        assert (status, json.loads(body)["error"]["code"]) == (404, "unmetered_endpoint")
