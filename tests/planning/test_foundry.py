import dataclasses
import json
import re
import shlex
import shutil
import subprocess
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.planning.books import D, azure

from penstock.errors import PlanError
from penstock.planning.foundry import Foundry, foundry, guardrails_of
from penstock.planning.guardrails import TEMPLATES, budget_body, render
from penstock.pricing.capacity import shipped_capacity

TEXTS = {name: (files("penstock.planning") / "templates" / name).read_text(encoding="utf-8") for name in TEMPLATES}


def rendered(**changes: object) -> dict[str, str]:
    return render(guardrails_of(dataclasses.replace(Foundry(), **changes), azure(), shipped_capacity()), TEXTS)


def test_a_cap_of_30k_tokens_a_minute_allows_what_section_7_7_calls_prevented():
    plan = foundry(Foundry(), azure())
    assert plan.cap_tokens_per_month == 1_296_000_000
    assert (plan.worst_month_input, plan.worst_month_output) == (D("194.40"), D("777.60"))
    assert foundry(Foundry(model="gpt-4o"), azure()).worst_month_output == D("12960.00")


def test_the_cap_within_budget_holds_even_with_output_tokens():
    plan = foundry(Foundry(model="gpt-4o"), azure())
    held = foundry(Foundry(model="gpt-4o", capacity=plan.cap_within_budget), azure())
    assert held.worst_month_output <= 5000
    assert foundry(Foundry(model="gpt-4o", capacity=plan.cap_within_budget + 1), azure()).worst_month_output > 5000


def test_the_layers_add_up_and_direct_is_the_tokens_alone():
    plan = foundry(Foundry(flow_nodes=3, endpoint_instances=1, finetuning_cost=D(10)), azure())
    assert plan.foundry_cost == sum(layer.monthly_cost for layer in plan.layers)
    assert plan.direct_cost == D("76.50")
    assert plan.layers[1].monthly_cost == D("153.00")  # two more nodes


def test_sampling_an_evaluation_saves_its_share():
    plan = foundry(Foundry(sampled_share=D("0.2")), azure())
    assert plan.sampled_evaluation_saves == plan.layers[4].monthly_cost * D("0.8")


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_guardrail_files_are_the_recorded_ones(name, request):
    """What a user gets changes only in a visible diff."""
    golden = request.path.parent / "golden" / name
    assert rendered()[name] == golden.read_text(encoding="utf-8")


def test_no_placeholder_is_left_and_no_file_is_empty():
    for text in rendered().values():
        left = [word for word in re.findall(r"@\w+", text) if word not in ("@contoso", "@description", "@minValue")]
        assert not [word for word in left if not re.fullmatch(r"@20\d\d", word)]


def test_the_shell_script_is_valid_bash():
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("no bash here")
    subprocess.run([bash, "-n"], input=rendered()["guardrails.sh"], text=True, check=True)


def test_the_terraform_file_is_in_canonical_format():
    terraform = shutil.which("terraform")
    if terraform is None:
        pytest.skip("no terraform here")
    text = rendered()["guardrails.tf"]
    done = subprocess.run([terraform, "fmt", "-"], input=text, text=True, capture_output=True, check=True)
    assert done.stdout == text


def test_braces_and_quotes_of_bicep_and_terraform_close():
    for name in ("guardrails.bicep", "guardrails.tf"):
        text = re.sub(r"(?m)(//|#) .*$", "", rendered()[name])
        for opening, closing in ("{}", "[]", "()"):
            assert text.count(opening) == text.count(closing), (name, opening)
        assert text.count("'" if name.endswith("bicep") else '"') % 2 == 0


def test_the_budget_has_the_form_of_its_api():
    body = json.loads(budget_body(guardrails_of(Foundry(), azure(), shipped_capacity())))["properties"]
    assert body["timePeriod"] == {"startDate": "2026-11-01T00:00:00Z"}
    assert {notice["thresholdType"] for notice in body["notifications"].values()} == {"Actual", "Forecasted"}
    assert all(notice["contactEmails"] for notice in body["notifications"].values())
    assert len(body["notifications"]) <= 5


@pytest.mark.parametrize(("kind", "sku"), [("global", "GlobalStandard"), ("data_zone", "DataZoneStandard")])
def test_the_sku_is_the_one_of_the_deployment_type(kind, sku):
    assert f'--sku-name "{sku}"' in rendered(deployment_type=kind)["guardrails.sh"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("resource_group", 'AI"; rm -rf /; "'),
        ("resource_group", "AI RG"),
        ("resource_group", "AI."),
        ("account", "a'b"),
        ("account", "a b"),
        ("deployment", "a${b}"),
        ("deployment", "a b"),
        ("deployment", "-prod"),
        ("model_version", "`id`"),
        ("budget_name", "x\ny"),
        ("budget_name", "a/../b"),
    ],
)
def test_a_name_that_azure_does_not_take_is_refused(field, value):
    with pytest.raises(PlanError, match=f"{field}: .* is no name that Azure takes"):
        rendered(**{field: value})


@given(st.text(max_size=70), st.sampled_from(["resource_group", "account", "deployment", "model_version"]))
def test_whatever_is_accepted_as_a_name_stands_in_the_script_as_one_plain_word(text, field):
    try:
        script = rendered(**{field: text})["guardrails.sh"]
    except PlanError:
        return
    words = shlex.split(script, comments=True)
    option = {"resource_group": "--resource-group", "account": "--name", "deployment": "--deployment-name"}
    assert text in ("", words[words.index(option.get(field, "--model-version")) + 1])


@pytest.mark.parametrize(("model", "version"), [("gpt-4o-mini", "2024-07-18"), ("gpt-4o", "2024-11-20")])
def test_the_deployment_has_the_version_of_its_own_model(model, version):
    files = rendered(model=model)
    assert f'--model-version "{version}"' in files["guardrails.sh"]
    assert f"version: '{version}'" in files["guardrails.bicep"]
    assert f'version = "{version}"' in files["guardrails.tf"]


def test_a_model_of_no_known_version_wants_one():
    with pytest.raises(PlanError, match="model_version: no version of Phi-4 is known"):
        rendered(model="Phi-4")
    assert '--model-version "7"' in rendered(model="Phi-4", model_version="7")["guardrails.sh"]


def test_a_budget_of_nothing_is_refused():
    with pytest.raises(PlanError, match="budget: 0 is less than a dollar"):
        rendered(budget=D(0))


def test_an_address_that_is_none_is_refused():
    with pytest.raises(PlanError, match="email: 'finops' is not an address"):
        rendered(email="finops")
