"""The guard of quality: a lever whose answers have become too bad is taken back, and somebody is told."""

from datetime import datetime

from penstock.analytics.savings import USUAL, Quality, Terms, qualities
from penstock.analytics.savings_book import evidence
from penstock.ledger.levers import roll_back, standings
from penstock.ledger.store import Ledger
from penstock.policies.alerts import Alert, enqueue

KIND = "savings.rolled_back"


def guard(ledger: Ledger, now: datetime, terms: Terms = USUAL) -> list[tuple[str, str]]:
    """Take back every lever and key whose quality is breached; return them. Workers see it within a second.

    Raises LedgerError where the ledger cannot be read or the state not be written.
    """
    known = standings(ledger.state)
    pairs, scores = evidence(ledger)
    found = qualities(ledger.moment(), pairs=pairs, scores=scores, standings=known, terms=terms)
    taken = []
    for (lever, key), quality in found.items():
        standing = known.get((lever, key))
        if not quality.breached or (standing is not None and standing.state == "rolled_back"):
            continue
        reason, times = why(quality, terms), standing.times if standing is not None else 1
        enqueue(ledger.state, alert_of(lever, key, reason, times), now=now)  # first: who dies here tells it once
        if roll_back(ledger.state, lever, key, reason=reason, at=now):
            taken.append((lever, key))
    return taken


def why(quality: Quality, terms: Terms) -> str:
    """Say in a sentence why a lever is taken back."""
    lost = f"{quality.loss:.1%}" if quality.loss is not None else "too much"
    return f"{quality.count:,} {quality.source} show a loss of {lost}, and at most {terms.margin:.1%} is allowed"


def alert_of(lever: str, key: str, reason: str, times: int) -> Alert:
    """Make the alert of a rollback."""
    return Alert(
        kind=KIND, subject=f"{lever} {key}", period=f"proof {times}",
        title=f"{lever} was taken back for {key}",
        text=f"{reason}. Calls of this key go to the model that served them before.\n"
        f"Look at the pairs, and let it act again with: penstock savings resume {lever} '{key}'\n",
        severity="critical",
    )  # fmt: skip
