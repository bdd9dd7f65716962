"""Deployments that fail are left alone for a while."""

from penstock.gateway.health import FAILURES, LONGEST_REST, Health
from penstock.policies.deployments import Deployment, Provider, target_of

PROVIDER = Provider(name="p", base_url="http://x")
A, B = (target_of(Deployment(name=name, provider="p", model="m"), PROVIDER, declared=True) for name in "ab")


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_one_failure_is_no_habit():
    health = Health(Clock())
    health.failed(A, None)
    assert health.order((A, B)) == (A, B)


def test_a_deployment_that_asked_for_a_pause_gets_it():
    clock = Clock()
    health = Health(clock)
    health.failed(A, 5.0)
    assert health.order((A, B)) == (B, A)
    clock.now += 5.1
    assert health.order((A, B)) == (A, B)


def test_failures_in_a_row_make_it_rest_longer_and_longer_but_not_for_ever():
    clock = Clock()
    health = Health(clock)
    rests = []
    for _ in range(FAILURES + 12):
        health.failed(A, None)
        start = clock.now
        while health.order((A, B)) == (B, A):
            clock.now += 0.25
        rests.append(clock.now - start)
    assert rests[: FAILURES - 1] == [0.0] * (FAILURES - 1)
    assert rests[FAILURES - 1 :] == sorted(rests[FAILURES - 1 :])
    assert rests[-1] <= LONGEST_REST + 0.25


def test_an_answer_is_forgiveness():
    health = Health(Clock())
    for _ in range(FAILURES):
        health.failed(A, None)
    health.succeeded(A)
    assert health.order((A, B)) == (A, B)


def test_nobody_is_left_out_and_the_order_is_kept_among_equals():
    health = Health(Clock())
    health.failed(A, 5.0)
    health.failed(B, 5.0)
    assert health.order((A, B)) == (A, B)
    assert health.order((A,)) == (A,)


def test_a_thousand_failures_change_nothing_more():
    health = Health(Clock())
    for _ in range(2000):
        health.failed(A, None)
    assert health.order((A, B)) == (B, A)
