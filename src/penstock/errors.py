"""The error tree. Each error knows its stable `code`, and its sentence says what to do next.

PenstockError
├── InputError            what a user gave cannot be used (a file, a line, an option)
│   ├── SettingsError     the configuration file
│   ├── PriceBookError    a price book or a price row
│   └── PlanError         an input of a calculator
├── UnpricedError         a model, or a unit that it bills, has no price
├── UsageError            a provider's usage report contradicts itself
├── LedgerError           the ledger cannot be read or written
└── RefusedError          a call that is not let through
"""

from typing import ClassVar


class PenstockError(Exception):
    """Base of every error below. `code` is stable: clients may match on it."""

    code: ClassVar[str] = "penstock_error"


class InputError(PenstockError):
    """What a user gave cannot be used. The message names the place and says what to do."""

    code = "wrong_input"


class SettingsError(InputError):
    """The configuration file does not say something usable."""

    code = "wrong_settings"

    def __init__(self, file: str, place: str, problem: str) -> None:
        self.file, self.place, self.problem = file, place, problem
        super().__init__(f"{file}, {place}: {problem}" if place else f"{file}: {problem}")


class PriceBookError(InputError):
    """A price book, or a row in it, cannot be used."""

    code = "wrong_price_book"

    def __init__(self, book: str, place: str, problem: str) -> None:
        self.book, self.place, self.problem = book, place, problem
        super().__init__(f"Price book {book}, {place}: {problem}")


class PlanError(InputError):
    """An input of a calculator cannot be used. `field` is its name in the dataclass, the option and the plan file."""

    code = "wrong_plan"

    def __init__(self, field: str, problem: str) -> None:
        self.field, self.problem = field, problem
        super().__init__(f"{field}: {problem}")


class UsageError(PenstockError):
    """A usage report contradicts itself; both numbers are in the message."""

    code = "wrong_usage"


class LedgerError(PenstockError):
    """The ledger cannot be read or written."""

    code = "ledger_error"


class RefusedError(PenstockError):
    """A call that is not let through. `status` is the HTTP status that the client gets.

    `retry_after` is in how many seconds trying again can help; None: it cannot. `headers` are more lines of the head.
    """

    code = "refused"

    def __init__(
        self, status: int, code: str, message: str, *, retry_after: float | None = None, headers: str = ""
    ) -> None:
        self.status, self.reason = status, code
        self.retry_after, self.headers = retry_after, headers
        super().__init__(message)
