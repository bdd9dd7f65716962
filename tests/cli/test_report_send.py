"""Scheduled reports by hand: looked at, and sent to real servers of this machine."""

import email
import email.policy
import json
import socket
from datetime import UTC, datetime, timedelta

import pytest
from aiosmtpd.controller import Controller
from tests.cli.reporting import imported, penstock
from tests.policies.receiver import Receiver


class Mailbox:
    """Takes mail by SMTP."""

    def __init__(self) -> None:
        self.letters = []

    async def handle_DATA(self, _server, _session, envelope) -> str:  # noqa: N802  # aiosmtpd's name
        self.letters.append(email.message_from_bytes(envelope.content, policy=email.policy.default))
        return "250 OK"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A ledger of the last 40 days, and a report of yesterday to a mail server and a webhook."""
    monkeypatch.chdir(tmp_path)
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    lines = ["at,provider,model,input_tokens,output_tokens,team"]
    lines += [
        f"{today - timedelta(days=n, hours=-5):%Y-%m-%dT%H:%M:%SZ},azure,gpt-4o,{1_000_000 * (1 + n)},0,red"
        for n in range(40, 0, -1)
    ]
    imported(tmp_path, "\n".join(lines) + "\n")
    mailbox, receiver = Mailbox(), Receiver()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = Controller(mailbox, hostname="127.0.0.1", port=port)
    server.start()
    (tmp_path / "penstock.toml").write_text(
        f'[ledger]\ndata = "ledger"\n'
        f'[[alerts]]\nname = "mail"\nkind = "email"\nto = ["a@example.com"]\nsender = "p@example.com"\n'
        f'smtp_host = "127.0.0.1"\nsmtp_port = {port}\nsmtp_tls = "none"\n'
        f'[[alerts]]\nname = "hook"\nkind = "webhook"\nurl = "{receiver.url}"\n'
        "[[budgets]]\ndollars = 1\n"
        '[[reports]]\nname = "daily"\nevery = "day"\nat = "00:00"\nto = ["mail", "hook"]\n'
    )
    yield tmp_path, mailbox, receiver
    server.stop()
    receiver.close()


def test_a_report_is_looked_at_then_sent_in_both_forms(here, capsys):
    folder, mailbox, receiver = here
    capsys.readouterr()
    assert penstock("report", "send", "daily", "--dry-run", "--to-file", folder / "daily.html", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    yesterday = f"{datetime.now(UTC) - timedelta(days=1):%Y-%m-%d}"
    assert (found["period"], found["channels"]) == (yesterday, [])
    assert "Spent: $5.00, -33.3%" in found["text"]
    assert "everything per month: $" in found["text"]
    assert (folder / "daily.html").read_text("utf-8").startswith("<!doctype html>")
    assert (mailbox.letters, receiver.got) == ([], [])
    assert penstock("report", "--from", yesterday, "--to", yesterday, "--json") == 0
    assert json.loads(capsys.readouterr().out)["total"] == "5.00"

    assert penstock("report", "send", "daily") == 0
    assert "mail (email): taken" in capsys.readouterr().out
    [mail] = mailbox.letters
    assert mail["Subject"] == f"[Penstock] {found['title']}"
    assert mail.get_content_type() == "multipart/alternative"
    text, html = (part.get_content().replace("\r\n", "\n") for part in mail.iter_parts())
    assert text.startswith(found["text"].rstrip())
    assert "exactly $5.00" in html
    assert json.loads(receiver.got[0][1])["kind"] == "report.day"


def test_a_channel_that_does_not_take_it_is_named(here, capsys):
    _, mailbox, receiver = here
    receiver.statuses = [503]
    assert penstock("report", "send", "daily", "--channel", "hook") == 1
    assert "hook (webhook): no: 127.0.0.1 answered 503" in capsys.readouterr().out
    assert mailbox.letters == []


def test_the_reports_are_listed_and_wrong_words_are_answered(here, capsys):
    capsys.readouterr()
    assert penstock("report", "send", "--json") == 0
    [row] = json.loads(capsys.readouterr().out)["reports"]
    assert (row["name"], row["to"]) == ("daily", ["mail", "hook"])
    for words, said in (
        (["monthly"], "There is no report 'monthly', only daily."),
        (["daily", "--channel", "fax"], "'daily' does not go to 'fax', only to mail, hook."),
        (["daily", "--period", "2026-W01"], "'2026-W01' is not one day, which 'daily' is about"),
        (["daily", "--dry-run", "--to-file", "/nowhere/x.html"], "/nowhere/x.html cannot be written"),
    ):
        assert penstock("report", "send", *words) == 2
        assert said in capsys.readouterr().err


def test_forecast_says_when_each_budget_is_used_up(here, capsys):
    capsys.readouterr()
    assert penstock("budgets", "set", "1000000", "--scope", "team=red", "--per", "total") == 0
    capsys.readouterr()
    assert penstock("forecast", "--json") == 0
    found = {one["scope"]: one for one in json.loads(capsys.readouterr().out)["budgets"]}
    assert found["team=red"]["state"] == "ok"
    assert found["everything"]["state"] in ("used up", "will be used up")
    assert penstock("forecast", "--check") == 1
    assert "everything per month" in capsys.readouterr().out
