"""Cheapest first, and a better model where the answer fails a check. The innermost policy: it makes the attempts.

Only replies that are not streams are checked: nothing could be sent on before the check is done.
"""

from collections.abc import Awaitable

from penstock.policies.call import Call, Reply
from penstock.policies.deployments import Target
from penstock.policies.pipeline import Proceed


class Cascades:
    """Calls without a check pass without being looked at."""

    def __call__(self, call: Call, *, proceed: Proceed) -> Awaitable[Reply]:
        """Ask one model after the other, as long as the check and the budget say so."""
        return proceed(call) if call.check is None else self._cascade(call, proceed)

    async def _cascade(self, call: Call, proceed: Proceed) -> Reply:
        check = call.check
        assert check is not None
        kept: Reply | None = None
        groups = _by_model(call.targets)
        last = min(call.escalations, len(groups) - 1)
        retries = call.retries
        for step in range(last + 1):
            rest = groups[step + 1 :] if step == last else []
            call.targets = groups[step] + tuple(target for group in rest for target in group)
            # Before the last step, what fails is not tried again where it failed: the next model is at hand.
            call.retries = retries if step == last else min(retries, len(groups[step]) - 1)
            reply = await proceed(call)
            if reply.relayed:
                return reply
            if reply.status >= 400:
                if kept is not None:
                    call.decisions.append("kept the first answer")
                    return kept
                if reply.status < 500 and reply.status not in {408, 409, 429}:
                    return reply  # the request itself is wrong: a better model would say the same
                why = "failed"
            else:
                why, kept = check(call, reply), reply
                if not why:
                    return reply
            if step == last or (call.another is not None and not await call.another(call)):
                return reply
            call.purpose = "fallback" if why == "failed" else "cascade"
            call.reason = f"after {why}"
        raise AssertionError  # the last step returns


def _by_model(targets: tuple[Target, ...]) -> list[tuple[Target, ...]]:
    """Put deployments of one model together, in the order in which the models come."""
    groups: dict[str, list[Target]] = {}
    for target in targets:
        groups.setdefault(target.deployment.model, []).append(target)
    return [tuple(group) for group in groups.values()]
