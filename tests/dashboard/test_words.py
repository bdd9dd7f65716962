from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.dashboard import words
from penstock.dashboard.house import web_part


@pytest.mark.parametrize(
    ("amount", "said"),
    [
        ("0", "$0.00"), ("0.1", "$0.10"), ("0.000497", "$0.000497"), ("1234567.5", "$1,234,567.50"),
        ("1E-18", "$0.000000000000000001"), ("1E+3", "$1,000.00"), ("-0.25", "-$0.25"),
    ],
)  # fmt: skip
def test_exact_amounts_have_all_their_digits(amount: str, said: str) -> None:
    assert words.exact(Decimal(amount)) == said


@given(st.decimals(min_value=-(10**9), max_value=10**9, places=18))
def test_an_exact_amount_reads_back_as_itself(amount: Decimal) -> None:
    assert Decimal(words.exact(amount).replace("$", "").replace(",", "")) == amount


@pytest.mark.parametrize(
    ("amount", "places", "said"),
    [
        ("1234.567", 2, "$1,234.57"), ("0.004", 2, "<$0.01"), ("-0.004", 2, ">-$0.01"), ("0", 2, "$0.00"),
        ("-3.5", 2, "-$3.50"), ("0.00001", 4, "<$0.0001"),
    ],
)  # fmt: skip
def test_what_is_not_zero_never_looks_like_zero(amount: str, places: int, said: str) -> None:
    assert words.money(Decimal(amount), places) == said


@pytest.mark.parametrize(
    ("number", "said"),
    [(0, "0"), (9_999, "9,999"), (12_345, "12.3K"), (999_499, "999K"), (1_700_000, "1.7M"), (123_000_000, "123M"),
     (2_500_000_000, "2.5B")],
)  # fmt: skip
def test_large_counts_are_short(number: int, said: str) -> None:
    assert words.short(number) == said


def test_shares_durations_and_times() -> None:
    assert [words.share(*pair) for pair in ((1, 3), (0, 5), (1, 10_000), (1, 0))] == ["33.3%", "0.0%", "<0.1%", "–"]
    assert [words.duration(us) for us in (0, 400, 812_000, 3_400_000, 150_000_000)] == [
        "–", "1 ms", "812 ms", "3.4 s", "2.5 min",
    ]  # fmt: skip
    assert words.stamp(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)) == "2026-01-02 03:04:05"


def test_rates_stand_as_price_lists_have_them() -> None:
    assert words.rate("input", Decimal("0.0000025")) == "$2.50 per 1M"
    assert words.rate("web_searches", Decimal("0.01")) == "$0.01 each"


def test_addresses_bear_any_name() -> None:
    assert words.request_path("a/b?c#d e") == "/requests/a%2Fb%3Fc%23d%20e"
    assert words.link("/requests", {"team": "R&D", "app": ""}, page="2") == "/requests?team=R%26D&page=2"


def test_a_columns_points_line_up() -> None:
    amounts = [Decimal("0.5"), Decimal("0.000497"), None]
    said = [words.aligned(amount, amounts) for amount in amounts]
    assert said == ["$0.50" + 4 * words.FIGURE_SPACE, "$0.000497", "unknown"]


def test_a_column_has_as_many_decimals_as_its_largest_figure_needs() -> None:
    assert [words.places_for([Decimal(most)]) for most in ("12", "0.3", "0.02")] == [2, 4, 6]
    assert [words.places_for(none) for none in ([], [Decimal(0)])] == [2, 2]


def test_a_source_is_linked_where_it_ends_in_an_address() -> None:
    assert web_part("genai-prices 1: https://a.example/x") == ("genai-prices 1: ", "https://a.example/x")
    assert web_part("javascript:alert(1)") == ("javascript:alert(1)", "")
    assert web_part("https://a.example and more") == ("https://a.example and more", "")
