"""Guardrails on Azure as files: capacity, budget and alerts, as `az` commands, Bicep and Terraform."""

import dataclasses
import json
import re
from collections.abc import Mapping
from decimal import Decimal
from string import Template

from penstock.errors import PlanError

TEMPLATES = ("guardrails.sh", "guardrails.bicep", "guardrails.tf")
"""Files of `planning/templates`; whoever reads them hands their text to `render`."""

SKUS = {"global": "GlobalStandard", "data_zone": "DataZoneStandard", "regional": "Standard"}
"""Names of the deployment types in Azure's resource model."""

NAMES = {
    "resource_group": (r"[\w().-]{0,89}[\w()-]", "letters, digits, and . _ - ( ) with no full stop at the end"),
    "account": (r"[A-Za-z0-9][A-Za-z0-9-]{0,62}[A-Za-z0-9]", "2 to 64 letters, digits and dashes"),
    "deployment": (r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}[A-Za-z0-9]", "2 to 64 letters, digits, and . _ -"),
    "model": (r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", "letters, digits, and . _ -"),
    "model_version": (r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", "letters, digits, and . _ -"),
    "budget_name": (r"[A-Za-z0-9][A-Za-z0-9_-]{0,55}", "letters, digits, _ and -, 56 of them at most"),
}
"""What Azure allows in each name: all of it is plain inside the quotes of shell, Bicep and Terraform, and in a URL."""

EMAIL = re.compile(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}")


class AtTemplate(Template):
    """`@name` is replaced and `@@` is one `@`: dollar signs and braces belong to the languages of the files."""

    delimiter = "@"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Guardrails:
    """What the files say. Names are checked: they stand inside quotes of three languages."""

    resource_group: str
    account: str
    deployment: str
    model: str
    model_version: str
    sku: str
    capacity: int
    """Thousand tokens a minute."""
    budget_name: str
    amount: int
    """Dollars a month."""
    email: str
    start: str
    """First day of a month: 2026-11-01T00:00:00Z."""
    tokens_per_hour: int
    worst_low: str
    worst_high: str

    def __post_init__(self) -> None:
        """Refuse names that Azure does not allow, or that would end a string in one of the files."""
        for name, (form, allowed) in NAMES.items():
            if not re.fullmatch(form, getattr(self, name), re.ASCII):
                raise PlanError(name, f"{getattr(self, name)!r} is no name that Azure takes: {allowed}")
        if not EMAIL.fullmatch(self.email):
            raise PlanError("email", f"{self.email!r} is not an address")


def budget_body(rails: Guardrails) -> str:
    """Return the budget as the JSON body of Microsoft.Consumption/budgets, version 2023-11-01."""

    def notice(percent: int, kind: str) -> dict[str, object]:
        return {
            "enabled": True,
            "operator": "GreaterThanOrEqualTo",
            "threshold": percent,
            "thresholdType": kind,
            "contactEmails": [rails.email],
        }

    notifications = {f"actual{percent}": notice(percent, "Actual") for percent in (50, 80, 100)}
    properties = {
        "category": "Cost",
        "amount": rails.amount,
        "timeGrain": "Monthly",
        "timePeriod": {"startDate": rails.start},
        "notifications": {**notifications, "forecast100": notice(100, "Forecasted")},
    }
    return json.dumps({"properties": properties}, indent=2)


def render(rails: Guardrails, templates: Mapping[str, str]) -> dict[str, str]:
    """Fill the templates in, by file name."""
    values = {
        **{field.name: str(getattr(rails, field.name)) for field in dataclasses.fields(rails)},
        "capacity_tokens": f"{rails.capacity * 1000:,}",
        "budget_json": budget_body(rails),
    }
    return {name: AtTemplate(text).substitute(values) for name, text in templates.items()}


def whole_dollars(amount: Decimal) -> int:
    """Return a budget in whole dollars. Raises PlanError for less than one: Azure has no such budget."""
    if amount < 1:
        raise PlanError("budget", f"{amount} is less than a dollar: there is nothing to watch")
    return int(amount)
