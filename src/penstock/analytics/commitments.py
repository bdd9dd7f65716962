"""What PTUs are paid for, whether they are used or not: `[[commitments]]` of penstock.toml."""

from datetime import date
from decimal import Decimal
from typing import Literal

import msgspec
from msgspec import Struct

from penstock.errors import InputError
from penstock.planning.prices import Deployment
from penstock.pricing.capacity import shipped_capacity

Term = Literal["hourly", "month", "year"]
"""How PTUs are paid."""


class Commitment(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[[commitments]]`: PTUs that are paid from a day on."""

    name: str
    model: str
    """The model that they serve."""
    ptus: int
    deployment_type: Deployment = "global"
    region: str = ""
    """Where the price depends on it."""
    term: Term = "month"
    """How they are paid: a reservation by the month or the year, or by the hour."""
    dollars_per_month: Decimal | None = None
    """Your price of one PTU for 730 hours; without it, Azure's."""
    first: date = msgspec.field(name="from")
    last: date | None = msgspec.field(name="to", default=None)
    """The last day that is paid; without it, they are paid until today."""

    def check(self) -> None:
        """Raise InputError where it cannot be."""
        if self.ptus < 1:
            raise InputError(f"ptus: {self.ptus} is none at all")
        if self.dollars_per_month is not None and self.dollars_per_month <= 0:
            raise InputError("dollars_per_month: a price is more than 0; leave it out for Azure's")
        if self.last is not None and self.last < self.first:
            raise InputError(f"to: {self.last} is before {self.first}")
        if self.model.lower() not in shipped_capacity().models:
            raise InputError(f"model: {self.model!r} cannot be provisioned, as far as is known")
