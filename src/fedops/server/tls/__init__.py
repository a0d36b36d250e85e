"""TLS of a server: its certificate authority, its certificate, and the names that this is for."""
