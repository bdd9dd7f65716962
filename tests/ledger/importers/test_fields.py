from datetime import UTC, datetime
from decimal import Decimal

import pytest

from penstock.ledger.importers.fields import RowError, deployment_type, instant, label, money, whole

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "count"), [("374", 374), ("374.0", 374), (" 7 ", 7), ("1e3", 1000), ("", 0), (None, 0)]
)
def test_a_count_is_read_as_exports_write_it(text, count):
    assert whole(text, "n") == count


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("-5", "negative_number"), ("1.5", "not_a_number"), ("many", "not_a_number"), ("NaN", "not_a_number"),
        ("1e400", "not_a_number"), ("9" * 30, "too_large"), ("1,234", "not_a_number"), ("True", "not_a_number"),
    ],
)  # fmt: skip
def test_what_is_no_count_is_named(text, problem):
    with pytest.raises(RowError, match="input_tokens is") as caught:
        whole(text, "input_tokens")
    assert caught.value.problem == problem


@pytest.mark.parametrize(
    "text",
    [
        "2026-03-14T10:00:00Z", "2026-03-14 10:00:00", "2026-03-14T12:00:00+02:00", "2026-03-14 10:00:00.0000000",
        "1773482400", "1773482400.0", "1773482400000", "1773482400000000",
    ],
)  # fmt: skip
def test_an_instant_is_read_in_many_forms(text):
    assert instant(text, "at", NOW) == datetime(2026, 3, 14, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "missing_value"), ("14.03.2026", "not_a_time"), ("2026-11-25", "future_date"), ("2014-12-31", "too_old"),
        ("0", "too_old"), ("1" * 400, "not_a_time"), ("9999-12-31T23:59:59-14:00", "not_a_time"),
    ],
)  # fmt: skip
def test_what_is_no_usable_instant_is_named(text, problem):
    with pytest.raises(RowError) as caught:
        instant(text, "at", NOW)
    assert caught.value.problem == problem


def test_money_is_exact_and_nothing_is_not_zero():
    assert money("0.000255", "cost") == Decimal("0.000255")
    assert money("$1.5e-7", "cost") == Decimal("0.00000015")
    assert money("0.1234567890123456789", "cost") == Decimal("0.123456789012345679")
    assert money("", "cost") is None


def test_a_label_holds_nothing_that_harms_a_terminal_or_a_file():
    assert label("a\x1b[31m\nb\ud800") == "a[31mb?"
    assert len(label("x" * 10_000)) == 512


def test_deployment_types_are_read_by_azure_s_names_too():
    names = ["global", "GlobalStandard", "DataZoneStandard", "Standard", "global_ptu", "ProvisionedManaged"]
    assert [deployment_type(name) for name in names] == [
        "global", "global", "data_zone", "regional", "global_ptu", "regional_ptu",
    ]  # fmt: skip
