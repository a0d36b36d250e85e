"""The device's side: the Client Manager, and the training client that it supervises.

Knows the server by its API.
"""
