"""What happened: count tokens, read usage out of a reply, attribute it, make the UsageEvent."""
