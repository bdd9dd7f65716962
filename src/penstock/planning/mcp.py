"""What tool descriptions cost with every request, and when loading fewer of them costs more (guide, section 7.10)."""

import dataclasses
from decimal import Decimal

from penstock.errors import PlanError
from penstock.planning.answer import Answer, Correction
from penstock.planning.prices import Prices, rate, used
from penstock.planning.quantity import (
    MONTH_DAYS,
    Amount,
    Balance,
    Count,
    Days,
    Dollars,
    Inputs,
    Saved,
    Share,
    Tokens,
    cents,
    exact,
    money,
    percent,
    quotient,
    ratio,
)
from penstock.planning.sensitivity import sensitivity
from penstock.pricing.book import PriceRow


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Mcp(Inputs):
    """An agent with tools: all of them in every prompt, or a few chosen anew."""

    model: str
    """The model that gets the tools."""
    requests_per_day: Count
    """Requests on a usual day."""
    tools: Count = 20
    """Tools that are registered."""
    tokens_per_tool: Tokens = 300
    """Tokens of one tool's description; half of 1,298 real ones have 172 or fewer."""
    tools_loaded: Count = 5
    """Tools per request when they are chosen for it."""
    cached_share: Share = Decimal(0)
    """Share of the requests that find the whole, stable tool list in the prompt cache."""
    loaded_cached_share: Share = Decimal(0)
    """The same for the chosen tools; 0 when they change with each request."""
    choice_tokens: Tokens = 0
    """Tokens that choosing the tools costs, per request (a search tool, an embedding)."""
    compression: Share = Decimal(0)
    """Share by which compressing the descriptions shortens them."""
    calls_per_request: Amount = Decimal(0)
    """Tool calls that a request makes."""
    argument_tokens: Tokens = 100
    """Output tokens that one call's arguments take."""
    response_tokens: Tokens = 500
    """Input tokens of one tool's answer."""
    servers: Count = 0
    """MCP servers that are hosted."""
    dollars_per_server: Dollars = Decimal(50)
    """Dollars a month for hosting one server."""
    days: Days = MONTH_DAYS
    """Days of a month."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ToolsOnModel:
    """The two ways on another model, per 1,000 requests."""

    model: str
    all_uncached: Dollars
    all_cached: Dollars
    """Every request finds the whole list in the prompt cache."""
    loaded: Dollars
    """The chosen tools, never cached."""
    loading_saves: Balance
    """Against the whole list in the cache; negative: loading fewer costs more."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class McpPlan(Answer):
    """What the tools cost."""

    tokens_all: Tokens
    """Description tokens per request with every tool."""
    tokens_loaded: Tokens
    all_per_day: Dollars
    all_per_month: Dollars
    loaded_per_day: Dollars
    loaded_per_month: Dollars
    saving: Balance
    """A month, by loading only what is needed; negative: it costs more."""
    saving_share: Saved
    break_even_tools: Amount | None
    """Loading fewer tools than this pays; empty: the loaded tools cost nothing."""
    calls_per_month: Dollars
    """Arguments and answers of the tool calls."""
    hosting_per_month: Dollars
    models: tuple[ToolsOnModel, ...]


def mcp(inputs: Mcp, prices: Prices) -> McpPlan:
    """Compare all tools in every prompt with a few that are chosen for each request."""
    if inputs.tools_loaded > inputs.tools:
        raise PlanError("tools_loaded", f"{inputs.tools_loaded} are more than the {inputs.tools} tools there are")
    row = prices.row(inputs.model)
    whole, chosen = _per_request(inputs, row)
    volume = inputs.requests_per_day * inputs.days
    saving = _saving(inputs, row)
    each = inputs.tokens_per_tool * (1 - inputs.compression) * _price(row, inputs.loaded_cached_share)
    extra = inputs.choice_tokens * rate(row, "input")
    calls = (
        inputs.calls_per_request
        * volume
        * (
            inputs.argument_tokens * (rate(row, "output") + rate(row, "input"))
            + inputs.response_tokens * rate(row, "input")
        )
    )
    return McpPlan(
        answer=_sentence(inputs, saving, whole * volume, chosen * volume),
        tokens_all=_size(inputs, inputs.tools),
        tokens_loaded=_size(inputs, inputs.tools_loaded) + inputs.choice_tokens,
        all_per_day=exact(whole * inputs.requests_per_day),
        all_per_month=exact(whole * volume),
        loaded_per_day=exact(chosen * inputs.requests_per_day),
        loaded_per_month=exact(chosen * volume),
        saving=exact(saving),
        saving_share=ratio(saving, whole * volume),
        break_even_tools=quotient(max(whole - extra, Decimal(0)), each),
        calls_per_month=cents(calls),
        hosting_per_month=cents(inputs.servers * inputs.dollars_per_server),
        models=_models(inputs, prices),
        notes=(*prices.retirement_note(inputs.model), *NOTES),
        prices=(used(row),),
        assumptions=(
            f"A month has {inputs.days} days.",
            "Each argument is written once (output) and read once more (input); answers are read once.",
            "A list that changes moves everything behind it out of the prompt cache as well; that is not counted here.",
        ),
        corrections=_corrections(prices),
        moved="the monthly saving",
        sensitivity=sensitivity(
            inputs,
            lambda changed: _saving(changed, row),
            leave_out=("days", "dollars_per_server"),
        ),
    )


