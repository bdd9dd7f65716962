"""The ways by which people are told: what a `[[alerts]]` row says, and what an alert looks like on each of them."""

import fnmatch
import hashlib
import hmac
import json
import logging
import os
import ssl
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from msgspec import Struct

from penstock.policies.alerts import KINDS, SEVERITIES, Alert, Noted, Severity
from penstock.policies.keys import matches

if TYPE_CHECKING:
    from email.message import EmailMessage

ChannelKind = Literal["slack", "teams", "webhook", "email", "log"]
SECONDS = 10.0
"""How long a channel may take to answer."""
LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "critical": logging.ERROR}
TEAMS_COLORS = {"info": "Accent", "warning": "Warning", "critical": "Attention"}
LONGEST_TITLE, LONGEST_TEXT, MOST_SECTIONS = 150, 3_000, 40
"""What Slack takes of a header and of a section, and how many sections."""

log = logging.getLogger("penstock.alerts")


class Channel(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One `[[alerts]]` row: whom to tell, how, and of what."""

    name: str
    kind: ChannelKind
    """`slack`, `teams` and `webhook` send to a URL, `email` by SMTP, `log` writes a line into the server's log."""
    kinds: tuple[str, ...] = ("*",)
    """Patterns of the kinds of alerts that go here."""
    severity: Severity = "info"
    """The least grave alerts that go here: `info`, `warning`, `critical`."""
    url_env: str = ""
    """Environment variable that holds the URL. Slack's and Teams' are secrets: who has them can post."""
    url: str = ""
    """The URL itself, where it is no secret."""
    secret_env: str = ""
    """`webhook`: environment variable with a secret by which `x-penstock-signature` is made."""
    to: tuple[str, ...] = ()
    """`email`: who gets it."""
    sender: str = ""
    """`email`: from whom it is."""
    smtp_host: str = ""
    smtp_port: int = 0
    """By default 587, or 465 where `smtp_tls` is `tls`."""
    smtp_tls: Literal["starttls", "tls", "none"] = "starttls"
    smtp_ca_file: str = ""
    """PEM file with the authorities that sign the mail server's certificate; by default the system's."""
    username: str = ""
    password_env: str = ""
    """`email`: environment variable with the password; without a user name nobody signs in."""

    def takes(self, alert: Alert) -> bool:
        """Tell whether an alert goes here: it is addressed to this channel, or of a kind that it takes."""
        if alert.channels:
            return self.name in alert.channels
        return matches(alert.kind, self.kinds) and SEVERITIES.index(alert.severity) >= SEVERITIES.index(self.severity)

    def wrong(self) -> tuple[str, str] | None:
        """Return the field that cannot be used and why, if one cannot."""
        for pattern in self.kinds:
            if not fnmatch.filter(KINDS, pattern):
                return "kinds", f"no alert is of the kind {pattern!r}; there are: {', '.join(KINDS)}"
        if self.kind in ("slack", "teams", "webhook"):
            if bool(self.url) == bool(self.url_env):
                return "url_env", "say where to send it: the environment variable with the URL (or `url`, not both)"
            if self.url and not _is_address(self.url):
                return "url", f"{self.url!r} is no address that begins with https:// or http://"
        if self.kind == "email":
            for field, value in (("smtp_host", self.smtp_host), ("sender", self.sender), ("to", self.to)):
                if not value:
                    return field, "an e-mail needs it"
            for field, address in (("sender", self.sender), *(("to", one) for one in self.to)):
                if not _is_mailbox(address):
                    return field, f"{address!r} is no e-mail address"
            if bool(self.username) != bool(self.password_env):
                return "password_env", "a user name and the environment variable with its password go together"
            if self.username and self.smtp_tls == "none":
                return "smtp_tls", "a password is not sent without TLS"
            if not 0 <= self.smtp_port < 65536:
                return "smtp_port", "a port is a number from 1 to 65535"
        return None

    def missing(self, environment: Mapping[str, str] = os.environ) -> list[str]:
        """Return the environment variables that are named and not there."""
        named = (self.url_env, self.secret_env, self.password_env)
        return [name for name in named if name and not environment.get(name)]


LOG_ONLY = (Channel(name="log", kind="log"),)
"""What is told where nothing is configured: an alert is never lost without a trace."""


class DeliveryError(Exception):
    """A channel did not take an alert. The message holds no secret; `wait` is how long it asks to be left alone."""

    def __init__(self, sentence: str, wait: float = 0.0) -> None:
        self.wait = wait
        super().__init__(sentence)


def tell(channel: Channel, noted: Noted, environment: Mapping[str, str] = os.environ) -> None:
    """Tell a channel of an alert. Raises DeliveryError."""
    absent = channel.missing(environment)
    if absent:
        raise DeliveryError(f"the environment variable {absent[0]} is not set")
    match channel.kind:
        case "log":
            alert = noted.alert
            # Of a report, which is long, its title will do.
            said = " ".join((alert.title if alert.html else f"{alert.title}: {alert.text}").split())
            log.log(LEVELS[alert.severity], "alert %s [%s, %s]: %s", alert.kind, alert.subject, alert.period, said)
        case "email":
            _mail(channel, noted, environment)
        case _:
            _post(channel, noted, environment)


# By URL


def _post(channel: Channel, noted: Noted, environment: Mapping[str, str]) -> None:
    import httpx2  # noqa: PLC0415  # a gateway that reads its settings need not load it

    url = channel.url or environment[channel.url_env].strip()
    if not _is_address(url):
        raise DeliveryError(f"what {channel.url_env} holds is no address that begins with https:// or http://")
    shapes = {"slack": slack, "teams": teams}
    body = json.dumps(shapes.get(channel.kind, document)(noted)).encode()
    headers = {"content-type": "application/json", "idempotency-key": f"penstock-alert-{noted.id}"}
    if channel.secret_env:
        signature = hmac.new(environment[channel.secret_env].encode(), body, hashlib.sha256).hexdigest()
        headers["x-penstock-signature"] = f"sha256={signature}"
    try:
        reply = httpx2.post(url, content=body, headers=headers, timeout=SECONDS)
    except httpx2.HTTPError as error:
        raise DeliveryError(f"{urlsplit(url).hostname} did not answer: {type(error).__name__}") from None
    except (ValueError, UnicodeError):
        raise DeliveryError("the URL cannot be used") from None
    if not 200 <= reply.status_code < 300:
        wait = reply.headers.get("retry-after", "")
        raise DeliveryError(
            f"{urlsplit(url).hostname} answered {reply.status_code}", float(wait) if wait.isdigit() else 0.0
        )


def slack(noted: Noted) -> dict[str, Any]:
    """Write an alert as an incoming webhook of Slack takes it."""
    alert = noted.alert

    def escaped(text: str) -> str:
        return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")

    facts = f"{alert.severity} · {alert.subject} · {alert.period}"
    return {
        "text": escaped(alert.title),
        "blocks": [
            {"type": "header", "text": {"type": "plain_text", "text": alert.title[:LONGEST_TITLE]}},
            *({"type": "section", "text": {"type": "mrkdwn", "text": one}} for one in _sections(escaped(alert.text))),
            {"type": "context", "elements": [{"type": "mrkdwn", "text": escaped(facts)[:LONGEST_TEXT]}]},
        ],
    }


def _sections(text: str) -> list[str]:
    """Cut a text at its lines into pieces that Slack takes, and as many as it takes beside header and facts."""
    pieces = [""]
    for line in text.rstrip("\n").split("\n"):
        if pieces[-1] and len(pieces[-1]) + len(line) >= LONGEST_TEXT:
            pieces.append("")
        pieces[-1] = (f"{pieces[-1]}\n{line}" if pieces[-1] else line)[:LONGEST_TEXT]
    return pieces[:MOST_SECTIONS]


def teams(noted: Noted) -> dict[str, Any]:
    """Write an alert as an adaptive card, as a Workflow of Teams takes it."""
    alert = noted.alert
    facts = {"What": alert.kind, "Whom": alert.subject, "When": alert.period, "At": _instant(noted)}
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": [
            {"type": "TextBlock", "text": alert.title, "weight": "Bolder", "size": "Medium", "wrap": True,
             "color": TEAMS_COLORS[alert.severity]},
            {"type": "TextBlock", "text": "\n\n".join(filter(None, alert.text.split("\n"))), "wrap": True},
            {"type": "FactSet", "facts": [{"title": name, "value": value} for name, value in facts.items()]},
        ],
    }  # fmt: skip
    kind = "application/vnd.microsoft.card.adaptive"
    return {"type": "message", "attachments": [{"contentType": kind, "contentUrl": None, "content": card}]}


