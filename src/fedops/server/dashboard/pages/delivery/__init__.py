"""Delivery: what is wanted and what runs."""
