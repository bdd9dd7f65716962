#!/usr/bin/env bash
# Guardrails of @deployment: capacity, budget with alerts, alert on tokens an hour.
# Needs the Azure CLI, signed in: az login. A budget that exists already wants its eTag in the body, or to be deleted first.
set -euo pipefail

subscription="$(az account show --query id --output tsv)"
scope="/subscriptions/${subscription}/resourceGroups/@resource_group"

# Capacity @capacity = @capacity_tokens tokens a minute. It bounds the speed of spending, not the sum:
# a month at the cap is @worst_low to @worst_high.
az cognitiveservices account deployment create \
  --resource-group "@resource_group" \
  --name "@account" \
  --deployment-name "@deployment" \
  --model-format OpenAI \
  --model-name "@model" \
  --model-version "@model_version" \
  --sku-name "@sku" \
  --sku-capacity @capacity

# Who is told.
az monitor action-group create \
  --resource-group "@resource_group" \
  --name "@{budget_name}-alerts" \
  --short-name "ai-finops" \
  --action email finops "@email" usecommonalertschema

# Budget of $@amount a month: at 50, 80 and 100 % of the money spent, and when the forecast passes 100 %.
az rest --method put \
  --url "https://management.azure.com${scope}/providers/Microsoft.Consumption/budgets/@{budget_name}?api-version=2023-11-01" \
  --body '@budget_json'

# More than @tokens_per_hour tokens in an hour: three times what is planned.
az monitor metrics alert create \
  --resource-group "@resource_group" \
  --name "@deployment-tokens-per-hour" \
  --scopes "${scope}/providers/Microsoft.CognitiveServices/accounts/@account" \
  --condition "total TokenTransaction > @tokens_per_hour where ModelDeploymentName includes @deployment" \
  --window-size 1h \
  --evaluation-frequency 15m \
  --severity 2 \
  --action "${scope}/providers/Microsoft.Insights/actionGroups/@{budget_name}-alerts"
