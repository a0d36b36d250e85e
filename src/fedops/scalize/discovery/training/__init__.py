"""What of a project's own training the chosen steps do, and what they leave out: read from its syntax."""
