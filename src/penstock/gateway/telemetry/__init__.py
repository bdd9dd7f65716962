"""OpenTelemetry, both ways: what is told of calls made elsewhere, and what the gateway tells of its own."""
