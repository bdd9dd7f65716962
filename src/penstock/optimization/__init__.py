"""What to do next: findings from own traffic -> the action plan."""
