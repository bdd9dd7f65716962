"""What a proof is made of, from where it lies: the ledger, the outcomes beside it, the rows that take levers back."""

from datetime import datetime

from penstock.analytics.outcome_rates import Rates, outcome_rates
from penstock.analytics.savings import USUAL, Saving, Terms, savings
from penstock.ledger.levers import standings
from penstock.ledger.outcomes import Outcomes, Pair, Scored, has_outcomes
from penstock.ledger.store import Ledger


def savings_of(
    ledger: Ledger, *, since: datetime | None = None, until: datetime | None = None, terms: Terms = USUAL
) -> list[Saving]:
    """Answer `savings` for a ledger's folder. Raises LedgerError where something cannot be read."""
    pairs, scores = evidence(ledger)
    return savings(
        ledger.moment(), pairs=pairs, scores=scores, standings=standings(ledger.state), since=since, until=until,
        terms=terms,
    )  # fmt: skip


def rates_of(ledger: Ledger, *, since: datetime | None = None, until: datetime | None = None) -> Rates:
    """Answer `outcome_rates` for a ledger's folder. Raises LedgerError where something cannot be read."""
    if not has_outcomes(ledger.folder):
        return Rates(rows=(), elsewhere=0)
    store = Outcomes(ledger.folder)
    try:
        scores = store.scores(automatic=True, since=since)  # whatever scores a call comes after it
    finally:
        store.close()
    return outcome_rates(ledger.moment(), scores, since=since, until=until)


def evidence(ledger: Ledger) -> tuple[list[Pair], list[Scored]]:
    """Return every judged pair and every score that was reported; nothing where nobody ever scored."""
    if not has_outcomes(ledger.folder):
        return [], []
    store = Outcomes(ledger.folder)
    try:
        return store.pairs(), store.scores()
    finally:
        store.close()
