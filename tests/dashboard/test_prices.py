import csv
import io
from datetime import UTC, datetime
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from tests.dashboard.conftest import NOW, text

from penstock.dashboard.app import make_app
from penstock.dashboard.prices import in_force
from penstock.pricing.book import PriceRow, make_book
from penstock.pricing.books import default_catalog


def test_rows_in_force_are_listed_with_their_state(two: TestClient) -> None:
    page = text(two.get("/prices").text)
    assert "gpt-4o openai global standard $2.50 $1.25 $10.00 priced" in page
    assert "gpt-4o azure global ptu standard – – – flat rate" in page
    assert "gpt-old" not in page  # no longer in force
    assert "test@1 Prices of a test 3 rows" in page
    assert "1 to 2 of 2" in page


def test_all_rows_can_be_downloaded_with_all_their_digits(two: TestClient) -> None:
    rows = list(csv.DictReader(io.StringIO(two.get("/figures/prices/prices.csv?provider=openai&page=all").text)))
    assert [(row["model"], row["input"], row["cache_read"], row["state"]) for row in rows] == [
        ("gpt-4o", "0.0000025", "0.00000125", "priced")
    ]


def test_of_each_key_the_newest_row_holds() -> None:
    def row(year: int) -> PriceRow:
        return PriceRow(provider="p", model="m", valid_from=datetime(year, 1, 1, tzinfo=UTC), free=True)

    rows = make_book("b", "1", [row(2026), row(2024), row(2030)])
    assert [found.valid_from.year for found in in_force(rows, NOW)] == [2026]


def test_the_price_list_is_filtered_and_paged(two: TestClient) -> None:
    client = two
    assert "1 to 1 of 1" in text(client.get("/prices?provider=azure").text)
    assert "No price fits this filter." in client.get("/prices?q=nothing").text
    assert client.get("/prices?colour=red").status_code == 400
    document = client.get("/api/prices?q=GPT").json()
    assert [(one["row"]["provider"], one["state"]) for one in document["rows"]] == [
        ("openai", "priced"), ("azure", "flat_rate"),
    ]  # fmt: skip
    assert document["rows"][0]["row"]["rates"]["input"] == "0.0000025"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


def test_the_books_of_the_package_can_be_looked_through(whole: Path) -> None:
    with TestClient(make_app(whole, catalog=default_catalog(), now=lambda: NOW)) as client:
        page = text(client.get("/prices?provider=azure&q=o3-mini").text)
        assert "o3-mini" in page
        assert "retired 2026-11-19" in page
        first = client.get("/api/prices").json()
        second = client.get(first["next"]).json()
        assert len(first["rows"]) == 100
        assert first["rows"][-1] != second["rows"][0]
        assert first["count"] > 2_000
