"""The outbox: an alert goes in once, and leaves when every channel has been told."""

import email
import email.policy
import hmac
import json
import logging
import socket
import ssl
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage

import msgspec
import pytest
import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from tests.policies.receiver import Receiver

from penstock.ledger.state import State
from penstock.policies.alert_channels import Channel, DeliveryError, tell
from penstock.policies.alert_delivery import Outbox, listed
from penstock.policies.alerts import Alert, Noted, enqueue

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)

ALERT = Alert(
    kind="budget.threshold", subject="team support", period="2026-11 80%", title="Team support has spent 80%",
    text="$80.00 of $100.00 are spent.", severity="warning",
)  # fmt: skip


@pytest.fixture
def state(tmp_path):
    one = State(tmp_path / "state.sqlite")
    yield one
    one.close()


def test_the_same_alert_goes_in_once(state):
    assert enqueue(state, ALERT)
    assert not enqueue(state, ALERT)
    assert state.read("SELECT kind, subject, title, severity FROM alerts") == [
        ("budget.threshold", "team support", "Team support has spent 80%", "warning")
    ]


# What arrives, at servers of this machine


@pytest.fixture
def receiver():
    one = Receiver()
    yield one
    one.close()


def noted(**changes) -> Noted:
    return Noted(id=7, at=NOW, alert=msgspec.structs.replace(ALERT, **changes))


def test_slack_gets_blocks_in_which_nothing_can_be_smuggled(receiver):
    tell(Channel(name="s", kind="slack", url_env="HOOK"), noted(text="<!channel> & more"), {"HOOK": receiver.url})
    ((headers, body),) = receiver.got
    said = json.loads(body)
    assert headers["content-type"] == "application/json"
    assert said["text"] == ALERT.title
    assert said["blocks"][0] == {"type": "header", "text": {"type": "plain_text", "text": ALERT.title}}
    assert said["blocks"][1]["text"]["text"] == "&lt;!channel&gt; &amp; more"


def test_teams_gets_an_adaptive_card(receiver):
    tell(Channel(name="t", kind="teams", url=receiver.url), noted(severity="critical"))
    said = json.loads(receiver.got[0][1])
    card = said["attachments"][0]
    assert said["type"] == "message"
    assert card["contentType"] == "application/vnd.microsoft.card.adaptive"
    assert card["content"]["type"] == "AdaptiveCard"
    assert card["content"]["body"][0]["color"] == "Attention"
    assert card["content"]["body"][1]["text"] == ALERT.text


def test_a_webhook_gets_plain_json_that_is_signed(receiver):
    channel = Channel(name="w", kind="webhook", url=receiver.url, secret_env="SECRET")
    tell(channel, noted(), {"SECRET": "shared"})
    ((headers, body),) = receiver.got
    assert json.loads(body) == {
        "id": 7, "at": "2026-11-26T12:00:00Z", "kind": "budget.threshold", "subject": "team support",
        "period": "2026-11 80%", "severity": "warning", "title": ALERT.title, "text": ALERT.text,
    }  # fmt: skip
    assert headers["x-penstock-signature"] == "sha256=" + hmac.new(b"shared", body, "sha256").hexdigest()
    assert headers["idempotency-key"] == "penstock-alert-7"


def test_what_goes_wrong_is_said_without_the_secret_in_the_address(receiver):
    receiver.statuses = [500, 429, 302]
    channel = Channel(name="s", kind="slack", url_env="HOOK")
    for said, wait in (("127.0.0.1 answered 500", 0), ("answered 429", 60), ("answered 302", 0)):
        with pytest.raises(DeliveryError, match=said) as caught:
            tell(channel, noted(), {"HOOK": receiver.url})
        assert "secret-part" not in str(caught.value)
        assert caught.value.wait == wait
    for environment, said in (
        ({}, "HOOK is not set"),
        ({"HOOK": "not an address"}, "is no address"),
        ({"HOOK": "http://127.0.0.1:1/x"}, "did not answer"),
    ):  # fmt: skip
        with pytest.raises(DeliveryError, match=said):
            tell(channel, noted(), environment)


class Mailbox:
    """Takes mail by SMTP."""

    def __init__(self) -> None:
        self.letters: list[tuple[str, list[str], EmailMessage]] = []
        self.refuse = False

    async def handle_DATA(self, _server, _session, envelope) -> str:  # noqa: N802  # aiosmtpd's name
        if self.refuse:
            return "451 Try again later"
        letter = email.message_from_bytes(envelope.content, policy=email.policy.default)
        self.letters.append((envelope.mail_from, envelope.rcpt_tos, letter))
        return "250 OK"

    def authenticate(self, _server, _session, _envelope, _mechanism, data) -> AuthResult:
        return AuthResult(success=(data.login, data.password) == (b"penstock", b"p4ss"), handled=False)


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture(scope="module")
def ca_file(authority, tmp_path_factory):
    file = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    return str(file)


