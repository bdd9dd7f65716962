"""`penstock keys`: who may call, and who may look."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from cyclopts import App, Parameter
from rich.markup import escape

from penstock.cli.options import Common, console, print_json, table
from penstock.errors import InputError
from penstock.metering.attribution import clean
from penstock.metering.event import utc_now
from penstock.policies.key_store import KeyStore
from penstock.policies.keys import Role, VirtualKey

app = App(
    name="keys",
    help="Make, list, rotate and revoke keys: for AI calls, for the dashboard, for the API.",
    default_parameter=Parameter(show_default=False),
)

SPAN = re.compile(r"(\d{1,6})([smhdw])")
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
COLORS = {"active": "green", "expired": "yellow", "revoked": "red"}
Patterns = Annotated[
    list[str] | None, Parameter(negative="", help="Only these (may be given again); `*` stands for any letters.")
]


def examples(*lines: str) -> str:
    """Write the examples below a command's help."""
    return "\n".join(["Examples:", "", *(f"- `penstock keys {line}`" for line in lines)])


@app.command(
    help_epilogue=examples(
        "create support-bot --team support --app helpdesk",
        "create batch-jobs --team data --model 'gpt-4o-mini*' --provider openai --expires 90d",
        "create alice --role admin",
    )
)
def create(
    name: Annotated[str, Parameter(help="What people call it; by default its id.")] = "",
    *,
    role: Annotated[
        Role, Parameter(help="caller: AI calls; viewer: read pages and API; admin: manage keys by the API too.")
    ] = "caller",
    team: Annotated[str, Parameter(help="Who pays: stands above what callers say.")] = "",
    app: Annotated[str, Parameter(help="The application that calls.")] = "",
    feature: Annotated[str, Parameter(help="The part of it that calls.")] = "",
    user: Annotated[str, Parameter(help="The person for whom it calls.")] = "",
    tag: Annotated[
        list[str] | None, Parameter(negative="", help="name=value, on every event of this key (may be given again).")
    ] = None,
    model: Patterns = None,
    provider: Patterns = None,
    expires: Annotated[str, Parameter(help="90d, 12h, a day (it is included), or an ISO time; by default never.")] = "",
    common: Common | None = None,
) -> None:
    """Make a key. Its secret is shown now, and never again: only its SHA-256 is kept.

    Running servers know the key within a second. The first key for calls closes the gateway to calls without one,
    unless the settings say `[keys] required = false`.
    """
    common = common or Common()
    now = utc_now()
    if role != "caller" and any((team, app, feature, user, tag, model, provider)):
        raise InputError(f"A key of the role {role} makes no calls: leave out who pays, models and providers.")
    key = VirtualKey(
        id="", name=clean(name), role=role, team=clean(team), app=clean(app), feature=clean(feature), user=clean(user),
        tags=_tags(tag or []), models=tuple(model or ()), providers=tuple(provider or ()), created=now,
        expires=instant(expires, now) if expires else None,
    )  # fmt: skip
    with _store(common, create=True) as (store, required):
        first = role == "caller" and not store.has(["caller"])
        _check_providers(common, key)
        made, secret = store.create(key)
    if common.json:
        print_json({"key": _document(made, now), "secret": secret})
        return
    _show_secret(made, secret)
    if first and required is None:
        console.print(
            "[yellow]This is the first key for calls: from now on, calls without a key are refused (401). "
            "To let both in, say `\\[keys] required = false` in the settings.[/]"
        )


@app.command(name="list", help_epilogue=examples("list", "list --all", "list --json"))
def list_(
    *,
    all_: Annotated[bool, Parameter(name="--all", negative="", help="Also those that are revoked or expired.")] = False,
    common: Common | None = None,
) -> None:
    """List the keys, without their secrets."""
    common = common or Common()
    now = utc_now()
    with _store(common) as (store, _):
        keys = [key for key in store.all() if all_ or key.state_at(now) == "active"]
    if common.json:
        print_json({"keys": [_document(key, now) for key in keys]})
        return
    if not keys:
        console.print("There is no key; make one with: penstock keys create" if all_ else "No key is active.")
        return
    grid = table("id", "name", "role", "state", "who pays", "models", "expires", "last used")
    for key in keys:
        state = key.state_at(now)
        who = ", ".join(f"{name} {value}" for name, value in _payer(key).items())
        grid.add_row(
            key.id, escape(key.name), key.role, f"[{COLORS[state]}]{state}[/]", escape(who) or "-",
            escape(", ".join(key.models)) or "all",
            _day(key.expires) or "never", _time(key.last_used) or "-",
        )  # fmt: skip
    console.print(grid)


@app.command(help_epilogue=examples("show support-bot", "show k7f3q2ab --json"))
def show(
    key: Annotated[str, Parameter(help="Id or name of the key.")],
    *,
    common: Common | None = None,
) -> None:
    """Show everything that is known of one key; its secret is not."""
    common = common or Common()
    now = utc_now()
    with _store(common) as (store, _):
        found = store.find(key)
        secrets = store.secrets_of(found.id)
    ending = [one.until for one in secrets if one.until is not None and one.until > now]
    document = _document(found, now) | {"old_secret_until": max(ending, default=None)}
    if common.json:
        print_json(document)
        return
    grid = table("", "")
    for name, value in document.items():
        match value:
            case datetime():
                said = _time(value)
            case tuple() | list():
                said = ", ".join(value) or "all"
            case dict():
                said = ", ".join(f"{one}={other}" for one, other in value.items()) or "-"
            case _:
                said = str(value or "-")
        grid.add_row(name.replace("_", " "), escape(said))
    console.print(grid)


