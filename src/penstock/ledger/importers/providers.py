"""Who served, by the names that other tools give to providers; and by the model, where nothing else says it."""

import re

NAMES = {
    "azure_ai": "azure", "azure_text": "azure", "azure_openai": "azure", "azure_ai_openai": "azure",
    "az_ai_openai": "azure", "azure_ai_inference": "azure", "az_ai_inference": "azure",
    "text_completion_openai": "openai", "openai_compatible": "openai",
    "bedrock": "aws", "bedrock_converse": "aws", "aws_bedrock": "aws", "amazon_bedrock": "aws",
    "gemini": "google", "vertex_ai": "google", "vertex_ai_beta": "google", "vertexai": "google", "gcp_gemini": "google",
    "gcp_vertex_ai": "google", "gcp_gen_ai": "google", "google_genai": "google", "google_vertexai": "google",
    "xai": "x-ai", "x_ai": "x-ai", "together_ai": "together", "togetherai": "together", "fireworks_ai": "fireworks",
    "cohere_chat": "cohere", "mistral_ai": "mistral", "mistralai": "mistral", "moonshot_ai": "moonshotai",
}  # fmt: skip
"""Another tool's name of a provider, in lower case with underscores -> ours, where they differ."""

MAKERS = (
    (r"(gpt|chatgpt|o\d|text-embedding|davinci|dall-e|whisper|tts)\b", "openai"), (r"claude\b", "anthropic"),
    (r"gemini\b", "google"), (r"(mistral|codestral|ministral|magistral|pixtral)\b", "mistral"), (r"grok\b", "x-ai"),
    (r"deepseek\b", "deepseek"), (r"command\b", "cohere"), (r"sonar\b", "perplexity"),
)  # fmt: skip
"""How a model's name begins -> who makes it, and sells it under his own name."""


def provider_of(name: str) -> str:
    """Return our name of a provider; one that is not known stays as it is, in lower case."""
    return NAMES.get(re.sub(r"[^a-z0-9]+", "_", name.lower()), name.lower())


def maker_of(model: str) -> str:
    """Return who sells a model under his own name, as far as its name says it; else nothing."""
    return next((maker for pattern, maker in MAKERS if re.match(pattern, model.lower())), "")
