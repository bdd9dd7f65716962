"""How a call is put to a provider."""

import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import InputError
from penstock.gateway.endpoints import CHAT, MESSAGES, RESPONSES, azure_deployment, is_free
from penstock.gateway.heads import Head
from penstock.gateway.providers import Destination, provider_key, with_model, with_usage
from penstock.policies.deployments import Deployment, Provider, target_of


def destination(kind: str = "openai", url: str = "https://api.example.com/v1", **more) -> Destination:
    provider = Provider(name="p", kind=kind, base_url=url, **more)
    loop = asyncio.new_event_loop()
    loop.close()  # nothing is connected to here
    return Destination(provider, loop, {"KEY": "secret"})


def path(kind: str, url: str, endpoint, asked: bytes, **more) -> str:
    there = destination(kind, url, **more)
    row = Deployment(name="d", provider="p", model="gpt-4o", upstream="my-dep")
    return there.path_for(endpoint, target_of(row, there.provider, declared=True), asked)


@pytest.mark.parametrize(
    ("kind", "endpoint", "asked", "more", "expected"),
    [
        ("openai", CHAT, b"/v1/chat/completions", {}, "/v1/chat/completions"),
        ("anthropic", MESSAGES, b"/v1/messages?beta=true", {}, "/v1/v1/messages?beta=true"),
        ("azure", CHAT, b"/v1/chat/completions", {}, "/v1/openai/v1/chat/completions"),
        ("azure", CHAT, b"/v1/chat/completions", {"api_version": "2024-10-21"},
         "/v1/openai/deployments/my-dep/chat/completions?api-version=2024-10-21"),
        ("azure", CHAT, b"/openai/deployments/x/chat/completions?api-version=2025-01-01", {},
         "/v1/openai/deployments/my-dep/chat/completions?api-version=2025-01-01"),
        ("azure", RESPONSES, b"/v1/responses", {"api_version": "2025-03-01-preview"},
         "/v1/openai/responses?api-version=2025-03-01-preview"),
        ("sandbox", CHAT, b"/v1/chat/completions", {}, "/v1/chat/completions"),
    ],
)  # fmt: skip
def test_each_wire_has_its_paths(kind, endpoint, asked, more, expected):
    assert path(kind, "https://api.example.com/v1", endpoint, asked, **more) == expected


@pytest.mark.parametrize(
    ("kind", "header"),
    [("openai", b"authorization: Bearer secret"), ("azure", b"api-key: secret"), ("anthropic", b"x-api-key: secret")],
)
def test_the_providers_key_takes_the_place_of_the_clients(kind, header):
    head = Head()
    head.headers = [
        (b"authorization", b"Bearer client"),
        (b"x-api-key", b"client"),
        (b"api-key", b"client"),
        (b"x", b"y"),
    ]
    sent = destination(kind, api_key_env="KEY").request(head, "POST", "/p", b"{}")
    assert header in sent
    assert b"client" not in sent
    assert b"x: y\r\n" in sent
    assert sent.endswith(b"content-length: 2\r\n\r\n{}")


def test_without_a_key_of_its_own_the_clients_key_is_passed_on():
    head = Head()
    head.headers = [(b"authorization", b"Bearer client"), (b"connection", b"close"), (b"host", b"me"), (b"te", b"x")]
    sent = destination().request(head, "POST", "/p", b"")
    assert b"authorization: Bearer client\r\n" in sent
    assert b"host: api.example.com\r\n" in sent
    assert b"te: x" not in sent


def test_azure_paths_are_taken_apart():
    assert azure_deployment(b"/openai/deployments/my-dep/chat/completions") == ("my-dep", CHAT)
    assert azure_deployment(b"/openai/deployments/my-dep/images/generations") is None


def test_a_name_is_put_in_place_and_every_other_byte_stays():
    body = b'{ "messages":[{"role":"user","content":"\\"model\\": \\"gpt-4o\\""}],  "model" : "gpt-4o" }'
    assert with_model(body, "gpt-4o", "my-dep") == body[: body.rindex(b'"gpt-4o"')] + b'"my-dep" }'


def test_where_two_members_could_be_meant_the_right_one_is_changed():
    body = b'{"metadata":{"model":"gpt-4o"},"model":"gpt-4o"}'
    assert json.loads(with_model(body, "gpt-4o", "d")) == {"metadata": {"model": "gpt-4o"}, "model": "d"}


VALUES = st.recursive(st.text(max_size=8) | st.integers(), st.lists, max_leaves=4)


@given(
    st.dictionaries(st.text(max_size=6), VALUES, max_size=4),
    st.text(min_size=1, max_size=8),
)  # fmt: skip
def test_bodies_change_only_in_what_was_asked_for(rest, model):
    document = {**rest, "model": model}
    document.pop("stream_options", None)
    body = json.dumps(document, ensure_ascii=False).encode("utf-8", "surrogatepass")
    changed = json.loads(with_model(with_usage(body), model, "other"))
    assert changed == {**document, "model": "other", "stream_options": {"include_usage": True}}


def test_the_clients_other_stream_options_are_kept():
    body = b'{"model":"m","stream_options":{"include_usage":false,"include_obfuscation":false}}'
    assert json.loads(with_usage(body))["stream_options"] == {"include_usage": True, "include_obfuscation": False}


