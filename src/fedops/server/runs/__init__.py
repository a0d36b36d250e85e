"""Runs and their attempts: control, transitions, deadlines, stopping."""
