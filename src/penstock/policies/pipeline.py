"""The whole mechanism: policies folded around the call to the provider."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Protocol

from penstock.policies.call import Call, Reply

Proceed = Callable[[Call], Awaitable[Reply]]


class Policy(Protocol):
    """One thing that may happen to a call: refuse it, change it, answer it, or look at the reply."""

    def __call__(self, call: Call, *, proceed: Proceed) -> Awaitable[Reply]:
        """Decide; go on with `await proceed(call)`. Who has nothing to do afterwards returns `proceed(call)`."""
        ...


def pipeline(policies: Sequence[Policy], send: Proceed) -> Proceed:
    """Wrap `send` in the policies; the first one is the outermost."""
    for policy in reversed(policies):
        send = partial(policy, proceed=send)
    return send
