"""Commits on their way to the devices of a task: in waves, each judged before the next."""
