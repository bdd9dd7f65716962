"""Who pays: the virtual key first, then the request's headers, then what its body says of itself."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from penstock.metering.request import RequestHead

LONGEST = 256
"""Characters of a value that are kept."""
MOST_TAGS = 16
OWN = "penstock."
"""Tags that levers write: what is proven rests on them, so no client may."""
NAMES = ("team", "app", "feature", "user", "run")
AS_BYTES = tuple((name, f"x-penstock-{name}".encode()) for name in NAMES)
AS_TEXT = tuple((name, f"x-penstock-{name}") for name in NAMES)


class Attribution(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who a call is for. Also the form of a virtual key's defaults."""

    key: str = ""
    """Id of the virtual key, never the key."""
    team: str = ""
    app: str = ""
    feature: str = ""
    user: str = ""
    run: str = ""
    """An agent's run or a conversation."""
    tags: dict[str, str] = {}


NOBODY = Attribution()


def attribute(
    headers: Mapping[bytes, bytes] | Mapping[str, str], head: RequestHead, key: Attribution = NOBODY
) -> Attribution:
    """Fill what `key` leaves open from the headers (names in lower case), then from the body.

    A key's own values stand: a caller cannot charge another team. Without anything to fill, `key` itself is returned.
    """
    found: dict[str, str] = {}
    given: Mapping[Any, str | bytes] = headers
    for name, header in AS_TEXT if isinstance(next(iter(headers), b""), str) else AS_BYTES:
        value = given.get(header)
        if value:
            found[name] = clean(value)
    tags: dict[str, str] = {}
    if len(bytes(head.metadata)) > 4:
        tags = _from_metadata(head, found)
    user = head.user or head.safety_identifier
    if user:
        found.setdefault("user", clean(user))
    if not found and not tags:
        return key
    return Attribution(
        key=key.key,
        team=key.team or found.get("team", ""),
        app=key.app or found.get("app", ""),
        feature=key.feature or found.get("feature", ""),
        user=key.user or found.get("user", ""),
        run=key.run or found.get("run", ""),
        tags={**tags, **key.tags},
    )


def clean(value: str | bytes) -> str:
    """Return `value` as text fit for a report: no control characters, no longer than `LONGEST`."""
    text = value if isinstance(value, str) else _decoded(value)
    if not text.isprintable():
        text = "".join(letter for letter in text if letter.isprintable())
    return text.strip()[:LONGEST]


def _decoded(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _from_metadata(head: RequestHead, found: dict[str, str]) -> dict[str, str]:
    """Fill `found` from the body's metadata, and return its other members as tags. `user_id` is Anthropic's user."""
    tags: dict[str, str] = {}
    for name, value in head.metadata_items().items():
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            continue
        place = "user" if name == "user_id" else name
        if place in NAMES:
            found.setdefault(place, clean(str(value)))
        elif len(tags) < MOST_TAGS and not name.startswith(OWN):
            tags[clean(name)] = clean(str(value))
    return tags
