"""The commits of tasks: found, checked, and made ready to be deployed."""
