"""Routes of who is told of what happens."""
