# Guardrails of @deployment: capacity, budget with alerts, alert on tokens an hour.

terraform {
  required_providers {
    azurerm = {
      source  = "hashicorp/azurerm"
      version = ">= 4.0"
    }
  }
}

variable "account_name" {
  description = "Name of the Azure OpenAI or Foundry resource; it must exist in the resource group."
  type        = string
  default     = "@account"
}

variable "resource_group_name" {
  type    = string
  default = "@resource_group"
}

variable "capacity" {
  description = "Capacity in thousand tokens a minute. It bounds the speed of spending, not the sum."
  type        = number
  default     = @capacity
}

variable "budget_amount" {
  description = "Budget in dollars a month."
  type        = number
  default     = @amount
}

variable "emails" {
  description = "Who is told."
  type        = list(string)
  default     = ["@email"]
}

variable "tokens_per_hour" {
  description = "Tokens an hour above which an alert is raised."
  type        = number
  default     = @tokens_per_hour
}

data "azurerm_resource_group" "ai" {
  name = var.resource_group_name
}

data "azurerm_cognitive_account" "ai" {
  name                = var.account_name
  resource_group_name = data.azurerm_resource_group.ai.name
}

resource "azurerm_cognitive_deployment" "model" {
  name                   = "@deployment"
  cognitive_account_id   = data.azurerm_cognitive_account.ai.id
  version_upgrade_option = "OnceCurrentVersionExpired"

  model {
    format  = "OpenAI"
    name    = "@model"
    version = "@model_version"
  }

  sku {
    name     = "@sku"
    capacity = var.capacity
  }
}

resource "azurerm_monitor_action_group" "finops" {
  name                = "@{budget_name}-alerts"
  resource_group_name = data.azurerm_resource_group.ai.name
  short_name          = "ai-finops"

  dynamic "email_receiver" {
    for_each = var.emails
    content {
      name                    = "finops-${email_receiver.key}"
      email_address           = email_receiver.value
      use_common_alert_schema = true
    }
  }
}

resource "azurerm_consumption_budget_resource_group" "ai" {
  name              = "@budget_name"
  resource_group_id = data.azurerm_resource_group.ai.id
  amount            = var.budget_amount
  time_grain        = "Monthly"

  time_period {
    start_date = "@start"
  }

  dynamic "notification" {
    for_each = [50, 80, 100]
    content {
      enabled        = true
      operator       = "GreaterThanOrEqualTo"
      threshold      = notification.value
      threshold_type = "Actual"
      contact_emails = var.emails
    }
  }

  notification {
    enabled        = true
    operator       = "GreaterThanOrEqualTo"
    threshold      = 100
    threshold_type = "Forecasted"
    contact_emails = var.emails
  }
}

resource "azurerm_monitor_metric_alert" "tokens" {
  name                = "@deployment-tokens-per-hour"
  resource_group_name = data.azurerm_resource_group.ai.name
  scopes              = [data.azurerm_cognitive_account.ai.id]
  severity            = 2
  frequency           = "PT15M"
  window_size         = "PT1H"

  criteria {
    metric_namespace = "Microsoft.CognitiveServices/accounts"
    metric_name      = "TokenTransaction"
    aggregation      = "Total"
    operator         = "GreaterThan"
    threshold        = var.tokens_per_hour

    dimension {
      name     = "ModelDeploymentName"
      operator = "Include"
      values   = ["@deployment"]
    }
  }

  action {
    action_group_id = azurerm_monitor_action_group.finops.id
  }
}