@app.command(
    help_epilogue=examples("rotate support-bot", "rotate k7f3q2ab --grace 1h", "rotate support-bot --grace 0s")
)
def rotate(
    key: Annotated[str, Parameter(help="Id or name of the key.")],
    *,
    grace: Annotated[
        str, Parameter(help="How long the old secret stays good beside the new one.", show_default=True)
    ] = ("24h"),
    common: Common | None = None,
) -> None:
    """Give a key a new secret; the old one stays good for a while, so that clients can change over.

    Id, name, limits and who pays stay, and so do budgets and reports. A secret that has leaked: `--grace 0s`.
    """
    common = common or Common()
    now = utc_now()
    span = span_of(grace)
    if span is None:
        raise InputError(f"--grace {grace}: say how long, such as 30m, 24h or 7d.")
    with _store(common) as (store, _):
        rotated, secret = store.rotate(key, span, now=now)
    if common.json:
        print_json({"key": _document(rotated, now), "secret": secret, "old_secret_until": now + span})
        return
    _show_secret(rotated, secret)
    until = "ends now" if not span else f"stays good until {_time(now + span)}"
    console.print(f"The old secret {until}.")


@app.command(help_epilogue=examples("revoke support-bot", "revoke k7f3q2ab --json"))
def revoke(
    key: Annotated[str, Parameter(help="Id or name of the key.")],
    *,
    common: Common | None = None,
) -> None:
    """End a key for good. Running servers refuse it within a second; calls under way end as they would."""
    common = common or Common()
    with _store(common) as (store, _):
        revoked = store.revoke(key)
    if common.json:
        print_json(_document(revoked, utc_now()))
    else:
        console.print(f"{revoked.id} ({escape(revoked.name)}) is revoked. Its past spend stays in every report.")


@contextmanager
def _store(common: Common, *, create: bool = False) -> Iterator[tuple[KeyStore, bool | None]]:
    """Open the keys; also return what the settings say of whether one is required."""
    from penstock.app import state_for
    from penstock.settings import load

    settings = load(common.config, data=common.data)
    state = state_for(settings, create=create)
    try:
        yield KeyStore(state), settings.keys.required
    finally:
        state.close()


def _check_providers(common: Common, key: VirtualKey) -> None:
    """Refuse a provider's name that no provider has, where the settings name some."""
    from penstock.policies.keys import matches
    from penstock.settings import load

    known = [row.name for row in load(common.config, data=common.data).providers]
    for pattern in key.providers if known else ():
        if not any(matches(name, [pattern]) for name in known):
            raise InputError(f"--provider {pattern}: {common.config} has no such provider, only {', '.join(known)}.")


def _show_secret(key: VirtualKey, secret: str) -> None:
    console.print(f"Key [bold]{key.id}[/] ({escape(key.name)}, {key.role}). Its secret, shown only now:\n")
    print(f"    {secret}\n", flush=True)
    if key.role == "caller":
        console.print("Clients send it as their API key; nothing else in them changes.")
    else:
        console.print("Sign in with it on the dashboard, or send it as `Authorization: Bearer ...` to the API.")


def _document(key: VirtualKey, now: datetime) -> dict[str, Any]:
    return {
        "id": key.id, "name": key.name, "role": key.role, "state": key.state_at(now), "team": key.team, "app": key.app,
        "feature": key.feature, "user": key.user, "tags": key.tags, "models": key.models, "providers": key.providers,
        "created": key.created, "expires": key.expires, "revoked": key.revoked, "last_used": key.last_used,
    }  # fmt: skip


def _payer(key: VirtualKey) -> dict[str, str]:
    named = {"team": key.team, "app": key.app, "feature": key.feature, "user": key.user} | key.tags
    return {name: value for name, value in named.items() if value}


def _tags(given: list[str]) -> dict[str, str]:
    tags = {}
    for one in given:
        name, equals, value = one.partition("=")
        if not equals or not clean(name):
            raise InputError(f"--tag {one}: give a name and a value, such as --tag cost_center=4711")
        tags[clean(name)] = clean(value)
    return tags


def span_of(text: str) -> timedelta | None:
    """Read `30m`, `24h`, `90d`; None where it is no span of time."""
    found = SPAN.fullmatch(text)
    return timedelta(seconds=int(found[1]) * SECONDS[found[2]]) if found else None


def instant(text: str, now: datetime) -> datetime:
    """Read when something ends: a span from now, a day (which is included, in UTC), or an ISO time."""
    span = span_of(text)
    try:
        if span is not None:
            at = now + span
        else:
            at = datetime.fromisoformat(text)
            at = at + timedelta(days=1) if len(text) <= 10 else at
            at = at if at.tzinfo else at.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise InputError(
            f"--expires {text}: say it as 90d, 12h, a day such as 2027-03-31, or 2027-03-31T18:00Z."
        ) from None
    if at <= now:
        raise InputError(f"--expires {text}: that is over already.")
    return at


def _day(at: datetime | None) -> str:
    return "" if at is None else f"{at.astimezone(UTC):%Y-%m-%d}"


def _time(at: datetime | None) -> str:
    return "" if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
