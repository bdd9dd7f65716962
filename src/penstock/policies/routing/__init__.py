"""Which model a call goes to: what it asks for, what is known of each model, and the choice."""
