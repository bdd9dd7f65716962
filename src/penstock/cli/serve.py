"""`penstock serve`."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import msgspec
from cyclopts import App, Parameter

from penstock.cli.options import console
from penstock.settings import Settings

HELP = """
Point a client at it by its base URL; keys and everything else stay as they are: `http://localhost:4000/v1` for
`OpenAI(base_url=...)`, `http://localhost:4000` for `Anthropic(base_url=...)` and `AzureOpenAI(azure_endpoint=...)`.

Examples:

- `penstock serve`
- `penstock serve --port 8080 --workers 4`
- `penstock serve --config staging.toml --data /var/lib/penstock --host 0.0.0.0`
"""

app = App(name="serve", help_epilogue=HELP)


@app.default
def serve(
    *,
    port: Annotated[
        int | None, Parameter(help="Port to listen on; by default the one in the settings, or 4000.")
    ] = None,
    host: Annotated[str | None, Parameter(help="Address to listen on; by default 127.0.0.1.")] = None,
    workers: Annotated[int | None, Parameter(help="Processes that serve calls, one a core at most.")] = None,
    unix_socket: Annotated[
        str | None, Parameter(help="Path of a Unix socket to listen on, in place of host and port.")
    ] = None,
    config: Annotated[Path, Parameter(help="Settings file; by default penstock.toml.", show_default=False)] = Path(
        "penstock.toml"
    ),
    data: Annotated[Path | None, Parameter(help="The ledger's folder.")] = None,
) -> None:
    """Run the gateway, with API and dashboard behind the same port.

    `kill -HUP` makes it read the settings again: new workers take over, and calls under way end with the old ones.
    """
    from penstock import app as root
    from penstock.settings import load, missing_keys

    def read() -> Settings:
        return with_options(load(config, data=data), port=port, host=host, workers=workers, unix_socket=unix_socket)

    settings = read()
    if not settings.providers:
        console.print(
            f"[yellow]No provider is configured in {config}; every call will be refused. Start with: penstock init[/]"
        )
    for provider, variable in missing_keys(settings):
        console.print(f"[yellow]Provider {provider}: the environment variable {variable} is not set.[/]")
    for line in _who_may(settings):
        console.print(f"[yellow]{line}[/]")
    root.run_server(
        settings, ready=_say_ready, say=lambda line: print(f"penstock: {line}", file=sys.stderr), again=read
    )


def _who_may(settings: Settings) -> Iterator[str]:
    """Say what others can and cannot do, where other machines reach the server and nobody has a key yet."""
    from penstock import app as root
    from penstock.policies.key_store import KeyStore

    if root.is_local(settings.server):
        return
    state = root.state_for(settings)
    store = KeyStore(state)
    callers, lookers = store.has(["caller"]), store.has(["viewer", "admin"])
    state.close()
    if not callers and not settings.keys.required:
        yield "Whoever reaches this address can make calls. Let in by keys only: penstock keys create NAME --team TEAM"
    if not lookers and settings.keys.sign_in is None:
        yield "Pages and API are closed until somebody can sign in: penstock keys create NAME --role admin"


def with_options(
    settings: Settings,
    *,
    port: int | None = None,
    host: str | None = None,
    workers: int | None = None,
    unix_socket: str | None = None,
) -> Settings:
    """Put the command line's wishes over the settings'."""
    from penstock.errors import InputError

    if port is not None:
        check_port(port)
    if workers is not None and workers < 1:
        raise InputError(f"--workers {workers}: at least one worker is needed.")
    wishes = {"port": port, "host": host, "workers": workers, "unix_socket": unix_socket}
    server = msgspec.structs.replace(
        settings.server, **{name: value for name, value in wishes.items() if value is not None}
    )
    return msgspec.structs.replace(settings, server=server)


def check_port(port: int) -> None:
    """Raise InputError where the number is none of a port."""
    from penstock.errors import InputError

    if not 0 < port < 65536:
        raise InputError(f"--port {port}: a port is a number from 1 to 65535.")


def _say_ready(address: str) -> None:
    print(f"Penstock is ready: {address}  (gateway {address}/v1, dashboard {address}/)", flush=True)
