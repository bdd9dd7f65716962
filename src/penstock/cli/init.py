"""`penstock init`."""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from penstock.errors import InputError

HELP = """
The file has a provider for OpenAI and one for Anthropic, and a commented example of everything else, keys and alerts
too. A file that is there is left alone unless `--force` is given.

Examples:

- `penstock init`
- `penstock init --config staging.toml`
"""

app = App(name="init", help_epilogue=HELP, default_parameter=Parameter(show_default=False))

TEMPLATE = """\
# Penstock's settings. What is not said here has a default; docs/settings.md names everything.

[server]
port = 4000

[ledger]
data = "penstock-data"
fsync = "interval"          # always | interval | never: how soon an event is on the disk

[prices]
unpriced = "serve"          # serve | refuse a model whose price is unknown

# Who may call: virtual keys, made with `penstock keys create NAME --team TEAM`.
# [keys]
# required = true             # by default: as soon as there is a key
# sign_in = true              # by default: as soon as there is a viewer's or an admin's key, or others reach the port

# A provider is where calls go. Its key stays in the environment, or in a file of yours alone (api_key_file).
[[providers]]
name = "openai"
kind = "openai"
api_key_env = "OPENAI_API_KEY"

[[providers]]
name = "anthropic"
kind = "anthropic"
api_key_env = "ANTHROPIC_API_KEY"

# Azure OpenAI: the deployment type decides the price, so it is said here.
# [[providers]]
# name = "azure-sweden"
# kind = "azure"
# base_url = "https://YOUR-RESOURCE.openai.azure.com"
# api_key_env = "AZURE_OPENAI_API_KEY"
#
# [[deployments]]
# name = "gpt-4o-sweden"
# provider = "azure-sweden"
# model = "gpt-4o"
# upstream = "my-gpt-4o"            # the deployment's name at Azure
# deployment_type = "data_zone"     # global | data_zone | regional | global_ptu | ...
# region = "swedencentral"
#
# What clients ask for, and who may answer, in order: the next one when the first fails.
# [[routes]]
# model = "gpt-4o"
# deployments = ["gpt-4o-sweden"]
# retries = 2

# Anything that speaks OpenAI's wire is a row:
# [[providers]]
# name = "local"
# kind = "openai"
# base_url = "http://localhost:11434/v1"
# models = ["llama*", "qwen*"]
# bills_as = "local"
#
# [[prices.rows]]                   # your own price, dollars for a million tokens
# provider = "local"
# model = "*"
# free = true
# from = 2026-01-01

# What may be spent, and how fast; a call that could go over it is refused. Also by command: `penstock budgets set`.
# [[budgets]]
# scope = "team=*"                  # each team by itself; without a scope: everything
# per = "month"                     # hour | day | week | month | total | 24h | 30d
# dollars = 500
#
# [[limits]]
# scope = "user=*"
# requests_per_minute = 60

# Who is told when something needs attention; try it with `penstock alerts test`.
# [[alerts]]
# name = "finops"
# kind = "slack"                    # slack | teams | webhook | email | log
# url_env = "SLACK_WEBHOOK_URL"
# severity = "warning"
#
# [[alerts]]
# name = "mail"
# kind = "email"
# to = ["finops@example.com"]
# sender = "penstock@example.com"
# smtp_host = "smtp.example.com"
# username = "penstock"
# password_env = "SMTP_PASSWORD"
"""


@app.default
def init(
    *,
    config: Annotated[Path, Parameter(help="File to write; by default penstock.toml.")] = Path("penstock.toml"),
    force: Annotated[bool, Parameter(help="Write over a file that is there.", negative="")] = False,
) -> None:
    """Write a penstock.toml to start from."""
    if config.exists() and not force:
        raise InputError(f"{config} is there already; name another with --config, or write over it with --force.")
    try:
        config.write_text(TEMPLATE, "utf-8")
    except OSError as error:
        raise InputError(f"Cannot write {config}: {error.strerror}.") from None
    print(f"Wrote {config}. Set OPENAI_API_KEY or ANTHROPIC_API_KEY, then: penstock check && penstock serve")
