"""Who may look: open on this machine until there is a key; then by key or by session, and never from another site."""

import asyncio
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from tests.dashboard.conftest import text

from penstock.app import is_local
from penstock.dashboard import doorkeeper
from penstock.dashboard.app import make_app
from penstock.dashboard.doorkeeper import Access, signing_key
from penstock.ledger.state import State
from penstock.policies.key_store import KeyStore
from penstock.policies.keys import Role, VirtualKey, new_secret
from penstock.settings import ServerSettings

GUARDED = (
    "/", "/requests", "/requests/x", "/prices", "/api/spend", "/api/requests", "/api/keys", "/api/openapi.json",
    "/metrics",
)  # fmt: skip


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doorkeeper, "WRONG_SECONDS", 0.0)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[KeyStore]:
    state = State(tmp_path / "state.sqlite")
    yield KeyStore(state)
    state.close()


def made(store: KeyStore, role: Role = "admin", **fields: datetime) -> str:
    return store.create(VirtualKey(id="", name="", role=role, created=datetime.now(UTC), **fields))[1]


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[TestClient]:
    with TestClient(make_app(tmp_path), follow_redirects=False) as client:
        yield client


def sign_in(client: TestClient, secret: str, **more: str) -> int:
    return client.post("/sign-in", data={"key": secret} | more).status_code


def test_without_a_key_it_is_open_on_this_machine(browser: TestClient) -> None:
    assert all(browser.get(path).status_code in (200, 404) for path in GUARDED)
    assert browser.post("/api/keys", json={}).status_code == 403  # but keys are made on the server, or by an admin


def test_on_another_address_it_says_how_to_make_a_key(tmp_path: Path, store: KeyStore) -> None:
    with TestClient(make_app(tmp_path, access=Access(local=False)), follow_redirects=False) as client:
        for path in (*GUARDED, "/sign-in"):
            reply = client.get(path)
            assert reply.status_code == 403, path
            assert "penstock keys create NAME --role admin" in text(reply.text), path
        assert client.get("/api/health").status_code == 200
        made(store)
        assert client.get("/sign-in").status_code == 200  # without a restart


@pytest.mark.parametrize(("said", "local", "status"), [(False, False, 200), (True, True, 403), (None, True, 200)])
def test_the_settings_have_the_last_word(tmp_path: Path, said: bool | None, local: bool, status: int) -> None:
    with TestClient(make_app(tmp_path, access=Access(local=local, sign_in=said))) as client:
        assert client.get("/").status_code == status


def test_a_key_closes_it_and_opens_it_to_its_holder(browser: TestClient, store: KeyStore) -> None:
    viewer = made(store, "viewer")
    for path in GUARDED:
        reply = browser.get(path)
        if path.startswith("/api/") or path == "/metrics":
            assert (reply.status_code, reply.json()["error"]["code"]) == (401, "sign_in_needed")
            assert reply.headers["www-authenticate"] == "Bearer"
        else:
            assert reply.status_code == 303
            assert reply.headers["location"].startswith("/sign-in")
        assert "content-security-policy" in reply.headers
    bearer = {"authorization": f"Bearer {viewer}"}
    assert all(browser.get(path, headers=bearer).status_code in (200, 404) for path in GUARDED)
    assert not browser.cookies


def test_signing_in_and_out(browser: TestClient, store: KeyStore) -> None:
    secret = made(store, "viewer")
    asked = browser.get("/requests?team=support&from=7d")
    form = browser.get(asked.headers["location"])
    following = re.search(r'name="next" value="([^"]*)"', form.text)
    assert following is not None
    reply = browser.post("/sign-in", data={"key": f" {secret} ", "next": following[1].replace("&amp;", "&")})
    assert (reply.status_code, reply.headers["location"]) == (303, "/requests?team=support&from=7d")
    cookie = reply.headers["set-cookie"]
    assert all(word in cookie for word in ("HttpOnly", "SameSite=strict", "Path=/", "Max-Age=43200"))
    assert "Secure" not in cookie
    assert secret.rpartition("_")[2] not in cookie
    page = browser.get("/")
    assert page.status_code == 200
    assert "Sign out" in page.text
    assert browser.get("/api/spend").status_code == 200
    assert browser.post("/sign-out").status_code == 303
    assert browser.get("/").status_code == 303


