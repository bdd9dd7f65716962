import dataclasses
from datetime import UTC, datetime

import pytest
from tests.planning.books import D, azure, guide

from penstock.errors import PlanError
from penstock.planning.model import MATRIX, QUESTIONS, Model, model, right_sizes

SPRING = dataclasses.replace(azure(), at=datetime(2026, 3, 31, tzinfo=UTC))


@pytest.mark.parametrize(
    ("task", "saving"),
    [("classification", 96), ("summarization", 94), ("extraction", 94), ("support", 94), ("moderation", 96),
     ("code", 20), ("math", 56), ("translation", 94), ("embeddings", 99)],
)  # fmt: skip
def test_the_savings_column_of_section_7_4_comes_out(task, saving):
    assert round(dict(right_sizes(guide()))[task] * 100) == saving


@pytest.mark.parametrize("line", [line for line in MATRIX if line.task != "math"], ids=lambda line: line.task)
def test_the_tree_recommends_what_the_matrix_of_section_7_4_says(line):
    assert model(Model(task=line.task), azure()).model == line.recommended


def test_a_retired_model_is_not_recommended_and_its_day_is_named():
    choice = model(Model(task="math"), azure())
    assert choice.model == "gpt-5-mini"
    assert "o3-mini retired on 2026-11-19: it no longer answers, choose another model." in choice.notes
    why = {candidate.model: candidate.why_not for candidate in choice.candidates}
    assert why["o3-mini"] == "retired on 2026-11-19"


def test_before_that_day_it_is_a_candidate_with_a_warning():
    choice = model(Model(task="math"), SPRING)
    assert next(candidate for candidate in choice.candidates if candidate.model == "o3-mini").fits
    assert "o3-mini retires on 2026-11-19: plan for its successor." in choice.notes


def test_hidden_reasoning_makes_o3_mini_48_percent_dearer_than_gpt_4o_against_section_7_4():
    choice = model(Model(task="math"), dataclasses.replace(guide(), at=SPRING.at))
    cost = {candidate.model: candidate.monthly_cost for candidate in choice.candidates}
    assert round(cost["o3-mini"] / cost["gpt-4o"] - 1, 2) == D("0.48")


def test_a_long_prompt_rules_out_small_contexts():
    assert model(Model(task="support", context_tokens=500_000), azure()).model == "gpt-4.1-mini"


def test_the_best_quality_takes_the_next_size():
    assert model(Model(task="support", quality="best"), azure()).model == "gpt-4.1"
    assert model(Model(task="support", quality="basic"), azure()).model == "gpt-4.1-nano"


def test_the_reason_fits_the_quality_and_names_what_the_next_size_costs():
    good, best, least = (
        model(Model(task=task, quality=quality), azure()).why_not_bigger
        for task, quality in (("support", "good"), ("support", "best"), ("classification", "basic"))
    )
    assert good == ("Answers are short, the domain is known. The next size up, gpt-4.1, costs $943.50 more a month.")
    assert best.startswith("Mistakes are dear: one size more than usual, and no more than that. The next size up,")
    assert least.startswith("A label needs no reasoning.")  # there is no smaller size


def test_images_need_a_model_that_reads_them():
    choice = model(Model(task="classification", modality="image"), azure())
    assert "does not read images" in {each.model: each.why_not for each in choice.candidates}["Phi-4"]
    assert any("gpt-4o-mini takes 33 times the tokens" in note for note in choice.notes)


def test_who_can_wait_a_day_pays_the_batch_price():
    now, later = (model(Model(task="support", patience=patience), azure()) for patience in ("normal", "day"))
    assert later.monthly_cost * 2 == now.monthly_cost


def test_too_long_a_prompt_is_named():
    with pytest.raises(PlanError, match="context_tokens: no model of the table does this task with 9,000,000 tokens"):
        model(Model(context_tokens=9_000_000), azure())


def test_every_question_of_the_interview_is_an_input():
    fields = {field.name for field in dataclasses.fields(Model)}
    assert {field for field, _, _ in QUESTIONS} <= fields
