"""Flower's grid over assignments and blobs: on it an app's own ServerApp runs as it does on Flower."""
