"""`python -m penstock.gateway.sandbox --uds PATH | --port N`: the sandbox in a process of its own."""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from penstock.gateway.sandbox.server import make_server
from penstock.gateway.sandbox.settings import DEMO, SandboxSettings

app = App(help="Serve a stand-in for OpenAI, Azure OpenAI and Anthropic on a unix socket or a loopback port.")


@app.default
def serve(
    *,
    uds: Annotated[Path | None, Parameter(help="Path of a unix socket to listen on.")] = None,
    port: Annotated[int | None, Parameter(help="Port to listen on, on 127.0.0.1.")] = None,
    demo: Annotated[bool, Parameter(help="Take as long, and fail as often, as a real provider.", negative="")] = False,
    api_key: Annotated[str, Parameter(help="The key that callers must send; by default any will do.")] = "",
    deployment: Annotated[
        dict[str, str] | None, Parameter(help="Azure deployment and its model: --deployment.chat gpt-4o")
    ] = None,
) -> None:
    """Serve until the process is told to stop."""
    base = DEMO if demo else SandboxSettings()
    settings = SandboxSettings(
        api_key=api_key, deployments=deployment or {}, first_token_ms=base.first_token_ms, token_ms=base.token_ms,
        error_rate=base.error_rate, rate_limit_rate=base.rate_limit_rate,
    )  # fmt: skip
    make_server(settings, uds=uds, port=port).run()


if __name__ == "__main__":
    app()
