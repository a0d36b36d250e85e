"""What needs a person: found in what the server knows, each with a sentence and what to do."""
