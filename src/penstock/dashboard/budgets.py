"""How far budgets are, what is frozen, and the keys: with buttons for who has an admin's key."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, time, timedelta
from typing import Any, cast, get_args

import msgspec
from msgspec import Struct, structs

from penstock.dashboard.asked import NONE, Asked
from penstock.dashboard.charts import ranked
from penstock.dashboard.figure import Card, Column, Figure, Row
from penstock.dashboard.house import House, checked
from penstock.dashboard.keys import made_key, revoked_key, rotated_key, shown
from penstock.dashboard.page import Page, Shown, Told
from penstock.dashboard.words import link, money
from penstock.errors import InputError
from penstock.metering.attribution import clean
from penstock.policies.budgets.counters import UnavailableError
from penstock.policies.budgets.desk import Burn, Burning, Desk
from penstock.policies.budgets.rules import Limit, Rules
from penstock.policies.budgets.status import Standing
from penstock.policies.budgets.sums import ledger_sums
from penstock.policies.key_store import KeyStore
from penstock.policies.keys import Role, VirtualKey

BARS = 20
RATE_NAMES = {"requests": "requests a minute", "tokens": "tokens a minute", "concurrent": "calls at a time"}
STATE_NAMES = {"ok": "within", "forecast over": "will be over", "used up": "used up"}


class Scoped(Struct, kw_only=True, forbid_unknown_fields=True):
    """What is to be frozen, or let go on."""

    scope: str
    """`team=support`, `everything`."""


def desk_of(house: House) -> Desk:
    """Return where budgets are looked after; without Redis, where nothing else is said."""
    make = house.info.get("desk")
    return (
        make(house.ledger.state) if make else Desk(house.ledger.state, house.folder, house.info.get("rules") or Rules())
    )


def burning(house: House, *, with_drift: bool = True) -> Burning:
    """Return how far every budget is, the fullest first.

    Where Redis does not answer, by the ledger. Without `with_drift` the ledger is asked only where nobody counts.
    """
    desk, now = desk_of(house), house.now()

    def booked(rules: Rules) -> Mapping[str, tuple[int, int]]:
        return ledger_sums(house.ledger, rules, now=now)

    def sums(rules: Rules) -> Mapping[str, tuple[int, int]]:
        return house.remember(("sums", rules), lambda: booked(rules))

    try:
        found = desk.burning(now, sums, with_drift=with_drift)
        if with_drift and any(one.standing.drift for one in found.budgets):
            found = desk.burning(now, booked)  # what was settled since these sums were made is not drift
    except UnavailableError as error:
        return desk.booked(now, sums, f"{error} What is shown is what the ledger says.")
    return found


def requests_of(one: Standing) -> str:
    """Return the address of the requests that a budget has paid for in its running period."""
    since = {"from": f"{one.begins.astimezone(UTC):%Y-%m-%dT%H:%MZ}"} if one.begins else {}
    return link("/requests", {name: value or NONE for name, value in one.group.items()}, **since)


def gather(house: House, _asked: Asked) -> Shown:
    """Gather the page's figures."""
    burn = burning(house)
    found, rules = burn.budgets, burn.rules
    keys = KeyStore(house.ledger.state).all()
    now = house.now()
    active = sum(key.state_at(now) == "active" for key in keys)
    over = [one for one in found if one.standing.state == "used up"]
    ahead = [one for one in found if one.standing.state == "forecast over"]
    return Shown(
        cards=[
            Card(name="Used up", said=f"{len(over)}", tone="bad" if over else "", sub=f"of {len(found)} budgets"),
            Card(name="Will be over", said=f"{len(ahead)}", tone="warn" if ahead else "",
                 sub="if it goes on like this to the period's end"),
            Card(name="Frozen", said=f"{len(rules.frozen)}", tone="bad" if rules.frozen else "",
                 sub="their calls are refused"),
            Card(name="Keys in use", said=f"{active}", sub=f"of {len(keys)} ever made"),
        ],
        figures=[_budgets(found), _keys(keys, now)],
        notes=[burn.note] if burn.note else [],
        more={
            "frozen": rules.frozen, "limits": [(limit.scope, _rates(limit)) for limit in rules.limits],
            "keys": [shown(key, now) for key in keys if key.state_at(now) == "active"], "roles": get_args(Role),
            "today": now.astimezone(UTC).date(),
        },
    )  # fmt: skip


def _rates(limit: Limit) -> str:
    return ", ".join(f"{most:,} {RATE_NAMES[kind]}" for kind, most in limit.rates if most)


def _budgets(found: Sequence[Burn]) -> Figure:
    drawn = [
        (f"{one.standing.scope} per {one.standing.per}", one.standing.spent, one.standing.limit) for one in found[:BARS]
    ]
    return Figure(
        name="budgets", title="Budgets", period="now", open=True, shown=100,
        columns=(
            Column("scope", "Whose"), Column("per", "Per", less=True), Column("period", "Period", less=True),
            Column("limit", "Limit", "money"), Column("spent", "Spent", "money"), Column("used", "Used", "share"),
            Column("reserved", "Reserved", "money", less=True), Column("forecast", "At this pace", "money", less=True),
            Column("state", "State"), Column("kind", "Kind", less=True),
            Column("thresholds", "Somebody is told at", less=True), Column("drift", "Drift", "money", hidden=True),
            Column("source", "Made by", less=True),
        ),
        rows=[
            Row(
                (
                    one.standing.scope, one.standing.per, one.standing.period or None, one.standing.limit,
                    one.standing.spent, one.standing.share, one.standing.reserved, one.standing.forecast,
                    STATE_NAMES[one.standing.state], "hard" if one.standing.hard else "soft",
                    " ".join(f"{at} %" for at in one.thresholds) or None, one.standing.drift, one.source,
                ),
                href=requests_of(one.standing), badge="drift" if one.standing.drift else "",
            )
            for one in found
        ],
        chart=ranked(
            [(name, spent) for name, spent, _ in drawn], limits=[limit for _, _, limit in drawn],
            title="Spent of each budget: " + ", ".join(f"{name} {money(a)} of {money(b)}" for name, a, b in drawn),
        ) if drawn else None,
        empty="There is no budget. Make one with: penstock budgets set 100 --scope team=support",
    )  # fmt: skip


