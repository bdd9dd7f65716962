"""Virtual keys: who may call, what for, and who pays. What is kept of a key's secret is its SHA-256."""

import hashlib
import re
import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from itertools import count
from typing import Literal

from msgspec import Struct

from penstock.errors import RefusedError
from penstock.metering.attribution import Attribution
from penstock.policies.deployments import Target

Role = Literal["caller", "viewer", "admin"]
"""What a key is for: AI calls; reading pages and API; reading, and managing keys by the API."""

LETTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
ID_LETTERS = "0123456789abcdefghijklmnopqrstuvwxyz"
ID_LENGTH, SECRET_LENGTH = 8, 43
"""43 letters of 62 hold 256 bits."""
SECRET = re.compile(rb"psk_([0-9a-z]{8})_[0-9A-Za-z]{43}")
"""A key as clients send it: `psk_`, its public id, its secret. Secret scanners can look for the same."""
MARK = b"psk_"
MOST_REMEMBERED = 1_000
"""Models of which a key knows whether it may call them: models are named by clients."""


class KeySettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[keys]`: who is let in."""

    required: bool | None = None
    """Whether a call needs a virtual key. Not said: from the moment on at which there is one."""
    sign_in: bool | None = None
    """Whether pages and API need a viewer's or an admin's key. Not said: once there is one, and always on an address
    that other machines reach."""


class VirtualKey(Struct, frozen=True, kw_only=True):
    """What is known of a key, without its secret."""

    id: str
    """Public: it stands in the key itself, in events and in reports."""
    name: str
    role: Role = "caller"
    team: str = ""
    app: str = ""
    feature: str = ""
    user: str = ""
    tags: dict[str, str] = {}
    models: tuple[str, ...] = ()
    """Patterns of the models that may be called; none: all."""
    providers: tuple[str, ...] = ()
    """Patterns of the providers that may be called; none: all."""
    created: datetime
    expires: datetime | None = None
    revoked: datetime | None = None
    last_used: datetime | None = None
    """To some ten seconds: it is not written on the way of a call."""

    def state_at(self, now: datetime) -> Literal["active", "expired", "revoked"]:
        """Say whether the key is good at `now`."""
        if self.revoked is not None and self.revoked <= now:
            return "revoked"
        return "expired" if self.expires is not None and self.expires <= now else "active"

    @property
    def attribution(self) -> Attribution:
        """What the key says of who pays."""
        return Attribution(
            key=self.id, team=self.team, app=self.app, feature=self.feature, user=self.user, tags=self.tags
        )

    def allows(self, name: str, target: Target) -> bool:
        """Tell whether a call for the model `name` may go to `target`.

        A pattern may match what is asked for (a route, a deployment) or the model that is behind it.
        """
        if self.providers and not matches(target.provider.name, self.providers):
            return False
        return not self.models or matches(name, self.models) or matches(target.deployment.model, self.models)


class StoredSecret(Struct, frozen=True):
    """The digest of a secret, and the key that it opens. A key that is being rotated has several."""

    number: int
    digest: bytes
    key: str
    until: datetime | None
    """When a rotated secret ends."""


def new_id() -> str:
    """Make a public id."""
    return "".join(secrets.choice(ID_LETTERS) for _ in range(ID_LENGTH))


def new_secret(key_id: str) -> str:
    """Make a secret for a key, of 256 bits from the system's source."""
    return f"psk_{key_id}_{''.join(secrets.choice(LETTERS) for _ in range(SECRET_LENGTH))}"


def digest_of(secret: bytes) -> bytes:
    """Return what is kept of a secret. Nobody guesses 256 random bits: a slow hash would only slow the calls."""
    return hashlib.sha256(secret).digest()


def matches(name: str, patterns: Sequence[str]) -> bool:
    """Tell whether one of the patterns (`gpt-4o*`) fits; upper and lower case differ."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


class Holder:
    """A key in use: what a worker asks it on every call is a dictionary's look-up."""

    __slots__ = ("_among", "attribution", "key", "limited", "used")

    def __init__(self, key: VirtualKey) -> None:
        self.key = key
        self.attribution = key.attribution
        self.limited = bool(key.models or key.providers)
        self.used = False
        """Since this was last written down."""
        self._among: dict[tuple[str, str], tuple[Target, ...]] = {}

    def among(self, targets: tuple[Target, ...], model: str, endpoint: str) -> tuple[Target, ...]:
        """Return the targets that this key may use. Raises RefusedError where it is none of them."""
        allowed = self._among.get((model, endpoint))
        if allowed is None:
            allowed = tuple(target for target in targets if self.key.allows(model, target))
            if len(self._among) >= MOST_REMEMBERED:
                self._among.clear()
            self._among[model, endpoint] = allowed
        if not allowed:
            raise RefusedError(
                403, "model_not_allowed",
                f"The key {self.key.id} may not call {model!r} here: {self._limits()}. "
                "Ask whoever made the key, or make one that may: penstock keys create --model ...",
            )  # fmt: skip
        return allowed

    def _limits(self) -> str:
        said = []
        if self.key.models:
            said.append(f"its models are {', '.join(self.key.models)}")
        if self.key.providers:
            said.append(f"its providers are {', '.join(self.key.providers)}")
        return ", and ".join(said)


_numbers = count(1)


class Ring:
    """All keys at one instant. It is never changed: when keys change, there is a new one."""

    def __init__(
        self,
        keys: Mapping[str, VirtualKey],
        stored: Sequence[StoredSecret],
        *,
        required: bool | None = None,
        now: datetime | None = None,
    ) -> None:
        now = now or datetime.now(UTC)
        holders = {key.id: Holder(key) for key in keys.values()}
        self.number = next(_numbers)
        """Tells it from every other ring of this process."""
        self.required = any(key.role == "caller" for key in keys.values()) if required is None else required
        self.holders = tuple(holders.values())
        self._good: dict[bytes, Holder] = {}
        self._over: dict[bytes, tuple[str, str]] = {}
        """Why a secret that was good is not any more: a code and a sentence."""
        ends = [one.until for one in stored] + [key.expires for key in keys.values()]
        self.until = min((end for end in ends if end is not None and end > now), default=None)
        """When a key or a secret ends: then there must be a new ring."""
        for one in stored:
            key = keys.get(one.key)
            if key is None:
                continue
            over = _why_over(key, one, now)
            if over:
                self._over[one.digest] = over
            else:
                self._good[one.digest] = holders[key.id]

    def holder_of(self, offered: Sequence[bytes]) -> Holder | None:
        """Return who calls, by the secrets that a request brings; None: nobody in particular, and that is allowed.

        The work is the same for a good and a bad secret: one hash, one look-up. Raises RefusedError.
        """
        if not offered:
            if self.required:
                raise RefusedError(
                    401, "key_missing",
                    "A call needs a Penstock key here: send one (psk_...) where your client puts its API key. "
                    "Whoever runs this gateway makes them with: penstock keys create",
                )  # fmt: skip
            return None
        if any(one != offered[0] for one in offered):
            raise RefusedError(401, "key_ambiguous", "This request brings two different Penstock keys; send one.")
        digest = digest_of(offered[0])
        holder = self._good.get(digest)
        if holder is None:
            code, sentence = self._over.get(digest, ("key_unknown", UNKNOWN))
            raise RefusedError(401, code, sentence)
        if holder.key.role != "caller":
            raise RefusedError(
                403, "key_not_for_calls",
                f"The key {holder.key.id} is for the dashboard and the API ({holder.key.role}), not for AI calls. "
                "Make one for calls with: penstock keys create",
            )  # fmt: skip
        return holder


UNKNOWN = (
    "This Penstock key is not known here. Is it complete, and of this gateway? "
    "Whoever runs it makes keys with: penstock keys create"
)


def _why_over(key: VirtualKey, secret: StoredSecret, now: datetime) -> tuple[str, str] | None:
    """Say why a secret is not good any more, if so. Only who holds it gets to read this."""
    if key.revoked is not None and key.revoked <= now:
        return "key_revoked", f"The key {key.id} was revoked at {_instant(key.revoked)}; ask for a new one."
    if key.expires is not None and key.expires <= now:
        return "key_expired", f"The key {key.id} expired at {_instant(key.expires)}; ask for a new one."
    if secret.until is not None and secret.until <= now:
        return (
            "key_rotated",
            f"The key {key.id} has a new secret, and this one ended at {_instant(secret.until)}; use the new one.",
        )
    return None


def _instant(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
