"""Which deployments are better left alone for a while: those that failed again and again, or asked for a pause."""

from collections.abc import Callable

from penstock.policies.deployments import Target

FAILURES = 3
"""Failures in a row after which a deployment rests."""
MOST = 4096
"""Targets remembered: clients name models, so this must not grow with them."""
FIRST_REST, LONGEST_REST = 1.0, 60.0
"""Seconds; each further failure doubles the rest."""


class Health:
    """What is known of each target, in this worker, from its own attempts."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._failures: dict[str, int] = {}
        self._until: dict[str, float] = {}
        self.remembers = False
        """Whether there is anything to hold against anybody."""

    def order(self, targets: tuple[Target, ...]) -> tuple[Target, ...]:
        """Put targets that rest behind the others; none is left out, for a last resort is better than none."""
        if not self._until or len(targets) == 1:
            return targets
        now = self._now()
        return tuple(sorted(targets, key=lambda target: self._until.get(target.key, 0.0) > now))

    def rests(self, target: Target) -> bool:
        """Whether a target rests now."""
        return self._until.get(target.key, 0.0) > self._now()

    def succeeded(self, target: Target) -> None:
        """It answered: whatever was held against it is forgotten."""
        if target.key in self._failures:
            del self._failures[target.key]
            self._until.pop(target.key, None)
            self.remembers = bool(self._failures)

    def failed(self, target: Target, pause: float | None) -> None:
        """It failed in a way that another deployment might not; `pause` is what it asked for, in seconds."""
        if len(self._failures) >= MOST:
            self._failures.clear()
            self._until.clear()
        failures = self._failures[target.key] = self._failures.get(target.key, 0) + 1
        rest = pause or 0.0
        if failures >= FAILURES:
            rest = max(rest, FIRST_REST * 2 ** min(failures - FAILURES, 6))
        self.remembers = True
        if rest:
            self._until[target.key] = self._now() + min(rest, LONGEST_REST)
