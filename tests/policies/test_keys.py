"""Keys in a store and in memory: good, over, limited; and nothing of a secret but its digest."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import InputError, RefusedError
from penstock.gateway.heads import Head
from penstock.gateway.keyring import Keyring, admit, secrets_in
from penstock.ledger.state import State
from penstock.policies.deployments import Deployment, Provider, target_of
from penstock.policies.key_store import KeyStore
from penstock.policies.keys import SECRET, KeySettings, VirtualKey, digest_of, new_id, new_secret

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def state(tmp_path):
    one = State(tmp_path / "state.sqlite")
    yield one
    one.close()


@pytest.fixture
def store(state):
    return KeyStore(state)


def made(store: KeyStore, name: str = "", **fields) -> tuple[VirtualKey, bytes]:
    key, secret = store.create(VirtualKey(id="", name=name, created=NOW, **fields))
    return key, secret.encode()


def refusal(ring, *offered: bytes) -> tuple[int, str]:
    with pytest.raises(RefusedError) as caught:
        ring.holder_of(offered)
    return caught.value.status, caught.value.reason


def target(model: str = "gpt-4o", provider: str = "azure-sweden"):
    row = Deployment(name=f"d-{model}", provider=provider, model=model)
    return target_of(row, Provider(name=provider, base_url="http://x"), declared=True)


def test_a_secret_has_its_form_and_differs_from_every_other():
    found = {new_secret(new_id()) for _ in range(100)}
    assert len(found) == 100
    assert all(SECRET.fullmatch(one.encode()) for one in found)


def test_what_is_kept_is_the_digest(store, state, tmp_path):
    key, secret = made(store, "bot", team="support", tags={"cost_center": "4711"})
    assert store.find("bot") == store.find(key.id) == key
    assert state.read("SELECT digest FROM key_secrets") == [(digest_of(secret),)]
    random_part = secret.rpartition(b"_")[2]
    assert all(random_part not in file.read_bytes() for file in tmp_path.iterdir())


def test_one_name_is_for_one_key_until_it_ends(store):
    key, _ = made(store, "bot")
    with pytest.raises(InputError, match=f"penstock keys rotate {key.id}"):
        made(store, "bot")
    store.revoke("bot", now=NOW)
    again, _ = made(store, "bot")
    assert store.find("bot") == again != key


@pytest.mark.parametrize("required", [None, True, False])
def test_a_call_needs_a_key_once_there_is_one_or_as_it_is_said(store, required):
    rules = KeySettings(required=required)
    if required:
        assert refusal(store.ring(rules, now=NOW)) == (401, "key_missing")
    else:
        assert store.ring(rules, now=NOW).holder_of([]) is None
    made(store, "viewer", role="viewer")
    assert store.ring(rules).required is bool(required)  # a key for the dashboard does not close the door
    key, secret = made(store)
    ring = store.ring(rules, now=NOW)
    assert ring.holder_of([secret]).key == key
    if required is False:
        assert ring.holder_of([]) is None
    else:
        assert refusal(ring) == (401, "key_missing")


def test_the_door_stays_closed_when_the_last_key_has_ended(store):
    key, secret = made(store)
    store.revoke(key.id, now=NOW)
    ring = store.ring(now=NOW)
    assert refusal(ring) == (401, "key_missing")
    assert refusal(ring, secret) == (401, "key_revoked")


def test_a_wrong_key_is_refused_even_where_none_is_needed(store):
    ring = store.ring(KeySettings(required=False), now=NOW)
    for wrong in (b"psk_", b"psk_abcdefgh_short", new_secret("abcdefgh").encode()):
        assert refusal(ring, wrong) == (401, "key_unknown")
    _, one = made(store)
    _, other = made(store)
    assert refusal(store.ring(now=NOW), one, other) == (401, "key_ambiguous")
    assert store.ring(now=NOW).holder_of([one, one]) is not None


def test_a_key_ends_at_the_instant_it_says(store):
    key, secret = made(store, expires=NOW + HOUR)
    ring = store.ring(now=NOW + HOUR - timedelta(microseconds=1))
    assert ring.holder_of([secret]).key == key
    assert ring.until == NOW + HOUR
    assert refusal(store.ring(now=NOW + HOUR), secret) == (401, "key_expired")


def test_an_old_secret_lives_through_its_grace_and_no_longer(store):
    key, old = made(store)
    _, new = store.rotate(key.id, HOUR, now=NOW)
    ring = store.ring(now=NOW)
    assert ring.holder_of([old]) is ring.holder_of([new.encode()])
    assert ring.until == NOW + HOUR
    assert refusal(store.ring(now=NOW + HOUR), old) == (401, "key_rotated")
    store.rotate(key.id, timedelta(0), now=NOW)  # it has leaked: all earlier ones end
    late = store.ring(now=NOW)
    assert refusal(late, old) == refusal(late, new.encode()) == (401, "key_rotated")


def test_ended_keys_are_neither_rotated_nor_revoked_again(store):
    key, _ = made(store, expires=NOW + HOUR)
    with pytest.raises(InputError, match="is expired"):
        store.rotate(key.id, HOUR, now=NOW + HOUR)
    store.revoke(key.id, now=NOW + HOUR)  # an expired one may have to be named as revoked
    with pytest.raises(InputError, match="is revoked"):
        store.revoke(key.id, now=NOW + 2 * HOUR)
    with pytest.raises(InputError, match="by its id"):
        store.find("psk_abcdefgh_x")


@pytest.mark.parametrize(
    ("limits", "asked", "model", "allowed"),
    [
        ({}, "anything", "gpt-4o", True),
        ({"models": ("gpt-4o-mini*",)}, "gpt-4o-mini-2024-07-18", "gpt-4o-mini-2024-07-18", True),
        ({"models": ("gpt-4o-mini*",)}, "gpt-4o", "gpt-4o", False),
        ({"models": ("fast",)}, "fast", "gpt-4o", True),  # a route of the settings, by its name
        ({"models": ("gpt-4o",)}, "gpt-4o-sweden", "gpt-4o", True),  # a deployment of an allowed model
        ({"models": ("GPT-4O",)}, "gpt-4o", "gpt-4o", False),
        ({"providers": ("azure-*",)}, "gpt-4o", "gpt-4o", True),
        ({"providers": ("openai",)}, "gpt-4o", "gpt-4o", False),
        ({"models": ("gpt-4o",), "providers": ("openai",)}, "gpt-4o", "gpt-4o", False),
    ],
)
def test_limits_are_patterns_of_what_is_asked_for_or_of_what_is_behind_it(store, limits, asked, model, allowed):
    _, secret = made(store, **limits)
    holder = store.ring(now=NOW).holder_of([secret])
    for _ in range(2):  # the second time from memory
        if allowed:
            assert holder.among((target(model),), asked, "chat") == (target(model),)
        else:
            with pytest.raises(RefusedError) as caught:
                holder.among((target(model),), asked, "chat")
            assert (caught.value.status, caught.value.reason) == (403, "model_not_allowed")


def test_of_a_route_only_the_allowed_deployments_are_left(store):
    _, secret = made(store, providers=("openai",))
    holder = store.ring(now=NOW).holder_of([secret])
    here = target(provider="openai")
    assert holder.among((target(), here), "gpt-4o", "chat") == (here,)


def test_a_worker_learns_of_changes_and_notes_what_was_used(store, state, tmp_path):
    keyring = Keyring(tmp_path / "state.sqlite", KeySettings())
    before = keyring.ring
    keyring.look()
    assert keyring.ring is before  # nothing new
    state.set("other", "thing")
    keyring.look()
    assert keyring.ring is before  # nothing about keys
    key, secret = made(store, team="support")
    keyring.look()
    head = Head()
    head.headers = [(b"authorization", b"bearer  " + secret)]
    admit(head, keyring)
    assert head.payer.team == "support"
    assert head.ring == keyring.ring.number
    head.holder.used = True
    store.revoke(key.id)
    keyring.look()
    with pytest.raises(RefusedError):
        admit(head, keyring)
    assert head.ring != keyring.ring.number
    assert store.find(key.id).last_used is None
    keyring.close()
    assert store.find(key.id).last_used is not None


def test_a_key_that_ends_ends_in_a_worker_too(store, tmp_path):
    store.create(VirtualKey(id="", name="", created=NOW, expires=datetime.now(UTC) + timedelta(milliseconds=50)))
    keyring = Keyring(tmp_path / "state.sqlite", KeySettings())
    first = keyring.ring
    while first.until > datetime.now(UTC):
        pass
    keyring.look()
    assert keyring.ring is not first
    assert keyring.ring.until is None
    keyring.close()


def test_another_key_of_the_same_client_is_another_payer(store, tmp_path):
    _, one = made(store, team="one")
    keyring = Keyring(tmp_path / "state.sqlite", KeySettings())
    head = Head()
    head.headers = [(b"x-api-key", one)]
    admit(head, keyring)
    head.payers["ada"] = head.payer
    store.rotate(head.holder.key.id, HOUR)
    keyring.look()
    admit(head, keyring)
    assert head.payers  # the same payer: what is remembered stays
    keyring.close()


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ({"authorization": "Bearer sk-proj-x"}, []), ({"authorization": "Bearer psk_a"}, ["psk_a"]),
        ({"authorization": "bearer   psk_a "}, ["psk_a"]), ({"authorization": "psk_a"}, ["psk_a"]),
        ({"authorization": "Basic psk_a"}, []), ({"api-key": "psk_a"}, ["psk_a"]), ({"x-api-key": "psk_a"}, ["psk_a"]),
        ({"x-other": "psk_a"}, []), ({"x-penstock-key": "anything"}, ["anything"]), ({"x-penstock-key": ""}, [""]),
        ({"x-penstock-key": "psk_a", "authorization": "Bearer sk-x"}, ["psk_a"]),
    ],
)  # fmt: skip
def test_where_a_key_is_looked_for(headers, found):
    given = [(name.encode(), value.encode()) for name, value in headers.items()]
    assert secrets_in(given) == [word.encode() for word in found]


def test_a_key_in_the_address_is_refused(tmp_path):
    keyring = Keyring(tmp_path / "state.sqlite", KeySettings())
    head = Head()
    head.target = b"/v1/models?key=" + new_secret("abcdefgh").encode()
    with pytest.raises(RefusedError) as caught:
        admit(head, keyring)
    assert caught.value.status == 400
    keyring.close()


@given(st.binary(max_size=80), st.sampled_from([b"authorization", b"x-api-key", b"api-key", b"x-penstock-key", b"x"]))
def test_any_header_can_be_looked_at(value, name):
    found = secrets_in([(name, value)])
    assert all(one in value for one in found)