def _size(inputs: Mcp, tools: int) -> int:
    return int(tools * inputs.tokens_per_tool * (1 - inputs.compression))


def _price(row: PriceRow, cached: Decimal) -> Decimal:
    return cached * rate(row, "cache_read") + (1 - cached) * rate(row, "input")


def _per_request(inputs: Mcp, row: PriceRow) -> tuple[Decimal, Decimal]:
    """Return dollars per request for the whole list and for the chosen tools."""
    whole = _size(inputs, inputs.tools) * _price(row, inputs.cached_share)
    chosen = _size(inputs, inputs.tools_loaded) * _price(row, inputs.loaded_cached_share)
    return whole, chosen + inputs.choice_tokens * rate(row, "input")


def _saving(inputs: Mcp, row: PriceRow) -> Decimal:
    whole, chosen = _per_request(inputs, row)
    return (whole - chosen) * inputs.requests_per_day * inputs.days


def _models(inputs: Mcp, prices: Prices) -> tuple[ToolsOnModel, ...]:
    lines = []
    for name in prices.models():
        row = prices.find(name)
        if row is None or not {"input", "cache_read"} <= row.rates.keys():
            continue
        few = _size(inputs, inputs.tools_loaded) + inputs.choice_tokens
        whole, chosen = _size(inputs, inputs.tools) * rate(row, "cache_read"), few * rate(row, "input")
        lines.append(
            ToolsOnModel(
                model=row.model,
                all_uncached=exact(1000 * _size(inputs, inputs.tools) * rate(row, "input")),
                all_cached=exact(1000 * whole),
                loaded=exact(1000 * chosen),
                loading_saves=exact(1000 * (whole - chosen)),
            )
        )
    return tuple(sorted(lines, key=lambda line: (-line.loading_saves, line.model)))


def _sentence(inputs: Mcp, saving: Decimal, whole: Decimal, chosen: Decimal) -> str:
    what = f"Loading {inputs.tools_loaded} of {inputs.tools} tools on {inputs.model}"
    if saving > 0:
        return f"{what} saves {money(cents(saving))} a month ({percent(ratio(saving, whole))})."
    if saving == 0:
        return f"{what} costs as much as the whole list: {money(cents(whole))} a month."
    more = f"{what} costs {money(cents(-saving))} more a month"
    if inputs.cached_share > inputs.loaded_cached_share and whole:
        return f"{more}, {ratio(chosen, whole)} times the whole list: it is cached, they are not."
    return f"{more}: choosing them costs more than it leaves out."


NOTES = (
    "Choose tools once a run and only append: a list that changes at every call defeats the prompt cache.",
    "Loss-free compression takes about 11 % off real tool descriptions, shortened texts about 36 %.",
)


def _corrections(prices: Prices) -> tuple[Correction, ...]:
    """Recompute 20 tools against 5 where the whole list stands in the prompt cache."""
    parts = []
    for name in ("gpt-4o", "gpt-4.1", "gpt-5"):
        row = prices.find(name)
        if row is not None and "cache_read" in row.rates:
            whole, chosen = 6000 * rate(row, "cache_read"), 1500 * rate(row, "input")
            parts.append(f"{name} {percent(ratio(whole - chosen, whole))}")
    if not parts:
        return ()
    return (
        Correction(
            section="7.10",
            says="Loading 5 of 20 tools saves 75%",
            computed="saves, when cached: " + ", ".join(parts),
            why="The whole list is a stable prefix of 6,000 tokens, so the prompt cache holds it; five tools that "
            "change are 1,500 tokens at the full price. 75 % holds only without a cache.",
        ),
    )
