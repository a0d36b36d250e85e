"""How devices come in: their keys, and the way from plain HTTP to TLS."""
