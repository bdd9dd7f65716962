import re
import sys
import zlib
from decimal import Decimal

import pytest
from tests.dashboard.conftest import HOSTILE, RIGHT_TO_LEFT, Open, event, text, unpriced

from penstock.analytics.shared_costs import Chargeback, SharedCost
from penstock.dashboard import statement_pdf

RULES = {"chargeback": Chargeback(shared=(SharedCost(name="platform", amount=Decimal(3)),))}


def words_of(pdf: bytes) -> str:
    """Return what a PDF with a built-in font says."""
    streams = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", pdf, re.DOTALL)
    said = [re.findall(rb"\((.*?)(?<!\\)\) Tj", zlib.decompress(one)) for one in streams if one[:1] == b"x"]
    return " ".join(piece.decode("latin-1").replace("\\", "") for one in said for piece in one)


def test_a_statement_adds_up_on_the_page_and_on_paper(browse: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statement_pdf, "FONTS", ())
    client = browse([event(1), event(2, app="bot"), unpriced(3), event(4, team="finance")], info=RULES)
    page = text(client.get("/chargeback/statement?name=support").text)
    # two of three like calls: $0.0115, and two thirds of the platform
    assert "To pay $2.01 exactly $2.0115" in page
    assert "helpdesk gpt-4o none 1 1,200 300 $0.00575" in page
    assert "platform proportional 66.7% $2.00" in page
    assert "Events without a price yet, which are not charged: 1." in page
    reply = client.get("/chargeback/statement.pdf?name=support")
    assert reply.headers["content-type"] == "application/pdf"
    said = words_of(reply.content)
    for words in ("Statement of team support", "Total $2.0115: direct $0.0115, shared $2.00", "$0.00575", "66.7%"):
        assert words in said


def test_any_name_can_be_printed(browse: Open) -> None:
    client = browse([event(1, team=RIGHT_TO_LEFT, app=HOSTILE), event(2, team=HOSTILE)], info=RULES)
    for name in (RIGHT_TO_LEFT, HOSTILE):
        reply = client.get("/chargeback/statement.pdf", params={"name": name})
        assert reply.status_code == 200
        assert reply.content.startswith(b"%PDF-")


def test_who_has_no_statement_is_told_so(browse: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    client = browse([event(1)])
    assert client.get("/chargeback/statement").status_code == 400
    nobody = client.get("/chargeback/statement.pdf?name=nobody")
    assert nobody.status_code == 404
    assert "Nothing is charged to the team &#39;nobody&#39;" in nobody.text
    monkeypatch.setitem(sys.modules, "fpdf", None)
    without = client.get("/chargeback/statement.pdf?name=support")
    assert without.status_code == 400
    assert "pip install &#39;penstock[pdf]&#39;" in without.text
