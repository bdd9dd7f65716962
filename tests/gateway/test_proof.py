"""Outcomes and shadow pairs through a real server: kept, booked in the same request, and never in the client's way."""

import json
import threading
import time
from datetime import timedelta
from decimal import Decimal

import pytest
from tests.gateway.conftest import Server
from tests.gateway.scripted import Scripted, stream, whole

from penstock import app
from penstock.ledger.levers import standings
from penstock.ledger.outcomes import Outcomes, Pair, Scored
from penstock.ledger.state import State
from penstock.ledger.store import Ledger
from penstock.metering.event import utc_now
from penstock.policies.alert_delivery import listed
from penstock.policies.key_store import KeyStore
from penstock.policies.keys import VirtualKey
from penstock.settings import parse

SERVED, BETTER = "served answer", "baseline answer"
CHAT = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Say something"}]}


def reply(model: str, text: str) -> bytes:
    return json.dumps({
        "id": "c", "object": "chat.completion", "model": model,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100},
    }).encode()  # fmt: skip


class Provider:
    """Three models: gpt-4o-mini serves, gpt-4o is the baseline, and the judge (gpt-4.1-nano) prefers the baseline."""

    def __init__(self) -> None:
        self.baseline, self.verdict = BETTER, ""
        self.gate = threading.Event()
        self.gate.set()
        self.line = Scripted(self.answer)

    def answer(self, asked):
        body = json.loads(asked.body)
        model = body["model"]
        if model == "gpt-4o-mini":
            if body.get("stream"):
                chunk = {"id": "c", "object": "chat.completion.chunk", "model": model, "choices": [
                    {"index": 0, "delta": {"content": SERVED}, "finish_reason": "stop"}]}  # fmt: skip
                usage = {**chunk, "choices": [], "usage": {"prompt_tokens": 1000, "completion_tokens": 100}}
                told = [json.dumps(chunk).encode(), json.dumps(usage).encode(), b"[DONE]"]
                return stream([b"data: %b\n\n" % one for one in told])
            return whole(reply(model, SERVED))
        self.gate.wait(20)
        if model == "gpt-4o":
            assert "stream" not in body
            return whole(reply(model, self.baseline))
        said = body["messages"][1]["content"]
        first = said.index(f"<first>\n{BETTER}") if f"<first>\n{BETTER}" in said else -1
        verdict = self.verdict or json.dumps({"better": "first" if first >= 0 else "second"})
        return whole(reply(model, verdict))


@pytest.fixture(scope="module")
def provider():
    one = Provider()
    yield one
    one.gate.set()
    one.line.close()


@pytest.fixture(scope="module")
def server(provider, tmp_path_factory):
    one = Server(tmp_path_factory.mktemp("proof"), settings(provider))
    yield one
    one.stop()


@pytest.fixture(scope="module")
def headers(server):
    return lever_key(server)


@pytest.fixture(autouse=True)
def as_usual(provider):
    provider.baseline, provider.verdict = BETTER, ""
    provider.line.asked.clear()
    provider.gate.set()


def settings(provider, more="") -> str:
    text = f'[[providers]]\nname = "p"\nbase_url = "{provider.line.url}/v1"\n'
    for model in ("gpt-4o-mini", "gpt-4o", "gpt-4.1-nano"):
        text += f'[[deployments]]\nname = "{model}-here"\nprovider = "p"\nmodel = "{model}"\n'
    route = '[[routes]]\nmodel = "gpt-4o-mini"\ndeployments = ["gpt-4o-mini-here"]\n'
    return f'[proof]\nshadow = 1.0\njudge = "gpt-4.1-nano-here"\ncheck_seconds = 0.2\n{text}{route}{more}'


