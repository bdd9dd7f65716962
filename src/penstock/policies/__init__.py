"""What may happen to a call in flight; one file a policy."""
