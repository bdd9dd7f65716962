"""What the book says; one question a file."""