def lever_key(server, **more) -> dict[str, str]:
    """A key whose calls look as if a lever had decided about them: its tags are an operator's word."""
    tags = {"penstock.lever": "routing", "penstock.key": "support", "penstock.arm": "treated",
            "penstock.propensity": "0.9", "penstock.baseline": "gpt-4o"}  # fmt: skip
    state = State(server.data / "state.sqlite")
    key = VirtualKey(id="", name=f"app {more}", team="support", tags=tags | more, created=utc_now())
    _, secret = KeyStore(state).create(key)
    state.close()
    return {"authorization": f"Bearer {secret}"}


def call(server, headers, body=CHAT):
    until = time.monotonic() + 10
    while True:  # the worker learns of a new key within a moment
        status, head, said = server.post("/v1/chat/completions", body, headers)
        if status != 401 or time.monotonic() > until:
            assert status == 200, said
            return {name.lower(): value for name, value in head.items()}["x-penstock-request-id"], said
        time.sleep(0.05)


def events_of(server, request_id, count):
    until = time.monotonic() + 30
    while time.monotonic() < until:
        try:
            found = [one["event"] for one in server.get(f"/api/requests/{request_id}")["events"]]
        except OSError:
            found = []
        if len(found) >= count:
            return found
        time.sleep(0.05)
    raise AssertionError(f"only {[one['purpose'] for one in found]}")


def pair_of(server, request_id):
    until = time.monotonic() + 30
    while time.monotonic() < until:
        store = Outcomes(server.data)
        found = [one for one in store.pairs() if one.request_id == request_id]
        store.close()
        if found:
            return found[0]
        time.sleep(0.05)
    raise AssertionError("no pair was judged")


@pytest.mark.parametrize("streamed", [False, True])
def test_a_pair_is_judged_in_both_orders_and_booked_in_the_same_request(server, provider, headers, streamed):
    provider.gate.clear()
    request_id, said = call(server, headers, {**CHAT, "stream": streamed})
    assert SERVED in said.decode()  # while baseline and judge still wait: nobody waits for them
    provider.gate.set()
    found = events_of(server, request_id, 4)
    assert [e["purpose"] for e in found] == ["call", "shadow", "judge", "judge"]
    assert [e["attempt"] for e in found] == [1, 2, 3, 4]
    assert [e["model"] for e in found] == ["gpt-4o-mini", "gpt-4o", "gpt-4.1-nano", "gpt-4.1-nano"]
    assert [e["tags"]["penstock.arm"] for e in found] == ["treated", "shadow", "shadow", "shadow"]
    assert {e["team"] for e in found} == {"support"}
    assert found[1]["cost"] == "0.0035"
    pair = pair_of(server, request_id)
    assert (pair.lever, pair.key, pair.model, pair.baseline) == ("routing", "support", "gpt-4o-mini", "gpt-4o")
    assert (pair.first, pair.second, pair.loss) == (0.0, 0.0, 1.0)
    asked = [json.loads(a.body) for a in provider.line.asked if b"nano" in a.body]
    assert len(asked) == 2
    assert all("gpt-4o" not in one["content"] for body in asked for one in body["messages"])  # blind


def test_equal_answers_need_no_judge(server, provider, headers):
    provider.baseline = SERVED
    request_id, _ = call(server, headers)
    assert pair_of(server, request_id).loss == 0.0
    assert [e["purpose"] for e in events_of(server, request_id, 2)] == ["call", "shadow"]


def test_a_judge_that_says_nothing_clear_makes_no_pair_but_is_booked_and_not_asked_again(server, provider, headers):
    provider.verdict = "Both are fine."
    request_id, _ = call(server, headers)
    events_of(server, request_id, 3)
    provider.verdict = ""
    later, _ = call(server, headers)
    pair_of(server, later)  # pairs are begun in the order of their calls
    assert [e["purpose"] for e in events_of(server, request_id, 3)] == ["call", "shadow", "judge"]
    store = Outcomes(server.data)
    assert request_id not in [one.request_id for one in store.pairs()]
    store.close()
    assert "without a verdict so far: 1. The baseline or the judge, gpt-4.1-nano-here, did" in server.log.read_text()


