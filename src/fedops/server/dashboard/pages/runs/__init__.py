"""Runs: the list, one run, several compared."""
