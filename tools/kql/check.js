// Asks Microsoft's language service for KQL (MIT) what is wrong with the queries that are named; exit code 1: something.
// Columns are those of Microsoft's reference of the tables, as far as the queries use them.
const fs = require("fs");
require("@kusto/language-service-next/bridge.min");
require("@kusto/language-service-next/Kusto.Language.Bridge.min");
const { KustoCode, GlobalState } = globalThis.Kusto.Language;

const TABLES = {
  ApiManagementGatewayLlmLog:
    "TimeGenerated: datetime, CorrelationId: string, SequenceNumber: int, DeploymentName: string, ModelName: string, " +
    "PromptTokens: int, CompletionTokens: int, TotalTokens: int",
  ApiManagementGatewayLogs: "TimeGenerated: datetime, CorrelationId: string, ApimSubscriptionId: string, ApiId: string",
  AzureMetrics: "TimeGenerated: datetime, ResourceProvider: string, Resource: string, MetricName: string, Total: real",
  AzureDiagnostics:
    "TimeGenerated: datetime, ResourceProvider: string, Category: string, ResultSignature: string, DurationMs: real, " +
    "properties_s: string",
};
const tables = Object.entries(TABLES).map(([name, columns]) => `let ${name} = datatable(${columns}) [];\n`).join("");

function problems(query) {
  const text = tables + query;
  const found = KustoCode.ParseAndAnalyze(text, GlobalState.Default).GetDiagnostics();
  return Array.from({ length: found.Count }, (_, number) => found.getItem(number)).map(
    (one) => `line ${text.slice(tables.length, one.Start).split("\n").length}: ${one.Message}`,
  );
}

// What is wrong with the guide's queries must be found, or this check would be worth nothing.
const WRONG = [
  "AzureDiagnostics | extend model = tostring(properties_s.model)",
  "AzureDiagnostics | extend usual = avg_if(DurationMs, TimeGenerated < ago(1d))",
];
let failed = false;
for (const query of WRONG) {
  if (!problems(query).length) {
    console.log(`nothing was found in a query that is wrong: ${query}`);
    failed = true;
  }
}
for (const file of process.argv.slice(2)) {
  const found = problems(fs.readFileSync(file, "utf8"));
  console.log(`${file}: ${found.length ? found.join("; ") : "nothing to complain of"}`);
  failed ||= found.length > 0;
}
process.exit(failed ? 1 : 0);
