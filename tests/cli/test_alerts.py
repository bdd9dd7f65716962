"""`penstock alerts` as people use it."""

import json
from pathlib import Path

import pytest
from tests.policies.receiver import Receiver

from penstock.cli.main import main
from penstock.ledger.state import State
from penstock.policies.alerts import Alert, enqueue


@pytest.fixture
def receiver():
    one = Receiver()
    yield one
    one.close()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(capsys, *words: str) -> tuple[int, str, str]:
    code = 0
    try:
        main(list(words))
    except SystemExit as end:
        code = int(end.code or 0)
    said = capsys.readouterr()
    return code, said.out, said.err


def test_each_channel_is_tried_and_a_broken_one_is_named(here, receiver, capsys, monkeypatch):
    monkeypatch.setenv("HOOK", receiver.url)
    monkeypatch.delenv("NONE", raising=False)
    (here / "penstock.toml").write_text(
        '[[alerts]]\nname = "ops"\nkind = "slack"\nurl_env = "HOOK"\n'
        '[[alerts]]\nname = "lost"\nkind = "teams"\nurl_env = "NONE"\n'
    )
    code, out, _ = run(capsys, "alerts", "test")
    assert code == 1
    assert "ops (slack): taken" in out
    assert "lost (teams): no: the environment variable NONE is not set" in out
    assert json.loads(receiver.got[0][1])["text"] == "A test of Penstock's alerts"
    code, out, _ = run(capsys, "alerts", "test", "--channel", "ops", "--json")
    assert (code, json.loads(out)["channels"][0]["delivered"]) == (0, True)
    code, _, err = run(capsys, "alerts", "test", "--channel", "nope")
    assert (code, err) == (2, "penstock: There is no channel 'nope', only ops, lost.\n")
    assert len(receiver.got) == 2


def test_what_was_told_is_listed(here, capsys):
    code, _, err = run(capsys, "alerts", "list")
    assert code == 2
    assert "There is no ledger in penstock-data." in err
    (here / "penstock-data").mkdir()
    state = State(here / "penstock-data/state.sqlite")
    enqueue(state, Alert(kind="k", subject="s", period="p", title="Half of [it] is spent", text="t"))
    state.close()
    _, out, _ = run(capsys, "alerts", "list")
    assert "Half of [it] is spent" in out
    _, out, _ = run(capsys, "alerts", "list", "--json")
    assert json.loads(out)["alerts"][0] | {"at": ""} == {
        "id": 1, "at": "", "kind": "k", "subject": "s", "period": "p", "severity": "warning",
        "title": "Half of [it] is spent", "text": "t", "deliveries": [],
    }  # fmt: skip


def test_a_row_that_cannot_work_is_refused_where_the_settings_are_read(here, capsys):
    (here / "penstock.toml").write_text('[[alerts]]\nname = "m"\nkind = "email"\nsmtp_host = "x"\nsender = "a@b.c"\n')
    code, _, err = run(capsys, "alerts", "test")
    assert (code, err) == (2, "penstock: penstock.toml, alerts[0].to: an e-mail needs it\n")