@pytest.mark.parametrize("more", [{"penstock.arm": "control"}, {"penstock.baseline": "gpt-4o-mini"}])
def test_calls_that_nothing_changed_are_not_asked_again(server, provider, headers, more):
    request_id, _ = call(server, lever_key(server, **more))
    later, _ = call(server, headers)  # what is asked again after this one is seen below
    pair_of(server, later)
    assert [e["purpose"] for e in events_of(server, request_id, 1)] == ["call"]


def test_the_ledger_adds_up_to_the_cent_and_beyond(server):
    (saving,) = [one for one in server.get("/api/savings?lever=routing")["savings"] if one["key"] == "support"]
    parts = ("control", "treated", "lever_cost", "proof_cost", "left_out")
    assert sum(Decimal(saving[name]) for name in parts) == Decimal(saving["ledger"])
    server.get("/api/spend?by=team")
    (row,) = [one for one in server.get("/api/spend?by=team")["rows"] if one["team"] == "support"]
    assert Decimal(row["cost"]) == Decimal(saving["ledger"]) > 0


def test_what_is_made_for_a_proof_is_held_to_budgets(start, provider):
    # The call fits, its shadow does not.
    server = start(settings(provider, '[[budgets]]\nscope = "team=support"\ndollars = "0.0005"\nper = "day"\n'))
    request_id, _ = call(server, lever_key(server), {**CHAT, "max_tokens": 100})
    server.stop()
    with Ledger.open(server.data) as ledger:
        assert [e.purpose for e in ledger.events(request_id=request_id)] == ["call"]
    assert len(provider.line.asked) == 1


def test_a_worker_that_leaves_ends_and_books_the_pair_that_is_under_way(start, provider):
    provider.gate.clear()
    server = start(settings(provider))
    request_id, _ = call(server, lever_key(server))
    until = time.monotonic() + 20
    while len(provider.line.asked) < 2 and time.monotonic() < until:
        time.sleep(0.02)
    threading.Timer(0.5, provider.gate.set).start()
    server.stop()
    with Ledger.open(server.data) as ledger:
        found = ledger.events(request_id=request_id)
    assert [e.purpose for e in found] == ["call", "shadow", "judge", "judge"]


# Outcomes


def test_outcomes_are_kept_once_for_who_may_call(start, provider):
    server = start(settings(provider))
    status, _, said = server.post("/v1/outcomes", {"id": "r1", "score": 0.5})
    assert (status, json.loads(said)) == (200, {"accepted": 1, "changed": 1})
    headers = lever_key(server)
    until = time.monotonic() + 10
    while server.post("/v1/outcomes", {"id": "r1", "score": 0.5})[0] != 401 and time.monotonic() < until:
        time.sleep(0.05)
    status, _, said = server.post("/v1/outcomes", {"id": "r1", "score": 0.5})
    assert (status, json.loads(said)["error"]["code"]) == (401, "key_missing")
    several = {"outcomes": [{"id": "r1", "score": 1, "source": "human", "name": "ada"}, {"id": "r2", "score": 0}]}
    assert json.loads(server.post("/v1/outcomes", several, headers)[2]) == {"accepted": 2, "changed": 2}
    assert json.loads(server.post("/v1/outcomes", several, headers)[2]) == {"accepted": 2, "changed": 0}
    server.stop()
    store = Outcomes(server.data)
    assert [(one.request_id, one.score, one.source, one.name, one.team) for one in store.scores()] == [
        ("r1", 0.5, "user", "", ""), ("r1", 1.0, "human", "ada", "support"), ("r2", 0.0, "user", "", "support"),
    ]  # fmt: skip
    store.close()


