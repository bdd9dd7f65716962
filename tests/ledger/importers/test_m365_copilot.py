import pytest
from tests.ledger.importers.reading import DATA, NOW, read, rejected

from penstock.ledger.importers.drafts import Assumed, Note
from penstock.ledger.importers.formats import choose
from penstock.ledger.importers.m365_copilot import FORMAT
from penstock.ledger.importers.run import import_file
from penstock.pricing.catalog import Catalog

CSV = (DATA / "m365_copilot.csv").read_text("utf-8")


def test_users_are_counted_by_how_long_ago_they_were_active():
    found, plan = (item.text for item in read(FORMAT, CSV) if isinstance(item, Note))
    assert found.startswith(
        "3 licensed users on 2026-03-16: 1 active within 30 days (33%), 1 idle for more than 60 days"
    )
    assert "1 never active; 1 used three apps or more" in found
    assert "penstock plan copilot --licences 3 --active-users 1" in plan


def test_the_json_of_graph_says_the_same_of_its_user():
    found, _plan = read(FORMAT, (DATA / "m365_copilot.json").read_bytes())
    assert isinstance(found, Note)
    assert found.text.startswith("1 licensed user on 2026-03-16: 1 active within 30 days (100%)")


@pytest.mark.parametrize("name", ["m365_copilot.csv", "m365_copilot.json"])
def test_nothing_is_booked_and_that_is_complete(name):
    outcome = import_file(
        DATA / name, choose(DATA / name, Assumed()), assumed=Assumed(), catalog=Catalog([]), now=NOW, ledger=None
    )
    assert (outcome.read, outcome.complete) == (0, True)
    assert not any("ada@contoso" in note for note in outcome.notes)


def test_a_row_with_an_unreadable_day_is_named():
    assert rejected(FORMAT, CSV.replace("2026-01-05", "lately")) == [(3, "not_a_time")]
