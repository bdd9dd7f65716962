// Guardrails of @deployment: capacity, budget with alerts, alert on tokens an hour.
// az deployment group create --resource-group @resource_group --template-file guardrails.bicep

targetScope = 'resourceGroup'

@@description('Name of the Azure OpenAI or Foundry resource; it must exist in this resource group.')
param accountName string = '@account'

@@description('Capacity in thousand tokens a minute. It bounds the speed of spending, not the sum.')
@@minValue(1)
param capacity int = @capacity

@@description('Budget in dollars a month.')
param budgetAmount int = @amount

@@description('First day of the month in which the budget starts.')
param budgetStart string = '@start'

@@description('Who is told.')
param emails array = [
  '@email'
]

@@description('Tokens an hour above which an alert is raised.')
param tokensPerHour int = @tokens_per_hour

resource account 'Microsoft.CognitiveServices/accounts@@2024-10-01' existing = {
  name: accountName
}

resource deployment 'Microsoft.CognitiveServices/accounts/deployments@@2024-10-01' = {
  parent: account
  name: '@deployment'
  sku: {
    name: '@sku'
    capacity: capacity
  }
  properties: {
    model: {
      format: 'OpenAI'
      name: '@model'
      version: '@model_version'
    }
    versionUpgradeOption: 'OnceCurrentVersionExpired'
  }
}

resource alerts 'Microsoft.Insights/actionGroups@@2023-01-01' = {
  name: '@{budget_name}-alerts'
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

resource budget 'Microsoft.Consumption/budgets@@2023-11-01' = {
  name: '@budget_name'
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

resource tokens 'Microsoft.Insights/metricAlerts@@2018-03-01' = {
  name: '@deployment-tokens-per-hour'
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
                '@deployment'
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