def document(noted: Noted) -> dict[str, Any]:
    """Write an alert for programs. `id` is the same when it is sent again."""
    alert = noted.alert
    return {
        "id": noted.id, "at": _instant(noted), "kind": alert.kind, "subject": alert.subject, "period": alert.period,
        "severity": alert.severity, "title": alert.title, "text": alert.text,
        **({"html": alert.html} if alert.html else {}),
    }  # fmt: skip


# By mail


def _mail(channel: Channel, noted: Noted, environment: Mapping[str, str]) -> None:
    import smtplib  # noqa: PLC0415  # megabytes: only who sends mail needs it

    port = channel.smtp_port or (465 if channel.smtp_tls == "tls" else 587)
    try:
        tls = ssl.create_default_context(cafile=channel.smtp_ca_file or None) if channel.smtp_tls != "none" else None
        if channel.smtp_tls == "tls":
            server: smtplib.SMTP = smtplib.SMTP_SSL(channel.smtp_host, port, timeout=SECONDS, context=tls)
        else:
            server = smtplib.SMTP(channel.smtp_host, port, timeout=SECONDS)
        with server:
            if channel.smtp_tls == "starttls":
                server.starttls(context=tls)
            if channel.username:
                server.login(channel.username, environment[channel.password_env])
            refused = server.send_message(letter(channel, noted))
    except smtplib.SMTPAuthenticationError:
        raise DeliveryError(f"{channel.smtp_host} does not take this user name and password") from None
    except (smtplib.SMTPException, OSError, ValueError) as error:
        raise DeliveryError(f"{channel.smtp_host}:{port} did not take it: {type(error).__name__}: {error}") from None
    if refused:
        raise DeliveryError(f"{channel.smtp_host} refused {', '.join(refused)}")