def test_over_tls_the_cookie_stays_on_tls(tmp_path: Path, store: KeyStore) -> None:
    with TestClient(make_app(tmp_path, access=Access(tls=True)), follow_redirects=False) as client:
        reply = client.post("/sign-in", data={"key": made(store)})
        assert "Secure" in reply.headers["set-cookie"]
        client.cookies.set("penstock_session", reply.cookies["penstock_session"])
        assert "<code>https://testserver/v1</code>" in client.get("/").text


@pytest.mark.parametrize("wrong", ["", "psk_", "any", f"psk_abcdefgh_{'k' * 43}", "psk_\x00\xff", "%"])
def test_a_wrong_key_opens_nothing(browser: TestClient, store: KeyStore, wrong: str) -> None:
    made(store)
    assert sign_in(browser, wrong) == 401
    assert not browser.cookies
    status = browser.get("/api/spend", headers={"authorization": f"Bearer {wrong}".encode("latin-1")}).status_code
    assert status == 401


def test_a_key_for_calls_opens_no_page(browser: TestClient, store: KeyStore) -> None:
    made(store)
    caller = made(store, "caller")
    assert sign_in(browser, caller) == 403
    reply = browser.get("/api/spend", headers={"authorization": f"Bearer {caller}"})
    assert (reply.status_code, reply.json()["error"]["code"]) == (403, "key_for_calls")


def test_keys_for_calls_alone_leave_the_pages_open(browser: TestClient, store: KeyStore) -> None:
    made(store, "caller")
    assert browser.get("/").status_code == 200


def test_a_session_ends_with_its_key(browser: TestClient, store: KeyStore) -> None:
    secret = made(store)
    key_id = secret.split("_")[1]
    assert sign_in(browser, secret) == 303
    store.rotate(key_id, timedelta(hours=1))
    assert browser.get("/").status_code == 200  # its old secret has an hour left
    store.rotate(key_id, timedelta(0))
    assert browser.get("/").status_code == 303
    fresh = made(store)
    assert sign_in(browser, fresh) == 303
    store.revoke(fresh.split("_")[1])
    assert browser.get("/").status_code == 303


def test_a_session_ends_in_time(browser: TestClient, store: KeyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    assert sign_in(browser, made(store)) == 303
    later = doorkeeper.time.time() + doorkeeper.SESSION_SECONDS + 1
    monkeypatch.setattr(doorkeeper.time, "time", lambda: later)
    browser.cookies.jar._now = int(later)  # type: ignore[attr-defined]
    assert browser.get("/").status_code == 303


@pytest.mark.parametrize(
    "change",
    [
        lambda value: value[:-1] + ("0" if value[-1] != "0" else "1"), lambda value: "9" + value,
        lambda value: value[3:], lambda value: value + "é", lambda _: "", lambda _: "1.9999999999.aa.",
        lambda _: "....",
    ],
)  # fmt: skip
def test_a_forged_session_is_none(browser: TestClient, store: KeyStore, change) -> None:
    assert sign_in(browser, made(store)) == 303
    value = browser.cookies["penstock_session"]
    browser.cookies.clear()
    header = f"penstock_session={change(value)}".encode()
    assert browser.get("/", headers={"cookie": header}).status_code == 303
    assert browser.get("/", headers={"cookie": f"penstock_session={value}"}).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site", "origin": "http://testserver"}, 403),
        ({"sec-fetch-site": "same-origin", "origin": "http://other-name-of-a-proxy"}, 201),
        ({"origin": "http://testserver"}, 201),
    ],
)
def test_nothing_is_done_for_a_page_of_another_site(browser: TestClient, store: KeyStore, headers, status) -> None:
    secret = made(store)
    assert sign_in(browser, secret) == 303
    assert browser.post("/api/keys", json={"name": "n"}, headers=headers).status_code == status
    if status == 403:
        assert browser.post("/sign-in", data={"key": secret}, headers=headers).status_code == 403
        assert browser.post("/sign-out", headers=headers).status_code == 403
    assert browser.get("/").status_code == 200


@pytest.mark.parametrize(
    "following", ["https://evil.example", "//evil.example", "/\\evil.example", "x", "/sign-out", ""]
)
def test_signing_in_leads_to_no_other_site(browser: TestClient, store: KeyStore, following: str) -> None:
    reply = browser.post("/sign-in", data={"key": made(store), "next": following})
    assert reply.headers["location"] == "/"


