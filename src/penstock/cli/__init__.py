"""The front door: one typed function a command."""
