"""Scores and judged pairs survive, are kept once, and can be followed."""

import threading
from datetime import UTC, datetime, timedelta

import pytest

from penstock.errors import InputError, LedgerError
from penstock.ledger.levers import LeverWatch, resume, roll_back, standings
from penstock.ledger.outcomes import KEEP_AUTOMATIC, OUTCOMES_FILE, Outcomes, Pair, Scored, forget_old_scores
from penstock.ledger.state import STATE_FILE, State

NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)


def scored(request_id="r1", score=1.0, source="user", **more):
    return Scored(request_id=request_id, score=score, source=source, at=NOON, **more)


def pair(request_id="r1", first=1.0, second=0.5, **more):
    told = {"lever": "routing", "key": "k", "model": "small", "baseline": "large", "judge": "j", "at": NOON}
    return Pair(request_id=request_id, first=first, second=second, **(told | more))


@pytest.fixture
def store(tmp_path):
    found = Outcomes(tmp_path)
    yield found
    found.close()


def test_a_score_is_kept_once_and_a_changed_one_takes_its_place(store, tmp_path):
    assert store.score([scored(), scored("r2", 0.0)]) == 2
    assert store.score([scored()]) == 0
    assert store.score([scored(score=0.5)]) == 1
    assert store.score([scored(source="human", name="ada")]) == 1
    store.close()
    again = Outcomes(tmp_path)
    found = again.scores()
    assert [(one.request_id, one.source, one.score) for one in found] == [
        ("r2", "user", 0.0), ("r1", "user", 0.5), ("r1", "human", 1.0),
    ]  # fmt: skip
    assert [one.score for one in again.scores(after=found[1].number)] == [1.0]
    again.close()


def test_scores_that_nobody_reported_are_kept_apart_and_for_a_time(store):
    store.score([scored("r1", 0.0, "auto:refusal", name="m"), scored("r2"), scored("r3", 1.0, "auto:schema", name="m")])
    assert [one.request_id for one in store.scores()] == ["r2"]
    assert [one.source for one in store.scores(automatic=True)] == ["auto:refusal", "user", "auto:schema"]
    assert store.newest() == (2, 0)  # so nothing looks for evidence that is none
    assert store.forget(NOON + KEEP_AUTOMATIC) == 0
    assert store.forget(NOON + KEEP_AUTOMATIC + timedelta(seconds=1)) == 2
    assert [one.request_id for one in store.scores(automatic=True)] == ["r2"]


def test_reported_scores_are_kept_as_long_as_is_wanted_and_pairs_for_ever(store, tmp_path):
    store.score([scored("r1", 0.0, "auto:refusal", name="m"), scored("r2")])
    store.judge(pair("r3"))
    keep, later = timedelta(days=30), NOON + timedelta(days=30)
    assert forget_old_scores(tmp_path, later, keep=keep) == 0
    assert forget_old_scores(tmp_path, later + timedelta(seconds=1), keep=keep) == 2, "automatic ones go with them"
    assert store.scores(automatic=True) == []
    assert len(store.pairs()) == 1
    assert forget_old_scores(tmp_path / "empty", later, keep=keep) == 0


def test_scores_outlive_automatic_ones(store):
    store.score([scored("r1", 0.0, "auto:refusal", name="m"), scored("r2")])
    assert store.forget(NOON + timedelta(days=365), keep=timedelta(days=400)) == 1
    assert [one.request_id for one in store.scores()] == ["r2"]


def test_all_scores_of_one_report_or_none(store):
    def some():
        yield scored()
        raise RuntimeError("the client has gone")

    with pytest.raises(RuntimeError):
        store.score(some())
    assert store.scores() == []


def test_pairs_are_kept_once_and_found_by_lever_key_and_time(store):
    assert store.judge(pair()) == 1
    assert store.judge(pair(first=0.0)) == 0
    assert store.judge(pair("r2", key="other", at=NOON + timedelta(hours=1))) == 1
    assert [one.request_id for one in store.pairs(lever="routing")] == ["r1", "r2"]
    assert [one.request_id for one in store.pairs(key="k")] == ["r1"]
    assert [one.request_id for one in store.pairs(since=NOON + timedelta(minutes=1))] == ["r2"]
    assert (store.pairs()[0].score, store.pairs()[0].loss) == (0.75, -0.5)


def test_several_write_at_once(store, tmp_path):
    def many(number):
        mine = Outcomes(tmp_path)
        for n in range(30):
            mine.score([scored(f"{number}-{n}")])
        mine.close()

    threads = [threading.Thread(target=many, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.scores()) == 120


def test_what_is_no_store_is_said(tmp_path):
    (tmp_path / OUTCOMES_FILE).write_bytes(b"this is no database, but long enough to be looked at" * 10)
    with pytest.raises(LedgerError, match="Cannot open"):
        Outcomes(tmp_path)


def test_workers_see_a_rollback_and_a_proof_that_begins_anew(tmp_path):
    state, other = State(tmp_path / STATE_FILE), State(tmp_path / STATE_FILE)
    watch = LeverWatch(state)
    assert not watch.is_off("routing", "k")
    assert roll_back(other, "routing", "k", reason="too bad", at=NOON)
    assert not roll_back(other, "routing", "k", reason="again", at=NOON)
    watch.look()
    assert watch.is_off("routing", "k")
    assert not watch.is_off("routing", "other")
    assert standings(state)["routing", "k"].reason == "too bad"
    assert resume(other, "routing", "k", at=NOON).times == 2
    watch.look()
    assert not watch.is_off("routing", "k")
    with pytest.raises(InputError, match="not rolled back"):
        resume(other, "routing", "k", at=NOON)
    state.close()
    other.close()
