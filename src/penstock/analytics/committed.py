"""Days of a commitment to PTUs: what is paid, and how much of it traffic filled."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from penstock.analytics.commitments import Commitment
from penstock.analytics.ptu_use import offer_of, ptu_use
from penstock.ledger.exporters.charges import Committed
from penstock.pricing.capacity import shipped_capacity
from penstock.pricing.catalog import Catalog

DAY = timedelta(days=1)
HOURS = Decimal("0.000001")
RATE = Decimal("0.000000000001")
"""The last decimals of PTU-hours and of dollars for one: their product has 18, as all money of the ledger."""


def committed(
    source: Any, one: Commitment, catalog: Catalog, *, since: datetime | None, until: datetime | None, now: datetime
) -> Iterator[Committed]:
    """Yield the days (UTC) of a commitment between two instants, up to the minute in which it is asked.

    `source` is as for `spend`. Raises InputError where the PTUs have no price.
    """
    ends = [now.replace(second=0, microsecond=0), until, _midnight(one.last + DAY) if one.last else None]
    end = min(at for at in ends if at is not None)
    begin = max(_midnight(one.first), since or _midnight(one.first))
    offer = offer_of(
        catalog, one.model, end, deployment_type=one.deployment_type, term=one.term, region=one.region,
        dollars_per_month=one.dollars_per_month,
    )  # fmt: skip
    while end - begin >= timedelta(minutes=1):
        day = begin.astimezone(UTC).date()
        stop = min(end, _midnight(day + DAY))
        use = ptu_use(
            source, offer.capacity, ptus=one.ptus, dollars_per_month=offer.dollars_per_month,
            rates=offer.by_token.rates, since=begin, until=stop, deployment_type=offer.deployment_type,
        )  # fmt: skip
        hours = (Decimal(one.ptus * use.minutes) / 60).quantize(HOURS)
        filled = 1 - use.idle / use.cost  # in dollars it is told more finely than as a share
        yield Committed(
            name=one.name, model=offer.capacity.model, deployment_type=offer.deployment_type, region=one.region,
            term=one.term, day=datetime.combine(day, time()), hours=hours,
            used=(hours * filled).quantize(HOURS), rate=(offer.dollars_per_month / 730).quantize(RATE),
            list_rate=shipped_capacity().rate(one.deployment_type, one.region).hourly,
        )  # fmt: skip
        begin = stop


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
