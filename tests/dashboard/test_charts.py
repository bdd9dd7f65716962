import re
from datetime import date, timedelta
from decimal import Decimal
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.dashboard.charts import Series, Step, bar, ranked, stacked, waterfall
from penstock.dashboard.charts_frame import HEIGHT, WIDTH

DAYS = [date(2026, 11, 1) + timedelta(days=n) for n in range(3)]


def drawn(*series: Series) -> ET.Element:
    return ET.fromstring(stacked(DAYS[: len(series[0].amounts)] if series else DAYS, series, title="Spend"))


def test_bars_are_as_high_as_their_share_of_the_axis() -> None:
    chart = drawn(Series("a", (Decimal(1), Decimal(2), Decimal(0))), Series("b", (Decimal(1), Decimal(0), Decimal(4))))
    heights = {
        (rect.get("class"), float(rect.get("x") or 0)): float(rect.get("height") or 0)
        for rect in chart
        if rect.get("class") in ("c0", "c1")
    }
    assert len(heights) == 4  # zero draws nothing
    one = min(heights.values())
    assert sorted(round(height / one, 2) for height in heights.values()) == [1, 1, 2, 4]


def test_each_day_says_its_parts() -> None:
    chart = drawn(
        Series("a", (Decimal("1.5"), Decimal(0), Decimal(0))), Series("<b>", (Decimal(2), Decimal(0), Decimal(0)))
    )
    titles = [title.text or "" for title in chart.iter("title")]
    assert titles == ["1 Nov: $3.5000\n<b>: $2.0000\na: $1.5000", "2 Nov: $0.0000", "3 Nov: $0.0000"]


amounts = st.decimals(min_value=0, max_value=10**9, places=6)


@given(st.lists(st.tuples(amounts, amounts, amounts), max_size=9))
def test_nothing_is_drawn_outside_the_frame(rows: list[tuple[Decimal, ...]]) -> None:
    chart = drawn(*(Series(f"m{n}", row) for n, row in enumerate(rows)))
    for rect in chart.iter("rect"):
        y, height = float(rect.get("y") or 0), float(rect.get("height") or 0)
        assert 0 <= float(rect.get("x") or 0) <= WIDTH
        assert y >= 11.9
        assert y + height <= HEIGHT
    lines = [line for line in chart if line.get("class") == "grid"]
    assert 2 <= len(lines) <= 7


@pytest.mark.parametrize(("most", "labels"), [
    ("0", ["$0", "$1"]), ("5.4", ["$0", "$2", "$4", "$6"]), ("0.03", ["$0.00", "$0.01", "$0.02", "$0.03"]),
    ("1200", ["$0", "$500", "$1,000", "$1,500"]),
])  # fmt: skip
def test_the_axis_has_round_figures(most: str, labels: list[str]) -> None:
    chart = drawn(Series("a", (Decimal(most),)))
    assert [text.text for text in chart.iter("text") if (text.text or "").startswith("$")] == labels


def test_a_share_is_a_bar_of_that_width() -> None:
    assert re.findall(r'width="([\d.]+)"', bar(Decimal(1), Decimal(4))) == ["100", "25.0"]
    assert re.findall(r'width="([\d.]+)"', bar(Decimal(0), Decimal(0))) == ["100"]


@pytest.mark.parametrize(
    "amounts", [("0", "0.00575", "0.00575"), ("3", "97", "100"), ("5", "-9", "-4"), ("0", "0", "0")]
)
def test_figures_of_steps_stand_right_above_them_and_inside_the_chart(amounts: tuple[str, str, str]) -> None:
    first, more, last = map(Decimal, amounts)
    steps = [Step("a", first, is_level=True), Step("b", more), Step("c", last, is_level=True)]
    chart = ET.fromstring(waterfall(steps, title="Why"))
    tops = [float(one.get("y") or 0) for one in chart if one.get("class") in ("level", "more", "fewer")]
    written = [float(one.get("y") or 0) for one in chart if one.get("class") == "value"]
    assert [round(top - y, 1) for top, y in zip(tops, written, strict=True)] == [5, 5, 5]
    assert min(written) > 10  # the height of its letters


def test_lying_bars_are_shares_of_the_width_and_limits_stand_at_theirs() -> None:
    chart = ET.fromstring(
        ranked([("a" * 50, Decimal(4)), ("b", Decimal(1))], title="Spent", limits=[Decimal(2), Decimal(8)])
    )
    bars = [one for one in chart.iter() if one.tag.endswith("rect") and one.get("class") in ("c0", "c4")]
    assert [(one.get("class"), one.get("width")) for one in bars] == [("c4", "50.00%"), ("c0", "12.50%")]
    assert [one.get("x1") for one in chart.iter() if one.get("class") == "limit"] == ["25.00%", "100.00%"]
    assert [one.text for one in chart.iter() if one.get("class") == "value"] == ["$4.0000", "$1.0000"]
