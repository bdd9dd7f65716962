"""What came of answers, by hand-made events and outcomes."""

from datetime import timedelta

from tests.analytics.made import MARCH, correction, event, table

from penstock.analytics.outcome_rates import outcome_rates
from penstock.ledger.outcomes import Scored


def answer(request_id: str, model: str, purpose: str = "call", *, route: str = "auto", **more):
    return event(request_id=request_id, requested_model=route, model=model, purpose=purpose, **more)


def scored(request_id: str, source: str, score: float = 0.0, **more) -> Scored:
    return Scored(request_id=request_id, source=source, score=score, at=MARCH, **more)


def said(found) -> list[tuple]:
    return [(r.route, r.model, r.source, r.outcomes, r.answers, r.share, r.mean_score) for r in found.rows]


def test_signs_are_counted_at_the_model_that_showed_them() -> None:
    events = [
        answer("a", "nano"), answer("a", "premium", "cascade", attempt=2), answer("b", "nano"), answer("c", "nano"),
        answer("d", "nano", outcome="error"), answer("d", "premium", "fallback", attempt=2),
        answer("a", "premium", "shadow", attempt=3), answer("a", "nano", "classifier", attempt=4),
    ]  # fmt: skip
    scores = [
        scored("a", "auto:escalation", name="nano-2026-01-31"), scored("b", "auto:truncated", name="nano"),
        scored("b", "auto:schema", name="nano"), scored("c", "auto:schema", 1, name="nano"), scored("a", "user", 1),
        scored("d", "user", 0.5),
    ]  # fmt: skip
    found = outcome_rates(table([*events, correction(events[0], None)]), scores)
    assert said(found) == [
        ("auto", "nano", "auto:escalation", 1, 3, 1 / 3, 0.0),
        ("auto", "nano", "auto:schema", 2, 3, 2 / 3, 0.5),
        ("auto", "nano", "auto:truncated", 1, 3, 1 / 3, 0.0),
        ("auto", "premium", "user", 2, 2, 1.0, 0.75),
    ]
    assert found.elsewhere == 0


def test_outcomes_of_other_calls_and_of_other_peoples_count_nowhere_and_are_said() -> None:
    events = [answer("a", "nano", key="k1", team="t"), answer("old", "nano", at=MARCH - timedelta(days=2))]
    scores = [
        scored("a", "user", 1, key="k2", team="t"), scored("a", "human", 1, key="k9", team="u"), scored("old", "user"),
        scored("mistyped", "user"),
    ]  # fmt: skip
    found = outcome_rates(table(events), scores, since=MARCH - timedelta(days=1))
    assert said(found) == [("auto", "nano", "user", 1, 1, 1.0, 1.0)]
    assert found.elsewhere == 3


def test_a_call_without_a_route_stands_under_its_model() -> None:
    found = outcome_rates(table([answer("a", "gpt-4o", route="")]), [scored("a", "rule", 1)])
    assert said(found) == [("gpt-4o", "gpt-4o", "rule", 1, 1, 1.0, 1.0)]
    assert outcome_rates(table([answer("a", "gpt-4o")]), []).rows == ()
