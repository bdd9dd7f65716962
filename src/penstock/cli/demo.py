"""`penstock demo`."""

import random
import sys
import threading
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from penstock.cli.options import console
from penstock.errors import InputError
from penstock.settings import Settings

HELP = """
A month of an invented company's traffic is in the ledger, and live calls go through the real gateway to a sandbox
provider that stands in for the paid APIs. Press Ctrl-C to stop.

Examples:

- `penstock demo`
- `penstock demo --port 4100 --fresh`
- `penstock demo --calls 0 --data another-demo`
"""

app = App(name="demo", help_epilogue=HELP)

LIVE_CALLS_A_SECOND = 2.0


@app.default
def demo(
    *,
    port: Annotated[int, Parameter(help="Port to listen on.")] = 4000,
    data: Annotated[Path, Parameter(help="Folder of the demo's ledger; it is kept, and used again.")] = Path(
        "demo-data"
    ),
    calls: Annotated[int, Parameter(help="Live calls to make before only serving on; 0: no live calls.")] = 2000,
    fresh: Annotated[bool, Parameter(help="Throw the demo's ledger away and start anew.", negative="")] = False,
) -> None:
    """Start gateway and dashboard with sample traffic: no key, no server."""
    from penstock import app as root
    from penstock.cli.serve import check_port
    from penstock.gateway.sandbox.settings import DEMO
    from penstock.policies.budgets.rules import Budget
    from penstock.policies.deployments import Provider
    from penstock.settings import LedgerSettings, ServerSettings

    check_port(port)
    if calls < 0:
        raise InputError(f"--calls {calls}: give a number of calls, or 0 for none.")
    if data.exists() and not data.is_dir():
        raise InputError(f"{data} is a file, not a folder; name another place for the demo's ledger with --data.")
    if data.exists() and fresh:
        _throw_away(data)
    settings = Settings(
        server=ServerSettings(port=port),
        ledger=LedgerSettings(data=str(data)),
        sandbox=DEMO,
        providers=(
            Provider(name="sandbox-openai", kind="sandbox", bills_as="openai"),
            Provider(name="sandbox-anthropic", kind="sandbox", bills_as="anthropic"),
        ),
        # Soft ones: nobody's trial call is refused.
        budgets=tuple(
            Budget(dollars=Decimal(dollars), scope=scope, hard=False)
            for scope, dollars in (
                ("everything", 120),
                ("team=platform", 45),
                ("team=research", 30),
                ("team=finance", 20),
            )
        ),
    )
    _seed(settings)
    stop = threading.Event()

    def ready(address: str) -> None:
        console.print("\n[bold]Penstock's demo is running.[/] All of its traffic is invented, and made by a sandbox.\n")
        console.print(f"  Dashboard   {address}/")
        console.print(f"  Requests    {address}/requests")
        console.print(f'  Your code   OpenAI(base_url="{address}/v1", api_key="any")')
        console.print(
            f"  Report      penstock report --data {data} --by team,model\n\nCtrl-C stops it.", soft_wrap=True
        )
        sys.stdout.flush()
        if calls:
            threading.Thread(target=_live, args=(address, calls, stop), daemon=True, name="live-traffic").start()

    try:
        root.run_server(settings, ready=ready, say=lambda line: print(f"penstock: {line}", file=sys.stderr))
    finally:
        stop.set()


def _throw_away(data: Path) -> None:
    import shutil

    if not (data / "demo").exists():
        raise InputError(f"{data} was not made by the demo, so it is not thrown away; name another folder with --data.")
    shutil.rmtree(data)


def _seed(settings: Settings) -> None:
    """Book the month of history, once."""
    from penstock.app import catalog_for, ledger_for
    from penstock.gateway.sandbox.traffic import history, orders
    from penstock.ledger.business_metrics import MetricStore

    mark = settings.data / "demo"
    if mark.exists():
        return
    if settings.data.exists() and any(settings.data.iterdir()):
        raise InputError(f"{settings.data} holds a ledger that is not the demo's; name another folder with --data.")
    with console.status("Booking a month of sample traffic ..."), ledger_for(settings) as ledger:
        mark.write_text("The demo's ledger: all of its traffic is invented.\n", "utf-8")
        now = datetime.now(UTC)
        ledger.add(history(catalog_for(settings), now), source="sample")
        MetricStore(ledger.state).put(orders(now))


def _live(address: str, calls: int, stop: threading.Event) -> None:
    """Make calls as an application would, through the gateway."""
    import httpx2

    from penstock.gateway.sandbox.traffic import live_request

    chance = random.Random()  # noqa: S311  # sample traffic
    with httpx2.Client(base_url=address, timeout=60) as client:
        for _ in range(calls):
            path, headers, body = live_request(chance)
            try:
                client.post(path, headers=headers, json=body)
            except httpx2.HTTPError:
                if stop.is_set():
                    return
            if stop.wait(chance.expovariate(LIVE_CALLS_A_SECOND)):
                return
