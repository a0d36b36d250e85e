"""Tasks: the list, one task, a new one."""
