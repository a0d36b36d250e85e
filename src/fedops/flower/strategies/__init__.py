"""Flower's strategies under the round engine."""
