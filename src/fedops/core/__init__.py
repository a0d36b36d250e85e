"""States, errors and decisions as pure functions of plain values.

Imports no room of FedOps, no framework, no database.
"""
