"""Virtual keys through a real server with the official clients: who is let in, who is not, and what stays of a key."""

import json
import re
import subprocess
import sys
import time
from datetime import timedelta

import anthropic
import httpx2
import openai
import pytest
from tests.gateway.conftest import SANDBOX, Server
from tests.policies.receiver import Receiver

from penstock.ledger.state import State
from penstock.metering.event import utc_now
from penstock.policies.alert_delivery import listed
from penstock.policies.alerts import Alert, enqueue
from penstock.policies.key_store import KeyStore
from penstock.policies.keys import VirtualKey

ALERTS = """
[[alerts]]
name = "ops"
kind = "webhook"
url_env = "ALERTS_URL"
"""
HELLO = [{"role": "user", "content": "Hello"}]


@pytest.fixture(scope="module")
def receiver():
    one = Receiver()
    yield one
    one.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory, receiver):
    one = Server(tmp_path_factory.mktemp("keys"), SANDBOX + ALERTS, environment={"ALERTS_URL": receiver.url})
    yield one
    one.stop()


def penstock(server: Server, *words: str) -> dict:
    """Run a command as a user does; return its document."""
    done = subprocess.run(
        [sys.executable, "-m", "penstock", *words, "--data", str(server.data), "--json"],
        capture_output=True, text=True, check=True, cwd=server.folder,
    )  # fmt: skip
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def store(server):
    state = State(server.data / "state.sqlite")
    yield KeyStore(state)
    state.close()


class Counting(httpx2.Client):
    """Counts the requests that leave the client."""

    def __init__(self) -> None:
        self.sent = 0
        super().__init__(event_hooks={"request": [self._count]}, timeout=60)

    def _count(self, _request: httpx2.Request) -> None:
        self.sent += 1


@pytest.fixture
def wire():
    with Counting() as one:
        yield one


def made(store: KeyStore, **fields) -> tuple[VirtualKey, str]:
    return store.create(VirtualKey(id="", name="", created=utc_now(), **fields))


def openai_with(server: Server, wire: Counting, secret: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key=secret, http_client=wire)


def within_a_second(ask, caught: type[Exception]):
    """Ask again and again until it is refused in that way; that must come soon. Return the error."""
    asked = time.monotonic()
    while True:
        try:
            ask()
        except caught as error:
            return error
        assert time.monotonic() - asked < 30
        time.sleep(0.05)


def known(ask):
    """Ask until the server knows the key, which it does within a second."""
    deadline = time.monotonic() + 30
    while True:
        try:
            return ask()
        except (openai.AuthenticationError, anthropic.AuthenticationError):
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_the_first_key_closes_the_door_without_a_restart(server, wire):
    client = openai_with(server, wire, "any")
    assert client.chat.completions.create(model="gpt-4o-mini", messages=HELLO)  # open: there is no key
    done = penstock(server, "keys", "create", "first", "--team", "support", "--app", "helpdesk")
    error = within_a_second(
        lambda: client.chat.completions.create(model="gpt-4o-mini", messages=HELLO), openai.AuthenticationError
    )
    assert error.code == "key_missing"
    assert error.response.headers["x-should-retry"] == "false"
    assert error.response.headers["www-authenticate"] == "Bearer"
    with_key = openai_with(server, wire, done["secret"])
    raw = known(
        lambda: with_key.chat.completions.with_raw_response.create(
            model="gpt-4o-mini", messages=HELLO,
            extra_headers={"x-penstock-team": "somebody else", "x-penstock-feature": "chat"},
        )
    )  # fmt: skip
    found = event_of(server, raw.headers["x-penstock-request-id"])
    assert (found["team"], found["app"], found["feature"]) == ("support", "helpdesk", "chat")
    assert found["key"] == done["key"]["id"]


def event_of(server, request_id: str) -> dict:
    deadline = time.monotonic() + 60
    while True:
        try:
            return server.get(f"/api/requests/{request_id}")["events"][-1]["event"]
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def test_each_client_sends_it_as_its_own(server, store):
    _, secret = made(store, team="t")
    with openai.AzureOpenAI(
        azure_endpoint=server.url, api_key=secret, api_version="2024-10-21", azure_deployment="gpt-4o"
    ) as azure:
        assert known(lambda: azure.chat.completions.create(model="gpt-4o", messages=HELLO)).choices
    with anthropic.Anthropic(base_url=server.url, api_key=secret) as claude:
        assert claude.messages.create(model="claude-sonnet-5", max_tokens=20, messages=HELLO).content
        assert claude.messages.count_tokens(model="claude-sonnet-5", messages=HELLO).input_tokens
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="a provider's own") as beside:
        ours = {"x-penstock-key": secret}
        assert beside.chat.completions.create(model="gpt-4o", messages=HELLO, extra_headers=ours).choices


@pytest.mark.parametrize("streamed", [False, True])
def test_a_revoked_key_is_refused_and_not_tried_again(server, store, wire, streamed):
    key, secret = made(store)
    client = openai_with(server, wire, secret)

    def ask():
        answer = client.chat.completions.create(model="gpt-4o-mini", messages=HELLO, stream=streamed)
        return list(answer)

    known(ask)
    store.revoke(key.id)
    error = within_a_second(ask, openai.AuthenticationError)
    assert error.code == "key_revoked"
    assert key.id in str(error)
    wire.sent = 0
    before = server.bill()["totals"]["calls"]
    with pytest.raises(openai.AuthenticationError):
        ask()
    assert wire.sent == 1
    assert server.bill()["totals"]["calls"] == before


