"""Every calculator that needs nothing but its inputs and prices: for forms, and for programs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from penstock.planning.agents import Agents, agents
from penstock.planning.answer import Answer
from penstock.planning.batch import Batch, batch
from penstock.planning.cache import Cache, cache
from penstock.planning.cascade import Cascade, cascade
from penstock.planning.copilot import Copilot, copilot
from penstock.planning.deployment import Deployment, deployment
from penstock.planning.foundry import Foundry, foundry
from penstock.planning.gpu import Gpu, gpu
from penstock.planning.mcp import Mcp, mcp
from penstock.planning.model import Model, model
from penstock.planning.month import Month, month
from penstock.planning.prices import Prices
from penstock.planning.ptu import Ptu, ptu
from penstock.planning.quantity import Inputs
from penstock.planning.rag import Rag, rag
from penstock.planning.tune import Tune, tune
from penstock.planning.unit import UnitEconomics, unit
from penstock.pricing.capacity import shipped_capacity
from penstock.pricing.finetune import shipped_finetunes
from penstock.pricing.gpu import shipped_gpus
from penstock.pricing.licences import shipped_licences
from penstock.pricing.search import shipped_search_tiers


@dataclass(frozen=True, slots=True)
class Calculator:
    """One calculator: inputs and prices in, an answer out."""

    name: str
    label: str
    inputs: type[Inputs]
    compute: Callable[[Any, Prices], Answer]
    about: str
    example: tuple[tuple[str, str], ...]
    """Inputs to begin with; a table has a line for each of its rows."""
    leave_out: tuple[str, ...] = ()
    """Inputs that only the command line can read: files."""

    @property
    def options(self) -> tuple[str, ...]:
        """Return the example as options of the command."""
        return tuple(
            word
            for name, value in self.example
            for line in value.splitlines()
            for word in (f"--{name.replace('_', '-')}", line)
        )


_AGENTS = """\
name=triage,model=gpt-4.1-nano,planning_tokens=500
name=answer,model=gpt-4o-mini,loop_tokens=2000,iterations=4,iterations_p95=12,growth_tokens=800"""
_DAILY = (("requests_per_day", "10000"), ("input_tokens", "500"), ("output_tokens", "300"))

CALCULATORS: tuple[Calculator, ...] = (
    Calculator("month", "Month", Month, month,
               "Monthly cost of a steady workload, with every model of the price book side by side.",
               (("model", "gpt-4o-mini"), *_DAILY)),
    Calculator("deployment", "Deployment", Deployment,
               lambda inputs, prices: deployment(inputs, prices, shipped_capacity()),
               "Global, data zone, regional, batch, priority and PTU side by side, under residency and latency "
               "demands.", (("model", "gpt-4o"), *_DAILY, ("residency", "zone"))),
    Calculator("ptu", "PTU", Ptu, lambda inputs, prices: ptu(inputs, prices, shipped_capacity()),
               "Provisioned throughput: how many PTUs, and whether they beat paying by token.",
               (("model", "gpt-5.2"), ("requests_per_minute", "1000"), ("input_tokens", "200"),
                ("output_tokens", "20")),
               ("trace", "ledger", "since", "until")),
    Calculator("model", "Model", Model, model,
               "Which model for a task: the smallest that is enough, why not a bigger one, and what it saves.",
               (("task", "classification"), ("requests_per_day", "10000"))),
    Calculator("cache", "Cache", Cache, cache,
               "Prompt cache and semantic cache: what they save, net of what they cost.",
               (("model", "gpt-4o"), ("requests_per_day", "10000"), ("prefix_tokens", "1024"),
                ("prompt_hit_rate", "1"))),
    Calculator("batch", "Batch", Batch, batch, "Batch API: what moving a share of the traffic saves.",
               (("model", "gpt-4o"), *_DAILY, ("batch_share", "40%"))),
    Calculator("cascade", "Cascade", Cascade, cascade,
               "A cheap model first, a dear one where its answer fails: when that pays, and when it cannot.",
               (("first_model", "gpt-4o-mini"), ("then_model", "gpt-4o"), *_DAILY, ("failed_share", "20%"))),
    Calculator("agents", "Agents", Agents, agents,
               "A chain of agents: cost per interaction by the guide's formula, at the tail, and when it runs away.",
               (("agents", _AGENTS), ("max_iterations", "10"))),
    Calculator("mcp", "MCP tools", Mcp, mcp,
               "MCP tools: what their descriptions cost with every request, and when loading fewer costs more.",
               (("model", "gpt-4o"), ("requests_per_day", "10000"), ("tools", "20"), ("tools_loaded", "5"))),
    Calculator("rag", "Retrieval", Rag, lambda inputs, prices: rag(inputs, prices, shipped_search_tiers()),
               "Retrieval: embedding, vector index, chunks in the prompt, reranking, updates.",
               (("documents", "100000"), ("queries_per_day", "10000"), ("top_k", "20"), ("reranked_k", "5"))),
    Calculator("tune", "Fine-tuning", Tune, lambda inputs, prices: tune(inputs, prices, shipped_finetunes()),
               "Prompt, fine-tuning or retrieval: the cheapest way, and from which volume.",
               (("requests_per_month", "100000"), ("prompt_model", "gpt-4o"), ("tuned_model", "gpt-4.1-mini"))),
    Calculator("foundry", "Foundry", Foundry, foundry,
               "The layers of a Foundry bill, the worst month a cap allows, and guardrails as az, Bicep and Terraform "
               "files.", (("model", "gpt-4o-mini"), ("capacity", "30"), ("budget", "5000"))),
    Calculator("copilot", "Copilot", Copilot, lambda inputs, _prices: copilot(inputs, shipped_licences()),
               "Microsoft 365 Copilot licences, Copilot Studio and AI Builder credits: return, break-even, reclaiming.",
               (("licences", "1000"), ("active_users", "200"), ("hours_per_week", "2"))),
    Calculator("gpu", "GPU", Gpu, lambda inputs, _prices: gpu(inputs, shipped_gpus()),
               "Training on GPU machines: memory, hours, spot with checkpoints, reservations.",
               (("parameters", "7"), ("training_tokens", "50"), ("epochs", "3"), ("method", "lora"))),
    Calculator("unit", "Unit economics", UnitEconomics, unit,
               "Unit economics: cost, value, margin and payback of a product with AI in it.",
               (("interactions", "100000"), ("token_cost", "255"), ("infra_cost", "45"),
                ("value_per_interaction", "2.50"))),
)  # fmt: skip
