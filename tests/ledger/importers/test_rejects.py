"""What is wrong with a line is written down with its number, and the rest is booked: in every format of lines."""

import gzip
import json

import pytest
from tests.ledger.importers.reading import DATA, NOW

from penstock.ledger.importers.drafts import Assumed
from penstock.ledger.importers.formats import choose
from penstock.ledger.importers.run import import_file
from penstock.ledger.store import Ledger
from penstock.pricing.books import default_catalog

CATALOG = default_catalog()
TRACE = Assumed(provider="azure", model="gpt-4o", deployment_type="global")
FILES = sorted(file.name for file in DATA.iterdir() if file.suffix in (".csv", ".jsonl"))


def book(file, ledger):
    assumed = TRACE if file.name.startswith("azure_llm") else Assumed()
    return import_file(file, choose(file, assumed, ""), assumed=assumed, catalog=CATALOG, now=NOW, ledger=ledger)


@pytest.fixture
def ledger(tmp_path):
    with Ledger.open(tmp_path / "ledger") as opened:
        yield opened


@pytest.mark.parametrize("name", FILES)
def test_long_lines_and_wrong_encodings_are_set_aside_and_the_rest_is_booked_once(name, ledger, tmp_path):
    plain = book(DATA / name, None)
    before = sum(plain.rejected.values())
    file = tmp_path / name
    lines = (DATA / name).read_bytes().rstrip(b"\r\n").split(b"\n")
    file.write_bytes(b"\n".join([*lines, b"x" * 10_000_000, b"caf\xe9 \xff", b""]))
    outcome = book(file, ledger)
    assert (outcome.read, outcome.cost) == (plain.read, plain.cost)
    assert outcome.rejected["line_too_long"] == outcome.rejected["wrong_encoding"] == 1
    assert sum(outcome.rejected.values()) == before + 2
    assert outcome.rejects is not None
    rows = {row["code"]: row for row in map(json.loads, outcome.rejects.read_text().splitlines())}
    assert rows["line_too_long"]["line"] == len(lines) + 1
    assert "more than 8,388,608" in rows["line_too_long"]["reason"]
    assert rows["wrong_encoding"]["line"] == len(lines) + 2
    again = book(file, ledger)
    assert (again.new, again.duplicates) == (0, outcome.new + outcome.duplicates)


@pytest.mark.parametrize("name", FILES)
def test_a_gzip_that_ends_early_is_named_and_booked_as_far_as_it_goes(name, ledger, tmp_path):
    file = tmp_path / f"{name}.gz"
    packed = gzip.compress((DATA / name).read_bytes())
    file.write_bytes(packed[:-9])
    outcome = book(file, ledger)
    assert outcome.rejected["truncated_file"] == 1
    assert not outcome.complete
    file.write_bytes(packed)
    assert book(file, ledger).read == book(DATA / name, None).read
