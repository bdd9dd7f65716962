"""Penstock meters, governs, cuts and plans what is spent on AI."""

__version__ = "0.1.0"