@pytest.fixture(params=["starttls", "tls", "none"])
def post_office(request, authority):
    """A mail server; what is said to it in the clear, by STARTTLS, or by TLS from the start."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    mailbox = Mailbox()
    options = {"authenticator": mailbox.authenticate}
    if request.param == "starttls":
        options |= {"tls_context": context, "require_starttls": True, "auth_required": True}
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    controller = Controller(
        mailbox, hostname="127.0.0.1", port=port, ssl_context=context if request.param == "tls" else None,
        **options,
    )  # fmt: skip
    controller.start()
    yield request.param, port, mailbox
    controller.stop()


def test_mail_goes_by_starttls_by_tls_or_plain(post_office, ca_file):
    tls, port, mailbox = post_office
    channel = Channel(
        name="m", kind="email", to=("ada@example.com", "Grace <grace@example.com>"), sender="penstock@example.com",
        smtp_host="127.0.0.1", smtp_port=port, smtp_tls=tls, smtp_ca_file=ca_file if tls != "none" else "",
        username="penstock" if tls == "starttls" else "", password_env="PASSWORD" if tls == "starttls" else "",
    )  # fmt: skip
    tell(
        channel,
        noted(title="80 %\r\nBcc: all@example.com", text="Müller hat $80.00 ausgegeben.\n"),
        {"PASSWORD": "p4ss"},
    )
    ((sender, to, letter),) = mailbox.letters
    assert (sender, to) == ("penstock@example.com", ["ada@example.com", "grace@example.com"])
    assert letter["Subject"] == "[Penstock] 80 % Bcc: all@example.com"
    assert letter["Bcc"] is None
    assert "Müller hat $80.00 ausgegeben." in letter.get_content()
    assert letter["Message-ID"] == "<penstock-alert-7.1795694400@example.com>"
    if tls != "none":
        with pytest.raises(DeliveryError, match="certificate verify failed"):
            tell(msgspec.structs.replace(channel, smtp_ca_file=""), noted(), {"PASSWORD": "p4ss"})
    if tls == "starttls":
        with pytest.raises(DeliveryError, match="does not take this user name and password") as caught:
            tell(channel, noted(), {"PASSWORD": "wrong"})
        assert "wrong" not in str(caught.value)
    mailbox.refuse = True
    with pytest.raises(DeliveryError, match="451"):
        tell(channel, noted(), {"PASSWORD": "p4ss"})


def test_a_log_line_is_one_line(caplog):
    with caplog.at_level(logging.INFO, "penstock.alerts"):
        tell(Channel(name="log", kind="log"), noted(text="two\nlines", severity="critical"))
    assert caplog.records[0].levelname == "ERROR"
    assert caplog.messages == [
        "alert budget.threshold [team support, 2026-11 80%]: Team support has spent 80%: two lines"
    ]


# The outbox


class Told:
    """Stands for the channels: keeps what they are told, and breaks as it is told."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, int]] = []
        self.broken: set[str] = set()
        self.wait = 0.0
        self.clock = NOW

    def __call__(self, channel: Channel, noted: Noted) -> None:
        if channel.name in self.broken:
            raise DeliveryError("it is broken", self.wait)
        self.heard.append((channel.name, noted.id))

    def now(self) -> datetime:
        return self.clock

    def deliver(self, outbox: Outbox) -> tuple[int, int]:
        return outbox.deliver(now=self.now, send=self)


A, B = Channel(name="a", kind="log"), Channel(name="b", kind="log")


def test_each_channel_is_told_once_also_after_a_restart(state):
    told = Told()
    enqueue(state, ALERT, now=NOW)
    assert told.deliver(Outbox(state, [A, B])) == (2, 0)
    assert told.deliver(Outbox(state, [A, B])) == (0, 0)
    enqueue(state, ALERT, now=NOW)
    assert told.deliver(Outbox(state, [A, B])) == (0, 0)
    assert told.heard == [("a", 1), ("b", 1)]


