"""The routing benchmark measures what it says, on made-up rows; the public results are not needed."""

from random import Random

import pytest
from benchmarks.routing import Row, apgr, by_table, by_words, folded


def rows(count: int = 600) -> list[Row]:
    """Make questions of two kinds: the weak model fails at one of them, and the word says which it is."""
    draw = Random(7)
    made = []
    for number in range(count):
        hard = draw.random() < 0.5
        weak = float(draw.random() < (0.2 if hard else 0.9))
        made.append(Row(f"a {'hard' if hard else 'easy'} one {number}", str(hard), number % 5, weak, 1.0))
    return made


def test_the_area_of_a_perfect_order_of_chance_and_of_the_worst() -> None:
    some = [Row("", "", 0, float(number >= 5), 1.0) for number in range(10)]
    assert apgr(some, [1.0 - row.weak for row in some]) == pytest.approx(0.75)
    assert apgr(some, [0.0] * 10) == pytest.approx(0.5)
    assert apgr(some, [row.weak for row in some]) == pytest.approx(0.25)


@pytest.mark.parametrize("method", [by_table, by_words])
def test_both_methods_find_what_is_there(method) -> None:
    assert folded(rows(), method) > 0.65


def test_with_shuffled_labels_nothing_is_found() -> None:
    assert abs(folded(rows(), by_words, shuffled=True) - 0.5) < 0.12
