"""What the server and its callers agree on: versions, refusals, errors. Imports nothing of the server."""
