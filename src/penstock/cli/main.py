"""The command `penstock`: one sub-command a file, loaded when it is asked for."""

import os
import sys

from cyclopts import App, CycloptsError

from penstock import __version__
from penstock.errors import InputError, PenstockError

app = App(
    name="penstock",
    help="Meter every AI call exactly, govern what may be spent, cut the cost with proof, plan commitments.",
    version=__version__,
)

COMMANDS = {
    "demo": "Start gateway and dashboard with sample traffic: no key, no server.",
    "serve": "Run the gateway, with API and dashboard behind the same port.",
    "init": "Write a penstock.toml to start from.",
    "check": "Check the settings, the prices they need, and the ledger.",
    "import": "Book usage from files: traces, CSV, provider reports, logs of other gateways.",
    "report": "Say what was spent, by model, team, app, day or any other dimension.",
    "plan": "Work out what something would cost before it is built.",
    "prices": "List, show, compare and change prices.",
    "ledger": "Verify, compact, export, reprice and trim the ledger.",
}

for _name, _help in COMMANDS.items():
    _module = "import_" if _name == "import" else _name
    app.command(f"penstock.cli.{_module}:app", name=_name, help=_help)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; an error is one sentence, never a traceback."""
    try:
        app(arguments, exit_on_error=False, print_error=True)
    except CycloptsError:
        sys.exit(2)  # its sentence has been printed
    except InputError as error:
        print(f"penstock: {error}", file=sys.stderr)
        sys.exit(2)
    except PenstockError as error:
        print(f"penstock: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # Whoever read this has read enough (`| head`); what is still buffered must not complain on the way out.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
