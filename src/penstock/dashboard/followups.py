"""Follow-ups by the API and by the pages' forms: what people made of an anomaly or of a finding."""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from penstock.dashboard.house import House, checked
from penstock.errors import InputError
from penstock.ledger.followups import STATUSES, Followup, Followups
from penstock.metering.attribution import clean

FIELDS = ("kind", "subject")


class NewFollowup(Struct, kw_only=True, forbid_unknown_fields=True):
    """What is to be kept."""

    kind: str
    """`anomaly` or `finding`."""
    subject: str
    """Its id."""
    status: str
    owner: str = ""
    note: str = ""


def get_followups(house: House, fields: dict[str, str]) -> dict[str, Any]:
    """Answer `GET /api/followups`: every change, oldest first."""
    fields = checked(fields, FIELDS)
    kinds = [fields["kind"]] if "kind" in fields else list(STATUSES)
    for kind in kinds:
        if kind not in STATUSES:
            raise InputError(f"kind must be one of {', '.join(STATUSES)}, not {kind!r}.")
    kept = Followups(house.ledger.state)
    found = [one for kind in kinds for one in kept.history(kind, fields.get("subject", ""))]
    return {"followups": sorted(found, key=lambda one: one.at)}


def add_followup(house: House, body: bytes, who: str) -> dict[str, Any]:
    """Answer `POST /api/followups`."""
    try:
        wish = msgspec.json.decode(body, type=NewFollowup)
    except msgspec.MsgspecError as error:
        raise InputError(f"The body cannot be used: {error}") from None
    return {"followup": _kept(house, wish, who)}


def from_form(house: House, kind: str, form: Mapping[str, str], who: str) -> None:
    """Keep what a page's form says."""
    wish = NewFollowup(
        kind=kind, subject=form.get("subject", ""), status=form.get("status", ""), owner=form.get("owner", ""),
        note=form.get("note", ""),
    )  # fmt: skip
    _kept(house, wish, who)


def _kept(house: House, wish: NewFollowup, who: str) -> Followup:
    one = Followup(
        kind=wish.kind, subject=wish.subject, at=house.now(), status=wish.status, owner=clean(wish.owner),
        note=wish.note.strip(), by=who,
    )  # fmt: skip
    return Followups(house.ledger.state).add(one)
