"""Scores that nobody has to report: what an answer, or what comes after it, shows by itself.

Signs speak against an answer, never for it: that nothing is seen to be wrong proves nothing. So a model whose answers
show them more often than usual is expected to be worse, and one without them is not taken for better.
"""

import json
from collections import OrderedDict
from collections.abc import Callable, Mapping

from msgspec import Struct

from penstock.ledger.outcomes import Scored, Source
from penstock.policies.call import Call, Reply
from penstock.policies.deployments import Automatic, Sign
from penstock.policies.routing.answer import CUT, REFUSED, WIRES, read_answer
from penstock.policies.routing.asked import Asked
from penstock.policies.routing.checks import misshaped
from penstock.policies.routing.table import Key, Table
from penstock.policies.routing.text import excerpt

SOURCES: Mapping[Sign, Source] = {
    "schema": "auto:schema", "truncated": "auto:truncated", "refusal": "auto:refusal", "retry": "auto:retry",
    "escalation": "auto:escalation",
}  # fmt: skip
SIGN_OF: Mapping[str, Sign] = {
    "truncated": "truncated", "refusal": "refusal", "empty": "refusal", "no JSON": "schema", "schema": "schema",
    "tool arguments": "schema", "unknown tool": "schema",
}  # fmt: skip
"""What the exact checks of a cascade say; of the others only that they made it escalate."""
LARGEST = 256 * 1024
"""Bytes of a request or reply that is looked into: it is done while the client waits."""
ALIKE = 0.8
"""Share of the words of two questions, both taken together, that both have: one asks the other again."""
FEW_WORDS = 4
"""Shorter questions must be the same but for upper case and spaces."""
MOST_CALLERS = 5_000
"""Users and runs whose last question is remembered."""


class _Asked(Struct):
    """What was answered last to a user or run."""

    request_id: str
    key: Key
    model: str
    text: str
    """The part of it that a scorer reads; in memory only."""
    turns: int
    at: float


class Signs:
    """Notices what speaks against the answers of one route, in one worker."""

    def __init__(self, automatic: Automatic, table: Table, book: Callable[[Scored], object]) -> None:
        """`book` keeps a score beside the ledger."""
        self._automatic, self._table, self._book = automatic, table, book
        self._last: OrderedDict[tuple[str, str, str], _Asked] = OrderedDict()

    def asked_again(self, call: Call, asked: Asked) -> None:
        """Look whether a request asks what was answered just now, before it is answered itself."""
        last = self._last.get(_caller(call))
        if last is None or asked.in_tool_loop or call.at.timestamp() - last.at > self._automatic.retry_seconds:
            return
        # The same place in a conversation, or the next turn; a conversation that has gone on elsewhere is no retry.
        if asked.turns - last.turns in {0, 2} and alike(excerpt(asked.last), last.text):
            del self._last[_caller(call)]  # it counts once
            self._take(call, last.key, last.model, {"retry": 0.0}, last.request_id)

    def escalated(self, call: Call, key: Key, model: str, why: str) -> None:
        """Take an answer that failed a check of a cascade, and after which a better model was asked."""
        self._take(call, key, model, {SIGN_OF.get(why, "escalation"): 0.0}, call.request_id)

    def answered(self, call: Call, reply: Reply, asked: Asked, key: Key, model: str) -> None:
        """Look at the answer that the client gets, the last of the call's events."""
        if not self._automatic.signs:
            return
        self._take(call, key, model, signs(call, reply, asked, call.events[-1].finish_reason), call.request_id)
        caller = _caller(call)
        if caller[-1] and asked.last and "retry" in self._automatic.signs:
            self._last[caller] = _Asked(
                call.request_id, key, model, excerpt(asked.last), asked.turns, call.at.timestamp()
            )
            self._last.move_to_end(caller)
            if len(self._last) > MOST_CALLERS:
                self._last.popitem(last=False)

    def _take(self, call: Call, key: Key, model: str, found: dict[Sign, float], request_id: str) -> None:
        taken = {sign: score for sign, score in found.items() if sign in self._automatic.signs}
        wrong = 0.0 in taken.values()
        self._table.notice(key, model, wrong=wrong, weight=self._automatic.weight, at=call.at.timestamp())
        who = call.attribution
        for sign, score in taken.items():
            self._book(
                Scored(
                    request_id=request_id, score=score, source=SOURCES[sign], name=model, at=call.at, key=who.key,
                    team=who.team,
                )
            )  # fmt: skip


def _caller(call: Call) -> tuple[str, str, str]:
    """Name who asked, by run or user; without either nobody can be told from others."""
    who = call.attribution
    return who.team, who.key, who.run or who.user


def signs(call: Call, reply: Reply, asked: Asked, finish: str) -> dict[Sign, float]:
    """Return the scores that an answer gives itself: 0 for what is wrong, 1 for a schema that was asked for and kept.

    `finish` is why it ended, as its provider said it. Of streams only that is looked at.
    """
    if finish in CUT:  # where the client set the limit, another model would have been cut off, too
        return {"truncated": 0.0} if call.head.output_limit is None else {}
    if finish in REFUSED:
        return {"refusal": 0.0}
    if reply.relayed or call.flavour not in WIRES or max(len(reply.body), len(call.body)) > LARGEST:
        return {}
    answer = read_answer(call.flavour, reply.body)
    if answer is None:
        return {}
    if answer.refused or not (answer.tools or answer.text.strip()):
        return {"refusal": 0.0}
    if answer.tools or asked.needs & {"json_object", "json_schema"}:
        return {"schema": float(not misshaped(json.loads(call.body), answer))}
    return {}


def alike(one: str, other: str) -> bool:
    """Tell whether two questions are the same one in a few other words. Another number: another question."""
    first, second = one.lower().split(), other.lower().split()
    if first == second:
        return True
    if min(len(first), len(second)) < FEW_WORDS or _numbers(first) != _numbers(second):
        return False
    both, either = len({*first} & {*second}), len({*first, *second})
    return both >= ALIKE * either


def _numbers(words: list[str]) -> list[str]:
    return [word for word in words if any(letter.isdigit() for letter in word)]
