"""Keys by the API: list them, and (with an admin's key) make, rotate and revoke them."""

from datetime import datetime, timedelta
from typing import Any, Literal, TypeVar

import msgspec
from msgspec import Struct

from penstock.dashboard.house import House
from penstock.errors import InputError
from penstock.metering.attribution import clean
from penstock.policies.key_store import KeyStore
from penstock.policies.keys import Role, VirtualKey

T = TypeVar("T")


class ShownKey(VirtualKey, frozen=True, kw_only=True):
    """A key, and whether it is good now."""

    state: Literal["active", "expired", "revoked"]


class NewKey(Struct, kw_only=True, forbid_unknown_fields=True):
    """What a new key is to be."""

    name: str = ""
    role: Role = "caller"
    team: str = ""
    app: str = ""
    feature: str = ""
    user: str = ""
    tags: dict[str, str] = {}
    models: tuple[str, ...] = ()
    providers: tuple[str, ...] = ()
    expires: datetime | None = None


class Rotation(Struct, kw_only=True, forbid_unknown_fields=True):
    """How a key is given a new secret."""

    grace_seconds: int = 86_400
    """How long the old secret stays good."""


def get_keys(house: House) -> dict[str, Any]:
    """Answer `GET /api/keys`."""
    return {"keys": [shown(key, house.now()) for key in KeyStore(house.ledger.state).all()]}


def make_key(house: House, body: bytes) -> dict[str, Any]:
    """Answer `POST /api/keys`."""
    wish = _read(body, NewKey)
    tags = {clean(name): clean(value) for name, value in wish.tags.items()}
    key, secret = made_key(
        house,
        VirtualKey(
            id="", name=clean(wish.name), role=wish.role, team=clean(wish.team), app=clean(wish.app),
            feature=clean(wish.feature), user=clean(wish.user), tags=tags, models=wish.models,
            providers=wish.providers, created=house.now(), expires=wish.expires,
        ),
    )  # fmt: skip
    return {"key": key, "secret": secret}


def rotate_key(house: House, key_id: str, body: bytes) -> dict[str, Any]:
    """Answer `POST /api/keys/{id}/rotate`."""
    grace = timedelta(seconds=max(0, min(_read(body or b"{}", Rotation).grace_seconds, 366 * 86_400)))
    key, secret, until = rotated_key(house, key_id, grace)
    return {"key": key, "secret": secret, "old_secret_until": until}


def revoke_key(house: House, key_id: str, _body: bytes) -> dict[str, Any]:
    """Answer `POST /api/keys/{id}/revoke`."""
    return {"key": revoked_key(house, key_id)}


def made_key(house: House, wish: VirtualKey) -> tuple[ShownKey, str]:
    """Make a key; return it with its secret, which is kept nowhere."""
    now = house.now()
    if wish.expires is not None and (wish.expires.tzinfo is None or wish.expires <= now):
        raise InputError("expires must be a time to come, with its time zone, such as 2027-03-31T18:00:00Z.")
    made, secret = KeyStore(house.ledger.state).create(msgspec.structs.replace(wish, created=now))
    return shown(made, now), secret


def rotated_key(house: House, key_id: str, grace: timedelta) -> tuple[ShownKey, str, datetime]:
    """Give a key a new secret; return both, and when the old one ends."""
    now = house.now()
    key, secret = KeyStore(house.ledger.state).rotate(key_id, grace, now=now)
    return shown(key, now), secret, now + grace


def revoked_key(house: House, key_id: str) -> ShownKey:
    """End a key."""
    now = house.now()
    return shown(KeyStore(house.ledger.state).revoke(key_id, now=now), now)


def shown(key: VirtualKey, now: datetime) -> ShownKey:
    """Return a key as the API shows it."""
    return ShownKey(**msgspec.structs.asdict(key), state=key.state_at(now))


def _read(body: bytes, shape: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=shape)
    except msgspec.MsgspecError as error:
        raise InputError(f"The body cannot be used: {error}") from None
