"""`penstock keys` as people use it."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.cli.test_alerts import here, run

from penstock.cli.keys import instant
from penstock.errors import InputError
from penstock.settings import ServerSettings, Settings

__all__ = ["here"]
NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)


def test_a_key_from_its_making_to_its_end(here: Path, capsys) -> None:
    code, out, _ = run(capsys, "keys", "create", "bot", "--team", "support", "--tag", "cost_center=4711")
    assert code == 0
    assert out.count("psk_") == 1
    assert "[keys] required = false" in " ".join(out.split())
    key_id = out.partition("psk_")[2][:8]
    code, out, _ = run(capsys, "keys", "create", "other")
    assert "This is the first key" not in out
    code, out, _ = run(capsys, "keys", "list")
    assert key_id in out
    assert "psk_" not in out
    _, out, _ = run(capsys, "keys", "rotate", "bot", "--grace", "1h", "--json")
    assert json.loads(out)["secret"].startswith(f"psk_{key_id}_")
    _, out, _ = run(capsys, "keys", "show", key_id, "--json")
    shown = json.loads(out)
    assert (shown["team"], shown["tags"], shown["state"]) == ("support", {"cost_center": "4711"}, "active")
    assert shown["old_secret_until"] is not None
    assert run(capsys, "keys", "revoke", "bot")[0] == 0
    _, out, _ = run(capsys, "keys", "list", "--json")
    assert [key["name"] for key in json.loads(out)["keys"]] == ["other"]
    _, out, _ = run(capsys, "keys", "list", "--all", "--json")
    assert [key["state"] for key in json.loads(out)["keys"]] == ["revoked", "active"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["list"], "There is no ledger in penstock-data."),
        (["create", "--tag", "x"], "--tag x: give a name and a value"),
        (["create", "--expires", "soon"], "--expires soon: say it as 90d"),
        (["create", "--expires", "2020-01-01"], "--expires 2020-01-01: that is over already."),
        (["create", "--expires", "999999w"], "--expires 999999w: say it as 90d"),
        (["create", "--role", "viewer", "--team", "x"], "A key of the role viewer makes no calls"),
        (["create", "--provider", "azur"], "--provider azur: penstock.toml has no such provider, only azure."),
        (["create", "--role", "king"], "--role"),
        (["create", "--colour", "red"], "--colour"),
    ],
)
def test_what_cannot_be_is_one_sentence(here: Path, capsys, words, sentence) -> None:
    (here / "penstock.toml").write_text('[[providers]]\nname = "azure"\nkind = "azure"\nbase_url = "https://x"\n')
    code, _, err = run(capsys, "keys", *words)
    assert code == 2
    assert err.startswith("penstock: ")
    assert err.count("\n") == 1
    assert sentence in err


@pytest.mark.parametrize(
    "words", [["show", "nope"], ["rotate", "nope"], ["revoke", "nope"], ["rotate", "a", "--grace", "x"]]
)
def test_a_key_that_is_not_there_is_told(here: Path, capsys, words) -> None:
    run(capsys, "keys", "create", "a")
    code, _, err = run(capsys, "keys", *words)
    assert code == 2
    assert err.startswith(("penstock: There is no key 'nope'", "penstock: --grace x:"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90d", NOW + timedelta(days=90)), ("12h", NOW + timedelta(hours=12)),
        ("2026-12-31", datetime(2027, 1, 1, tzinfo=UTC)),  # the day itself is included
        ("2026-12-31T18:00Z", datetime(2026, 12, 31, 18, tzinfo=UTC)),
        ("2026-12-31T18:00+02:00", datetime(2026, 12, 31, 16, tzinfo=UTC)),
    ],
)  # fmt: skip
def test_when_a_key_ends(text: str, expected: datetime) -> None:
    assert instant(text, NOW) == expected
    with pytest.raises(InputError):
        instant(text, expected) if text.startswith("2026") else instant("0d", NOW)


def checked(capsys) -> dict[str, tuple[str, str]]:
    _, out, _ = run(capsys, "check", "--json")
    return {one["what"]: (one["answer"], one["detail"]) for one in json.loads(out)["checks"]}


def test_check_knows_of_keys_and_alerts(here: Path, capsys, monkeypatch) -> None:
    monkeypatch.setenv("HOOK", "https://x")
    monkeypatch.delenv("NONE", raising=False)
    (here / "openai.key").write_text("k")
    (here / "openai.key").chmod(0o644)
    (here / "penstock.toml").write_text(
        """
[server]
host = "0.0.0.0"
[[providers]]
name = "openai"
api_key_file = "openai.key"
[[providers]]
name = "vllm"
base_url = "http://localhost:8000/v1"
[[alerts]]
name = "a"
kind = "slack"
url_env = "HOOK"
[[alerts]]
name = "b"
kind = "teams"
url_env = "NONE"
"""
    )
    found = checked(capsys)
    assert found["provider openai"][0] == "no"
    assert "chmod 600 openai.key" in found["provider openai"][1]
    assert found["keys"] == ("look", "0 active keys for calls; a call needs none")
    assert found["sign-in"][0] == "no"
    assert "penstock keys create NAME --role admin" in found["sign-in"][1]
    assert found["alerts a"][0] == "yes"
    assert found["alerts b"] == ("no", "the environment variable NONE is not set")
    (here / "openai.key").chmod(0o600)
    run(capsys, "keys", "create", "bot", "--expires", "3d")
    run(capsys, "keys", "create", "ada", "--role", "admin")
    found = checked(capsys)
    assert found["provider openai"] == ("yes", "key from openai.key")
    assert found["keys"] == ("yes", "1 active keys for calls; calls without one are refused")
    assert found["key bot"][0] == "look"
    assert found["keys of providers"][1].startswith("vllm: no key of its own")
    assert found["sign-in"][0] == "yes"
    run(capsys, "keys", "revoke", "bot")
    assert checked(capsys)["keys"][0] == "no"  # closed, and nobody can call


def test_serve_says_who_may_where_others_reach_it(here: Path, capsys) -> None:
    from penstock.cli.serve import _who_may

    assert list(_who_may(Settings())) == []
    assert not (here / "penstock-data").exists()
    open_to_all = Settings(server=ServerSettings(host="0.0.0.0"))
    said = list(_who_may(open_to_all))
    assert [line.partition(":")[0].split()[0] for line in said] == ["Whoever", "Pages"]
    run(capsys, "keys", "create", "bot")
    run(capsys, "keys", "create", "ada", "--role", "viewer")
    assert list(_who_may(open_to_all)) == []