def test_a_broken_channel_is_tried_again_later_and_later_and_holds_up_nobody(state):
    told, outbox = Told(), Outbox(state, [A, B])
    told.broken = {"a"}
    enqueue(state, ALERT, now=NOW)
    assert told.deliver(outbox) == (1, 1)
    pauses = []
    for _ in range(4):
        (_, (waiting, _)) = listed(state)[0]
        pauses.append((waiting.due - told.clock).total_seconds())
        assert told.deliver(outbox) == (0, 0)
        told.clock = waiting.due
        assert told.deliver(outbox) == (0, 1)
    assert pauses == [5, 10, 20, 40]
    told.broken = set()
    told.clock += timedelta(hours=1)
    assert told.deliver(Outbox(state, [A, B])) == (1, 0)
    assert told.heard == [("b", 1), ("a", 1)]


def test_a_channel_that_asks_for_time_gets_it(state):
    told, outbox = Told(), Outbox(state, [A])
    told.broken, told.wait = {"a"}, 60.0
    enqueue(state, ALERT, now=NOW)
    told.deliver(outbox)
    assert listed(state)[0][1][0].due == NOW + timedelta(seconds=60)


def test_after_a_day_it_is_given_up(state, caplog):
    told, outbox = Told(), Outbox(state, [A])
    told.broken = {"a"}
    enqueue(state, ALERT, now=NOW)
    told.deliver(outbox)
    told.clock = NOW + timedelta(days=1)
    told.deliver(outbox)
    assert listed(state)[0][1][0].state == "given_up"
    told.broken = set()
    told.clock += timedelta(days=1)
    assert told.deliver(outbox) == (0, 0)
    assert "is given up: it is broken" in caplog.text


def test_a_channel_hears_what_it_is_for_and_no_old_news(state):
    told = Told()
    enqueue(state, ALERT, now=NOW)
    grave = Channel(name="grave", kind="log", severity="critical")
    other = Channel(name="other", kind="log", kinds=("anomaly.*",))
    assert told.deliver(Outbox(state, [grave, other])) == (0, 0)
    assert told.deliver(Outbox(state, [A])) == (0, 0)  # a channel of later
    enqueue(state, msgspec.structs.replace(ALERT, period="2026-12 80%", severity="critical"), now=NOW)
    assert told.deliver(Outbox(state, [grave, other])) == (1, 0)
    assert told.heard == [("grave", 2)]


def test_two_processes_do_not_tell_the_same(state, tmp_path):
    other = State(tmp_path / "state.sqlite")
    told = Told()
    second = Outbox(other, [A])

    def slow(channel: Channel, one: Noted) -> None:
        assert told.deliver(second) == (0, 0)  # while the first is telling
        told(channel, one)

    enqueue(state, ALERT, now=NOW)
    assert Outbox(state, [A]).deliver(now=told.now, send=slow) == (1, 0)
    assert told.heard == [("a", 1)]
    other.close()


def test_what_a_process_that_died_was_telling_is_told_by_another(state):
    class DiedError(Exception):
        pass

    def die(_channel: Channel, _noted: Noted) -> None:
        raise DiedError

    told = Told()
    enqueue(state, ALERT, now=NOW)
    with pytest.raises(DiedError):
        Outbox(state, [A]).deliver(now=told.now, send=die)
    assert told.deliver(Outbox(state, [A])) == (0, 0)
    told.clock += timedelta(minutes=2)
    assert told.deliver(Outbox(state, [A])) == (1, 0)


def test_nothing_configured_is_a_log_line(state, caplog):
    enqueue(state, ALERT, now=NOW)
    with caplog.at_level(logging.INFO, "penstock.alerts"):
        assert Outbox(state, []).deliver() == (1, 0)
    assert "Team support has spent 80%" in caplog.text


@pytest.mark.parametrize(
    ("row", "place"),
    [
        ({"kind": "slack"}, "url_env"), ({"kind": "slack", "url": "hooks.slack.com/x"}, "url"),
        ({"kind": "teams", "url": "https://x", "url_env": "Y"}, "url_env"), ({"kind": "email"}, "smtp_host"),
        ({"kind": "email", "smtp_host": "x", "sender": "a@b.c"}, "to"),
        ({"kind": "email", "smtp_host": "x", "sender": "nobody", "to": ("a@b.c",)}, "sender"),
        ({"kind": "email", "smtp_host": "x", "sender": "a@b.c", "to": ("a@b.c\r\nX: y",)}, "to"),
        ({"kind": "email", "smtp_host": "x", "sender": "a@b.c", "to": ("a@b.c",), "username": "u"}, "password_env"),
        ({"kind": "email", "smtp_host": "x", "sender": "a@b.c", "to": ("a@b.c",), "username": "u",
          "password_env": "P", "smtp_tls": "none"}, "smtp_tls"),
    ],
)  # fmt: skip
def test_a_row_that_cannot_work_is_refused_by_its_place(row, place):
    wrong = Channel(name="x", **row).wrong()
    assert wrong is not None
    assert wrong[0] == place
