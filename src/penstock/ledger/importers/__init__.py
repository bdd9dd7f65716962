"""Usage from elsewhere: one file a format."""