def test_scores_are_dropped_when_they_are_older_than_is_wanted(tmp_path):
    settings = parse(f'[ledger]\ndata = "{tmp_path}"\n[proof]\nkeep_days = 30\n')
    store, now = Outcomes(tmp_path), utc_now()
    for days in (29, 31):
        store.score([Scored(request_id=f"r{days}", score=1, source="user", at=now - timedelta(days=days))])

    class Once:
        left = 1

        def wait(self, _seconds):
            self.left -= 1
            return self.left < 0

    app._guard_quality_now_and_then(settings, Once())
    assert [one.request_id for one in store.scores()] == ["r29"]
    store.close()


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", {"id": "r"}, {"id": "r", "score": 1.1}, {"id": "", "score": 1}, {"id": "r", "score": "1"},
        {"id": "r", "score": 1, "source": "me"}, {"id": "r", "score": 1, "more": 1}, {"id": "r" * 300, "score": 1},
        {"outcomes": [{"id": "r", "score": 1}] * 1001}, b'{"id": "r", "score": NaN}', b"\xff",
    ],
)  # fmt: skip
def test_what_is_no_outcome_is_refused_in_a_sentence(server, headers, body):
    call(server, headers)  # the key is known by then
    status, _, said = server.post("/v1/outcomes", body, headers)
    error = json.loads(said)["error"]
    assert (status, error["code"]) == (400, "wrong_input")
    assert "score" in error["message"]


# The guard


def test_a_model_that_has_become_bad_is_taken_back_and_somebody_is_told(start, provider):
    server = start(settings(provider))
    call(server, lever_key(server))
    store = Outcomes(server.data)
    told = {"lever": "routing", "key": "support", "model": "gpt-4o-mini", "baseline": "gpt-4o", "judge": "j"}
    store.judge(
        *(Pair(request_id=f"p{n}", first=0.0 if n % 2 else 0.5, second=0.5, at=utc_now(), **told) for n in range(120))
    )
    store.close()
    state = State(server.data / "state.sqlite")
    until = time.monotonic() + 30
    while ("routing", "support") not in standings(state) and time.monotonic() < until:
        time.sleep(0.05)
    standing = standings(state)["routing", "support"]
    assert standing.state == "rolled_back"
    assert "at most 2.0% is allowed" in standing.reason
    alerts = [noted.alert for noted, _ in listed(state, 10)]  # it was noted first
    state.close()
    assert [(one.kind, one.subject, one.severity) for one in alerts] == [
        ("savings.rolled_back", "routing support", "critical")
    ]
    (saving,) = server.get("/api/savings")["savings"]
    assert saving["state"] == "rolled_back"


def test_a_rollback_reaches_the_calls(start, provider):
    text = settings(provider).replace('model = "gpt-4o-mini"\ndeployments', 'model = "auto"\ndeployments')
    text = text.replace('deployments = ["gpt-4o-mini-here"]', 'deployments = ["gpt-4o-mini-here", "gpt-4o-here"]')
    server = start(text.replace("shadow = 1.0", "shadow = 0.0") + "[routes.routing]\nholdout = 0\nexplore = 0\n")
    summary = [{"role": "user", "content": "Summarize this text: all is well."}]
    body = {"model": "auto", "max_tokens": 100, "messages": summary}

    def decision():
        status, head, said = server.post("/v1/chat/completions", body, {"x-penstock-team": "support"})
        assert status == 200, said
        return {name.lower(): value for name, value in head.items()}["x-penstock-decision"]

    assert "gpt-4o-mini for summarization" in decision()
    told = {"lever": "routing", "key": "support||summarization", "judge": "j"}
    store = Outcomes(server.data)
    # Of models that the route does not have: the table learns nothing for it, so what follows is the guard's doing.
    store.judge(
        *(Pair(request_id=f"p{n}", model="a", baseline="b", first=0.0, second=0.5, at=utc_now(), **told)
          for n in range(60))
    )  # fmt: skip
    store.close()
    until = time.monotonic() + 30
    while "rolled back" not in (said := decision()) and time.monotonic() < until:
        time.sleep(0.1)
    assert "gpt-4o for summarization, rolled back" in said
