"""Counters behind one small interface: in the process, or in Redis. Money is whole atto-dollars, exact everywhere."""

from collections.abc import Mapping, Sequence
from decimal import Context, Decimal
from typing import Literal, Protocol

from msgspec import Struct

from penstock.errors import PenstockError

EXACT = Context(prec=76)
"""As the ledger counts."""
ATTO = 10**18
"""Of them make a dollar: the ledger's last digit."""
MINUTE = 60_000_000
"""Microseconds; and so the units of a rate's level for one request or token."""
RateKind = Literal["requests", "tokens", "concurrent"]
Reason = Literal["", "budget", "reserved", "requests", "tokens", "concurrent"]


class UnavailableError(PenstockError):
    """The counters cannot be asked now; with `passes` False not before the settings are other ones."""

    code = "budgets_unavailable"

    def __init__(self, message: str, *, passes: bool = True) -> None:
        self.passes = passes
        super().__init__(message)


class Claim(Struct, frozen=True, gc=False):
    """One budget that a call draws on."""

    counter: str
    """Where the reservation is added."""
    pieces: tuple[str, ...]
    """Counters whose spending counts; of a window that does not roll, `counter` itself."""
    limit: int
    """Atto-dollars."""
    hard: bool
    forgotten: int
    """Unix time from which nobody asks for it; 0: never."""


class Rate(Struct, frozen=True, gc=False):
    """One limit that a call is under."""

    counter: str
    kind: RateKind
    limit: int


class Order(Struct, gc=False):
    """What a call wants to take: all of it, or nothing."""

    id: str
    claims: Sequence[Claim]
    amounts: Sequence[int]
    """Atto-dollars, one for each claim."""
    rates: Sequence[Rate]
    tokens: int
    """That the call may use."""


class Verdict(Struct, gc=False):
    """What became of an order."""

    reason: Reason = ""
    """Why nothing was taken; empty: it was."""
    index: int = 0
    """Which claim or rate said no."""
    spent: int = 0
    reserved: int = 0
    wait: int = 0
    """Microseconds after which trying again can help; 0 where that is not known."""
    rates: Sequence[tuple[int, int]] = ()
    """Of each rate: what is left, and microseconds until it is whole again."""
    tight: bool = False
    """A hard budget is so near its end that reservations should be exact."""


class Charge(Struct, frozen=True, gc=False):
    """What one event adds to one counter."""

    counter: str
    amount: int
    """Atto-dollars."""
    recorded: int
    """When the ledger learned of the event: microseconds of Unix time."""
    forgotten: int


class Counters(Protocol):
    """The interface. Every method is safe to call again with the same id."""

    async def reserve(self, order: Order) -> Verdict:
        """Check everything, then take everything, or nothing. Raises UnavailableError."""
        ...

    def settle(self, id: str, charges: Sequence[Charge], tokens: int | None) -> None:  # noqa: A002
        """Give back what was reserved under `id`, and add what was really spent; once, however often it is called."""
        ...

    def renew(self, ids: Sequence[str]) -> None:
        """Say that these calls are still under way."""
        ...

    async def begin_fill(self, cut: int) -> bool:
        """From now on keep apart what is recorded at `cut` (microseconds) or later. False: somebody else is at it."""
        ...

    async def end_fill(self, cut: int, sums: Mapping[str, tuple[int, int]]) -> None:
        """Set every counter to what the ledger held before `cut` (amount, forgotten), and what came since."""
        ...

    async def read(self, counters: Sequence[str]) -> list[tuple[int, int]]:
        """Return (spent, reserved) of each."""
        ...


def atto(dollars: Decimal) -> int:
    """Turn dollars into atto-dollars, rounded as the ledger rounds."""
    return int(EXACT.to_integral_value(EXACT.scaleb(dollars, 18)))


def dollars_of(amount: int) -> Decimal:
    """Turn atto-dollars into dollars, without zeros at the end."""
    short = EXACT.normalize(EXACT.scaleb(Decimal(amount), -18))
    return EXACT.quantize(short, Decimal(1)) if short == short.to_integral_value() else short
