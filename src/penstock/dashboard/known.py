"""The values that the filter bar suggests."""

from datetime import timedelta

from penstock.analytics.spend import spend
from penstock.dashboard.asked import FORM
from penstock.dashboard.house import House

BACK = timedelta(days=90)
MOST = 200
"""Values of a dimension; the most expensive ones."""


def known_values(house: House) -> dict[str, list[str]]:
    """Return the values of the form's dimensions in the last 90 days, the most expensive first."""
    return house.remember("known values", lambda: _asked(house))


def _asked(house: House) -> dict[str, list[str]]:
    now = house.now()
    rows = spend(house.ledger.moment(), by=FORM, since=now - BACK, brief=True).rows
    return {name: list(dict.fromkeys(row.group[name] for row in rows if row.group[name]))[:MOST] for name in FORM}
