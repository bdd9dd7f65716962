"""The command `penstock`: one sub-command a file, loaded when it is asked for."""

import sys

from cyclopts import App

from penstock import __version__
from penstock.errors import InputError, PenstockError

app = App(
    name="penstock",
    help="Meter every AI call exactly, govern what may be spent, cut the cost with proof, plan commitments.",
    version=__version__,
)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; an error is one sentence, never a traceback."""
    try:
        app(arguments)
    except InputError as error:
        print(f"penstock: {error}", file=sys.stderr)
        sys.exit(2)
    except PenstockError as error:
        print(f"penstock: {error}", file=sys.stderr)
        sys.exit(1)