def test_a_name_cannot_become_a_request_of_its_own():
    there = destination("azure", "https://x.example.com", api_version="2024-10-21", api_key_env="KEY")
    row = Deployment(name="d", provider="p", model="a/b HTTP/1.1\r\nhost: h\r\n\r\nPOST /c")
    made = there.path_for(CHAT, target_of(row, there.provider, declared=False), b"/v1/chat/completions")
    assert not set(made) & set("\r\n ")
    assert "/deployments/a%2Fb%20HTTP" in made


@pytest.mark.parametrize(
    "path",
    [
        b"/v1/files/../chat/completions", b"/v1/files/%2e%2e/chat/completions", b"/v1/filesystem", b"/v1/files//x/..",
        b"/v1/batches/..%2fchat/completions", b"/v1/messages/count_tokens/../", b"/v1/files\\..\\x",
        b"/v1/files/..;/chat/completions", b"/v1/files/..;a=b/chat/completions", b"/v1/files/x/..%3bx",
        b"/v1/files/%252e%252E/chat/completions", b"/v1/files/..%252fchat/completions", b"/v1/responses/..;/x/cancel",
    ],
)  # fmt: skip
def test_a_sly_path_is_not_free(path):
    assert not is_free("POST", path)


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", b"/v1/files"), ("GET", b"/v1/files/file-1/content"), ("POST", b"/v1/batches/b/cancel"),
     ("GET", b"/v1/models/gpt-4o"), ("GET", b"/v1/responses/resp_1"), ("POST", b"/v1/responses/resp_1/cancel"),
     ("POST", b"/v1/messages/count_tokens")],
)  # fmt: skip
def test_what_costs_nothing_passes(method, path):
    assert is_free(method, path)


def test_a_key_that_is_named_and_missing_is_not_replaced_by_the_clients():
    head = Head()
    head.headers = [(b"authorization", b"Bearer client"), (b"cookie", b"a=b")]
    sent = destination(api_key_env="NOT_SET").request(head, "POST", "/p", b"")
    assert b"client" not in sent
    assert b"cookie" not in sent


@pytest.mark.parametrize(("name", "value"), [
    (b"authorization", b"Bearer psk_k7f3q2ab_" + b"x" * 43),
    (b"authorization", b"bearer psk_typo"),
    (b"api-key", b"psk_k7f3q2ab_" + b"x" * 43),
    (b"x-api-key", b" psk_k7f3q2ab_" + b"x" * 43),
    (b"x-penstock-key", b"psk_k7f3q2ab_" + b"x" * 43),
    (b"x-anything", b"key=psk_k7f3q2ab_" + b"x" * 43),
])  # fmt: skip
@pytest.mark.parametrize("named", ["", "KEY"])
def test_a_virtual_key_goes_to_no_provider(name, value, named):
    head = Head()
    head.headers = [(name, value), (b"x-kept", b"psk is no key")]
    sent = destination(api_key_env=named).request(head, "POST", "/p", b"{}")
    assert b"psk_" not in sent
    assert b"x-kept: psk is no key\r\n" in sent


def test_host_cookies_and_keys_go_to_our_own_process_alone():
    head = Head()
    head.headers = [
        (b"host", b"me:4000"),
        (b"cookie", b"a=b"),
        (b"authorization", b"Bearer psk_k7f3q2ab_" + b"x" * 43),
    ]
    loop = asyncio.new_event_loop()
    loop.close()
    ours = Destination(Provider(name="control", base_url="http://localhost"), loop, {}, ours=True)
    sent = ours.request(head, "GET", "/p", b"")
    assert b"\r\nhost: me:4000\r\ncookie: a=b\r\nauthorization: Bearer psk_" in sent
    assert sent.count(b"host:") == 1
    elsewhere = destination().request(head, "POST", "/q", b"")
    assert b"cookie" not in elsewhere
    assert b"me:4000" not in elsewhere


@pytest.mark.parametrize(("mode", "said"), [
    (0o600, ""), (0o400, ""), (0o440, ""), (0o640, ""), (0o644, "chmod 600"), (0o604, "chmod 600"),
    (0o620, "chmod 600"), (0o602, "chmod 600"),
])  # fmt: skip
def test_a_key_in_a_file_that_others_can_read_is_refused(tmp_path, mode, said):
    file = tmp_path / "openai.key"
    file.write_text("from-a-file\n")
    file.chmod(mode)
    provider = Provider(name="p", base_url="http://x", api_key_file=str(file))
    if said:
        with pytest.raises(InputError, match=f"{said} {file}"):
            provider_key(provider)
        return
    assert provider_key(provider) == "from-a-file"
    head = Head()
    head.headers = [(b"authorization", b"Bearer of-a-client")]
    sent = destination(api_key_file=str(file)).request(head, "POST", "/p", b"{}")
    assert b"authorization: Bearer from-a-file\r\n" in sent
    assert b"of-a-client" not in sent


@pytest.mark.parametrize("content", [b"", b" \n", b"two\nlines", b"\xff\xfe", "ключ".encode()])
def test_a_file_without_a_usable_key_is_refused_and_its_content_not_said(tmp_path, content):
    file = tmp_path / "key"
    file.write_bytes(content)
    file.chmod(0o600)
    with pytest.raises(InputError) as caught:
        provider_key(Provider(name="p", base_url="http://x", api_key_file=str(file)))
    assert "two" not in str(caught.value)
    with pytest.raises(InputError, match="cannot be read: No such file"):
        provider_key(Provider(name="p", base_url="http://x", api_key_file=str(tmp_path / "none")))
