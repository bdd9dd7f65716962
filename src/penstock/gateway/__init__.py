"""The live door: OpenAI, Azure OpenAI and Anthropic endpoints."""
