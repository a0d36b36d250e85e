"""Versions of models and the names that point to them."""
