"""Commits on this device's disk: their code, their environments, and how far the device is with them."""
