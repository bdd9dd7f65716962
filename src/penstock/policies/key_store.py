"""Where keys are kept: two tables of the ledger's state. A secret goes out once, and only its digest stays."""
# ruff: noqa: S608  # SQL is put together from names of columns; values are bound

import json
import sqlite3
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import msgspec

from penstock.errors import InputError
from penstock.ledger.state import State
from penstock.metering.event import utc_now
from penstock.policies.keys import KeySettings, Ring, StoredSecret, VirtualKey, digest_of, new_id, new_secret

COLUMNS = "id, name, role, team, app, feature, user, tags, models, providers, created, expires, revoked, last_used"
CHANGES = "keys_changes"
"""A setting that counts changes, so that workers look at the keys only when there is something new."""


class KeyStore:
    """Makes, lists, rotates and revokes keys."""

    def __init__(self, state: State) -> None:
        self._state = state

    def create(self, key: VirtualKey) -> tuple[VirtualKey, str]:
        """Keep a new key; its id may be empty. Return it with its secret, which is not kept. Raises InputError."""
        key = msgspec.structs.replace(key, id=key.id or new_id())
        key = msgspec.structs.replace(key, name=key.name or key.id)
        secret = new_secret(key.id)
        with self._state.transaction() as write:
            for other in self.all():
                if other.name == key.name and other.state_at(key.created) == "active":
                    raise InputError(
                        f"There is a key named {key.name!r} already ({other.id}). Choose another name, or give that "
                        f"one a new secret with: penstock keys rotate {other.id}"
                    )
            write.execute(f"INSERT INTO keys ({COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?)", _row(key))
            _keep(write, key.id, secret, key.created)
        return key, secret

    def rotate(self, name: str, grace: timedelta, *, now: datetime | None = None) -> tuple[VirtualKey, str]:
        """Give a key a new secret; the old ones stay good for `grace`. Return both. Raises InputError."""
        now = now or utc_now()
        with self._state.transaction() as write:
            key = self._active(name, now)
            until = (now + grace).isoformat()
            write.execute(
                "UPDATE key_secrets SET until = ? WHERE key = ? AND (until IS NULL OR until > ?)",
                (until, key.id, until),
            )
            secret = new_secret(key.id)
            _keep(write, key.id, secret, now)
        return key, secret

    def revoke(self, name: str, *, now: datetime | None = None) -> VirtualKey:
        """End a key at once, and for good. Raises InputError."""
        now = now or utc_now()
        with self._state.transaction() as write:
            key = self._active(name, now, expired=True)
            write.execute("UPDATE keys SET revoked = ? WHERE id = ?", (now.isoformat(), key.id))
            _changed(write)
        return msgspec.structs.replace(key, revoked=now)

    def all(self) -> list[VirtualKey]:
        """List every key that was ever made, oldest first."""
        return [_key(row) for row in self._state.read(f"SELECT {COLUMNS} FROM keys ORDER BY created, id")]

    def find(self, name: str) -> VirtualKey:
        """Return the key with this id or name; of several with one name, one that is good. Raises InputError."""
        found = [key for key in self.all() if name in (key.id, key.name)]
        if not found:
            if name.startswith("psk_"):
                raise InputError("Name a key by its id, the letters between psk_ and the second underscore.")
            raise InputError(f"There is no key {name!r}. List them with: penstock keys list")
        now = utc_now()
        found.sort(key=lambda key: (key.id == name, key.state_at(now) == "active", key.created))
        return found[-1]

    def secrets_of(self, key_id: str) -> list[StoredSecret]:
        """List the secrets of a key, oldest first."""
        rows = self._state.read(
            "SELECT number, digest, key, until FROM key_secrets WHERE key = ? ORDER BY number", key_id
        )
        return [_secret(row) for row in rows]

    def ring(self, rules: KeySettings | None = None, *, now: datetime | None = None) -> Ring:
        """Take all keys as they are now."""
        with self._state.reading():
            keys = {key.id: key for key in self.all()}
            rows = self._state.read("SELECT number, digest, key, until FROM key_secrets")
        return Ring(keys, [_secret(row) for row in rows], required=rules.required if rules else None, now=now)

    def changes(self) -> str:
        """Return what differs once keys have changed."""
        return self._state.get(CHANGES)

    def who(self, secret: bytes, *, now: datetime | None = None) -> tuple[VirtualKey, StoredSecret] | None:
        """Return the key that a secret opens, if it is good."""
        return self._good("digest = ?", digest_of(secret), now or utc_now())

    def still(self, number: int, *, now: datetime | None = None) -> tuple[VirtualKey, StoredSecret] | None:
        """Return the key that the secret with this number opens, if it is good."""
        return self._good("number = ?", number, now or utc_now())

    def has(self, roles: Iterable[str]) -> bool:
        """Tell whether a key of one of these roles was ever made."""
        wanted = json.dumps(list(roles))
        return bool(
            self._state.read("SELECT 1 FROM keys WHERE role IN (SELECT value FROM json_each(?)) LIMIT 1", wanted)
        )

    def note_used(self, ids: Iterable[str], at: datetime) -> None:
        """Write down that keys were used. It changes nothing that workers need to know."""
        with self._state.transaction() as write:
            write.executemany("UPDATE keys SET last_used = ? WHERE id = ?", [(at.isoformat(), one) for one in ids])

    def _good(self, where: str, value: Any, now: datetime) -> tuple[VirtualKey, StoredSecret] | None:
        rows = self._state.read(f"SELECT number, digest, key, until FROM key_secrets WHERE {where}", value)
        for secret in map(_secret, rows):
            (row,) = self._state.read(f"SELECT {COLUMNS} FROM keys WHERE id = ?", secret.key)
            key = _key(row)
            if key.state_at(now) == "active" and (secret.until is None or secret.until > now):
                return key, secret
        return None

    def _active(self, name: str, now: datetime, *, expired: bool = False) -> VirtualKey:
        key = self.find(name)
        state = key.state_at(now)
        if state == "revoked" or (state == "expired" and not expired):
            raise InputError(f"The key {key.id} ({key.name}) is {state}; make a new one with: penstock keys create")
        return key


