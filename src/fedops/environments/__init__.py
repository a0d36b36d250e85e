"""Environments of commits: locked, fetched as wheels, built once by uv."""
