// Guardrails of gpt-4o-mini-prod: capacity, budget with alerts, alert on tokens an hour.
// az deployment group create --resource-group AI-RG --template-file guardrails.bicep

targetScope = 'resourceGroup'

@description('Name of the Azure OpenAI or Foundry resource; it must exist in this resource group.')
param accountName string = 'my-openai-resource'

@description('Capacity in thousand tokens a minute. It bounds the speed of spending, not the sum.')
@minValue(1)
param capacity int = 30

@description('Budget in dollars a month.')
param budgetAmount int = 5000

@description('First day of the month in which the budget starts.')
param budgetStart string = '2026-11-01T00:00:00Z'

@description('Who is told.')
param emails array = [
  'ai-finops@contoso.com'
]

@description('Tokens an hour above which an alert is raised.')
param tokensPerHour int = 1000000

resource account 'Microsoft.CognitiveServices/accounts@2024-10-01' existing = {
  name: accountName
}

resource deployment 'Microsoft.CognitiveServices/accounts/deployments@2024-10-01' = {
  parent: account
  name: 'gpt-4o-mini-prod'
  sku: {
    name: 'GlobalStandard'
    capacity: capacity
  }
  properties: {
    model: {
      format: 'OpenAI'
      name: 'gpt-4o-mini'
      version: '2024-07-18'
    }
    versionUpgradeOption: 'OnceCurrentVersionExpired'
  }
}

resource alerts 'Microsoft.Insights/actionGroups@2023-01-01' = {
  name: 'AI-Workload-Budget-alerts'
  location: 'Global'
  properties: {
    enabled: true
    groupShortName: 'ai-finops'
    emailReceivers: [for (email, index) in emails: {
      name: 'finops-${index}'
      emailAddress: email
      useCommonAlertSchema: true
    }]
  }
}

resource budget 'Microsoft.Consumption/budgets@2023-11-01' = {
  name: 'AI-Workload-Budget'
  properties: {
    amount: budgetAmount
    category: 'Cost'
    timeGrain: 'Monthly'
    timePeriod: {
      startDate: budgetStart
    }
    notifications: {
      actual50: {
        enabled: true
        operator: 'GreaterThanOrEqualTo'
        threshold: 50
        thresholdType: 'Actual'
        contactEmails: emails
      }
      actual80: {
        enabled: true
        operator: 'GreaterThanOrEqualTo'
        threshold: 80
        thresholdType: 'Actual'
        contactEmails: emails
      }
      actual100: {
        enabled: true
        operator: 'GreaterThanOrEqualTo'
        threshold: 100
        thresholdType: 'Actual'
        contactEmails: emails
      }
      forecast100: {
        enabled: true
        operator: 'GreaterThanOrEqualTo'
        threshold: 100
        thresholdType: 'Forecasted'
        contactEmails: emails
      }
    }
  }
}

resource tokens 'Microsoft.Insights/metricAlerts@2018-03-01' = {
  name: 'gpt-4o-mini-prod-tokens-per-hour'
  location: 'global'
  properties: {
    severity: 2
    enabled: true
    scopes: [
      account.id
    ]
    evaluationFrequency: 'PT15M'
    windowSize: 'PT1H'
    criteria: {
      'odata.type': 'Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria'
      allOf: [
        {
          name: 'tokens'
          criterionType: 'StaticThresholdCriterion'
          metricNamespace: 'Microsoft.CognitiveServices/accounts'
          metricName: 'TokenTransaction'
          timeAggregation: 'Total'
          operator: 'GreaterThan'
          threshold: tokensPerHour
          dimensions: [
            {
              name: 'ModelDeploymentName'
              operator: 'Include'
              values: [
                'gpt-4o-mini-prod'
              ]
            }
          ]
        }
      ]
    }
    actions: [
      {
        actionGroupId: alerts.id
      }
    ]
  }
}
