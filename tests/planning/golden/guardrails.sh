#!/usr/bin/env bash
# Guardrails of gpt-4o-mini-prod: capacity, budget with alerts, alert on tokens an hour.
# Needs the Azure CLI, signed in: az login. A budget that exists already wants its eTag in the body, or to be deleted first.
set -euo pipefail

subscription="$(az account show --query id --output tsv)"
scope="/subscriptions/${subscription}/resourceGroups/AI-RG"

# Capacity 30 = 30,000 tokens a minute. It bounds the speed of spending, not the sum:
# a month at the cap is $194.40 to $777.60.
az cognitiveservices account deployment create \
  --resource-group "AI-RG" \
  --name "my-openai-resource" \
  --deployment-name "gpt-4o-mini-prod" \
  --model-format OpenAI \
  --model-name "gpt-4o-mini" \
  --model-version "2024-07-18" \
  --sku-name "GlobalStandard" \
  --sku-capacity 30

# Who is told.
az monitor action-group create \
  --resource-group "AI-RG" \
  --name "AI-Workload-Budget-alerts" \
  --short-name "ai-finops" \
  --action email finops "ai-finops@contoso.com" usecommonalertschema

# Budget of $5000 a month: at 50, 80 and 100 % of the money spent, and when the forecast passes 100 %.
az rest --method put \
  --url "https://management.azure.com${scope}/providers/Microsoft.Consumption/budgets/AI-Workload-Budget?api-version=2023-11-01" \
  --body '{
  "properties": {
    "category": "Cost",
    "amount": 5000,
    "timeGrain": "Monthly",
    "timePeriod": {
      "startDate": "2026-11-01T00:00:00Z"
    },
    "notifications": {
      "actual50": {
        "enabled": true,
        "operator": "GreaterThanOrEqualTo",
        "threshold": 50,
        "thresholdType": "Actual",
        "contactEmails": [
          "ai-finops@contoso.com"
        ]
      },
      "actual80": {
        "enabled": true,
        "operator": "GreaterThanOrEqualTo",
        "threshold": 80,
        "thresholdType": "Actual",
        "contactEmails": [
          "ai-finops@contoso.com"
        ]
      },
      "actual100": {
        "enabled": true,
        "operator": "GreaterThanOrEqualTo",
        "threshold": 100,
        "thresholdType": "Actual",
        "contactEmails": [
          "ai-finops@contoso.com"
        ]
      },
      "forecast100": {
        "enabled": true,
        "operator": "GreaterThanOrEqualTo",
        "threshold": 100,
        "thresholdType": "Forecasted",
        "contactEmails": [
          "ai-finops@contoso.com"
        ]
      }
    }
  }
}'

# More than 1000000 tokens in an hour: three times what is planned.
az monitor metrics alert create \
  --resource-group "AI-RG" \
  --name "gpt-4o-mini-prod-tokens-per-hour" \
  --scopes "${scope}/providers/Microsoft.CognitiveServices/accounts/my-openai-resource" \
  --condition "total TokenTransaction > 1000000 where ModelDeploymentName includes gpt-4o-mini-prod" \
  --window-size 1h \
  --evaluation-frequency 15m \
  --severity 2 \
  --action "${scope}/providers/Microsoft.Insights/actionGroups/AI-Workload-Budget-alerts"