def letter(channel: Channel, noted: Noted) -> "EmailMessage":
    """Write an alert as an e-mail."""
    from email.message import EmailMessage  # noqa: PLC0415  # as above

    alert = noted.alert
    mail = EmailMessage()
    mail["Subject"] = f"[Penstock] {' '.join(alert.title.split())}"
    mail["From"] = channel.sender
    mail["To"] = ", ".join(channel.to)
    mail["Date"] = noted.at
    domain = channel.sender.rpartition("@")[2].removesuffix(">")
    mail["Message-ID"] = f"<penstock-alert-{noted.id}.{int(noted.at.timestamp())}@{domain}>"  # the same when sent again
    mail["Auto-Submitted"] = "auto-generated"  # no automatic answer, please
    if alert.severity == "critical":
        mail["Importance"] = "high"
    mail.set_content(
        f"{alert.text.rstrip()}\n\n-- \n{alert.kind} · {alert.subject} · {alert.period} · {_instant(noted)}\n"
    )
    if alert.html:
        mail.add_alternative(alert.html, subtype="html")
    return mail


def _instant(noted: Noted) -> str:
    return noted.at.isoformat(timespec="seconds").replace("+00:00", "Z")


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and url.isprintable()
    except ValueError:
        return False


def _is_mailbox(text: str) -> bool:
    from email.headerregistry import Address  # noqa: PLC0415  # as above

    try:
        mailbox = Address(addr_spec=text.rpartition("<")[2].removesuffix(">"))
    except (ValueError, IndexError):
        return False
    return bool(mailbox.username and mailbox.domain) and text.isprintable()
