"""Configuration, read once and handed down."""
