import pytest
from tests.planning.books import D, azure

from penstock.errors import PlanError
from penstock.planning.tokens import CONTENT_TYPES, Piece, Tokens, tokens


def test_counted_pieces_are_priced_as_input():
    pieces = (Piece(name="a.txt", tokens=1_000_000), Piece(name="b.png", kind="image", tokens=765))
    plan = tokens(Tokens(model="gpt-4o", pieces=pieces), azure())
    assert plan.input_tokens == 1_000_765
    assert [line.cost for line in plan.pieces] == [D("2.50"), D("0.0019125")]


def test_the_error_of_a_count_becomes_a_range():
    plan = tokens(Tokens(pieces=(Piece(name="a", tokens=1000, method="scaled", error=D("0.2")),)), azure())
    assert (plan.low_tokens, plan.high_tokens) == (800, 1200)


def test_requests_a_day_make_a_month():
    plan = tokens(Tokens(pieces=(Piece(name="a", tokens=500),), output_tokens=300, requests_per_day=10_000), azure())
    assert plan.monthly_cost == D("1275.00")


def test_words_are_estimated_by_what_was_measured_and_not_by_section_7_2():
    plan = tokens(Tokens(words=1000, content="json"), azure())
    assert plan.input_tokens == 3730
    assert plan.pieces[0].method == "estimated"
    guide = {kind.content: kind.guide for kind in CONTENT_TYPES}
    assert guide["json"] == "~1,600"


def test_words_without_spaces_want_characters():
    with pytest.raises(PlanError, match="words: chinese does not separate words by spaces: give --characters"):
        tokens(Tokens(words=1000, content="chinese"), azure())
    assert tokens(Tokens(characters=1800, content="chinese"), azure()).input_tokens == 1000


def test_nothing_to_count_is_named():
    with pytest.raises(PlanError, match="pieces: nothing to count"):
        tokens(Tokens(), azure())


def test_the_same_content_stands_on_every_model_it_was_counted_for():
    counts = {
        "gpt-4o": (Piece(name="a.png", kind="image", tokens=765),),
        "gpt-4o-mini": (Piece(name="a.png", kind="image", tokens=25_501),),
        "Phi-4": (Piece(name="a.png", kind="image", tokens=700, method="estimated"),),
        "text-embedding-3-small": (Piece(name="a.png", tokens=1),),  # it answers nothing
    }
    plan = tokens(Tokens(pieces=counts["gpt-4o"], words=1000, requests_per_day=100), azure(), counts)
    lines = {line.model: line for line in plan.models}
    assert list(lines) == ["Phi-4", "gpt-4o-mini", "gpt-4o"]  # the cheapest first
    assert [line.input_tokens for line in lines.values()] == [700 + 1283, 25_501 + 1283, 765 + 1283]
    assert lines["gpt-4o"].monthly_cost == plan.monthly_cost
    assert lines["Phi-4"].note == "reads no pictures"
    assert {line.method for line in plan.models} == {"estimated"}  # the words are