def _keep(write: sqlite3.Connection, key_id: str, secret: str, now: datetime) -> None:
    write.execute(
        "INSERT INTO key_secrets (digest, key, made) VALUES (?, ?, ?)",
        (digest_of(secret.encode()), key_id, now.isoformat()),
    )
    _changed(write)


def _changed(write: sqlite3.Connection) -> None:
    write.execute(
        "INSERT INTO settings VALUES (?, '1') ON CONFLICT (key) DO UPDATE SET value = CAST(value AS INTEGER) + 1",
        (CHANGES,),
    )


def _row(key: VirtualKey) -> tuple[Any, ...]:
    return (
        key.id, key.name, key.role, key.team, key.app, key.feature, key.user, json.dumps(key.tags),
        json.dumps(key.models), json.dumps(key.providers), key.created.isoformat(), _text(key.expires),
        _text(key.revoked), _text(key.last_used),
    )  # fmt: skip


def _key(row: tuple[Any, ...]) -> VirtualKey:
    key_id, name, role, team, app, feature, user, tags, models, providers, *times = row
    created, expires, revoked, last_used = (None if one is None else datetime.fromisoformat(one) for one in times)
    assert created is not None
    return VirtualKey(
        id=key_id, name=name, role=role, team=team, app=app, feature=feature, user=user,
        tags={} if tags == "{}" else json.loads(tags), models=_patterns(models), providers=_patterns(providers),
        created=created, expires=expires,
        revoked=revoked, last_used=last_used,
    )  # fmt: skip


def _patterns(text: str) -> tuple[str, ...]:
    return () if text == "[]" else tuple(json.loads(text))


def _secret(row: tuple[Any, ...]) -> StoredSecret:
    number, digest, key, until = row
    return StoredSecret(number, digest, key, None if until is None else datetime.fromisoformat(until))


def _text(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()