def test_a_viewer_reads_and_an_admin_manages_keys(browser: TestClient, store: KeyStore) -> None:
    viewer = {"authorization": f"Bearer {made(store, 'viewer')}"}
    admin = {"authorization": f"Bearer {made(store)}"}
    reply = browser.post("/api/keys", json={"name": "n"}, headers=viewer)
    assert (reply.status_code, reply.json()["error"]["code"]) == (403, "admin_needed")
    wish = {"name": "bot", "team": "support", "models": ["gpt-4o*"], "expires": "2099-01-01T00:00:00Z"}
    document = browser.post("/api/keys", json=wish, headers=admin)
    assert document.status_code == 201
    key, secret = document.json()["key"], document.json()["secret"]
    assert (key["team"], key["models"], key["state"]) == ("support", ["gpt-4o*"], "active")
    turned = browser.post(f"/api/keys/{key['id']}/rotate", json={"grace_seconds": 0}, headers=admin).json()
    assert store.who(secret.encode()) is None
    assert store.who(turned["secret"].encode()) is not None
    listed = browser.get("/api/keys", headers=viewer)
    assert len(listed.json()["keys"]) == 3
    assert turned["secret"].rpartition("_")[2] not in listed.text
    assert browser.post(f"/api/keys/{key['id']}/revoke", headers=admin).json()["key"]["state"] == "revoked"
    assert browser.post(f"/api/keys/{key['id']}/revoke", headers=admin).status_code == 400
    for wrong in ({"nam": "x"}, {"expires": "2020-01-01T00:00:00Z"}, {"role": "king"}, [1]):
        assert browser.post("/api/keys", json=wrong, headers=admin).status_code == 400
    assert browser.post("/api/keys", content=b"x" * 70_000, headers=admin).status_code == 400


def test_wrong_keys_wait_and_right_ones_do_not(
    tmp_path: Path, store: KeyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting: list[float] = []
    held = asyncio.Event()

    async def sleep(seconds: float) -> None:
        waiting.append(seconds)
        await held.wait()

    monkeypatch.setattr(doorkeeper.asyncio, "sleep", sleep)
    monkeypatch.setattr(doorkeeper, "WRONG_SECONDS", 1.0)
    right = made(store)
    door = doorkeeper.Doorkeeper(tmp_path, Access(), lambda _template, status, _values: doorkeeper.Response("", status))

    def asked(secret: str) -> doorkeeper.Request:
        headers = [(b"authorization", f"Bearer {secret}".encode()), (b"host", b"x")]
        scope = {"type": "http", "method": "GET", "path": "/", "headers": headers, "query_string": b"", "root_path": ""}
        return doorkeeper.Request(scope | {"scheme": "http", "server": ("x", 80)})

    async def main() -> None:
        wrong = [asyncio.ensure_future(door.answer(asked(new_secret("abcdefgh")))) for _ in range(20)]
        done, _ = await asyncio.wait(wrong, return_when=asyncio.FIRST_COMPLETED)
        assert await door.answer(asked(right)) is None  # let pass, although others wait
        held.set()
        statuses = sorted(reply.status_code for reply in await asyncio.gather(*wrong) if reply)
        assert statuses == [401] * 16 + [429] * 4
        assert len(done) >= 1

    asyncio.run(main())
    assert waiting == [1.0] * 16
    door.close()


def test_what_signs_sessions_is_for_its_owner_alone_and_stays(tmp_path: Path) -> None:
    key = signing_key(tmp_path)
    file = tmp_path / "session-key"
    assert file.stat().st_mode & 0o777 == 0o600
    assert signing_key(tmp_path) == key
    file.chmod(0o644)  # others may have read it
    assert signing_key(tmp_path) != key
    assert [one.name for one in tmp_path.iterdir()] == ["session-key"]


@pytest.mark.parametrize(
    ("server", "local"),
    [
        (ServerSettings(), True), (ServerSettings(host="::1"), True), (ServerSettings(host="localhost"), True),
        (ServerSettings(host="127.1.2.3"), True), (ServerSettings(host="0.0.0.0"), False),
        (ServerSettings(host="::"), False), (ServerSettings(host="example.com"), False),
        (ServerSettings(host="0.0.0.0", unix_socket="x.sock"), True), (ServerSettings(host="10.0.0.1"), False),
    ],
)  # fmt: skip
def test_which_addresses_are_this_machines_alone(server: ServerSettings, local: bool) -> None:
    assert is_local(server) is local