def test_an_expired_key_is_refused_in_anthropics_shape(server, store, wire):
    _, secret = made(store, expires=utc_now() + timedelta(seconds=1.5))
    client = anthropic.Anthropic(base_url=server.url, api_key=secret, http_client=wire)

    def ask():
        return client.messages.create(model="claude-sonnet-5", max_tokens=5, messages=HELLO)

    error = within_a_second(ask, anthropic.AuthenticationError)
    while error.body["error"]["code"] == "key_unknown":  # not heard of it yet
        error = within_a_second(ask, anthropic.AuthenticationError)
    assert error.body["type"] == "error"
    assert error.body["error"]["type"] == "authentication_error"
    assert error.body["error"]["code"] == "key_expired"
    wire.sent = 0
    with pytest.raises(anthropic.AuthenticationError):
        ask()
    assert wire.sent == 1


def test_a_model_that_is_not_allowed_is_forbidden(server, store, wire):
    key, secret = made(store, models=("gpt-4o-mini*", "claude-*"))
    client = openai_with(server, wire, secret)
    assert known(lambda: client.chat.completions.create(model="gpt-4o-mini", messages=HELLO))
    wire.sent = 0
    with pytest.raises(openai.PermissionDeniedError) as caught:
        client.chat.completions.create(model="gpt-4o", messages=HELLO)
    assert wire.sent == 1
    assert caught.value.code == "model_not_allowed"
    assert "gpt-4o-mini*" in str(caught.value)
    with pytest.raises(openai.PermissionDeniedError):
        client.files.list()  # others' files, and batches of any model
    claude = anthropic.Anthropic(base_url=server.url, api_key=secret, http_client=wire)
    assert claude.messages.create(model="claude-sonnet-5", max_tokens=5, messages=HELLO)
    assert key.models


def test_a_provider_that_is_not_allowed_is_forbidden(server, store, wire):
    _, secret = made(store, providers=("sandbox-openai",))
    client = openai_with(server, wire, secret)
    assert known(lambda: client.chat.completions.create(model="gpt-4o", messages=HELLO))
    claude = anthropic.Anthropic(base_url=server.url, api_key=secret, http_client=wire)
    with pytest.raises(anthropic.PermissionDeniedError):
        claude.messages.create(model="claude-sonnet-5", max_tokens=5, messages=HELLO)


def test_a_rotated_key_has_two_secrets_for_a_while(server, wire):
    made_ = penstock(server, "keys", "create", "turning")
    with_old = openai_with(server, wire, made_["secret"])

    def ask(client):
        return client.chat.completions.create(model="gpt-4o-mini", messages=HELLO)

    known(lambda: ask(with_old))
    turned = penstock(server, "keys", "rotate", "turning", "--grace", "1h")
    known(lambda: ask(openai_with(server, wire, turned["secret"])))
    assert ask(with_old)
    assert turned["key"]["id"] == made_["key"]["id"]
    penstock(server, "keys", "rotate", "turning", "--grace", "0s")
    assert within_a_second(lambda: ask(with_old), openai.AuthenticationError).code == "key_rotated"


def test_without_a_key_nothing_of_the_ai_wire_is_reached(server):
    for path in ("/v1/models", "/v1/files", "/v1/messages/count_tokens", "/v1/batches"):
        status, headers, _ = server.post(path, {"model": "gpt-4o"})
        assert (path, status) == (path, 401)
        assert headers["x-should-retry"] == "false"
    assert server.get("/readyz")["status"] == "ok"


def test_a_key_for_the_dashboard_makes_no_calls(server, store, wire):
    _, secret = made(store, role="viewer")
    client = openai_with(server, wire, secret)

    def ask():
        known(lambda: client.chat.completions.create(model="gpt-4o-mini", messages=HELLO))

    with pytest.raises(openai.PermissionDeniedError) as caught:
        ask()
    assert caught.value.code == "key_not_for_calls"
    store.revoke(store.find(re.search(r"key (\w{8})", str(caught.value))[1]).id)


def test_the_pages_behind_the_gateway_ask_who_is_there(server, store):
    _, secret = made(store, role="viewer")
    with httpx2.Client(base_url=server.url, timeout=60) as browser:
        assert browser.get("/").headers["location"] == "/sign-in"
        assert browser.get("/api/spend").status_code == 401
        assert browser.get("/api/spend", headers={"authorization": f"Bearer {secret}"}).status_code == 200
        # Over plain HTTP a browser says no more of where a form comes from than this.
        own = {"origin": server.url}
        assert browser.post("/sign-in", data={"key": secret}, headers=own).status_code == 303
        assert "Sign out" in browser.get("/").text  # the cookie comes through in both directions
        for other in ("https://evil.example", "http://localhost"):
            assert browser.post("/sign-out", headers={"origin": other}).status_code == 403


def test_an_alert_is_delivered_while_the_server_runs(server, store, receiver):
    alert = Alert(kind="budget.exceeded", subject="team t", period="2026-11", title="Over", text="It is spent.")
    state = State(server.data / "state.sqlite")
    assert enqueue(state, alert)
    deadline = time.monotonic() + 60
    while listed(state)[0][1] == [] or listed(state)[0][1][0].state != "delivered":
        assert time.monotonic() < deadline, listed(state)
        time.sleep(0.05)
    state.close()
    ((_, body),) = receiver.got
    assert json.loads(body)["title"] == "Over"


def test_no_secret_is_kept_or_logged(server, store, wire):
    key, secret = made(store)
    known(lambda: openai_with(server, wire, secret).chat.completions.create(model="gpt-4o-mini", messages=HELLO))
    random_part = secret.rpartition("_")[2].encode()
    assert list(openai_with(server, wire, secret).models.list())
    files = [file for file in server.folder.rglob("*") if file.is_file()]
    assert any(file.name == "state.sqlite" for file in files)
    for file in files:
        assert random_part not in file.read_bytes(), file
    assert secret not in str(store.all())
    assert key.id.encode() in b"".join(file.read_bytes() for file in files)
