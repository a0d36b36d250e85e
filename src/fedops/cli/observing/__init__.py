"""``fedops init`` with a command: it is run and watched, and what could not be seen is asked."""