def _keys(keys: list[VirtualKey], now: datetime) -> Figure:
    order = {"active": 0, "expired": 1, "revoked": 2}
    return Figure(
        name="keys", title="Keys", period="now", shown=100, note="Their secrets are kept nowhere.",
        columns=(
            Column("name", "Name"), Column("id", "Id", less=True), Column("role", "Role"), Column("state", "State"),
            Column("team", "Team"), Column("app", "App", less=True), Column("models", "Models", less=True),
            Column("last_used", "Last used", "time"), Column("expires", "Expires", "time", less=True),
            Column("created", "Made", "time", less=True),
        ),
        rows=[
            Row(
                (
                    key.name, key.id, key.role, key.state_at(now), key.team or None, key.app or None,
                    " ".join(key.models) or None, key.last_used, key.expires, key.created,
                ),
                href=f"/requests?key={key.id}" if key.role == "caller" else "",
            )
            for key in sorted(keys, key=lambda key: (order[key.state_at(now)], key.name))
        ],
        empty="There is no key yet: calls need none, and say themselves who pays. Make one with: "
        "penstock keys create NAME --team TEAM",
    )  # fmt: skip


# What an admin does by a form


def act(house: House, form: dict[str, str], who: str) -> str | Told:
    """Freeze, let go on, or make, rotate and revoke a key."""
    del who
    desk, wanted = desk_of(house), form.get("do", "")
    match wanted:
        case "freeze":
            desk.freeze(_scope(form), house.now())
        case "unfreeze":
            desk.unfreeze(_scope(form))
        case "revoke":
            revoked_key(house, form.get("id", ""))
        case "rotate":
            hours = form.get("grace_hours", "24")
            if not hours.isascii() or not hours.isdigit() or int(hours) > 366 * 24:
                raise InputError(f"The old secret may stay good for 0 to {366 * 24:,} hours, not {hours!r}.")
            key, secret, until = rotated_key(house, form.get("id", ""), timedelta(hours=int(hours)))
            return Told(template="secret.html", values={"key": key, "secret": secret, "old_until": until})
        case "create":
            key, secret = made_key(house, _wish(form))
            return Told(template="secret.html", values={"key": key, "secret": secret, "old_until": None})
        case _:
            raise InputError(f"There is no act {wanted[:100]!r}: use freeze, unfreeze, create, rotate or revoke.")
    return "/budgets"


def _scope(form: Mapping[str, str]) -> str:
    scope = form.get("scope", "").strip()
    if not scope:
        raise InputError("Say what is to be frozen, such as team=support; everything stops all spending.")
    return scope


def _wish(form: Mapping[str, str]) -> VirtualKey:
    role = form.get("role", "caller")
    if role not in get_args(Role):
        raise InputError(f"role must be one of {', '.join(get_args(Role))}, not {role!r}.")
    expires = None
    if form.get("expires"):
        try:
            day = datetime.strptime(form["expires"], "%Y-%m-%d").date()  # noqa: DTZ007  # a day
        except ValueError:
            raise InputError(f"expires must be a day like 2027-03-31, not {form['expires']!r}.") from None
        expires = datetime.combine(day, time(), UTC) + timedelta(days=1)  # the day is included
    return VirtualKey(
        id="", name=clean(form.get("name", "")), role=cast("Role", role), team=clean(form.get("team", "")),
        app=clean(form.get("app", "")), models=tuple(form.get("models", "").replace(",", " ").split()),
        created=datetime.now(UTC), expires=expires,
    )  # fmt: skip


# What programs ask


def get_budgets(house: House, fields: dict[str, str]) -> dict[str, Any]:
    """Answer `GET /api/budgets`: the document of `penstock budgets status --json`."""
    checked(fields, ())
    burn = burning(house)
    rows = [structs.asdict(one.standing) | {"thresholds": one.thresholds, "source": one.source} for one in burn.budgets]
    return {
        "budgets": rows, "frozen": burn.rules.frozen,
        "limits": [structs.asdict(limit) for limit in burn.rules.limits], "note": burn.note,
        "drift": any(one.standing.drift for one in burn.budgets),
    }  # fmt: skip


def freeze(house: House, body: bytes) -> dict[str, Any]:
    """Answer `POST /api/budgets/freeze`."""
    return {"frozen": desk_of(house).freeze(_read(body).scope, house.now())}


def unfreeze(house: House, body: bytes) -> dict[str, Any]:
    """Answer `POST /api/budgets/unfreeze`."""
    return {"unfrozen": desk_of(house).unfreeze(_read(body).scope)}


def _read(body: bytes) -> Scoped:
    try:
        return msgspec.json.decode(body, type=Scoped)
    except msgspec.MsgspecError as error:
        raise InputError(f"The body cannot be used: {error}") from None


PAGE = Page(
    path="/budgets", name="Budgets and keys", group="Control", gather=gather, act=act, template="budgets.html",
    filters=False, live=True,
    lead="What may be spent and how far it is, the switch that stops it, and who may call.",
)  # fmt: skip
