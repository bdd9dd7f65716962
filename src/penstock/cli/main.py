"""The command `penstock`: one sub-command a file, loaded when it is asked for."""

import os
import sys

from cyclopts import App, CycloptsError, UnusedCliTokensError

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
    "check": "Check the settings, the keys, the prices they need, and the ledger.",
    "import": "Book usage from files: traces, CSV, provider reports, logs of other gateways.",
    "export": "Write the ledger for other tools: FOCUS 1.2 and 1.4, CSV, Parquet, JSON lines.",
    "report": "Say what was spent, by model, team, app, day or any other dimension.",
    "forecast": "Say what the month, or some days to come, will cost, and how sure that is.",
    "metrics": "Keep business metrics: what spend is held against.",
    "anomalies": "Find spend that is out of the usual, and which key, model, feature or app moved.",
    "recommend": "Say what to do next: findings from your own traffic, with dollars, evidence and a command.",
    "savings": "Say what levers have saved, with proof, and what a proof takes.",
    "plan": "Work out what something would cost before it is built.",
    "prices": "List, show, compare and change prices.",
    "keys": "Make, list, rotate and revoke keys: for AI calls, for the dashboard, for the API.",
    "alerts": "Try out the channels by which people are told, and list what they were told.",
    "budgets": "Say what may be spent, look how far it is, stop spending at once.",
    "ledger": "Verify, compact, export, reprice and trim the ledger.",
}

for _name, _help in COMMANDS.items():
    _module = "import_" if _name == "import" else _name
    app.command(f"penstock.cli.{_module}:app", name=_name, help=_help)


def in_one_sentence(error: CycloptsError) -> str:
    """Say what is wrong with the words on the command line as every other error is said."""
    if isinstance(error, UnusedCliTokensError):
        return f"{' '.join(error.unused_tokens or ())!r} belongs to no option; each is given as --name value"
    return " ".join(str(error).split())


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; an error is one sentence, never a traceback."""
    try:
        app(arguments, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        print(f"penstock: {in_one_sentence(error)}", file=sys.stderr)
        sys.exit(2)
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
