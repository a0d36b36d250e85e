"""What the server wants of devices beside their work, a module a kind."""
