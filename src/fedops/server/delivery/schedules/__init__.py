"""Schedules of tasks: when a run begins by itself, and what becomes of the version that it makes."""
